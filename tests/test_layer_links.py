"""Layer links: without a usable one, the registry does not serve a blob that it has."""

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings

from demo.store import StoreBuilder, digest_of, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.model import Inventory, IssueCause
from exporter.domain.scan_progress import ScanProgress
from exporter.domain.snapshot import Integrity
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.rescan.scan_memory import Places, StoreMemory
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import ScanControl
from tests.exporter_process import collect
from tests.followed_store import FollowedStore
from tests.in_process import run_command
from tests.random_stores import STEPS_WITH_BROKEN_LAYER_LINKS, Step, build, temporary_directory
from tests.servers import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    DockerRegistry,
    GarbageCollector,
    RegistryClient,
    require,
    require_registry,
)
from tests.small_stores import INDEX, described, two_platforms, with_fields
from tests.test_partial_tags import can_pull, dialects

LAYER = noise("layer", 900)
CONFIG = b'{"architecture": "amd64", "os": "linux"}'
EVERY_TYPE = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_MANIFEST}, {INDEX}"


def integrity(inventory: Inventory) -> Integrity:
    found = analyse(inventory).integrity
    assert found is not None
    return found


def broken(root: Path) -> dict[str, str]:
    tags = integrity(scan_store(root)).broken_tags
    return {f"{each.repository}:{each.tag}": each.reason for each in tags}


def reason(digest: str) -> str:
    return f"the layer link of blob {digest} is missing or damaged"


def remove_directory(link: Path) -> None:
    shutil.rmtree(link.parent)


def replace_by_directory(link: Path) -> None:
    link.unlink()
    link.mkdir()


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "gone with its directory": remove_directory,
    "empty": lambda link: link.write_bytes(b""),
    "cut off": lambda link: link.write_bytes(link.read_bytes()[:20]),
    "with a newline": lambda link: link.write_bytes(link.read_bytes() + b"\n"),
    "a directory": replace_by_directory,
}


# What real registries serve


@dialects
@pytest.mark.parametrize("part", ["layer", "configuration"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_tag_whose_layer_link_is_damaged_cannot_be_pulled(
    tmp_path: Path, dialect: int, part: str, damage: str
) -> None:
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_image("app", "1", [LAYER], CONFIG)
        client.push_image("other", "1", [LAYER], CONFIG)
        assert broken(registry.root) == {}
        assert can_pull(registry, "app:1", "amd64", tmp_path / "before")
        digest = digest_of(LAYER if part == "layer" else CONFIG)
        DAMAGE[damage](StoreBuilder(registry.root).layer_link("app", digest))
        registry.restart()
        assert not can_pull(registry, "app:1", "amd64", tmp_path / "app")
        assert can_pull(registry, "other:1", "amd64", tmp_path / "other")
        assert broken(registry.root) == {"app:1": reason(digest)}
        assert collect(registry.root).value("docker_registry_broken_tags") == 1


@dialects
@pytest.mark.parametrize("part", ["layer", "configuration"])
@pytest.mark.parametrize(("damage", "is_replaced"), [("gone", True), ("empty", False)])
def test_a_push_by_skopeo_replaces_a_missing_link_but_no_damaged_one(
    tmp_path: Path, dialect: int, part: str, damage: str, *, is_replaced: bool
) -> None:
    image = tmp_path / "image"
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_image("app", "1", [LAYER], CONFIG)
        assert can_pull(registry, "app:1", "amd64", image)
        digest = digest_of(LAYER if part == "layer" else CONFIG)
        DAMAGE[damage](StoreBuilder(registry.root).layer_link("app", digest))
        registry.restart()
        target = f"docker://{registry.url.removeprefix('http://')}/app:1"
        push = [require("skopeo"), "copy", "--dest-tls-verify=false", f"dir:{image}", target]
        done = subprocess.run(push, capture_output=True, check=False, text=True)
        assert (done.returncode == 0) is is_replaced
        assert ("500 (Internal Server Error)" in done.stderr) is not is_replaced
        assert (broken(registry.root) == {}) is is_replaced
        assert can_pull(registry, "app:1", "amd64", tmp_path / "pushed") is is_replaced


@dialects
def test_only_verify_finds_a_link_that_holds_the_digest_of_another_blob(
    tmp_path: Path, dialect: int
) -> None:
    with (
        DockerRegistry(tmp_path / "r", program=require_registry(dialect)) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_image("app", "1", [LAYER], CONFIG)
        client.push_image("other", "1", [LAYER], CONFIG)
        store = StoreBuilder(registry.root)
        link = store.layer_link("app", digest_of(LAYER))
        link.write_text(digest_of(CONFIG))
        unneeded = store.layer_link("other", client.push_blob("other", b"unneeded"))
        unneeded.write_text(digest_of(CONFIG))
        registry.restart()
        assert not can_pull(registry, "app:1", "amd64", tmp_path / "app")
        assert can_pull(registry, "other:1", "amd64", tmp_path / "other")
    assert broken(registry.root) == {}
    verify = ("verify", "--storage.root", registry.root, "--checkpoint", tmp_path / "checkpoint")
    found = run_command(*verify)
    assert found.exit_code == 1
    line, summary = found.output.splitlines()
    path = link.relative_to(store.version_path)
    reason = "does not hold the digest of its directory; reached by app:1"
    assert line == f"wrong link: {path}: {reason}"
    assert summary.endswith("0 corrupt, 0 unreadable, 1 wrong links")
    link.write_text(digest_of(LAYER))
    assert run_command(*verify).exit_code == 0


@pytest.mark.parametrize("damage", ["gone", "empty", "cut off", "with a newline"])
def test_only_the_collector_of_version_3_aborts_on_a_damaged_link(
    tmp_path: Path, damage: str
) -> None:
    store = StoreBuilder(tmp_path / "store")
    store.image("app", "1", [LAYER])
    store.image("app", "2", [noise("next", 300)])
    DAMAGE[damage](store.layer_link("app", digest_of(LAYER)))
    for dialect in (2, 3):
        freed = GarbageCollector(require_registry(dialect)).run(store.root)
        plan = run_command(
            *("plan", "--storage.root", store.root, "--match", "app:2"),
            *("--registry.gc-dialect", str(dialect)),
        )
        aborts = dialect == 3 and damage != "gone"
        assert (freed is None) is aborts
        path = store.layer_link("app", digest_of(LAYER)).relative_to(store.version_path)
        assert (f"the collector aborts on {path} (does not hold a digest)" in plan.output) is aborts
        figures = collect(store.root, "--registry.gc-dialect", str(dialect))
        assert figures.value("docker_registry_gc_blockers") == aborts


class Served:
    """An independent check of what a registry serves, by its HTTP API alone."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._base = f"{url}/v2"

    def images(self, name: str, reference: str) -> list[bool]:
        """Return for each image that a tag leads to whether it is served whole."""
        answer = self._http.get(f"{self._base}/{name}/manifests/{reference}")
        if answer.status_code != httpx.codes.OK:
            return [False]
        manifest = answer.json()
        if "manifests" in manifest:
            return [
                whole
                for child in manifest["manifests"]
                for whole in self.images(name, child["digest"])
            ]
        parts = [manifest["config"], *manifest["layers"]]
        return [all(self._has(name, part["digest"]) for part in parts)]

    def _has(self, name: str, digest: str) -> bool:
        answer = self._http.get(f"{self._base}/{name}/blobs/{digest}")
        return answer.status_code == httpx.codes.OK and digest_of(answer.content) == digest


@dialects
def test_broken_and_partial_tags_are_what_a_registry_does_not_serve(dialect: int) -> None:
    program = require_registry(dialect)

    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS_WITH_BROKEN_LAYER_LINKS)
    def holds(steps: list[Step]) -> None:
        with temporary_directory() as directory:
            store = StoreBuilder(directory)
            store.image("a", "seed", [LAYER])
            build(store, steps)
            inventory = scan_store(store.root)
            found = integrity(inventory)
            with (
                DockerRegistry(directory, program=program) as registry,
                httpx.Client(headers={"Accept": EVERY_TYPE}) as http,
            ):
                served = Served(http, registry.url)
                images = {
                    (each.name, tag.name): served.images(each.name, tag.name)
                    for each in inventory.repositories
                    for tag in each.tags
                }
        assert {(each.repository, each.tag) for each in found.broken_tags} == {
            tag for tag, whole in images.items() if not any(whole)
        }
        assert {(each.repository, each.tag) for each in found.partial_tags} == {
            tag for tag, whole in images.items() if any(whole) and not all(whole)
        }

    holds()


# What counts


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1", [LAYER])
    store.image("app", "2", [noise("second", 40)])
    store.image("team/tool", "1", [LAYER])
    return store


def test_a_platform_without_its_layer_link_makes_a_tag_partial(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    _, amd64, _ = two_platforms(store, "app", "1")
    manifest = scan_store(tmp_path)
    number = next(n for n, d in enumerate(manifest.digests) if f"sha256:{d.hex()}" == amd64)
    layer = f"sha256:{manifest.digests[manifest.manifests[number].blobs[-1]].hex()}"
    store.layer_link("app", layer).unlink()
    found = integrity(scan_store(tmp_path))
    assert found.broken_tags == ()
    (tag,) = found.partial_tags
    assert (tag.reason, tag.lacks) == (reason(layer), ("linux/amd64",))


def test_links_that_no_tag_needs_do_not_count(store: StoreBuilder) -> None:
    store.layer_link("app", digest_of(store.image("app", None, [b"untagged"]).encode()))
    store.layer_link("app", digest_of(b"untagged")).unlink()
    elsewhere = {**described(noise("far", 9)), "urls": ["https://example.com/layer"]}
    store.manifest("app", with_fields(store, layers=[elsewhere]), "foreign")
    assert broken(store.root) == {}


def test_a_link_that_cannot_be_looked_at_is_an_issue_and_no_damage(store: StoreBuilder) -> None:
    directory = store.repository_path("app") / "_layers" / "sha256"
    moved = directory.rename(store.root / "elsewhere")
    directory.symlink_to(moved)
    inventory = scan_store(store.root)
    (issue,) = [each for each in inventory.issues if "_layers" in each.path]
    assert (issue.cause, issue.path) == (IssueCause.SYMLINK, "repositories/app/_layers/sha256")
    assert inventory.broken_layer_links == {}
    assert not inventory.unread
    memory = StoreMemory(0.01)
    time.sleep(0.05)
    first = scan_store(store.root, memory=memory)
    assert scan_store(store.root, first, memory=memory) is first  # and it is looked at again
    directory.unlink()
    moved.rename(directory)
    assert scan_store(store.root, first, memory=memory).issues == ()


def test_a_pull_through_cache_is_not_looked_at(store: StoreBuilder) -> None:
    store.layer_link("app", digest_of(LAYER)).unlink()
    store.stray("scheduler-state.json", b"{}")
    assert scan_store(store.root).broken_layer_links == {}


def test_a_link_that_is_being_written_is_looked_at_again(store: StoreBuilder) -> None:
    link = store.layer_link("app", digest_of(LAYER))
    content = link.read_bytes()
    link.write_bytes(b"")

    def finish_writing(progress: ScanProgress) -> None:
        if progress.stage == "layer links":
            link.write_bytes(content)

    inventory = scan_store(store.root, control=ScanControl(finish_writing))
    assert inventory.broken_layer_links == {}


# When they are looked at


def test_serve_looks_at_layer_links_right_after_its_first_scan(
    store: StoreBuilder, tmp_path: Path
) -> None:
    store.layer_link("app", digest_of(LAYER)).write_bytes(b"")
    options = FollowOptions(3600.0, cache_path=tmp_path / "cache", watching=None)

    def counts(followed: FollowedStore, scans: int) -> list[int]:
        found = []
        for number in range(scans):
            if number:
                followed.follower.wait(3600.0)  # or the test ends here
            followed.refresh()
            reading = followed.snapshot.store
            assert reading is not None
            assert reading.figures.integrity is not None
            found.append(len(reading.figures.integrity.broken_tags))
        followed.follower.finish()
        return found

    assert counts(FollowedStore(store.root, options), 2) == [0, 1]
    assert counts(FollowedStore(store.root, options), 1) == [1]  # after a restart


def test_a_sound_store_is_not_analysed_again_after_looking_at_its_layer_links(
    store: StoreBuilder,
) -> None:
    memory = StoreMemory(0.01)
    time.sleep(0.05)
    first = scan_store(store.root, memory=memory, layer_links_later=True)
    assert not memory.known.has_layer_links
    assert scan_store(store.root, first, memory=memory) is first
    assert memory.known.has_layer_links


@pytest.mark.parametrize("blob_is_missing", [False, True])
def test_layer_links_of_changed_repositories_are_looked_at_and_repairs_are_noticed_at_once(
    store: StoreBuilder, *, blob_is_missing: bool
) -> None:
    if blob_is_missing:  # then each scan numbers the blobs anew
        store.image("lost", "1", [b"lost"])
        store.blob_path(digest_of(b"lost")).unlink()
    memory = StoreMemory(0.01)

    def scan(previous: Inventory | None, places: Places | None = None) -> Inventory:
        time.sleep(0.05)
        return scan_store(
            store.root, previous, memory=memory, places=places or Places(everywhere=True)
        )

    def names(inventory: Inventory) -> dict[str, set[str]]:
        return {
            name: {f"sha256:{inventory.digests[number].hex()}" for number in numbers}
            for name, numbers in inventory.broken_layer_links.items()
        }

    sound = scan(None)
    assert names(sound) == {}
    new = noise("new", 50)
    store.image("app", "3", [new])
    store.layer_link("app", digest_of(new)).unlink()
    hurt = scan(sound, Places(repositories=frozenset({"app"})))
    assert names(hurt) == {"app": {digest_of(new)}}
    same = scan(hurt)
    assert names(same) == names(hurt)
    assert (same is hurt) is not blob_is_missing
    store.layer_link("team/tool", digest_of(LAYER)).unlink()
    last = scan(same)
    assert names(last) == names(hurt)  # nothing shows it
    everything = scan_store(store.root, last, memory=StoreMemory())
    assert names(everything) == {"team/tool": {digest_of(LAYER)}, **names(hurt)}
    store.link_blob("app", digest_of(new))
    assert names(scan(last)) == {}


def test_a_broken_link_no_longer_counts_once_its_tag_is_deleted(store: StoreBuilder) -> None:
    store.layer_link("app", digest_of(LAYER)).unlink()
    memory = StoreMemory(0.01)
    time.sleep(0.05)
    hurt = scan_store(store.root, memory=memory)
    assert hurt.broken_layer_links.keys() == {"app"}
    store.delete_tag("app", "1")
    untagged = scan_store(store.root, hurt, memory=memory)
    assert untagged.broken_layer_links == {}


def test_a_broken_link_no_longer_counts_once_its_blob_is_collected(store: StoreBuilder) -> None:
    layer = noise("own", 60)
    manifest = store.image("app", "3", [layer])
    store.layer_link("app", digest_of(layer)).unlink()
    memory = StoreMemory(0.01)
    time.sleep(0.05)
    hurt = scan_store(store.root, memory=memory)
    store.delete_revision("app", manifest)
    for digest in (manifest, digest_of(layer)):
        shutil.rmtree(store.blob_path(digest).parent)
    collected = scan_store(store.root, hurt, memory=memory)
    assert collected.broken_layer_links == {}
    assert len(collected.digests) == len(collected.sizes)


@pytest.mark.parametrize(
    ("flags", "tags"),
    [((), 0), (("--layer-links",), 1), (("--registry.gc-dialect", "3"), 1)],
)
def test_collect_looks_at_layer_links_only_where_that_is_wanted_or_decides_what_is_freed(
    tmp_path: Path, flags: tuple[str, ...], tags: int
) -> None:
    store = StoreBuilder(tmp_path)
    store.image("app", "1.0", [LAYER])
    store.layer_link("app", digest_of(LAYER)).write_bytes(b"")
    outcome = run_command("collect", "--storage.root", store.root, *flags)
    assert f"docker_registry_broken_tags {tags:.1f}\n" in outcome.output
