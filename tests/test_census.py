"""The census of the disk, against the real ``du``."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from demo.sample import build_sample
from demo.store import StoreBuilder, digest_of, noise
from exporter.domain.census import Census, DiskKind, LeftoverKind, Leftovers
from exporter.domain.errors import ScanCancelledError, StoreUnreadableError
from exporter.store.filesystem.census import take_census
from exporter.store.port import CensusControl
from tests.golden_outputs import NOW, STORES
from tests.mounts import Mounts
from tests.runbook_shop import blocks, run_shell
from tests.servers import (
    PASSWORD,
    USERNAME,
    DockerRegistry,
    GarbageCollector,
    RegistryClient,
    require_registry_v3,
)

V2 = "docker/registry/v2"
LEFT_LAYERS, LEFT_HISTORY, LEFT_MANIFESTS = LeftoverKind


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def census_of(root: Path, control: CensusControl | None = None) -> Census:
    return take_census(root, control or CensusControl())


def du(root: Path, *flags: str) -> int:
    command = ["du", "--summarize", *flags, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def assert_equals_du(root: Path, *flags: str) -> Census:
    """Check the sums against ``du``, to the byte; return the census."""
    census = census_of(root)
    assert census.unread == 0
    assert census.total.allocated_bytes == du(root, "--block-size=1", *flags)
    assert census.total.inodes == du(root, "--inodes", *flags)
    return census


def inodes(census: Census) -> dict[str, int]:
    """Return the inodes of the kinds that have some, without directories."""
    kinds = census.kinds.items()
    return {
        str(kind): use.inodes
        for kind, use in kinds
        if use.inodes and kind is not DiskKind.DIRECTORIES
    }


def add_history(store: StoreBuilder, repository: str, tag: str, digest: str) -> None:
    """Add a manifest that a tag pointed to before."""
    link = store.tag_link(repository, tag).parents[1] / "index" / digest.replace(":", "/") / "link"
    link.parent.mkdir(parents=True)
    link.write_text(digest)


@pytest.mark.parametrize("name", STORES)
def test_the_sums_are_those_of_du(name: str, tmp_path: Path) -> None:
    STORES[name](tmp_path / "registry")
    assert_equals_du(tmp_path / "registry")


def test_each_file_has_the_kind_of_its_place(store: StoreBuilder) -> None:
    store.image("team/app", "1", [b"layer"])
    store.upload("team/app", b"received", NOW)
    store.stray(f"{V2}/repositories/team/app/_uploads/not-a-uuid/data", b"stray")
    store.stray(f"{V2}/blobs/sha256/ab/data", b"stray")
    store.stray("notes.txt", b"stray")
    store.blob_path(digest_of(b"layer")).with_name("data.tmp").write_bytes(b"stray")
    census = assert_equals_du(store.root)
    assert inodes(census) == {
        "blobs": 3,
        "manifest_links": 1,
        "tag_links": 1,
        "tag_history": 1,
        "layer_links": 2,
        "uploads": 3,
        "stray": 5,  # four files and a directory
    }
    assert census.kinds[DiskKind.TAG_LINKS].apparent_bytes == 71
    assert census.kinds[DiskKind.DIRECTORIES].apparent_bytes == 0


def test_foreign_directories_are_stray_with_everything_in_them(store: StoreBuilder) -> None:
    store.image("app", "1")
    before = inodes(census_of(store.root))
    for place in ("blobs/sha256", "repositories/app/_manifests/tags", "repositories/app/_layers"):
        store.stray(f"{V2}/{place}/@eaDir/SYNOINDEX", b"foreign")
    assert inodes(assert_equals_du(store.root)) == before | {"stray": 6}


def test_hard_links_count_once_and_a_linked_copy_of_the_store_adds_no_blobs(
    store: StoreBuilder,
) -> None:
    store.image("app", "1")
    before = census_of(store.root)
    shutil.copytree(store.root / "docker", store.root / "a-copy", copy_function=os.link)
    after = assert_equals_du(store.root)
    copied = before.kinds[DiskKind.DIRECTORIES].inodes - 1  # all but the root directory
    assert inodes(after) == inodes(before) | {"stray": copied}


def test_links_that_a_program_linked_together_are_not_taken_for_deleted_manifests(
    store: StoreBuilder,
) -> None:
    digest = store.image("app", "1")
    link = store.tag_link("app", "1")
    link.unlink()
    link.hardlink_to(store.revision_link("app", digest))
    assert census_of(store.root).leftovers[LEFT_MANIFESTS] == Leftovers()


def test_symbolic_links_are_counted_and_not_followed(store: StoreBuilder, tmp_path: Path) -> None:
    store.image("app", "1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "large").write_bytes(noise("large", 100_000))
    (store.root / "elsewhere").symlink_to(outside)
    (store.version_path / "repositories/app/_manifests/tags/moved").symlink_to(outside)
    assert inodes(assert_equals_du(store.root))["stray"] == 2


def test_a_store_behind_a_symbolic_link_is_counted(store: StoreBuilder, tmp_path: Path) -> None:
    store.image("app", "1")
    expected = du(store.root, "--block-size=1")
    (store.root / "docker").rename(tmp_path / "moved")
    (store.root / "docker").symlink_to(tmp_path / "moved")
    link = (store.root / "docker").lstat().st_blocks * 512
    assert census_of(store.root).total.allocated_bytes == expected + link


def test_directories_far_deeper_than_a_registrys_are_counted(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.stray("/".join(["deep"] * 200) + "/file", b"deep down")
    assert inodes(assert_equals_du(store.root))["stray"] == 201


def test_what_cannot_be_opened_is_counted_as_unread(store: StoreBuilder) -> None:
    store.image("app", "1")
    here = os.open(store.root, os.O_DIRECTORY)
    for _ in range(25):  # a path of more than 4,096 bytes, which no system call takes
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.mkdir("lowest", dir_fd=here)
    os.close(here)
    found = census_of(store.root)
    assert found.unread > 0
    assert found.kinds[DiskKind.BLOBS].inodes == 3


def test_other_filesystems_are_not_entered(store: StoreBuilder, mounts: Mounts) -> None:
    store.image("app", "1")
    before = census_of(store.root)
    place = store.root / "mounted"
    place.mkdir()
    mounts.tmpfs(place)
    (place / "large").write_bytes(noise("large", 100_000))
    after = census_of(store.root)
    assert after.other_filesystems == 1
    assert inodes(after) == inodes(before)


def test_a_root_directory_without_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(StoreUnreadableError, match="holds other but no docker/"):
        census_of(tmp_path)


def test_a_store_where_nothing_was_pushed_is_one_directory(tmp_path: Path) -> None:
    assert assert_equals_du(tmp_path).total.inodes == 1


def test_a_census_ends_soon_after_it_is_stopped(tmp_path: Path) -> None:
    build_sample(tmp_path / "registry", NOW)
    seen: list[int] = []
    control = CensusControl(on_progress=seen.append, should_stop=lambda: bool(seen))
    with pytest.raises(ScanCancelledError):
        census_of(tmp_path / "registry", control)
    assert len(seen) == 1


def test_a_census_keeps_to_its_limit_of_operations(store: StoreBuilder) -> None:
    for number in range(10):
        store.image("app", str(number))
    files = du(store.root, "--inodes")
    started = time.monotonic()
    census_of(store.root, CensusControl(max_ops_per_second=500))
    assert time.monotonic() - started >= (files - 64) / 500


# Leftovers


def test_layer_links_are_left_over_when_their_blob_is_gone(store: StoreBuilder) -> None:
    store.image("app", "1", [b"layer"])
    assert census_of(store.root).leftovers[LEFT_LAYERS] == Leftovers()
    store.link_blob("app", digest_of(b"gone"))
    left = census_of(store.root).leftovers[LEFT_LAYERS]
    directory = store.layer_link("app", digest_of(b"gone")).parent
    assert (left.entries, left.inodes) == (1, 2)
    assert left.allocated_bytes == du(directory, "--block-size=1")


def test_a_layer_whose_link_is_gone_is_no_leftover_while_its_blob_is_there(
    store: StoreBuilder,
) -> None:
    store.image("app", "1", [b"layer"])
    store.layer_link("app", digest_of(b"layer")).unlink()
    assert census_of(store.root).leftovers[LEFT_LAYERS].entries == 0


def test_history_is_left_over_but_for_what_the_tag_points_to(store: StoreBuilder) -> None:
    first, second = store.image("app", "1", [b"a"]), store.image("app", "1", [b"b"])
    assert first != second
    left = census_of(store.root).leftovers[LEFT_HISTORY]
    assert (left.entries, left.inodes) == (1, 2)


def test_history_of_a_tag_whose_link_is_damaged_is_not_left_over(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").write_bytes(b"")
    assert census_of(store.root).leftovers[LEFT_HISTORY].entries == 0


def test_a_real_registry_leaves_over_what_the_census_says(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    old = registry_client.push_image("app", "1", [noise("old", 500)])
    registry_client.push_image("app", "1", [noise("new", 500)])
    registry_client.delete_manifest("app", old)
    registry.garbage_collect()
    left = assert_equals_du(registry.root).leftovers
    assert left[LEFT_MANIFESTS].entries == 1
    assert left[LEFT_HISTORY].entries == 1
    assert left[LEFT_LAYERS].entries == 2  # a layer and a configuration


def test_removing_leftovers_as_the_runbook_says_leaves_every_tag_as_it_was(
    registry: DockerRegistry, registry_client: RegistryClient, tmp_path: Path
) -> None:
    layers = [noise("base", 500)]
    old = registry_client.push_image("team/app", "1", [*layers, noise("old", 500)])
    registry_client.push_image("team/app", "1", [*layers, noise("new", 500)])
    registry_client.push_image("team/app", "2", [noise("gone", 500)])
    registry_client.delete_manifest("team/app", old)
    gone = digest_of(registry_client.manifest("team/app", "2")[0])
    registry_client.delete_manifest("team/app", gone)
    registry.garbage_collect()
    before = census_of(registry.root)
    assert all(left.entries for left in before.leftovers.values())
    wanted = registry_client.manifest("team/app", "1")
    (script,) = blocks("StorageAlmostFull", "Remove what is left over")

    run_shell(script, home=tmp_path, STORE=str(registry.root))
    after = assert_equals_du(registry.root)
    assert not any(left.entries for left in after.leftovers.values())
    removed = sum(left.inodes for left in before.leftovers.values())
    assert before.total.inodes - after.total.inodes == removed
    assert after.kinds[DiskKind.BLOBS] == before.kinds[DiskKind.BLOBS]

    registry.restart()
    assert registry_client.manifest("team/app", "1") == wanted
    for layer in json.loads(wanted[0])["layers"]:
        url = f"{registry.url}/v2/team/app/blobs/{layer['digest']}"
        answer = httpx.get(url, auth=(USERNAME, PASSWORD), trust_env=False)
        assert digest_of(answer.content) == layer["digest"]
    registry_client.push_image("team/app", "2", [noise("gone", 500)])
    assert registry_client.tags("team/app") == ["1", "2"]
    assert not any(left.entries for left in census_of(registry.root).leftovers.values())


def test_the_runbook_removes_nothing_while_no_blobs_can_be_listed(
    store: StoreBuilder, tmp_path: Path
) -> None:
    store.image("app", "1")
    (store.version_path / "blobs").rename(tmp_path / "not-mounted")
    before = census_of(store.root).total
    (script,) = blocks("StorageAlmostFull", "Remove what is left over")
    with pytest.raises(AssertionError, match="cannot access"):
        run_shell(script, home=tmp_path, STORE=str(store.root))
    assert census_of(store.root).total == before


@pytest.mark.parametrize("delete_untagged", [False, True])
def test_version_3_removes_only_links_of_blobs_that_it_deletes(
    store: StoreBuilder, *, delete_untagged: bool
) -> None:
    store.image("app", "1")
    store.link_blob("app", digest_of(b"gone"))
    store.link_blob("app", store.blob(b"unreferenced"))
    add_history(store, "app", "1", digest_of(b"gone"))
    collector = GarbageCollector(require_registry_v3())
    freed = collector.run(store.root, dry_run=False, delete_untagged=delete_untagged)
    assert freed == frozenset({digest_of(b"unreferenced")})
    assert store.layer_link("app", digest_of(b"gone")).exists()
    assert not store.layer_link("app", digest_of(b"unreferenced")).exists()
    left = census_of(store.root).leftovers
    assert left[LEFT_LAYERS].entries == 2
    assert left[LEFT_LAYERS].inodes == 3  # the directory of the link that was removed stays
    assert left[LEFT_HISTORY].entries == 1
