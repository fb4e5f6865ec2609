"""Partial tags: what real clients can still pull of an index, and what apps need of it."""

import json
import subprocess
from pathlib import Path

import pytest

from demo.store import Json, StoreBuilder, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.snapshot import Dialect, Integrity
from exporter.store.filesystem.scanner import scan_store
from exporter.support.host_platform import host_platform
from tests.exporter_process import collect
from tests.in_process import run_command
from tests.servers import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    descriptor,
    encode,
    image_config,
    image_manifest,
    require,
    require_registry,
)
from tests.test_report_digest import captain

SHOP = "captain/img-captain-shop"
HERE = host_platform()
ELSEWHERE = "linux/arm64" if HERE == "linux/amd64" else "linux/amd64"
ARCHITECTURES = ("amd64", "arm64", "s390x")
dialects = pytest.mark.parametrize("dialect", [2, 3])


class SparseRegistry(DockerRegistry):
    """Version 3 of the registry, which accepts an index without what it lists."""

    def _configure(self, home: Path) -> None:
        super()._configure(home)
        path = home / "config.yml"
        sparse = {"validation": {"manifests": {"indexes": {"platforms": "none"}}}}
        path.write_text(json.dumps(json.loads(path.read_text()) | sparse))


def can_pull(registry: DockerRegistry, image: str, architecture: str, to: Path) -> bool:
    """Return whether skopeo copies the image of one platform; for ``all`` every one."""
    source = f"docker://{registry.url.removeprefix('http://')}/{image}"
    choice = ["--all"] if architecture == "all" else []
    platform = [] if choice else ["--override-os=linux", f"--override-arch={architecture}"]
    command = [require("skopeo"), *platform, "copy", *choice, "--src-tls-verify=false"]
    done = subprocess.run([*command, source, f"dir:{to}"], capture_output=True, check=False)
    return done.returncode == 0


def pullable(registry: DockerRegistry, image: str, to: Path) -> set[str]:
    """Return the platforms of an image that skopeo can copy, and ``all``."""
    to.mkdir()
    found = {each for each in ("all", *ARCHITECTURES)
             if can_pull(registry, image, each, to / each)}  # fmt: skip
    return {each if each == "all" else f"linux/{each}" for each in found}


def integrity(root: Path) -> Integrity:
    found = analyse(scan_store(root)).integrity
    assert found is not None
    return found


def config(architecture: str, layers: list[bytes]) -> bytes:
    return encode(json.loads(image_config(layers)) | {"architecture": architecture})


def push_platforms(client: RegistryClient, name: str) -> dict[str, str]:
    """Push one image for each architecture; return their digests."""
    layers = {each: [noise(each, 900)] for each in ARCHITECTURES}
    return {each: client.push_image(name, None, content, config(each, content))
            for each, content in layers.items()}  # fmt: skip


@dialects
def test_a_platform_that_is_deleted_leaves_what_skopeo_can_still_pull(
    tmp_path: Path, dialect: Dialect
) -> None:
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        images = push_platforms(client, "app")
        client.push_index("app", "1", list(images.values()))
        assert pullable(registry, "app:1", tmp_path / "0") == {
            "all", "linux/amd64", "linux/arm64", "linux/s390x",
        }  # fmt: skip
        assert integrity(registry.root) == Integrity((), (), ())
        client.delete_manifest("app", images["arm64"])
        (tag,) = integrity(registry.root).partial_tags
        assert pullable(registry, "app:1", tmp_path / "1") == set(tag.platforms)
        assert tag.lacks == ("linux/arm64",)
        client.delete_manifest("app", images["amd64"])
        (tag,) = integrity(registry.root).partial_tags
        assert pullable(registry, "app:1", tmp_path / "2") == set(tag.platforms)
        client.delete_manifest("app", images["s390x"])
        assert pullable(registry, "app:1", tmp_path / "3") == set()
    found = integrity(registry.root)
    assert ([each.tag for each in found.broken_tags], found.partial_tags) == (["1"], ())


@dialects
def test_a_platform_whose_layer_is_lost_leaves_what_skopeo_can_still_pull(
    tmp_path: Path, dialect: Dialect
) -> None:
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_index("app", "1", list(push_platforms(client, "app").values()))
        store = StoreBuilder(registry.root)
        store.blob_path(client.push_blob("app", noise("amd64", 900))).unlink()
        (tag,) = integrity(registry.root).partial_tags
        assert pullable(registry, "app:1", tmp_path / "1") == set(tag.platforms)
    assert (tag.platforms, tag.lacks) == (("linux/arm64", "linux/s390x"), ("linux/amd64",))


@dialects
def test_a_tag_that_is_replaced_by_the_image_of_one_platform_is_whole(
    tmp_path: Path, dialect: Dialect
) -> None:
    """As the runbook of ImagesPartial says."""
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        images = push_platforms(client, "app")
        client.push_index("app", "1", list(images.values()))
        client.delete_manifest("app", images["arm64"])
        assert len(integrity(registry.root).partial_tags) == 1
        image = f"docker://{registry.url.removeprefix('http://')}/app:1"
        insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        platform = ["--override-os", "linux", "--override-arch", "amd64"]
        subprocess.run(
            [require("skopeo"), *platform, "copy", "-q", *insecure, image, image], check=True
        )
        found = integrity(registry.root)
        assert (found.broken_tags, found.partial_tags) == ((), ())
        assert can_pull(registry, "app:1", "all", tmp_path / "after")


def test_a_sparse_index_that_version_3_accepts_is_partial(tmp_path: Path) -> None:
    program = require_registry(3)
    with (
        SparseRegistry(tmp_path / "r", program=program) as registry,
        RegistryClient(registry.url) as client,
    ):
        children = []
        for each in ARCHITECTURES:
            layers = [noise(each, 900)]
            manifest = image_manifest(layers, config(each, layers), oci=True)
            if each != "arm64":
                client.push_image("app", None, layers, config(each, layers), oci=True)
            platform = {"platform": {"os": "linux", "architecture": each}}
            children.append(descriptor(encode(manifest), OCI_MANIFEST) | platform)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        client.push_manifest("app", "1", index, OCI_INDEX)
        (tag,) = integrity(registry.root).partial_tags
        assert pullable(registry, "app:1", tmp_path / "1") == set(tag.platforms)
    assert (tag.platforms, tag.lacks) == (("linux/amd64", "linux/s390x"), ("linux/arm64",))
    assert integrity(registry.root).broken_tags == ()


@dialects
def test_an_index_without_its_attestation_can_be_pulled_for_its_platform(
    tmp_path: Path, dialect: Dialect
) -> None:
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        layers = [noise("amd64", 900)]
        image = client.push_image("app", None, layers, config("amd64", layers))
        attestation = client.push_image("app", None, [b"statement"], b"{}")
        children = []
        for digest, platform in (
            (image, {"os": "linux", "architecture": "amd64"}),
            (attestation, {"os": "unknown", "architecture": "unknown"}),
        ):
            content, _ = client.manifest("app", digest)
            children.append(descriptor(content, DOCKER_MANIFEST) | {"platform": platform})
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        client.push_manifest("app", "1", index, OCI_INDEX)
        client.delete_manifest("app", attestation)
        (tag,) = integrity(registry.root).partial_tags
        assert pullable(registry, "app:1", tmp_path / "1") == {"linux/amd64"}
    assert (tag.platforms, tag.lacks) == (("linux/amd64",), ())


def push_index(store: StoreBuilder, tag: str, platforms: tuple[str, ...]) -> dict[str, str]:
    images = {each: store.image(SHOP, None, [noise(f"{tag} {each}", 200)], platform=each)
              for each in platforms}  # fmt: skip
    store.index(SHOP, tag, list(images.values()))
    return images


def lacking(store: StoreBuilder, tag: str, platform: str) -> None:
    """Push an index of two platforms, and lose one of them."""
    images = push_index(store, tag, (HERE, ELSEWHERE))
    store.revision_link(SHOP, images[platform]).unlink()


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def counts(store: StoreBuilder, config_dir: Path | None) -> dict[str, float | None]:
    options = [] if config_dir is None else ["--caprover.config-dir", str(config_dir)]
    metrics = collect(store.root, *options)
    found = {name: metrics.value(f"docker_registry_{name}")
             for name in ("broken_tags", "partial_tags")}  # fmt: skip
    if config_dir is not None:
        found |= metrics.by("use", "docker_registry_missing_images")
    return found


@pytest.mark.parametrize("lost", [HERE, ELSEWHERE])
def test_without_apps_a_tag_that_lacks_any_platform_is_partial(
    store: StoreBuilder, lost: str
) -> None:
    lacking(store, "1", lost)
    assert counts(store, None) == {"broken_tags": 0, "partial_tags": 1}


def test_a_tag_that_an_app_runs_is_broken_without_the_platform_of_this_host(
    store: StoreBuilder, tmp_path: Path
) -> None:
    lacking(store, "1", HERE)
    lacking(store, "2", ELSEWHERE)
    runs_first = captain(tmp_path / "first", shop=[f"{SHOP}:2", f"{SHOP}:1"])
    assert counts(store, runs_first) == {
        "broken_tags": 1, "partial_tags": 1, "running": 1, "rollback": 0,
    }  # fmt: skip
    runs_second = captain(tmp_path / "second", shop=[f"{SHOP}:1", f"{SHOP}:2"])
    assert counts(store, runs_second) == {
        "broken_tags": 0, "partial_tags": 2, "running": 0, "rollback": 1,
    }  # fmt: skip


def test_an_app_that_runs_one_platform_by_digest_needs_that_one(
    store: StoreBuilder, tmp_path: Path
) -> None:
    images = push_index(store, "1", (HERE, ELSEWHERE))
    store.revision_link(SHOP, images[HERE]).unlink()
    runs = captain(tmp_path / "captain", shop=[f"{SHOP}@{images[ELSEWHERE]}"])
    assert counts(store, runs) == {
        "broken_tags": 0, "partial_tags": 1, "running": 0, "rollback": 0,
    }  # fmt: skip
    lost = captain(tmp_path / "captain", shop=[f"{SHOP}@{images[HERE]}"])
    assert counts(store, lost) == {
        "broken_tags": 1, "partial_tags": 0, "running": 1, "rollback": 0,
    }  # fmt: skip


def test_a_variant_of_the_platform_is_good_enough(store: StoreBuilder, tmp_path: Path) -> None:
    images = push_index(store, "0", (HERE, ELSEWHERE))
    system, _, architecture = HERE.partition("/")
    platform = {"os": system, "architecture": architecture, "variant": "v8"}
    children: list[str | Json] = [
        store.descriptor(images[HERE], platform=platform),
        images[ELSEWHERE],
    ]
    store.index(SHOP, "1", children)
    store.revision_link(SHOP, images[ELSEWHERE]).unlink()
    runs = captain(tmp_path / "captain", shop=[f"{SHOP}:1"])
    assert counts(store, runs)["broken_tags"] == 0


def test_a_platform_that_is_not_stated_is_not_the_one_that_an_app_runs(
    store: StoreBuilder, tmp_path: Path
) -> None:
    images = push_index(store, "0", (HERE, ELSEWHERE))
    children = [store.descriptor(each, platform=None) for each in images.values()]
    store.index(SHOP, "1", children)
    store.revision_link(SHOP, images[ELSEWHERE]).unlink()
    runs = captain(tmp_path / "captain", shop=[f"{SHOP}:1"])
    assert counts(store, runs)["broken_tags"] == 1


def test_partial_tags_are_listed_apart_in_the_report(store: StoreBuilder, tmp_path: Path) -> None:
    lacking(store, "1", HERE)
    lacking(store, "2", ELSEWHERE)
    runs = captain(tmp_path / "captain", shop=[f"{SHOP}:1", f"{SHOP}:2"])
    arguments = ("report", "--storage.root", store.root, "--caprover.config-dir", runs)
    page = " ".join(run_command(*arguments).output.split())
    assert "2 tags are partial: some of their images can be pulled" in page
    assert f"{SHOP}:2 lacks {ELSEWHERE}, can be pulled for {HERE}: manifest sha256:" in page
    assert "cannot be pulled whole" not in page
    document = json.loads(run_command(*arguments, "--format", "json").output)
    assert document["integrity"]["broken_tags"] == []
    assert [(each["tag"], each["platforms"], each["lacks"])
            for each in document["integrity"]["partial_tags"]] == [
        ("1", [ELSEWHERE], [HERE]), ("2", [HERE], [ELSEWHERE]),
    ]  # fmt: skip
    rows = json.loads(run_command(*arguments, "--repository", SHOP, "--format", "json").output)
    assert [each["broken"] for each in rows["tags"]] == [None, None]
    assert all("is not linked" in each["partial"] for each in rows["tags"])
    assert "partial 1: manifest" in run_command(*arguments, "--repository", SHOP).output


def test_a_tag_that_is_broken_for_an_app_is_listed_as_broken(
    store: StoreBuilder, tmp_path: Path
) -> None:
    lacking(store, "1", HERE)
    runs = captain(tmp_path / "captain", shop=[f"{SHOP}:1"])
    arguments = ("report", "--storage.root", store.root, "--caprover.config-dir", runs)
    page = run_command(*arguments).output
    assert "1 tag cannot be pulled" in page
    assert "are partial" not in page
    document = json.loads(run_command(*arguments, "--format", "json").output)
    assert [each["tag"] for each in document["integrity"]["broken_tags"]] == ["1"]
    assert document["integrity"]["partial_tags"] == []


@dialects
def test_a_collector_that_would_take_the_last_platform_of_a_partial_tag_endangers_it(
    tmp_path: Path, dialect: Dialect
) -> None:
    version = ("--registry.gc-dialect", str(dialect))
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        images = push_platforms(client, "app")
        client.push_index("app", "1", list(images.values()))
        client.delete_manifest("app", images["arm64"])
        before = collect(registry.root, *version).by("mode", "docker_registry_gc_endangered_tags")
        assert can_pull(registry, "app:1", "amd64", tmp_path / "before")
    registry.garbage_collect(delete_untagged=True)
    with registry:
        is_lost = not can_pull(registry, "app:1", "amd64", tmp_path / "after")
    assert is_lost is (dialect == 2)
    assert before == {"default": 0, "delete_untagged": float(is_lost)}


@pytest.mark.parametrize(
    ("machine", "platform"),
    [
        ("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("armv7l", "linux/arm"),
        ("s390x", "linux/s390x"), ("", ""),
    ],
)  # fmt: skip
def test_the_platform_of_a_host_has_the_name_that_images_use(machine: str, platform: str) -> None:
    assert host_platform(machine) == platform
