"""The sample store and its builder, compared with a real registry."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from tests.servers import DockerRegistry, RegistryClient, require

NOW = 1_790_000_000.0
DAY = 86400
SHOP = "captain/img-captain-shop"
BLOG = "captain/img-captain-blog"

TAGS = {
    "captain/img-captain--wiki": {"1", "2"},
    "captain/img-captain-api": {*(str(version) for version in range(1, 9)), "latest"},
    BLOG: {str(version) for version in range(1, 13)},
    "captain/img-captain-old-shop": {str(version) for version in range(1, 10)},
    SHOP: {str(version) for version in range(6, 31)},
    "tools/backup": {"1.0", "2.0"},
}
REVISIONS = {
    "captain/img-captain--wiki": 2,
    "captain/img-captain-api": 14,
    BLOG: 14,
    "captain/img-captain-old-shop": 9,
    SHOP: 27,
    "tools/backup": 9,
}
BLOBS, BLOB_BYTES = 254, 66_875_014
GARBAGE_BLOBS, GARBAGE_BYTES = 13, 3_333_544
UNLINKED_BLOBS = 7
"""Four layers of pushes that broke off, and three manifests deleted through the API."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    root = tmp_path_factory.mktemp("sample") / "registry"
    build_sample(root, NOW)
    return StoreBuilder(root)


@pytest.fixture(scope="module")
def served(sample: StoreBuilder) -> Iterator[DockerRegistry]:
    with DockerRegistry(sample.root) as registry:
        yield registry


def files_below(root: Path) -> dict[str, bytes | None]:
    """Return the content of every path (None for a directory) outside ``_uploads``."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
        if "_uploads" not in path.relative_to(root).parent.parts
    }


def sizes_of(store: StoreBuilder) -> dict[str, int]:
    return {
        f"sha256:{path.parent.name}": path.stat().st_size
        for path in (store.version_path / "blobs").rglob("data")
    }


def test_a_real_registry_lists_the_sample(served: DockerRegistry) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        catalog = client.get("/v2/_catalog").raise_for_status().json()["repositories"]
    assert catalog == sorted(TAGS)
    with RegistryClient(served.url) as registry:
        assert {name: set(registry.tags(name)) for name in catalog} == TAGS


def test_skopeo_reads_an_image_of_the_sample(served: DockerRegistry, sample: StoreBuilder) -> None:
    skopeo, address = require("skopeo"), served.url.removeprefix("http://")
    command = [skopeo, "inspect", "--tls-verify=false", f"docker://{address}/{BLOG}:1"]
    image = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert image["Digest"] == sample.tag_link(BLOG, "1").read_text()
    assert len(image["Layers"]) == 5
    assert (image["Architecture"], image["Os"]) == ("amd64", "linux")


def test_skopeo_copies_every_platform_of_the_index(served: DockerRegistry, tmp_path: Path) -> None:
    skopeo, address = require("skopeo"), served.url.removeprefix("http://")
    source = f"docker://{address}/tools/backup:2.0"
    command = [skopeo, "copy", "--all", "--src-tls-verify=false", source, f"oci:{tmp_path}/copy"]
    subprocess.run(command, capture_output=True, check=True)
    index = json.loads((tmp_path / "copy" / "index.json").read_text())["manifests"][0]
    content = json.loads(
        (tmp_path / "copy" / "blobs" / index["digest"].replace(":", "/")).read_text()
    )
    platforms = [child["platform"]["architecture"] for child in content["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown"]


def test_the_collector_finds_exactly_the_intended_garbage(
    served: DockerRegistry, sample: StoreBuilder
) -> None:
    output = served.garbage_collect(dry_run=True)
    found = set(re.findall(r"^blob eligible for deletion: (\S+)$", output, re.MULTILINE))
    sizes = sizes_of(sample)
    links = {
        f"sha256:{path.parent.name}"
        for path in (sample.version_path / "repositories").rglob("link")
    }
    assert (len(found), sum(sizes[digest] for digest in found)) == (GARBAGE_BLOBS, GARBAGE_BYTES)
    assert len(sizes.keys() - links) == UNLINKED_BLOBS
    assert sizes.keys() - links < found


def test_the_sample_matches_its_description(sample: StoreBuilder) -> None:
    sizes = sizes_of(sample)
    repositories = sample.version_path / "repositories"
    revisions = Counter(
        str(link.relative_to(repositories)).partition("/_manifests/")[0]
        for link in repositories.rglob("_manifests/revisions/sha256/*/link")
    )
    assert (len(sizes), sum(sizes.values())) == (BLOBS, BLOB_BYTES)
    assert revisions == REVISIONS
    uploads = list(repositories.rglob("_uploads/*/"))
    assert len(uploads) == 2
    assert sorted((upload / "startedat").exists() for upload in uploads) == [False, True]
    assert (sample.version_path / "blobs-copy.tar.part").stat().st_size == 1024 * 1024


def test_the_sample_uses_the_disk_space_that_it_shows(sample: StoreBuilder) -> None:
    files = [path.stat() for path in sample.root.rglob("*") if path.is_file()]
    assert all(entry.st_blocks * 512 >= entry.st_size for entry in files)
    assert 40e6 < sum(entry.st_size for entry in files) < 80e6


def test_the_pushes_of_the_sample_span_months_and_none_is_in_the_future(
    sample: StoreBuilder,
) -> None:
    repositories = sample.version_path / "repositories"
    ages = [(NOW - link.stat().st_mtime) / DAY for link in repositories.rglob("current/link")]
    assert 0 <= min(ages) < 1
    assert max(ages) > 240


def test_the_sample_is_the_same_each_time(sample: StoreBuilder, tmp_path: Path) -> None:
    build_sample(tmp_path, NOW)
    assert files_below(tmp_path) == files_below(sample.root)


def test_captain_config_runs_images_of_the_sample(sample: StoreBuilder, tmp_path: Path) -> None:
    write_captain_config(tmp_path, NOW)
    path = tmp_path / "config-captain.json"
    apps = json.loads(path.read_text())["appDefinitions"]
    assert sorted(apps) == ["api", "blog", "proxy", "shop", "wiki"]
    assert path.stat().st_mode & 0o777 == 0o600
    running = {
        entry["deployedImageName"]
        for app in apps.values()
        for entry in app["versions"]
        if entry["version"] == app["deployedVersion"]
    }
    running.remove("nginx:1.27-alpine")
    for image in running:
        repository, _, tag = image.partition("/")[2].rpartition(":")
        assert sample.tag_link(repository, tag).exists()


def push_again(client: RegistryClient, store: StoreBuilder, repository: str, *tags: str) -> None:
    """Push the targets of a built store's tags through the API, children before their index."""
    for tag in tags:
        digest = store.tag_link(repository, tag).read_text()
        push_manifest(client, store, repository, digest, tag)


def push_manifest(
    client: RegistryClient, store: StoreBuilder, repository: str, digest: str, reference: str
) -> None:
    body = store.blob_path(digest).read_bytes()
    content = json.loads(body)
    for child in content.get("manifests", []):
        push_manifest(client, store, repository, child["digest"], child["digest"])
    for part in (*content.get("layers", []), *filter(None, [content.get("config")])):
        client.push_blob(repository, store.blob_path(part["digest"]).read_bytes())
    client.push_manifest(repository, reference, body, content["mediaType"])


def write_images(store: StoreBuilder) -> list[str]:
    store.image("team/app", "1", [b"base", b"code 1"])
    store.image("team/app", "2", [b"base", b"code 2"], media="oci")
    return ["1", "2"]


def write_nested_index(store: StoreBuilder) -> list[str]:
    images = [
        store.image("team/app", None, [name.encode()], media="oci", platform=name)
        for name in ("linux/amd64", "linux/arm64")
    ]
    inner = store.index("team/app", None, images)
    store.index("team/app", "multi", [inner, store.descriptor(images[0], annotations={"a": "b"})])
    return ["multi"]


def write_docker_list(store: StoreBuilder) -> list[str]:
    store.index("team/app", "list", [store.image("team/app", None)], media="docker")
    return ["list"]


def write_artifact(store: StoreBuilder) -> list[str]:
    image = store.image("team/app", "1", media="oci")
    empty = store.blob(b"{}", "team/app")
    artifact = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/x.empty", "digest": empty, "size": 2},
        "layers": [],
        "subject": store.descriptor(image),
    }
    store.manifest("team/app", artifact, "signature")
    return ["1", "signature"]


@pytest.mark.parametrize(
    "write", [write_images, write_docker_list, write_nested_index, write_artifact]
)
def test_builder_writes_the_same_files_as_a_push_to_a_real_registry(
    tmp_path: Path, write: Callable[[StoreBuilder], list[str]]
) -> None:
    built = StoreBuilder(tmp_path / "built")
    tags = write(built)
    with DockerRegistry(tmp_path / "real") as server, RegistryClient(server.url) as client:
        push_again(client, built, "team/app", *tags)
    assert files_below(tmp_path / "built") == files_below(tmp_path / "real")


def test_builder_retags_and_deletes_as_a_real_registry_does(tmp_path: Path) -> None:
    built = StoreBuilder(tmp_path / "built")
    first = built.image("app", "latest", [b"one"])
    second = built.image("app", "latest", [b"two"])
    built.tag("app", "also", second)
    third = built.image("app", "kept", [b"three"])
    with DockerRegistry(tmp_path / "real") as server, RegistryClient(server.url) as client:
        push_manifest(client, built, "app", first, "latest")
        for tag in ("latest", "also"):
            push_manifest(client, built, "app", second, tag)
        push_manifest(client, built, "app", third, "kept")
        assert files_below(tmp_path / "built") == files_below(tmp_path / "real")

        client.delete_manifest("app", second)
        built.delete_revision("app", second)
    assert files_below(tmp_path / "built") == files_below(tmp_path / "real")
    assert not built.revision_link("app", second).exists()
    assert built.revision_link("app", second).parent.is_dir()
    assert [path.name for path in built.tag_link("app", "kept").parents[2].iterdir()] == ["kept"]


def test_builder_writes_the_same_upload_files_as_a_real_registry(tmp_path: Path) -> None:
    built = StoreBuilder(tmp_path / "built")
    content = noise("upload", 1000)
    with DockerRegistry(tmp_path / "real") as server, RegistryClient(server.url) as client:
        upload_id = client.start_upload("app", content)
        real = StoreBuilder(tmp_path / "real").repository_path("app") / "_uploads" / upload_id
        # The registry also keeps the state after the last byte; the first suffices to resume.
        (real / "hashstates" / "sha256" / "1000").unlink()
        started_at = datetime.fromisoformat((real / "startedat").read_text()).timestamp()
    ours = built.upload("app", content, started_at, upload_id)
    assert files_below(ours) == files_below(real)


def test_builder_excludes_an_upload_without_a_start_from_the_purge(tmp_path: Path) -> None:
    directory = StoreBuilder(tmp_path).upload("app", b"data", None, at=NOW)
    assert not (directory / "startedat").exists()
    assert directory.stat().st_mtime == NOW
    assert (directory / "data").stat().st_mtime == NOW


def test_builder_sets_times_of_links_and_new_blobs_only(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    digest = store.image("app", "1", [b"layer"], at=NOW)
    store.tag("app", "1", digest, at=NOW + DAY)
    store.blob(b"layer", at=NOW + DAY)
    assert store.blob_path(digest).stat().st_mtime == NOW
    assert store.revision_link("app", digest).stat().st_mtime == NOW
    assert store.tag_link("app", "1").stat().st_mtime == NOW + DAY


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_demo_builds_its_store_once(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    first = run_demo("--directory", str(directory), "--build-only")
    built_at = (directory / "registry").stat().st_mtime_ns
    second = run_demo("--directory", str(directory), "--build-only")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"Built the sample store in {directory}/registry\n"
    assert second.stdout == f"Using the sample store in {directory}/registry\n"
    assert (directory / "registry").stat().st_mtime_ns == built_at
    assert (directory / "captain" / "config-captain.json").exists()


def test_demo_rebuilds_a_store_of_another_layout(tmp_path: Path) -> None:
    (tmp_path / "sample-version").write_text("0")
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "old").touch()
    done = run_demo("--directory", str(tmp_path), "--build-only")
    assert done.stdout == f"Built the sample store in {tmp_path}/registry\n"
    assert not (tmp_path / "registry" / "old").exists()


def test_demo_does_not_touch_a_directory_with_other_content(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    done = run_demo("--directory", str(tmp_path), "--build-only")
    assert done.returncode == 1
    assert done.stderr == (
        f"demo: --directory {tmp_path}: not empty, and holds no sample store; "
        "name an empty or a new directory\n"
    )
    assert list((tmp_path / "registry").iterdir()) == []


def test_demo_rejects_an_invalid_port() -> None:
    done = run_demo("--port", "70000")
    assert done.returncode == 2
    assert "'70000' is not a port: use a number from 0 to 65535" in done.stderr
