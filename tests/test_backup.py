"""``backup`` and ``verify --backup``: what is saved, what is refused, and what is missing."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from demo.store import StoreBuilder, digest_of, noise
from exporter.backup.index import BackupEntry, decode_index, encode_index
from exporter.backup.reader import BackupReader
from exporter.backup.selection import select_repositories
from exporter.backup.writing import Backup, BackupControl, back_up
from exporter.domain.digests import format_digest
from exporter.domain.errors import BackupUnusableError
from exporter.domain.journal import RestoredTag
from exporter.domain.plan_file import PlannedDeletion, plan_header, plan_line
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.store import FilesystemStore
from tests.in_process import Outcome, run_command
from tests.mounts import Mounts
from tests.small_filesystem import small_filesystem
from tests.small_stores import STORES, two_platforms
from tests.test_commands import as_nobody, needs_root
from tests.test_verify import flip_a_byte

PUSHED_AT, TAGGED_AT = 1_700_000_000.0, 1_710_000_000.25
Run = Callable[..., Outcome]


@pytest.fixture
def builder(tmp_path: Path) -> StoreBuilder:
    root = tmp_path / "registry"
    root.mkdir()
    return StoreBuilder(root)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "backup"


@pytest.fixture
def run(builder: StoreBuilder, place: Path) -> Run:
    """Return a function that backs up the store of ``builder``."""

    def save(*arguments: str | Path, to: Path = place) -> Outcome:
        flags = ("--storage.root", builder.root, "--same-filesystem")
        return run_command("backup", *flags, *arguments, to)

    return save


def check(place: Path, *arguments: str | Path) -> Outcome:
    return run_command("verify", "--backup", place, *arguments)


def missing(outcome: Outcome) -> list[str]:
    return [line for line in outcome.output.splitlines() if line.startswith("missing: ")]


def status(place: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((place / "_backup.json").read_bytes())
    return found


def files(place: Path) -> dict[str, tuple[int, int]]:
    """Return the inode and time of each file of a backup."""
    found = {}
    for path in place.rglob("*"):
        if path.is_file() and path.name not in {"_backup.json", "_lock"}:
            found[str(path.relative_to(place))] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def manifests_of(root: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield repository, digest and content of every manifest that a scan could read."""
    inventory = scan_store(root)
    builder = StoreBuilder(root)
    for repository in inventory.repositories:
        numbers = {each.manifest for each in repository.revisions}
        numbers |= {tag.target for tag in repository.tags if tag.target is not None}
        for number in numbers & set(inventory.manifests):
            digest = format_digest(inventory.digests[number])
            yield repository.name, digest, builder.blob_path(digest).read_bytes()


@pytest.mark.parametrize("name", STORES)
def test_every_manifest_of_every_kind_of_store_comes_back_byte_for_byte(
    name: str, builder: StoreBuilder, run: Run, place: Path
) -> None:
    STORES[name](builder)
    outcome = run()
    assert (outcome.exit_code == 0) == (not missing(outcome)), outcome
    backup = BackupReader(place)
    for repository, digest, content in manifests_of(builder.root):
        assert digest in {each.digest for each in backup.entries(repository)}
        assert backup.content(digest) == content
    verified = check(place)
    assert {line.split(":")[0] for line in verified.output.splitlines()[:-1]} <= {"missing"}
    if outcome.exit_code == 0:
        assert verified.exit_code == 0, verified
        assert "last_complete" in status(place)


def test_tags_and_times_of_the_store_are_kept(builder: StoreBuilder, run: Run, place: Path) -> None:
    image = builder.image("team/app", "1.0", at=PUSHED_AT)
    builder.tag("team/app", "latest", image, at=TAGGED_AT)
    other = builder.image("team/app", None, [b"untagged"], at=PUSHED_AT + 1)
    assert run().exit_code == 0
    tagged, untagged = sorted(
        BackupReader(place).entries("team/app"), key=lambda each: not each.tags
    )
    assert (tagged.digest, tagged.linked_at) == (image, PUSHED_AT)
    assert dict(tagged.tags) == {"1.0": PUSHED_AT, "latest": TAGGED_AT}
    assert (untagged.digest, dict(untagged.tags)) == (other, {})
    assert untagged.linked_at == PUSHED_AT + 1


def test_a_restored_tag_keeps_its_old_time(
    builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    image = builder.image("app", "old", at=TAGGED_AT)
    builder.image("app", "new", [b"new"], at=TAGGED_AT)
    store = FilesystemStore(builder.root)
    line = RestoredTag(store.identity, "app", "old", image, TAGGED_AT - 1, PUSHED_AT)
    (tmp_path / "restored.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
    plan = tmp_path / "plan"
    planned = plan_line(PlannedDeletion("app", image, 0, ("old",)))
    plan.write_text("\n".join((*plan_header(store.identity, time.time()), planned)) + "\n")
    for selection in ((), ("--plan", plan)):
        assert run("--cache.path", tmp_path / "inventory.sqlite", *selection).exit_code == 0
        tags = {
            name: at
            for each in BackupReader(place).entries("app")
            for name, at in each.tags.items()
        }
        assert tags == {"old": PUSHED_AT, "new": TAGGED_AT}
    (tmp_path / "restored.jsonl").unlink()
    (tmp_path / "restored.jsonl").mkdir()
    outcome = run("--cache.path", tmp_path / "inventory.sqlite")
    assert outcome.exit_code == 0
    assert outcome.complaints.count("the times at which tags were restored") == 1


@pytest.mark.parametrize("seconds", [None, -1e15, 1e12, 1e300, float("inf"), float("nan")])
def test_a_time_that_no_calendar_has_is_unknown(seconds: float | None) -> None:
    entry = BackupEntry(digest_of(b"x"), "application/x", 1, {"1": seconds}, seconds)
    (read,) = decode_index(encode_index([entry]))
    assert (dict(read.tags), read.linked_at) == ({"1": None}, None)


def test_a_second_run_copies_and_writes_nothing(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    two_platforms(builder, "team/app")
    builder.image("team/app/nested", "1")
    builder.image("other", "1")
    assert run().exit_code == 0
    before = files(place)
    outcome = run()
    assert outcome.exit_code == 0
    assert "copied 0 files of 0 B" in outcome.output
    assert files(place) == before


def test_a_tag_that_moved_is_at_its_new_manifest_and_a_deleted_one_stays(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    first = builder.image("app", "latest", [b"first"])
    gone = builder.image("app", "gone", [b"gone"])
    run()
    second = builder.image("app", "latest", [b"second"])
    builder.delete_revision("app", gone)
    assert run().exit_code == 0
    tags = {each.digest: set(each.tags) for each in BackupReader(place).entries("app")}
    assert tags == {first: set(), gone: {"gone"}, second: {"latest"}}


def test_repositories_share_blobs_and_may_be_nested(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    base = noise("base", 5000)
    names = ["a", "a/b", "a/b/c", "0", "x.y_z--q/a__b", "Example.com/app", "localhost/a.b-c"]
    for name in names:
        builder.image(name, "_A.b-1", [base])
    assert run().exit_code == 0
    backup = BackupReader(place)
    assert set(backup.repositories()) == set(names)
    for name in names:
        layout = place / name / "_layout"
        digest = digest_of(base).replace(":", "/")
        assert (layout / "blobs" / digest).read_bytes() == base
        assert not (layout / "blobs").readlink().is_absolute()
        (entry,) = backup.entries(name)
        assert set(entry.tags) == {"_A.b-1"}
    copies = [path for path in place.rglob("*") if path.name == digest_of(base).split(":")[1]]
    assert len([path for path in copies if not path.is_symlink()]) == 1
    assert check(place, "--repository", "a/b").exit_code == 0


def test_only_the_selected_repositories_are_saved(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    for name in ("team/app", "team/db", "other", "third"):
        builder.image(name, "1")
    assert run("--repository", "other", "--match", "team/.*").exit_code == 0
    assert list(BackupReader(place).repositories()) == ["other", "team/app", "team/db"]
    assert status(place)["last_complete"] is None
    assert status(place)["last_run"]["complete"] is True


def test_only_what_a_plan_deletes_is_saved(
    builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    index, first, second = two_platforms(builder, "app")
    builder.image("app", "2", [b"stays"])
    header = plan_header(FilesystemStore(builder.root).identity, time.time())
    line = plan_line(PlannedDeletion("app", index, 0, ("1.0",)))
    plan = tmp_path / "plan"
    plan.write_text("\n".join(("# A plan", *header, line)) + "\n")
    assert run("--plan", plan).exit_code == 0
    entries = BackupReader(place).entries("app")
    assert {each.digest for each in entries} == {index, first, second}
    assert {tag for each in entries for tag in each.tags} == {"1.0"}
    text = plan.read_text().replace(str(builder.root), "/another")
    plan.write_text(text)
    outcome = run("--plan", plan)
    assert outcome.exit_code == 1
    assert "the plan is of the store /another" in outcome.complaints


@pytest.mark.parametrize("name", ["../escaped/app", "{outside}/app", "a//b", "Upper", "a/../b"])
def test_a_plan_with_a_name_that_is_no_repository_writes_nothing(
    name: str, builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    image = builder.image("app", "1")
    name = name.format(outside=tmp_path / "outside")
    store = FilesystemStore(builder.root)
    line = plan_line(PlannedDeletion(name, image, 0, ()))
    plan = tmp_path / "plan"
    plan.write_text("\n".join((*plan_header(store.identity, time.time()), line)) + "\n")
    before = set(tmp_path.iterdir())
    outcome = run("--plan", plan)
    assert outcome.exit_code == 1
    assert f"the plan names {name}@{image} with the tags" in outcome.complaints
    assert set(tmp_path.iterdir()) == before
    result = back_up(store, scan_store(builder.root), {name: [image]}, place, same_filesystem=True)
    assert [each.subject for each in result.faults] == [name]
    assert set(tmp_path.iterdir()) == {*before, place}
    assert not [each for each in place.rglob("*") if each.name == "_layout"]


def test_a_backup_without_blobs_holds_the_manifests_and_says_so(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    image = builder.image("app", "1", [noise("layer", 3000)])
    assert run("--no-blobs").exit_code == 0
    assert [each.name for each in (place / "_blobs" / "sha256").iterdir()] == [
        image.removeprefix("sha256:")
    ]
    outcome = check(place)
    assert outcome.exit_code == 0
    assert "2 blobs are not in it, because it was made without blobs" in outcome.output
    assert status(place)["last_complete"] is None


def test_the_blobs_that_are_asked_for_are_saved_beside_the_manifests(
    builder: StoreBuilder, place: Path
) -> None:
    kept, freed = noise("kept", 100), noise("freed", 100)
    image = builder.image("app", "1", [kept, freed])
    store = FilesystemStore(builder.root)
    inventory = scan_store(builder.root)
    digest = next(each for each in inventory.digests if format_digest(each) == digest_of(freed))
    result = back_up(
        store, inventory, {"app": [image]}, place, blobs=[digest], same_filesystem=True
    )
    assert (result.run.complete, result.copied_blobs) == (True, 2)
    reader = BackupReader(place)
    assert (reader.blob_size(digest_of(freed)), reader.blob_size(digest_of(kept))) == (100, None)
    with reader.open_blob(digest_of(freed)) as blob:
        assert blob.read() == freed


# what is missing


def test_what_the_store_lacks_is_named_and_all_the_rest_is_saved(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    lost, damaged = noise("lost", 100), noise("damaged", 100)
    builder.image("app", "1", [lost, noise("there", 200)])
    builder.image("app", "2", [damaged])
    sound = builder.image("other", "1")
    builder.blob_path(digest_of(lost)).unlink()
    flip_a_byte(builder.blob_path(digest_of(damaged)))
    outcome = run()
    assert outcome.exit_code == 1
    actual = digest_of(builder.blob_path(digest_of(damaged)).read_bytes())
    assert set(missing(outcome)) == {
        f"missing: {digest_of(lost)}: is not in the store; app needs it",
        f"missing: {digest_of(damaged)}: is corrupt: its 100 bytes hash to {actual}; app needs it",
    }
    assert "the backup is not complete: 2 parts" in outcome.complaints
    assert [each.digest for each in BackupReader(place).entries("other")] == [sound]
    assert BackupReader(place).blob_size(digest_of(noise("there", 200))) == 200
    assert status(place)["last_complete"] is None
    assert status(place)["last_run"]["missing"] == 2
    verified = check(place)
    assert verified.exit_code == 1
    assert f"missing: {digest_of(lost)}: is not in the backup; needed by app:1" in verified.output


def test_what_only_the_backup_has_still_is_not_missing(builder: StoreBuilder, run: Run) -> None:
    layer = noise("layer", 100)
    builder.image("app", "1", [layer])
    assert run().exit_code == 0
    builder.blob_path(digest_of(layer)).unlink()
    assert run().exit_code == 0


@needs_root
def test_what_may_not_be_read_is_missing(
    builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    layer = noise("layer", 100)
    builder.image("app", "1", [layer])
    builder.image("app", "2", [b"other"])
    hidden = builder.tag_link("app", "2")
    hidden.chmod(0o000)
    builder.blob_path(digest_of(layer)).chmod(0o000)
    place.mkdir()
    place.chmod(0o777)
    with as_nobody(tmp_path / "x"):
        outcome = run()
    assert outcome.exit_code == 1
    assert f"missing: {digest_of(layer)}: cannot be read: Permission denied" in outcome.output
    assert "missing: repositories/app/_manifests/tags/2/current/link: " in outcome.output


def test_a_blob_that_vanishes_during_the_run_is_missing(builder: StoreBuilder, place: Path) -> None:
    layers = [noise(f"{number}", 100) for number in range(20)]
    builder.image("app", "1", layers)
    store, inventory = FilesystemStore(builder.root), scan_store(builder.root)
    backup = Backup(store, inventory, select_repositories(inventory, None, with_blobs=True), place)
    backup.check(same_filesystem=True)
    for layer in layers[10:]:
        builder.blob_path(digest_of(layer)).unlink()
    result = backup.run(BackupControl())
    assert not result.run.complete
    assert {each.subject for each in result.faults} == {digest_of(each) for each in layers[10:]}


# what is refused


def test_a_directory_on_the_filesystem_of_the_store_is_refused(
    builder: StoreBuilder, place: Path
) -> None:
    builder.image("app", "1")
    outcome = run_command("backup", "--storage.root", builder.root, place / "below")
    assert outcome.exit_code == 1
    assert "is on the same filesystem as the store" in outcome.complaints
    assert "--same-filesystem if this is what you want" in outcome.complaints
    assert not place.exists()


def test_a_directory_in_the_store_is_refused(builder: StoreBuilder, run: Run) -> None:
    builder.image("app", "1")
    outcome = run(to=builder.version_path / "backup")
    assert outcome.exit_code == 1
    assert "is in the store" in outcome.complaints
    assert not (builder.version_path / "backup").exists()


def test_a_directory_with_something_else_is_refused(run: Run, place: Path) -> None:
    place.mkdir()
    (place / "notes").write_text("mine")
    outcome = run()
    assert outcome.exit_code == 1
    assert "is not empty and holds no backup" in outcome.complaints
    assert [each.name for each in place.iterdir()] == ["notes"]


def test_a_backup_of_another_store_is_refused(
    builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    builder.image("app", "1")
    run()
    other = StoreBuilder(tmp_path / "other")
    other.image("app", "1")
    flags = ("--storage.root", other.root, "--same-filesystem")
    outcome = run_command("backup", *flags, place)
    assert outcome.exit_code == 1
    assert f"holds a backup of another store, {builder.root}" in outcome.complaints


def test_two_runs_at_a_time_are_refused(builder: StoreBuilder, run: Run, place: Path) -> None:
    builder.image("app", "1")
    run()
    with (place / "_lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        outcome = run()
    assert outcome.exit_code == 1
    assert "another run writes to this backup" in outcome.complaints


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--repository", "ap"], "--repository ap: the store has no such repository; did you mean"),
        (["--match", "ap"], "--match ap: no repository has such a name"),
        (["--match", "("], "is not a regular expression"),
        (["--plan", "/nowhere"], "--plan /nowhere: cannot be read"),
        (["--plan", "x", "--match", "y"], "give it without --repository and --match"),
    ],
)
def test_wrong_options_are_explained(
    arguments: list[str], complaint: str, builder: StoreBuilder, run: Run, place: Path
) -> None:
    builder.image("app", "1")
    outcome = run(*arguments)
    assert outcome.exit_code == 2
    assert complaint in outcome.complaints
    assert not place.exists()


# room


def test_too_little_room_is_an_error_before_anything_is_written(
    builder: StoreBuilder, tmp_path: Path, mounts: Mounts
) -> None:
    builder.image("app", "1", [noise("large", 3_000_000)])
    with small_filesystem(mounts, tmp_path / "disk", "2m") as disk:
        outcome = run_command("backup", "--storage.root", builder.root, disk.place / "backup")
        assert outcome.exit_code == 1
        assert "has too little room: 2.9 MiB are needed, 2.0 MiB are available" in (
            outcome.complaints
        )
        assert not (disk.place / "backup").exists()


def test_a_disk_that_fills_up_ends_the_run_and_the_next_one_continues(
    builder: StoreBuilder, tmp_path: Path, mounts: Mounts
) -> None:
    for number in range(3):
        builder.image(f"app{number}", "1", [noise(f"{number}", 1_000_000)])
    with small_filesystem(mounts, tmp_path / "disk", "8m") as disk:
        place = disk.place / "backup"
        store, inventory = FilesystemStore(builder.root), scan_store(builder.root)
        selection = select_repositories(inventory, None, with_blobs=True)
        backup = Backup(store, inventory, selection, place)
        backup.check(same_filesystem=False)
        disk.fill_all_but(1_500_000)
        with pytest.raises(Exception, match="No space left on device; free some room"):
            backup.run(BackupControl())
        for path in (place / "_blobs").rglob("*"):
            assert path.is_dir() or sha256(path) == path.name
        disk.make_room()
        flags = ("--storage.root", builder.root)
        outcome = run_command("backup", *flags, place)
        assert outcome.exit_code == 0, outcome
        assert check(place).exit_code == 0
        assert not (place / "_temporary").exists()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_repository_of_thousands_of_tags_takes_seconds(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    for number in range(200):
        image = builder.image("app", f"{number}", [b"%d" % number], b"{}")
        for other in range(9):
            builder.tag("app", f"{number}.{other}", image)
    started = time.monotonic()
    assert run().exit_code == 0
    first = time.monotonic() - started
    entries = BackupReader(place).entries("app")
    assert sum(len(each.tags) for each in entries) == 2000
    started = time.monotonic()
    assert run().exit_code == 0
    again = time.monotonic() - started
    assert (first < 10, again < 5) == (True, True), (first, again)


# verify --backup


def test_a_damaged_backup_is_described(builder: StoreBuilder, run: Run, place: Path) -> None:
    flipped, lost = noise("flipped", 100), noise("lost", 100)
    builder.image("app", "1", [flipped, lost])
    image = builder.image("other", "1")
    run()
    blobs = place / "_blobs" / "sha256"
    flip_a_byte(blobs / digest_of(flipped).removeprefix("sha256:"))
    (blobs / digest_of(lost).removeprefix("sha256:")).unlink()
    (blobs / image.removeprefix("sha256:")).unlink()
    (blobs / "junk").write_text("")
    outcome = check(place)
    assert outcome.exit_code == 1
    damaged = digest_of((blobs / digest_of(flipped).removeprefix("sha256:")).read_bytes())
    assert sorted(outcome.output.splitlines()[:-1]) == sorted(
        [
            f"missing: {digest_of(lost)}: is not in the backup; needed by app:1",
            f"missing: {image}: is not in the backup; needed by other:1",
            f"corrupt: {digest_of(flipped)}: its 100 bytes in the backup hash to {damaged}",
            f"left over: {blobs}/junk: no part of a backup",
        ]
    )
    assert outcome.output.splitlines()[-1].endswith(": 1 corrupt, 0 unreadable, 2 missing")


def test_a_backup_is_repaired_by_a_run_after_its_damaged_files_are_removed(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    layer = noise("layer", 100)
    builder.image("app", "1", [layer])
    run()
    path = place / "_blobs" / "sha256" / digest_of(layer).removeprefix("sha256:")
    os.truncate(path, 50)  # seen by its size alone
    assert check(place).exit_code == 1
    assert run().exit_code == 0
    assert check(place).exit_code == 0


def test_a_damaged_index_is_named(builder: StoreBuilder, run: Run, place: Path) -> None:
    builder.image("app", "1")
    run()
    (place / "app" / "_layout" / "index.json").write_text("{")
    with pytest.raises(BackupUnusableError, match=r"index\.json is damaged: "):
        BackupReader(place).entries("app")
    outcome = check(place)
    assert outcome.exit_code == 1
    assert "unreadable: " in outcome.output
    (place / "app" / "_layout" / "blobs").unlink()
    assert "wrong layout: " in check(place).output


def test_what_is_no_backup_is_refused(place: Path) -> None:
    outcome = check(place)
    assert outcome.exit_code == 1
    assert f"{place} holds no backup" in outcome.complaints
    outcome = run_command("verify", "--backup", place, "--restart")
    assert outcome.exit_code == 2
