"""Scans of every kind of store: healthy, empty, damaged, hostile, changing."""

import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.store import StoreBuilder, digest_of, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.digests import format_digest
from exporter.domain.errors import ScanCancelledError, StoreUnreadableError
from exporter.domain.model import (
    ALL_DIRECTORIES,
    Inventory,
    IssueCause,
    Misplaced,
    Repository,
)
from exporter.domain.scan_progress import ScanProgress
from exporter.domain.snapshot import BlobState, StoreFigures
from exporter.store.filesystem.readers.link_reader import PATIENCE_SECONDS
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import ScanControl

needs_other_user = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root, to become a user who may not read"
)


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def scan(store: StoreBuilder, previous: Inventory | None = None) -> Inventory:
    return scan_store(store.root, previous)


def figures(store: StoreBuilder) -> StoreFigures:
    return analyse(scan(store))


def causes(inventory: Inventory) -> list[IssueCause]:
    return [issue.cause for issue in inventory.issues]


def blobs_on_disk(inventory: Inventory) -> dict[str, int]:
    pairs = zip(inventory.digests, inventory.sizes, strict=True)
    return {format_digest(digest): size for digest, size in pairs if size >= 0}


def unreferenced(inventory: Inventory) -> int:
    return analyse(inventory).blobs[BlobState.UNREFERENCED].blobs


def test_blobs_are_measured_to_the_byte(store: StoreBuilder) -> None:
    expected = {store.blob(noise(f"{size}", size)): size for size in (0, 1, 255, 70_000)}
    expected[store.blob(b"other", algorithm="sha512")] = 5
    assert blobs_on_disk(scan(store)) == expected


def test_repositories_may_be_nested(store: StoreBuilder) -> None:
    for name in ("a", "a/b", "a/b/c/d"):
        store.image(name, "1")
    assert [each.name for each in scan(store).repositories] == ["a", "a/b", "a/b/c/d"]


def test_a_repository_may_contain_only_an_upload(store: StoreBuilder) -> None:
    store.upload("new", b"half", started_at=1000.0)
    (repository,) = scan(store).repositories
    assert [each.size for each in repository.uploads] == [4]


def test_tags_have_target_and_time(store: StoreBuilder) -> None:
    digest = store.image("app", "1", at=5000.0)
    inventory = scan(store)
    (tag,) = inventory.repositories[0].tags
    assert (tag.name, tag.updated_at) == ("1", 5000.0)
    assert tag.target is not None
    assert format_digest(inventory.digests[tag.target]) == digest


def test_an_empty_root_is_an_empty_store(tmp_path: Path) -> None:
    inventory = scan_store(tmp_path)
    assert inventory.complete
    assert inventory.repositories == ()
    assert len(inventory.digests) == 0


@pytest.mark.parametrize("there", ["docker", "docker/registry", "docker/registry/v2"])
def test_a_store_with_only_its_first_directories_is_empty(tmp_path: Path, there: str) -> None:
    (tmp_path / there).mkdir(parents=True)
    assert scan_store(tmp_path).complete


def test_a_root_that_does_not_exist_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreadableError, match=r"does not exist.*--storage\.root"):
        scan_store(tmp_path / "none")


def test_a_vanished_store_is_an_error_and_not_an_empty_store(store: StoreBuilder) -> None:
    store.image("app", "1")
    before = scan(store)
    shutil.rmtree(store.root / "docker")
    with pytest.raises(StoreUnreadableError, match="is it unmounted"):
        scan(store, before)


def test_a_root_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnreadableError, match="must be a directory"):
        scan_store(tmp_path / "file")


def test_a_root_above_or_below_the_right_one_is_an_error(store: StoreBuilder) -> None:
    store.image("app", "1")
    for wrong in (store.root.parent, store.root / "docker", store.version_path):
        with pytest.raises(StoreUnreadableError, match=f"did you mean {store.root}"):
            scan_store(wrong)


def test_the_root_may_be_a_symbolic_link(store: StoreBuilder, tmp_path: Path) -> None:
    store.image("app", "1")
    (tmp_path / "moved").symlink_to(store.root)
    assert len(scan_store(tmp_path / "moved").repositories) == 1


def test_a_revision_directory_without_a_link_is_a_deleted_manifest(store: StoreBuilder) -> None:
    digest = store.image("app", "1")
    store.delete_revision("app", digest)
    inventory = scan(store)
    assert inventory.repositories[0].revisions == ()
    assert inventory.issues == ()
    assert unreferenced(inventory) == len(blobs_on_disk(inventory)) == 3


def test_children_of_a_tagged_index_are_tagged(store: StoreBuilder) -> None:
    children = [store.image("app", None, [noise(p, 64)], platform=p) for p in ("linux/a", "x/b")]
    inner = store.index("app", None, children)
    store.index("app", "1", [inner])
    result = figures(store)
    assert result.blobs[BlobState.TAGGED].blobs == 8
    assert result.blobs[BlobState.UNTAGGED].blobs == 0
    assert result.repositories[0].untagged_manifests == 0


def test_index_children_without_a_revision_are_read_too(store: StoreBuilder) -> None:
    child = store.image("app", None)
    store.index("app", "1", [child])
    shutil.rmtree(store.revision_link("app", child).parent)
    assert figures(store).blobs[BlobState.TAGGED].blobs == 4


# damage


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\x00binary\xff", b"[" * 100_000, b"{}", b"x" * (17 * 1024 * 1024)]
)
def test_an_unreadable_manifest_is_one_issue_and_no_live_blob_is_garbage(
    store: StoreBuilder, content: bytes
) -> None:
    store.image("sound", "1")
    store.unlinked_blob(b"perhaps a layer of the broken one")
    broken = store.image("broken", "1")
    store.blob_path(broken).write_bytes(content)
    inventory = scan(store)
    assert causes(inventory) == [IssueCause.UNREADABLE_MANIFEST]
    assert not inventory.complete
    assert unreferenced(inventory) == 0
    assert len(inventory.repositories) == 2
    assert len(blobs_on_disk(inventory)) == 7


def test_a_missing_manifest_leaves_nothing_unreferenced_and_the_scan_complete(
    store: StoreBuilder,
) -> None:
    store.image("sound", "1")
    digest = store.image("broken", "1")
    store.blob_path(digest).unlink()
    inventory = scan(store)
    assert inventory.complete
    assert causes(inventory) == []
    result = analyse(inventory)
    assert result.blobs[BlobState.UNREFERENCED].blobs == 0
    assert result.blobs[BlobState.UNTAGGED].blobs == 2


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 71, b"x" * 50_000_000])
@pytest.mark.parametrize("kind", ["tag", "revision"])
def test_a_damaged_link_is_one_issue_and_no_live_blob_is_garbage(
    store: StoreBuilder, kind: str, content: bytes
) -> None:
    digest = store.image("app", "1")
    link = store.tag_link("app", "1") if kind == "tag" else store.revision_link("app", digest)
    link.write_bytes(content)
    inventory = scan(store)
    assert causes(inventory) == [IssueCause.INVALID_LINK]
    assert unreferenced(inventory) == 0
    (repository,) = inventory.repositories
    assert (len(repository.tags), len(repository.revisions)) == (1, 1)


@pytest.mark.parametrize("place", ["repository", "manifests", "revisions", "tags", "uploads"])
def test_a_file_in_place_of_a_directory_hides_nothing(store: StoreBuilder, place: str) -> None:
    digest = store.image("app", "1")
    places = LINK_PLACES | {"revisions": lambda s, d: s.revision_link("app", d).parents[2]}
    path = places[place](store, digest)
    shutil.rmtree(path)
    path.write_bytes(b"")
    inventory = scan(store)
    if place == "repository":  # such a file looks like any other
        assert inventory.layout.strays.files == 1
    else:
        assert IssueCause.IO_ERROR in causes(inventory)
        assert unreferenced(inventory) == 0


def test_a_store_without_repositories_has_no_garbage(store: StoreBuilder) -> None:
    store.image("app", "1")
    before = scan(store)
    shutil.rmtree(store.version_path / "repositories")
    inventory = scan(store)
    assert not inventory.complete
    assert unreferenced(inventory) == 0
    with pytest.raises(StoreUnreadableError, match="is it unmounted"):
        scan(store, before)


@pytest.mark.parametrize("part", ["blobs", "repositories"])
def test_a_store_that_lost_its_blobs_or_repositories_is_an_error(
    store: StoreBuilder, part: str
) -> None:
    store.image("app", "1")
    before = scan(store)
    shutil.rmtree(store.version_path / part)
    with pytest.raises(StoreUnreadableError, match="is it unmounted"):
        scan(store, before)


def test_a_store_without_its_last_repository_contains_only_garbage(store: StoreBuilder) -> None:
    store.image("app", "1")
    before = scan(store)
    shutil.rmtree(store.repository_path("app"))
    inventory = scan(store, before)
    assert inventory.complete
    assert unreferenced(inventory) == 3


def test_the_loss_of_all_repositories_at_once_is_an_error(store: StoreBuilder) -> None:
    for name in ("app", "tool"):
        store.image(name, "1")
    before = scan(store)
    for name in ("app", "tool"):
        shutil.rmtree(store.repository_path(name))
    with pytest.raises(StoreUnreadableError, match="is it unmounted"):
        scan(store, before)


@pytest.mark.parametrize("part", ["blobs", "repositories"])
def test_blobs_or_repositories_replaced_during_a_scan_are_an_error(
    store: StoreBuilder, part: str
) -> None:
    for name in ("app", "tool"):
        store.image(name, "1")
    before = scan(store)
    half, other = store.version_path / part, store.version_path / "other"
    other.mkdir()

    def replace(progress: ScanProgress) -> None:
        if progress.stage == "repositories" and other.exists():
            half.rename(half.with_name("away"))
            other.rename(half)

    with pytest.raises(StoreUnreadableError, match="replaced or unmounted while it was read"):
        scan_store(store.root, before, control=ScanControl(replace))
    half.rmdir()
    half.with_name("away").rename(half)
    assert len(scan(store, before).repositories) == 2


def test_a_link_to_a_disk_that_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreUnreadableError, match="mounted"):
        scan_store(tmp_path)


def test_a_root_with_another_docker_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docker" / "overlay2").mkdir(parents=True)
    with pytest.raises(StoreUnreadableError, match="but no registry/"):
        scan_store(tmp_path)


def test_stray_files_may_be_deeply_nested(store: StoreBuilder) -> None:
    store.image("app", "1")
    path = store.root / "old"
    above = []
    for _ in range(1200):
        path.mkdir()
        above.append(path)
        path = path / "d"
    path.write_bytes(b"123")
    try:
        assert scan(store).layout.strays.bytes == 3
    finally:  # too deep for the usual cleanup
        path.unlink()
        for each in reversed(above):
            each.rmdir()


def test_a_tag_without_a_link_is_a_tag_with_an_issue(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").unlink()
    inventory = scan(store)
    assert causes(inventory) == [IssueCause.INVALID_LINK]
    assert inventory.repositories[0].tags[0].target is None


def test_files_outside_the_layout_are_stray(store: StoreBuilder) -> None:
    digest = store.image("app", "1")
    version = "docker/registry/v2"
    hexadecimal = digest.removeprefix("sha256:")
    strays = [
        "backup.tar",
        "docker/x",
        "docker/registry/y/z",
        f"{version}/notes",
        f"{version}/blobs/file",
        f"{version}/blobs/sha256/file",
        f"{version}/blobs/sha256/{hexadecimal[:2]}/file",
        f"{version}/blobs/sha256/00/{'0' * 64}/data.4a.tmp",
        f"{version}/repositories/file",
        f"{version}/repositories/app/file",
        f"{version}/repositories/app/_manifests/file",
        f"{version}/repositories/app/_manifests/revisions/file",
        f"{version}/repositories/app/_manifests/tags/file",
        f"{version}/repositories/app/_uploads/file",
    ]
    for place, path in enumerate(strays, 1):
        store.stray(path, b"." * place)
    inventory = scan(store)
    assert inventory.layout.strays.files == len(strays)
    assert inventory.layout.strays.bytes == sum(range(1, len(strays) + 1))
    assert inventory.complete
    assert len(blobs_on_disk(inventory)) == 3


def test_the_state_of_a_pull_through_cache_and_lost_found_are_not_stray(
    store: StoreBuilder,
) -> None:
    store.image("app", "1")
    store.stray("scheduler-state.json", b"{}")
    (store.root / "lost+found").mkdir()
    assert scan(store).layout.strays.files == 0


# hostile


BAD_NAMES = [b"\xff\xfe", b'quo"te', b"new\nline", b"back\\slash", b"UPPER", b"-dash", b"sp ace"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_repository_with_an_invalid_name_hides_nothing(store: StoreBuilder, name: bytes) -> None:
    store.image("app", "1")
    good = os.fsencode(store.repository_path("app"))
    os.rename(good, os.path.join(os.path.dirname(good), name))  # noqa: PTH104, PTH118, PTH120
    inventory = scan(store)
    assert IssueCause.BAD_NAME in causes(inventory)
    assert inventory.repositories == ()
    assert unreferenced(inventory) == 0
    assert all(issue.path.isprintable() and issue.path.isascii() for issue in inventory.issues)


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name != b"UPPER"])
def test_an_empty_directory_with_an_invalid_name_hides_no_garbage(
    store: StoreBuilder, name: bytes
) -> None:
    store.unlinked_blob(b"garbage")
    store.image("app", "1")
    os.mkdir(os.path.join(os.fsencode(store.version_path), b"repositories", name))  # noqa: PTH102, PTH118
    inventory = scan(store)
    assert causes(inventory) == [IssueCause.BAD_NAME]
    assert unreferenced(inventory) == 1


def test_a_tag_with_an_invalid_name_is_an_issue(store: StoreBuilder) -> None:
    store.image("app", "1")
    shutil.copytree(store.tag_link("app", "1").parents[1], store.tag_link("app", "a\nb").parents[1])
    inventory = scan(store)
    assert causes(inventory) == [IssueCause.BAD_NAME]
    assert [tag.name for tag in inventory.repositories[0].tags] == ["1"]


def _outside(store: StoreBuilder) -> Path:
    """Return a directory beside the store with every name that a link could point to."""
    outside = store.root.parent / "outside"
    outside.mkdir()
    for name in ("data", "link", "current", "secret"):
        (outside / name).write_bytes(b"0" * 100_000)
    return outside


LINK_PLACES: dict[str, Callable[[StoreBuilder, str], Path]] = {
    "blob data": lambda store, digest: store.blob_path(digest),
    "blob directory": lambda store, digest: store.blob_path(digest).parent,
    "prefix directory": lambda store, digest: store.blob_path(digest).parents[1],
    "revision link": lambda store, digest: store.revision_link("app", digest),
    "revision directory": lambda store, digest: store.revision_link("app", digest).parent,
    "tag link": lambda store, _: store.tag_link("app", "1"),
    "current": lambda store, _: store.tag_link("app", "1").parent,
    "tag": lambda store, _: store.tag_link("app", "1").parents[1],
    "tags": lambda store, _: store.tag_link("app", "1").parents[2],
    "manifests": lambda store, _: store.repository_path("app") / "_manifests",
    "repository": lambda store, _: store.repository_path("app"),
    "uploads": lambda store, _: store.repository_path("app") / "_uploads",
}


@pytest.mark.parametrize("place", LINK_PLACES)
@pytest.mark.parametrize("looped", [False, True])
def test_symbolic_links_are_never_followed(
    store: StoreBuilder, place: str, *, looped: bool
) -> None:
    digest = store.image("app", "1")
    path = LINK_PLACES[place](store, digest)
    outside = _outside(store)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    path.symlink_to(path if looped else outside / path.name)
    inventory = scan(store)
    assert IssueCause.SYMLINK in causes(inventory)
    assert not inventory.complete
    assert unreferenced(inventory) == 0
    assert 100_000 not in inventory.sizes
    assert inventory.layout.strays.bytes < 100_000


def test_links_to_parent_directories_do_not_cause_an_endless_walk(store: StoreBuilder) -> None:
    store.image("a/b", "1")
    (store.repository_path("a") / "loop").symlink_to(store.repository_path("a"))
    (store.root / "loop").symlink_to(store.root)
    assert [each.name for each in scan(store).repositories] == ["a/b"]


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket"])
@pytest.mark.parametrize("place", ["blob data", "revision link", "tag link"])
def test_a_special_file_in_place_of_a_file_neither_blocks_nor_counts(
    store: StoreBuilder, place: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.image("app", "1")
    path = LINK_PLACES[place](store, digest)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        monkeypatch.chdir(path.parent)  # the address of a socket must be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    inventory = scan(store)
    assert len(inventory.issues) == 1
    assert unreferenced(inventory) == 0
    assert len(blobs_on_disk(inventory)) == (2 if place == "blob data" else 3)


def test_fifos_and_sockets_among_uploads_do_not_block(store: StoreBuilder) -> None:
    upload = store.upload("app", b"x", started_at=None)
    os.mkfifo(upload / "startedat")
    (upload / "data").unlink()
    os.mkfifo(upload / "data")
    (found,) = scan(store).repositories[0].uploads
    assert (found.size, found.purgeable) == (0, False)


# permissions: as a user who is not root


@pytest.fixture
def as_nobody(store: StoreBuilder) -> "Callable[[Inventory | None], Inventory]":
    """Return a function that scans the store as a user without rights."""

    def run(previous: Inventory | None = None) -> Inventory:
        for parent in (store.root, *store.root.parents):
            mode = parent.stat().st_mode
            if not mode & stat.S_IXOTH:
                parent.chmod(mode | stat.S_IXOTH)
        os.setegid(65534)
        os.seteuid(65534)
        try:
            return scan_store(store.root, previous)
        finally:
            os.seteuid(0)
            os.setegid(0)

    return run


@needs_other_user
@pytest.mark.parametrize(
    "place", ["repository", "manifests", "tags", "tag", "revision directory", "blob directory"]
)
def test_an_unreadable_part_keeps_its_last_known_content(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory], place: str
) -> None:
    digest = store.image("app", "1")
    store.image("other", "1")
    before = scan(store)
    LINK_PLACES[place](store, digest).chmod(0)
    after = as_nobody(before)
    assert set(causes(after)) == {IssueCause.PERMISSION}
    assert not after.complete
    assert unreferenced(after) == 0
    assert blobs_on_disk(after) == blobs_on_disk(before)
    assert [each.name for each in after.repositories] == ["app", "other"]


@needs_other_user
def test_blobs_of_an_unreadable_directory_are_not_lost(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    digest = store.image("app", "1")
    before = scan(store)
    store.blob_path(digest).parents[1].chmod(0)
    after = as_nobody(before)
    assert blobs_on_disk(after) == blobs_on_disk(before)
    assert analyse(after).blobs == analyse(before).blobs
    first_look = as_nobody(None)
    assert not first_look.complete
    assert len(blobs_on_disk(first_look)) == 2
    assert unreferenced(first_look) == 0
    assert [analyse(each).collector for each in (after, first_look)] == [None, None]


@needs_other_user
def test_a_store_without_a_readable_blob_is_an_error(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    store.image("app", "1")
    (store.version_path / "blobs/sha256").chmod(0o744)
    with pytest.raises(StoreUnreadableError, match=r"cannot read blobs/sha256/..: Permission"):
        as_nobody(None)


@needs_other_user
@pytest.mark.parametrize("place", ["", "blobs", "repositories", "blobs/sha256"])
def test_a_store_that_cannot_be_listed_at_all_is_an_error(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory], place: str
) -> None:
    store.image("app", "1")
    (store.version_path / place).chmod(0)
    with pytest.raises(StoreUnreadableError, match="Permission denied"):
        as_nobody(None)


@needs_other_user
def test_blobs_of_an_unreadable_index_child_are_not_unreferenced(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    child = store.image("app", None)
    store.index("app", "1", [child])
    shutil.rmtree(store.revision_link("app", child).parent)
    store.blob_path(child).parent.chmod(0)
    assert unreferenced(as_nobody(None)) == 0


@needs_other_user
def test_an_unreadable_part_does_not_keep_the_others_from_changing(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    store.image("app", "1")
    store.upload("app", b"123", started_at=1.0)
    before = scan(store)
    (store.repository_path("app") / "_uploads").chmod(0)
    store.image("app", "2")
    after = as_nobody(before)
    (app,) = after.repositories
    assert analyse(after).collector is not None
    assert (len(app.tags), len(app.revisions), len(app.uploads)) == (2, 2, 1)


@needs_other_user
@pytest.mark.parametrize("place", ["blobs", "repositories/app/_manifests/tags"])
def test_an_unreadable_directory_of_another_program_is_named_and_the_scan_is_complete(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory], place: str
) -> None:
    store.image("app", "1")
    store.unlinked_blob(b"garbage")
    (store.version_path / place / "lost+found").mkdir(mode=0)
    inventory = as_nobody(None)
    (issue,) = inventory.issues
    assert issue.detail.endswith("; not counted: Permission denied")
    assert inventory.complete
    assert unreferenced(inventory) == 1


@needs_other_user
def test_an_unreadable_link_keeps_the_tags_last_known_target(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    store.image("app", "1")
    before = scan(store)
    store.tag_link("app", "1").chmod(0)
    after = as_nobody(before)
    assert causes(after) == [IssueCause.PERMISSION]
    assert analyse(after).blobs == analyse(before).blobs


# change


def test_a_tag_is_read_again_while_its_link_is_rewritten(store: StoreBuilder) -> None:
    digest = store.image("app", "1")
    link = store.tag_link("app", "1")
    link.write_bytes(b"")
    stages: list[str] = []

    def rewrite(progress: ScanProgress) -> None:
        if progress.stage == "blobs":
            stages.append(progress.stage)
            link.write_text(digest)

    inventory = scan_store(store.root, control=ScanControl(rewrite))
    assert stages
    assert inventory.issues == ()


@pytest.mark.parametrize("kind", ["tag", "new tag", "revision"])
def test_a_scan_waits_for_a_link_that_a_busy_disk_writes_slowly(
    store: StoreBuilder, kind: str
) -> None:
    digest = store.image("app", "1")
    link = store.revision_link("app", digest) if kind == "revision" else store.tag_link("app", "1")
    if kind == "new tag":
        link.unlink()  # its directory exists before it
    else:
        link.write_bytes(b"")
    writer = threading.Timer(0.06, lambda: link.write_text(digest))
    writer.start()
    inventory = scan_store(store.root)
    writer.join()
    assert inventory.issues == ()
    assert inventory.repositories[0].tags[0].target is not None


@pytest.mark.parametrize("exists", [True, False])
def test_only_the_first_scan_waits_for_links_that_stay_empty_or_missing(
    store: StoreBuilder, exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def sleep(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        waits.append(seconds)
        sleep(seconds)

    monkeypatch.setattr("exporter.store.filesystem.readers.link_reader.time.sleep", sleep)
    for number in range(20):
        store.image("app", str(number))
        link = store.tag_link("app", str(number))
        link.unlink()
        if exists:
            link.touch()
    first = scan_store(store.root)
    first_waits = len(waits)
    second = scan_store(store.root, first)
    assert len(first.issues) == len(second.issues) == 20
    assert len(waits) - first_waits == 20 * 5  # the short ones, in every scan
    # all links together share the long ones
    assert 0 < sum(waits[:first_waits]) - sum(waits[first_waits:]) < PATIENCE_SECONDS + 0.1


def test_a_push_between_blobs_and_repositories_is_seen_completely(store: StoreBuilder) -> None:
    store.image("app", "1")
    pushed = []

    def push(progress: ScanProgress) -> None:
        if progress.stage == "blobs" and progress.done == progress.total:
            pushed.append(store.image("app", "2"))

    inventory = scan_store(store.root, control=ScanControl(push))
    assert len(pushed) == 1
    assert len(blobs_on_disk(inventory)) == 6
    assert unreferenced(inventory) == 0


def test_a_repository_that_vanishes_during_the_walk_is_not_an_error(store: StoreBuilder) -> None:
    for name in ("a", "b", "c"):
        store.image(name, "1")

    def delete(progress: ScanProgress) -> None:
        if progress.stage == "repositories":
            shutil.rmtree(store.repository_path("c"), ignore_errors=True)

    inventory = scan_store(store.root, control=ScanControl(delete))
    assert inventory.issues == ()
    assert inventory.complete


def test_progress_has_all_stages(store: StoreBuilder) -> None:
    store.image("app", "1")
    seen: list[ScanProgress] = []
    scan_store(store.root, control=ScanControl(seen.append))
    stages = {"blobs", "repositories", "manifests", "layer links"}
    assert {each.stage for each in seen} == stages
    assert all(0 < each.done <= each.total for each in seen)


def test_a_scan_stops_on_request(store: StoreBuilder) -> None:
    store.image("app", "1")
    with pytest.raises(ScanCancelledError):
        scan_store(store.root, control=ScanControl(should_stop=lambda: True))


def test_a_scan_does_not_change_the_store(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.upload("app", b"x", started_at=1.0)

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.root.rglob("*")
        }

    before = state()
    scan(store)
    assert state() == before


# uploads


def test_uploads_differ_by_whether_the_registry_purges_them(store: StoreBuilder) -> None:
    store.upload("app", b"12345", started_at=1000.0, at=2000.0)
    store.upload("app", b"1", started_at=None, at=500.0)
    broken = store.upload("app", b"333", started_at=4000.0, at=900.0)
    (broken / "startedat").write_text("yesterday")
    uploads = figures(store).uploads
    assert (uploads.uploads, uploads.bytes, uploads.unpurgeable) == (3, 9, 2)
    assert uploads.oldest_start_at == 500.0


@pytest.mark.parametrize("name", ["@eaDir", "not-a-uuid", "urn:uuid:1"])
def test_a_directory_among_uploads_that_no_registry_makes_is_no_upload(
    store: StoreBuilder, name: str
) -> None:
    store.upload("app", b"12345", started_at=1000.0)
    store.upload("app", b"22", started_at=None, upload_id=name)
    found = figures(store)
    assert (found.uploads.uploads, found.uploads.unpurgeable, found.uploads.bytes) == (1, 0, 5)
    assert found.strays.files == 2


def test_digests_of_the_builder_equal_those_of_the_registry() -> None:
    assert digest_of(b"") == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


# damage that affects the registry's collector


def repository_of(inventory: Inventory) -> Repository:
    (repository,) = inventory.repositories
    return repository


def test_a_sound_repository_has_all_its_directories_and_no_damage(store: StoreBuilder) -> None:
    store.image("app", "1")
    inventory = scan(store)
    repository = repository_of(inventory)
    assert repository.layout.directories == ALL_DIRECTORIES
    found = (
        repository.layout.mislinked,
        repository.layout.tag_obstacles,
        inventory.layout.misplaced,
    )
    assert not any((*found, inventory.unreadable, inventory.unusual, inventory.misfits))
    assert not inventory.unread


@pytest.mark.parametrize("directory", ["_layers", "_manifests", "_manifests/tags"])
def test_missing_directories_of_a_repository_are_recorded(
    store: StoreBuilder, directory: str
) -> None:
    store.image("app", "1")
    shutil.rmtree(store.repository_path("app") / directory)
    assert directory not in repository_of(scan(store)).layout.directories


def test_a_revision_link_to_another_digest_is_recorded_with_it(store: StoreBuilder) -> None:
    first, second = store.image("app", "1"), store.image("app", "2")
    store.revision_link("app", first).write_text(second)
    inventory = scan(store)
    ((revision, target),) = repository_of(inventory).layout.mislinked.items()
    assert format_digest(inventory.digests[revision]) == first
    assert target is not None
    assert format_digest(inventory.digests[target]) == second


@pytest.mark.parametrize("content", [b"", b"nonsense", b"x" * 5000])
def test_a_revision_link_without_a_digest_is_recorded(store: StoreBuilder, content: bytes) -> None:
    store.revision_link("app", store.image("app", "1")).write_bytes(content)
    assert list(repository_of(scan(store)).layout.mislinked.values()) == [None]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"x" * 5000])
def test_a_tag_with_a_damaged_link_differs_from_one_without_a_link(
    store: StoreBuilder, content: bytes
) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").write_bytes(content)
    (damaged,) = repository_of(scan(store)).tags
    store.tag_link("app", "1").unlink()
    (missing,) = repository_of(scan(store)).tags
    assert (damaged.target, missing.target) == (None, None)
    assert damaged.updated_at is not None
    assert missing.updated_at is None


def test_a_file_among_the_tags_is_recorded(store: StoreBuilder) -> None:
    store.image("app", "1")
    (store.repository_path("app") / "_manifests" / "tags" / ".nfs0001").touch()
    assert repository_of(scan(store)).layout.tag_obstacles == (".nfs0001",)


def test_paths_that_the_collector_cannot_parse_are_recorded(store: StoreBuilder) -> None:
    store.image("app", "1")
    (store.version_path / "repositories" / "UPPER" / "_layers").mkdir(parents=True)
    store.stray("docker/registry/v2/blobs/sha256/zz/data", b"x")
    assert scan(store).layout.misplaced == (
        Misplaced("blobs/sha256/zz/data"),
        Misplaced("repositories/UPPER", frozenset({"_layers"})),
    )


def test_a_blob_with_another_size_than_in_its_manifest_is_recorded(store: StoreBuilder) -> None:
    layer = store.blob(noise("layer", 100))
    manifest = store.image("app", "1", [layer])
    assert not scan(store).misfits
    store.blob_path(layer).write_bytes(b"short")
    inventory = scan(store)
    ((number, parts),) = inventory.misfits.items()
    assert format_digest(inventory.digests[number]) == manifest
    assert [format_digest(inventory.digests[part]) for part in parts] == [layer]


def test_a_missing_blob_is_not_a_misfit(store: StoreBuilder) -> None:
    layer = store.blob(noise("layer", 100))
    store.image("app", "1", [layer])
    store.blob_path(layer).unlink()
    assert not scan(store).misfits


@needs_other_user
def test_an_unreadable_blob_is_not_missing(
    store: StoreBuilder, as_nobody: Callable[[Inventory | None], Inventory]
) -> None:
    layer = store.blob(noise("layer", 100))
    store.image("app", "1", [layer])
    store.blob_path(layer).parents[1].chmod(0)
    found = analyse(as_nobody(None))
    assert found.integrity is not None
    assert found.integrity.missing_blobs == ()
    assert found.integrity.broken_tags == ()
    assert found.collector is None
