"""The pages of images and blobs: what they are, who needs them, and what is never shown."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, digest_of, encode, noise
from exporter.domain.errors import NotReadInTimeError, StoreUnreadableError
from exporter.views.detail.instructions import HIDDEN, instruction
from exporter.views.detail.timed_reading import TimedReader
from tests.exporter_process import Exporter, run_exporter
from tests.mirror_filesystem import MirrorFilesystem
from tests.mounts import Mounts
from tests.servers import DockerRegistry, require
from tests.small_stores import two_platforms

SECRET = "hunter2-is-a-secret"
APP, COPY, BROKEN, INDEXED = "team/app", "team/copy", "team/broken", "team/indexed"
BASE, TOP = noise("base", 4000), noise("top", 900)
CONFIGURATION = {
    "created": "2026-03-04T05:06:07.123456789Z",
    "author": "A. Person",
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "docker_version": "20.10.5",
    "config": {
        "User": "app",
        "WorkingDir": "/srv",
        "Entrypoint": ["/bin/sh", "-c", f"TOKEN={SECRET} exec serve"],
        "Cmd": ["--port", "80"],
        "Env": [f"TOKEN={SECRET}", "PATH=/usr/local/bin:/usr/bin"],
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"org.opencontainers.image.title": "A title"},
    },
    "rootfs": {"type": "layers", "diff_ids": [digest_of(BASE), digest_of(TOP)]},
    "history": [
        {"created_by": "/bin/sh -c #(nop) ADD file:0123 in / "},
        {"created_by": f"ENV TOKEN={SECRET}", "empty_layer": True},
        {"created_by": f"RUN |1 TOKEN={SECRET} /bin/sh -c make install # buildkit"},
        {"created_by": '/bin/sh -c #(nop)  CMD ["--port" "80"]', "empty_layer": True},
    ],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("image") / "registry")
    for name, tag in ((APP, "1"), (APP, "latest"), (COPY, "1")):
        store.image(name, tag, [BASE, TOP], config=encode(CONFIGURATION))
    store.image(COPY, "2", [BASE, noise("another", 300)])
    image = store.tag_link(APP, "1").read_text()
    store.image(APP, f"{image.replace(':', '-')}.sig", [noise("signature", 50)])
    store.image(BROKEN, "1", [BASE, noise("gone", 70)])
    store.blob_path(digest_of(noise("gone", 70))).unlink()
    two_platforms(store, INDEXED)
    store.image(INDEXED, None, [noise("of an untagged one", 300)])
    store.unlinked_blob(noise("garbage", 500))
    return store


@pytest.fixture(scope="module")
def captain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("captain")
    versions = [{"version": 1, "deployedImageName": f"registry.example.com:996/{APP}:1"}]
    apps = {"shop": {"versions": versions, "deployedVersion": 1}}
    (directory / "config-captain.json").write_text(json.dumps({"appDefinitions": apps}))
    return directory


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder, captain: Path) -> Iterator[Exporter]:
    flags = ("--storage.root", store.root, "--caprover.config-dir", captain)
    with Exporter(*flags) as exporter:
        yield exporter


def image_of(store: StoreBuilder, repository: str, tag: str = "1") -> str:
    return store.tag_link(repository, tag).read_text()


def facts_of(page: str) -> Mapping[str, str]:
    """Return what a page lists as facts, by name."""
    pairs = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return {name: text_of(value) for name, value in pairs}


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def section(page: str, name: str) -> str:
    """Return the text of the section with this heading's id; empty if there is none."""
    found = re.search(rf'<h2 id="{name}">.*?</h2>(.*?)</section>', page, re.DOTALL)
    return "" if found is None else text_of(found[1])


def test_an_image_is_described_in_plain_words(exporter: Exporter, store: StoreBuilder) -> None:
    page = exporter.get(f"/images/{image_of(store, APP)}").text
    facts = facts_of(page)
    assert {name: facts[name] for name in facts if name not in ("Size", "Configuration")} == {
        "Media type": "application/vnd.docker.distribution.manifest.v2+json",
        "Platform": "linux/arm64/v8",
        "Created": "2026-03-04 05:06:07 UTC",
        "Author": "A. Person",
        "Made with": "Docker 20.10.5",
        "Entry point": f"/bin/sh -c TOKEN={HIDDEN} exec serve",
        "Command": "--port 80",
        "Working directory": "/srv",
        "User": "app",
        "Ports": "80/tcp",
        "Volumes": "/data",
        "Variables": "TOKEN, PATH (their values may be secrets and are not shown)",
    }
    assert section(page, "labels") == "org.opencontainers.image.title A title"
    assert "It can be pulled whole from every repository that holds it" in page


def test_layers_have_what_made_them_their_size_and_who_shares_them(
    exporter: Exporter, store: StoreBuilder
) -> None:
    page = exporter.get(f"/images/{image_of(store, APP)}").text
    rows = [text_of(row) for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    made = [row for row in rows if digest_of(BASE)[:19] in row or digest_of(TOP)[:19] in row]
    base, top = made
    assert base.startswith("ADD file:0123 in /")
    # the other image of team/copy, and that of team/broken, which does not hold this image
    assert base.endswith("3.9 KiB 2 other manifests, 1 other repository")
    assert top.startswith("RUN (1 build argument hidden) make install")
    assert top.endswith("900 B nothing")
    assert f"ENV TOKEN={HIDDEN} no layer" in rows
    assert 'CMD ["--port" "80"] no layer' in rows


def test_values_of_variables_and_build_arguments_are_nowhere(
    exporter: Exporter, store: StoreBuilder
) -> None:
    digest = image_of(store, APP)
    config = digest_of(encode(CONFIGURATION))
    paths = (f"/images/{digest}", f"/blobs/{digest}", f"/blobs/{config}", f"/repositories/{APP}")
    api = [f"/api/v1{path}" for path in (*paths, f"/repositories/{APP}/_tags")]
    for path in (*paths, *api):
        page = exporter.get(path)
        assert page.status_code == httpx.codes.OK
        assert SECRET not in page.text
        assert "/usr/local/bin" not in page.text


@pytest.mark.parametrize(
    "text",
    [
        "ENV TOKEN={}",
        "ENV TOKEN {}",
        "env token={}",
        "ENV A=1 TOKEN={} B=2",
        "ENV TOKEN=with spaces {} and A={}",
        "ARG TOKEN={}",
        "ARG A=1 B={}",
        "ONBUILD ENV TOKEN={}",
        "/bin/sh -c #(nop)  ENV TOKEN={}",
        "/bin/sh -c #(nop) ARG TOKEN={}",
        "|1 TOKEN={} /bin/sh -c make",
        "|2 TOKEN=a {} b OTHER={} /bin/sh -c make",
        "RUN |1 TOKEN={} /bin/sh -c make # buildkit",
        "RUN |1 TOKEN=/bin/sh -c {} /bin/bash -eo pipefail -c make",
        "RUN |1 TOKEN={} make install",
        "|1 TOKEN={}",
        "RUN TOKEN={} make",
        "RUN /bin/sh -c export TOKEN={}; make # buildkit",
        'RUN /bin/sh -c TOKEN="a {}" make',
        "/bin/sh -c TOKEN='{} b' make && OTHER={} make",
        "cmd /S /C set TOKEN={}",
        "ENV\n\tTOKEN={}",
        "ENV {}",
        "|99999999999999999999 {}",
        "ENV TOKEN=" + "x" * 30_000 + "{}",
    ],
)
def test_no_form_of_an_instruction_shows_a_value(text: str) -> None:
    shown = instruction(text.replace("{}", SECRET), ())
    assert SECRET not in shown
    assert SECRET.partition("-")[0] not in shown


def test_a_value_of_the_environment_is_hidden_wherever_the_history_repeats_it() -> None:
    environment = [f"TOKEN={SECRET}", "SHORT=x"]
    shown = instruction(f"RUN /bin/sh -c curl -H 'Token: {SECRET}' x", environment)
    assert shown == f"RUN curl -H 'Token: {HIDDEN}' x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/bin/sh -c #(nop) COPY file:ab in /app ", "COPY file:ab in /app"),
        ("COPY . /app # buildkit", "COPY . /app"),
        ("/bin/sh -c apt-get   update", "RUN apt-get update"),
        ("RUN /bin/sh -c ./configure --prefix=/usr # buildkit", "RUN ./configure --prefix=/usr"),
        ("ARG TOKEN", "ARG TOKEN"),
        ("ENV PATH=/bin", f"ENV PATH={HIDDEN}"),
        ("LABEL a=b", "LABEL a=b"),
        ("WORKDIR /srv", "WORKDIR /srv"),
        ("", ""),
    ],
)
def test_instructions_are_as_in_the_dockerfile(text: str, shown: str) -> None:
    assert instruction(text, ()) == shown


def test_who_points_to_an_image_is_listed(exporter: Exporter, store: StoreBuilder) -> None:
    digest = image_of(store, APP)
    page = exporter.get(f"/images/{digest}").text
    tags = section(page, "tags")
    for name, tag in ((APP, "1"), (APP, "latest"), (COPY, "1")):
        assert f"{name} {tag} " in tags
    assert section(page, "apps") == f"App Use Image shop running {APP}:1"
    assert section(page, "holdings") == f"{APP} {COPY}"
    signature = image_of(store, APP, f"{digest.replace(':', '-')}.sig")
    assert signature[:19] in section(page, "artifacts")
    artifact = exporter.get(f"/images/{signature}").text
    assert "<h1>Artifact" in artifact
    assert facts_of(artifact)["Belongs to"] == digest[:19]


def test_an_index_lists_its_images_and_they_say_what_lists_them(
    exporter: Exporter, store: StoreBuilder
) -> None:
    index = image_of(store, INDEXED, "1.0")
    page = exporter.get(f"/images/{index}").text
    children = re.findall(r'href="/images/(sha256:[0-9a-f]{64})"', page)
    assert "<h1>Index" in page
    assert re.search("linux/amd64 .* yes linux/arm64 .* yes", section(page, "children"))
    child = exporter.get(f"/images/{children[0]}").text
    assert index[:19] in section(child, "indexes")
    assert f"{INDEXED} 1.0" in section(child, "tags")


def test_a_missing_layer_is_shown_where_it_is_missing(
    exporter: Exporter, store: StoreBuilder
) -> None:
    gone = digest_of(noise("gone", 70))
    page = exporter.get(f"/images/{image_of(store, BROKEN)}").text
    assert f"cannot be pulled whole from {BROKEN} : blob {gone} is missing" in text_of(page)
    assert section(page, "missing") == gone
    assert f"{gone[:19]} missing" in section(page, "layers")
    blob = exporter.get(f"/blobs/{gone}").text
    assert facts_of(blob)["State"] == "missing"
    assert facts_of(blob)["Size"] == "not on disk"
    assert section(blob, "repositories") == BROKEN


def test_an_index_of_which_one_image_is_broken_is_whole_in_part(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    index, _, second = two_platforms(store, "app")
    store.blob_path(digest_of(noise("arm64", 400))).unlink()
    with Exporter("--storage.root", tmp_path) as exporter:
        page, child = exporter.get(f"/images/{index}").text, exporter.get(f"/images/{second}").text
    missing = digest_of(noise("arm64", 400))
    reason = f"app : blob {missing} is missing"
    assert f"only in part Some of its images cannot be pulled from {reason}" in text_of(page)
    assert re.search(f"amd64 .* yes linux/arm64 .* no blob {missing}", section(page, "children"))
    assert f"cannot be pulled whole from {reason}" in text_of(child)


def answer(store: StoreBuilder, captain: Path, digest: str) -> dict[str, Any]:
    done = run_exporter(
        "report", "--storage.root", store.root, "--caprover.config-dir", captain,
        "--digest", digest, "--format", "json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_blobs_are_as_in_the_report(exporter: Exporter, store: StoreBuilder, captain: Path) -> None:
    image = image_of(store, APP)
    for digest in (digest_of(BASE), digest_of(TOP), digest_of(noise("garbage", 500)), image,
                   digest_of(encode(CONFIGURATION))):  # fmt: skip
        page, expected = exporter.get(f"/blobs/{digest}").text, answer(store, captain, digest)
        facts = facts_of(page)
        assert facts["Kind"].partition(":")[0] == expected["kind"]
        assert facts.get("Media type") == expected["media_type"]
        assert facts["State"] == expected["state"]
        assert f'<data value="{expected["bytes"]}">' in page
        for tag in expected["tags"]:
            assert f"{tag['repository']} {tag['tag']} " in section(page, "tags")
        assert section(page, "manifests").count("sha256:") == len(expected["manifests"])
        assert section(page, "apps").count("shop") == len(expected["apps"])


@pytest.mark.parametrize(
    ("content", "cost"),
    [
        (BASE, "Several repositories share it"),
        (noise("another", 300), "One repository alone needs it"),
        (noise("of an untagged one", 300), "Only manifests without a tag need it"),
        (noise("garbage", 500), "Nothing needs it: the next run of the garbage collector frees it"),
        (noise("gone", 70), "It takes no space: it is referenced, but not on disk"),
    ],
)
def test_a_blob_says_what_frees_it(exporter: Exporter, content: bytes, cost: str) -> None:
    assert cost in exporter.get(f"/blobs/{digest_of(content)}").text


def test_a_blob_says_that_the_collector_frees_nothing_while_it_aborts(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    garbage = store.unlinked_blob(noise("garbage", 500))
    link = store.revision_link("app", store.image("app", "1"))
    with Exporter("--storage.root", tmp_path, "--scan.interval", "200ms") as exporter:
        sound = exporter.get(f"/blobs/{garbage}").text
        link.write_bytes(b"")
        exporter.wait_for(lambda page: page.value("docker_registry_gc_blockers") == 1)
        blocked = text_of(exporter.get(f"/blobs/{garbage}").text)
    assert "aborts" not in sound
    place = link.relative_to(store.version_path)
    assert f"the garbage collector aborts on {place}: does not hold a digest" in blocked


def test_a_manifest_has_both_pages_and_another_blob_only_one(
    exporter: Exporter, store: StoreBuilder
) -> None:
    digest = image_of(store, APP)
    assert f'href="/images/{digest}">all about this image' in exporter.get(f"/blobs/{digest}").text
    other = exporter.get(f"/images/{digest_of(BASE)}")
    assert other.status_code == httpx.codes.NOT_FOUND
    assert f'href="/blobs/{digest_of(BASE)}"' in other.text


def test_the_beginning_of_a_digest_leads_to_its_page(
    exporter: Exporter, store: StoreBuilder
) -> None:
    digest = image_of(store, APP)
    for start in (digest[:20], digest[7:21], digest[7:22].upper()):
        for kind in ("images", "blobs"):
            moved = exporter.get(f"/{kind}/{start}")
            assert moved.status_code == httpx.codes.FOUND
            assert moved.headers["location"] == f"/{kind}/{digest}"


def test_a_beginning_that_is_of_several_digests_lists_them(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    by_start: dict[str, list[str]] = {}
    for content in (str(number) for number in range(20_000)):
        by_start.setdefault(digest_of(content.encode())[7:13], []).append(content)
    start, same = next((start, same) for start, same in by_start.items() if len(same) > 1)
    digests = sorted(store.unlinked_blob(content.encode()) for content in same)
    store.image("app", "1")
    with Exporter("--storage.root", tmp_path) as exporter:
        several, short = exporter.get(f"/blobs/{start}"), exporter.get(f"/blobs/{start[:5]}")
    assert (several.status_code, short.status_code) == (404, 404)
    assert f"{len(digests)} digests begin with {start}" in several.text
    assert re.findall(r'href="/blobs/([^"]+)"', several.text) == digests
    assert "at least 6 of the digits" in short.text


@pytest.mark.parametrize("kind", ["images", "blobs"])
@pytest.mark.parametrize(
    "text", [f"sha256:{'0' * 64}", "%3Cscript%3E", "sha256:xyz", "0" * 4000, "abcdef123456"]
)
def test_what_is_not_there_is_404(exporter: Exporter, kind: str, text: str) -> None:
    found = exporter.get(f"/{kind}/{text}")
    assert found.status_code == httpx.codes.NOT_FOUND
    assert "<script>" not in found.text
    assert len(found.content) < 5000


HOSTILE = "<script>alert(1)</script>\0\N{RIGHT-TO-LEFT OVERRIDE}"


def test_hostile_and_huge_text_is_cut_escaped_and_bounded(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    many = {f"label {number:06}": "x" for number in range(2000)}
    configuration = {
        "os": HOSTILE,
        "architecture": "y" * 100_000,
        "author": HOSTILE,
        "config": {
            "Labels": {HOSTILE: HOSTILE, "a huge one": "z" * 1_500_000, **many},
            "Entrypoint": [HOSTILE] * 1000,
            "WorkingDir": HOSTILE,
            "ExposedPorts": {HOSTILE: {}},
            "Env": [f"{HOSTILE}={SECRET}"] * 3,
        },
        "history": [{"created_by": HOSTILE + "w" * 5_000}, {"created_by": 5}] * 200,
    }
    image = store.image("app", "1", [noise("layer", 100)], config=encode(configuration))
    odd = {"os": 5, "config": {"Labels": [1], "Env": "no", "Cmd": "text"}, "history": {"a": 1}}
    strange = store.image("app", "2", [noise("layer", 100)], config=encode(odd))
    huge = encode({"author": "a" * 5_000_000})
    larger = store.image("app", "3", [noise("layer", 100)], config=huge)
    with Exporter("--storage.root", tmp_path) as exporter:
        page, other = exporter.get(f"/images/{image}"), exporter.get(f"/images/{strange}")
        packed = exporter.get(f"/images/{image}", accept_encoding="gzip")
        blob = exporter.get(f"/blobs/{digest_of(encode(configuration))}")
        unread = exporter.get(f"/images/{larger}")
    assert (page.status_code, other.status_code, blob.status_code) == (200, 200, 200)
    assert "The first 50 of 2,002 labels" in page.text
    assert "Its configuration could not be read" in unread.text
    assert facts_of(other.text)["Command"] == "text"
    assert int(packed.headers["content-length"]) < 100_000
    for each in (page, other, blob):
        assert "<script>alert" not in each.text
        assert SECRET not in each.text
        assert not re.search("[\0\N{RIGHT-TO-LEFT OVERRIDE}]", each.text)
    assert "z" * 301 not in page.text


def test_a_history_that_does_not_fit_the_layers_is_listed_apart(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    configuration = {"history": [{"created_by": "COPY one"}, {"created_by": "COPY two"}]}
    image = store.image("app", "1", [noise("layer", 100)], config=encode(configuration))
    with Exporter("--storage.root", tmp_path) as exporter:
        layers = section(exporter.get(f"/images/{image}").text, "layers")
    assert "not stated" in layers
    assert "2 steps that do not fit its layers: COPY one COPY two" in layers


def test_manifests_that_are_missing_or_damaged_have_a_page(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    missing, damaged = store.image("app", "missing"), store.image("app", "damaged", [b"other"])
    store.blob_path(missing).unlink()
    store.blob_path(damaged).write_bytes(b"{")
    with Exporter("--storage.root", tmp_path) as exporter:
        pages = [exporter.get(f"/images/{each}") for each in (missing, damaged)]
    assert [each.status_code for each in pages] == [200, 200]
    assert "The manifest is not on disk" in pages[0].text
    assert "The manifest cannot be understood" in pages[1].text
    assert all("cannot be pulled whole" in each.text for each in pages)


def test_without_a_platform_the_apps_are_unknown(store: StoreBuilder) -> None:
    with Exporter("--storage.root", store.root) as exporter:
        for path in (f"/images/{image_of(store, APP)}", f"/blobs/{digest_of(BASE)}"):
            page = exporter.get(path).text
            assert "no platform says which images apps use" in section(page, "apps")


def test_a_configuration_that_goes_away_is_said_to_be_unread(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    image = store.image("app", "1", [BASE], config=encode({"os": "linux"}))
    flags = ("--no-scan.watch", "--scan.interval", "1h")
    with Exporter("--storage.root", tmp_path, *flags) as exporter:
        store.blob_path(digest_of(encode({"os": "linux"}))).unlink()
        page = exporter.get(f"/images/{image}").text
    assert "Its configuration could not be read" in page


def test_a_read_that_hangs_is_given_up_and_too_many_are_not_begun() -> None:
    reader, answers = TimedReader(seconds=0.05), threading.Event()
    for _ in range(4):
        with pytest.raises(NotReadInTimeError, match=r"could not be read within 0\.05 s"):
            reader.read(answers.wait)
    with pytest.raises(NotReadInTimeError, match="earlier reads still wait"):
        reader.read(lambda: 1)
    answers.set()
    patient = TimedReader(seconds=60)
    assert patient.read(lambda: 1) == 1

    def works_again() -> bool:
        try:
            return reader.read(lambda: 1) == 1
        except NotReadInTimeError:
            return False

    wait_until(works_again, "it still does not read")


def test_on_a_mount_that_hangs_pages_say_what_could_not_be_read_and_figures_stay(
    mounts: Mounts, tmp_path: Path
) -> None:
    store, place = StoreBuilder(tmp_path / "disk"), tmp_path / "registry"
    image = store.image("app", "1", [BASE, TOP], config=encode(CONFIGURATION))
    place.mkdir()
    addresses = (f"/images/{image}", f"/blobs/{digest_of(TOP)}", "/repositories/app?keep=1")
    flags = ("--no-scan.watch", "--scan.interval", "1h", "--scan.census-interval", "0")
    with (
        MirrorFilesystem(tmp_path / "disk", place, mounts) as mirror,
        Exporter("--storage.root", place, *flags) as exporter,
    ):
        mirror.hang()
        hung = [exporter.get(each) for each in addresses * 2]  # more than may wait
        healthy = exporter.get("/-/healthy")
        mirror.answer()

        def is_read_again() -> bool:
            return "Entry point" in facts_of(exporter.get(addresses[0]).text)

        wait_until(is_read_again, "the image is not read again")
    assert [each.status_code for each in (*hung, healthy)] == [httpx.codes.OK] * 7
    page, blob, repository = (text_of(each.text) for each in hung[:3])
    assert "What it and its configuration say: it could not be read within 2 s" in page
    assert digest_of(TOP)[:19] in section(hung[0].text, "layers")
    assert "app 1" in section(hung[0].text, "tags")
    assert "Kind unknown: it could not be read within 2 s" in blob
    assert "Platforms and times of creation: it could not be read within 2 s" in repository
    assert "0 tags would go" in repository
    assert "earlier reads still wait for the store" in text_of(hung[-1].text)


def test_an_unreadable_store_is_reported_to_who_asked() -> None:
    def fail() -> int:
        raise StoreUnreadableError("gone")

    with pytest.raises(StoreUnreadableError, match="gone"):
        TimedReader(seconds=60).read(fail)


DOCKERFILE = """
FROM scratch
ARG BUILD_TOKEN=default-hunter2
ENV TOKEN=hunter2-is-a-secret PLAIN="with spaces hunter2"
ENV OLD hunter2 form
LABEL who=me
COPY Dockerfile /app
WORKDIR /srv
USER 1000
EXPOSE 80
ENTRYPOINT ["/app"]
"""


def test_an_image_that_buildah_built_and_pushed_shows_no_secret(tmp_path: Path) -> None:
    buildah = (
        require("buildah"), "--storage-driver", "vfs",
        "--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"),
    )  # fmt: skip
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    isolated = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    build = ("bud", "--layers", "--build-arg", "BUILD_TOKEN=hunter2-arg", "-t", "built", context)
    with DockerRegistry(tmp_path / "registry") as registry:
        to = f"docker://{registry.url.removeprefix('http://')}/team/real:1"
        for command in (build, ("push", "--tls-verify=false", "built", to)):
            subprocess.run([*buildah, *command], check=True, env=isolated, capture_output=True)
        with Exporter("--storage.root", tmp_path / "registry") as exporter:
            digest = re.findall(
                r'href="/images/(sha256:[0-9a-f]{64})"',
                exporter.get("/repositories/team/real").text,
            )[0]
            page = exporter.get(f"/images/{digest}").text
            config = re.findall(r'href="/blobs/(sha256:[0-9a-f]{64})"', page)[0]
            blob = exporter.get(f"/blobs/{config}").text
    facts = facts_of(page)
    assert facts["Made with"].startswith("Buildah ")
    assert facts["Entry point"] == "/app"
    assert facts["User"] == "1000"
    layers = section(page, "layers")
    assert f"ENV TOKEN={HIDDEN} PLAIN={HIDDEN} no layer" in layers
    assert f"ENV OLD={HIDDEN} no layer" in layers
    assert "ARG BUILD_TOKEN" in layers
    assert "COPY file:" in layers
    assert "It can be pulled whole" in page
    assert facts_of(blob)["Kind"] == "configuration"
    assert "hunter2" not in page + blob
