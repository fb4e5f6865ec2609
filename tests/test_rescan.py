"""An incremental scan finds the same as a full scan."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from demo.store import StoreBuilder, digest_of, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.domain.digests import Digest, format_digest
from exporter.domain.model import Inventory, Repository
from exporter.store.filesystem.rescan.change_stamps import NO_STAMP
from exporter.store.filesystem.rescan.scan_memory import Places, StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import STEPS, Step, build_stepwise, temporary_directory
from tests.registry_writers import random_changes
from tests.servers import DockerRegistry, RegistryClient

SETTLED_SECONDS = 0.01
"""A clock's step, so that the tests need not wait for longer."""


OPTIONS = (AnalysisOptions(2, keep_last=(1, 2)), AnalysisOptions(3))


def described(inventory: Inventory) -> dict[str, Any]:
    """Return an inventory by digests: the numbers of blobs may differ between scans."""
    names = [format_digest(each) for each in inventory.digests]

    def named(repository: Repository) -> dict[str, Any]:
        links = repository.layout.mislinked.items()
        return {
            "tags": [
                (tag.name, None if tag.target is None else names[tag.target], tag.updated_at)
                for tag in repository.tags
            ],
            "revisions": sorted(
                (names[each.manifest], each.linked_at) for each in repository.revisions
            ),
            "uploads": sorted(map(repr, repository.uploads)),
            "directories": repository.layout.directories,
            "mislinked": {names[a]: None if b is None else names[b] for a, b in links},
            "obstacles": repository.layout.tag_obstacles,
        }

    return {
        "sizes": dict(zip(names, inventory.sizes, strict=True)),
        "manifests": {
            names[number]: (
                each.schema,
                *([names[part] for part in parts] for parts in (each.children, each.blobs)),
                *([names[part] for part in parts] for parts in (each.foreign, each.unmarked)),
            )
            for number, each in inventory.manifests.items()
        },
        "repositories": {each.name: named(each) for each in inventory.repositories},
        "strays": inventory.layout.strays,
        "issues": inventory.issues,
        "flags": (
            inventory.references_known,
            inventory.unread,
            inventory.all_measured,
            inventory.is_cache,
            inventory.layout.walk_ends,
            inventory.layout.misplaced,
        ),
        "sets": [
            {names[number] for number in each}
            for each in (
                inventory.unreadable,
                inventory.indexes,
                inventory.unusual,
                inventory.senseless,
            )
        ],
        "layer links": {
            name: {names[n]: fault for n, fault in each.items()}
            for name, each in inventory.broken_layer_links.items()
        },
        "misfits": {names[n]: [names[p] for p in parts] for n, parts in inventory.misfits.items()},
    }


def small_store(root: Path) -> StoreBuilder:
    """Return a store of three images in two repositories that share a layer."""
    store = StoreBuilder(root)
    store.image("app", "1", [noise("base", 300), noise("one", 100)])
    store.image("app", "2", [noise("base", 300), noise("two", 100)])
    store.image("team/tool", "1", [noise("base", 300), noise("tool", 100)])
    return store


class Rescanner:
    """Scans one store again and again."""

    def __init__(self, root: Path, full_seconds: float = 3600.0) -> None:
        self.root = root
        self.memory = StoreMemory(SETTLED_SECONDS, full_seconds)
        self.inventory: Inventory | None = None
        self.analyses = [(options, Analyst(options)) for options in OPTIONS]

    def scan(self) -> Inventory:
        """Scan after the store has settled, and compare with a full scan."""
        time.sleep(2 * SETTLED_SECONDS)
        return self.scan_at_once()

    def scan_at_once(self) -> Inventory:
        """Scan, compare with a full scan, and compare the analyses of both."""
        self.inventory = scan_store(self.root, self.inventory, memory=self.memory)
        fresh = scan_store(self.root)
        assert described(self.inventory) == described(fresh)
        for options, analyst in self.analyses:
            analysis = analyst.analyse(self.inventory)
            for inventory in (self.inventory, fresh):
                expected = Analyst(options).analyse(inventory)
                assert analysis.store.figures == expected.store.figures
                assert analysis.conclusions == expected.conclusions
        return self.inventory


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return small_store(tmp_path / "registry")


@pytest.fixture
def rescanner(store: StoreBuilder) -> Rescanner:
    rescanner = Rescanner(store.root)
    rescanner.scan()
    return rescanner


@settings(max_examples=25)
@given(STEPS)
def test_each_rescan_equals_a_full_scan_after_any_change(steps: list[Step]) -> None:
    with temporary_directory() as directory:
        store = StoreBuilder(directory / "registry")
        store.image("app", "1")
        rescanner = Rescanner(store.root)
        rescanner.scan()
        for _ in build_stepwise(store, steps):
            rescanner.scan()


def test_a_rescan_without_changes_returns_the_previous_inventory(rescanner: Rescanner) -> None:
    first = rescanner.scan()
    assert rescanner.scan() is first
    assert len(rescanner.memory.known.prefixes) > 0
    assert rescanner.memory.known.repositories.keys() == {"app", "team/tool"}


def test_recent_changes_are_read_again(store: StoreBuilder) -> None:
    memory = StoreMemory(settled_seconds=3600)
    first = scan_store(store.root, memory=memory)
    assert not any(each.is_whole for each in memory.known.repositories.values())
    assert {each.stamp for each in memory.known.prefixes.values()} == {NO_STAMP}
    assert sum(len(each.young) for each in memory.known.prefixes.values()) == len(first.sizes)
    second = scan_store(store.root, first, memory=memory)
    assert described(second) == described(first)


def test_only_the_given_places_are_scanned(store: StoreBuilder, rescanner: Rescanner) -> None:
    first = rescanner.scan()
    moved, overlooked = store.tag_link("app", "1"), store.tag_link("team/tool", "1")
    for link in (moved, overlooked):
        os.utime(link, (1000, 1000))
    time.sleep(2 * SETTLED_SECONDS)
    second = scan_store(
        store.root,
        first,
        memory=rescanner.memory,
        places=Places(repositories=frozenset({"app"})),
    )
    times = {each.name: each.tags[0].updated_at for each in second.repositories}
    assert times["app"] == 1000
    assert times["team/tool"] != 1000
    rescanner.inventory = second
    times = {each.name: each.tags[0].updated_at for each in rescanner.scan().repositories}
    assert times == {"app": 1000, "team/tool": 1000}


def test_a_new_image_is_found_in_the_given_places(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    first = rescanner.scan()
    digest = store.image("app", "new", [noise("new", 40)])
    found = scan_store(
        store.root,
        first,
        memory=rescanner.memory,
        places=Places(
            prefixes=frozenset(
                ("sha256", path.name) for path in store.blob_path(digest).parents[2].iterdir()
            ),
            repositories=frozenset({"app"}),
        ),
    )
    assert described(found) == described(scan_store(store.root))
    assert len(found.manifests) == len(first.manifests) + 1


def test_a_tag_that_moves_to_a_known_revision_is_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    (app,) = [each for each in rescanner.scan().repositories if each.name == "app"]
    targets = {tag.name: tag.target for tag in app.tags}
    link = store.tag_link("app", "1")
    link.write_text(store.tag_link("app", "2").read_text())
    (moved,) = [each for each in rescanner.scan().repositories if each.name == "app"]
    assert {tag.target for tag in moved.tags} == {targets["2"]}


def test_a_revision_that_is_deleted_and_restored_is_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    digest = store.image("app", None, [noise("third", 50)])
    rescanner.scan()
    link = store.revision_link("app", digest)
    content = link.read_bytes()
    for there in (False, True, False):
        if there:
            link.write_bytes(content)
        else:
            link.unlink()
        (app,) = [each for each in rescanner.scan().repositories if each.name == "app"]
        assert len(app.revisions) == 2 + there


def test_a_growing_upload_is_noticed_without_reading_its_repository_again(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    before = rescanner.scan()
    store.upload("app", b"x" * 10, started_at=1.0)
    rescanner.scan()
    (data,) = (store.repository_path("app") / "_uploads").glob("*/data")
    data.write_bytes(b"x" * 500)
    after = rescanner.scan()
    (app,) = [each for each in after.repositories if each.name == "app"]
    assert [each.size for each in app.uploads] == [500]
    assert after.digests is not before.digests
    assert app.tags is next(each.tags for each in before.repositories if each.name == "app")


def test_a_blob_that_the_collector_deletes_is_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    garbage = store.unlinked_blob(noise("garbage", 70))
    assert format_digest_in(rescanner.scan(), garbage)
    shutil.rmtree(store.blob_path(garbage).parent)
    assert not format_digest_in(rescanner.scan(), garbage)


def format_digest_in(inventory: Inventory, digest: str) -> bool:
    return digest in {format_digest(each) for each in inventory.digests}


def test_a_layer_moved_into_a_directory_that_was_already_listed_is_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    # the move changes only the time of the layer's own directory, which no scan reads
    content = noise("late", 60)
    directory = store.blob_path(digest_of(content)).parent
    directory.mkdir(parents=True)
    assert not format_digest_in(rescanner.scan(), digest_of(content))
    before = directory.parent.stat()
    upload = store.root / "upload"
    upload.write_bytes(content)
    upload.rename(directory / "data")
    assert directory.parent.stat().st_ctime_ns == before.st_ctime_ns
    assert format_digest_in(rescanner.scan(), digest_of(content))


def test_a_half_written_manifest_is_complete_in_the_next_scan(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    manifest = store.image("app", "3", [noise("third", 500)])
    blob = store.blob_path(manifest)
    content = blob.read_bytes()
    blob.write_bytes(content[:40])
    half = rescanner.scan_at_once()
    assert half.unreadable
    blob.write_bytes(content)
    whole = rescanner.scan()
    assert not whole.unreadable
    number = whole.digests.find(Digest(bytes.fromhex(manifest.removeprefix("sha256:"))))
    assert number is not None
    assert whole.sizes[number] == len(content)


def test_an_empty_link_is_read_again(store: StoreBuilder, rescanner: Rescanner) -> None:
    link = store.tag_link("app", "1")
    content = link.read_bytes()
    link.write_bytes(b"")
    assert rescanner.scan_at_once().issues
    link.write_bytes(content)
    assert not rescanner.scan_at_once().issues
    assert not rescanner.scan().issues


def test_a_directory_that_changes_again_within_one_clock_tick_is_listed_again(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    tags = store.repository_path("app") / "_manifests" / "tags"
    store.tag("app", "new", store.image("app", None, [noise("new", 10)]))
    now = tags.stat()
    rescanner.scan_at_once()
    store.tag("app", "newer", store.image("app", None, [noise("newer", 10)]))
    os.utime(tags, ns=(now.st_atime_ns, now.st_mtime_ns))  # as if the clock had stood still
    found = rescanner.scan_at_once()
    assert sum(len(each.tags) for each in found.repositories) == 5


def test_a_vanished_blob_reduces_the_sums_by_its_former_size(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    garbage = store.unlinked_blob(noise("garbage", 70))
    before = sum(rescanner.scan().sizes)
    shutil.rmtree(store.blob_path(garbage).parent)
    assert sum(rescanner.scan().sizes) == before - 70


def test_a_damaged_link_is_reported_each_time_and_its_repair_is_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    link = store.tag_link("app", "1")
    content = link.read_bytes()
    link.write_bytes(b"")
    assert [len(rescanner.scan().issues) for _ in range(3)] == [1, 1, 1]
    link.write_bytes(content)
    assert rescanner.scan().issues == ()


@pytest.mark.parametrize("damaged", ["manifest", "layer"])
def test_damage_is_noticed_at_the_next_full_scan_and_its_repair_at_once(
    store: StoreBuilder, damaged: str
) -> None:
    layer = noise("third", 500)
    manifest = store.image("app", "3", [layer])
    blob = store.blob_path(manifest if damaged == "manifest" else digest_of(layer))
    content = blob.read_bytes()
    memory = StoreMemory(SETTLED_SECONDS, full_seconds=0.0)
    time.sleep(2 * SETTLED_SECONDS)
    sound = scan_store(store.root, memory=memory)
    os.truncate(blob, 20)
    hurt = scan_store(store.root, sound, memory=memory)
    assert hurt.issues or hurt.misfits
    memory = _without_full_scans(memory)
    assert memory.known.repositories
    blob.unlink()
    gone = scan_store(store.root, hurt, memory=memory)
    assert not gone.all_measured
    blob.write_bytes(content)
    repaired = scan_store(store.root, gone, memory=memory)
    assert repaired.all_measured
    assert described(repaired) == described(scan_store(store.root))


def _without_full_scans(memory: StoreMemory) -> StoreMemory:
    other = StoreMemory(SETTLED_SECONDS)
    other.recall(None)
    other.keep(memory.known)
    return other


def test_a_new_nested_repository_and_a_deleted_one_are_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    store.image("team/new/deep", "1")
    assert len(rescanner.scan().repositories) == 3
    shutil.rmtree(store.repository_path("team/tool"))
    assert len(rescanner.scan().repositories) == 2


def test_a_new_stray_file_and_its_deletion_are_noticed(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    paths = [
        store.stray("blobs/sha256/aa/core", b"1234"),
        store.stray("repositories/app/_manifests/tags/.nfs1", b"12"),
        store.stray("repositories/notes.txt", b"1"),
    ]
    for count in (3, 2, 1):
        assert rescanner.scan().layout.strays.files == count
        paths.pop().unlink()
    assert rescanner.scan().layout.strays.files == 0


def test_a_failed_scan_does_not_change_the_scan_memory(
    store: StoreBuilder, rescanner: Rescanner
) -> None:
    before = rescanner.memory.known
    away = store.root.with_name("away")
    store.root.rename(away)
    with pytest.raises(Exception, match="does not exist"):
        rescanner.scan()
    assert rescanner.memory.known is before
    away.rename(store.root)
    rescanner.scan()


def test_a_real_registry_is_followed_through_pushes_deletions_and_collections(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    rescanner = Rescanner(registry.root)
    for step in random_changes(registry, registry_client, repositories=4, seed=20, steps=60):
        if rescanner.inventory is not None or registry.root.joinpath("docker").exists():
            rescanner.scan() if step % 3 else rescanner.scan_at_once()
    assert rescanner.inventory is not None
    assert rescanner.scan() is rescanner.scan()
