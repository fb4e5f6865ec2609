"""A backup directory that was damaged, or that somebody has put something else into."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.store import StoreBuilder, digest_of, noise
from exporter.backup.directory import blobs_link
from exporter.backup.reader import BackupReader
from exporter.backup.writing import back_up
from exporter.commands.restore.options import RestoreRequest
from exporter.commands.restore.sources import open_source
from exporter.domain.errors import BackupUnusableError
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.store import FilesystemStore
from tests.in_process import Outcome, run_command
from tests.test_verify import flip_a_byte

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
    def save(*arguments: str | Path) -> Outcome:
        flags = ("--storage.root", builder.root, "--same-filesystem")
        return run_command("backup", *flags, *arguments, place)

    return save


def check(place: Path, *arguments: str | Path) -> Outcome:
    return run_command("verify", "--backup", place, *arguments)


def blob(place: Path, digest: str) -> Path:
    return place / "_blobs" / digest.replace(":", "/")


def tree(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes() if path.is_file() else b""
        for path in place.rglob("*")
    }


@pytest.mark.parametrize("name", ["_temporary", "_blobs", "_blobs/sha256", "team", "team/app"])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_link_in_the_place_of_a_directory_leads_nowhere(
    name: str, builder: StoreBuilder, run: Run, place: Path, tmp_path: Path, *, is_new: bool
) -> None:
    builder.image("team/app", "1")
    (place / "_blobs").mkdir(parents=True)
    if not is_new:
        assert run().exit_code == 0
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("mine")
    before = tree(victim)
    link = place / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        link.rename(tmp_path / "moved")
    link.symlink_to(victim)
    outcome = run()
    assert outcome.exit_code == 1
    assert f"{link} is a symbolic link; no backup has made it" in (
        outcome.complaints + outcome.output
    )
    assert tree(victim) == before


def test_a_lock_that_is_a_link_creates_nothing(
    builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    builder.image("app", "1")
    place.mkdir()
    (place / "_lock").symlink_to(tmp_path / "created")
    outcome = run()
    assert outcome.exit_code == 1
    assert "_lock is a symbolic link" in outcome.complaints
    assert not (tmp_path / "created").exists()


@pytest.mark.parametrize("kind", ["fifo", "endless"])
@pytest.mark.parametrize("name", ["app/_layout/index.json", "_backup.json"])
def test_a_file_of_another_kind_neither_hangs_nor_fills_the_memory(
    name: str, kind: str, builder: StoreBuilder, run: Run, place: Path
) -> None:
    builder.image("app", "1")
    assert run().exit_code == 0
    path = place / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for outcome in (run(), check(place)):
        if name == "_backup.json" and outcome.output:
            continue  # `verify` reads the indexes
        assert outcome.exit_code == 1
        assert f"{path} is " in outcome.complaints + outcome.output


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_blob_of_another_kind_counts_as_not_there_and_is_replaced(
    kind: str, builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    layer = noise("layer", 100)
    builder.image("app", "1", [layer])
    assert run().exit_code == 0
    path = blob(place, digest_of(layer))
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(layer)
    assert check(place).exit_code == 1
    with pytest.raises(BackupUnusableError):
        BackupReader(place).open_blob(digest_of(layer))
    assert run().exit_code == 0
    assert (path.is_symlink(), path.read_bytes()) == (False, layer)
    assert check(place).exit_code == 0


def test_a_damaged_manifest_or_configuration_is_copied_again(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    image = builder.image("app", "1", [noise("layer", 100)])
    builder.image("other", "1", [noise("layer", 100)])
    assert run().exit_code == 0
    paths = [path for path in (place / "_blobs").rglob("*") if path.is_file()]
    for path in paths:
        flip_a_byte(path)
    assert check(place).exit_code == 1
    outcome = run()
    assert outcome.exit_code == 0
    assert f"copied {len(paths)} files" in outcome.output
    assert check(place).exit_code == 0
    flip_a_byte(blob(place, image))
    builder.blob_path(image).unlink()
    outcome = run()
    assert outcome.exit_code == 1
    assert f"missing: {image}: is damaged in the backup, and is not in the store" in outcome.output


@pytest.mark.parametrize("content", ["{", '{"x":' + "[" * 100_000])
def test_a_damaged_index_concerns_its_own_repository_only(
    content: str, builder: StoreBuilder, run: Run, place: Path
) -> None:
    builder.image("app", "1")
    assert run().exit_code == 0
    index = place / "app/_layout/index.json"
    index.write_text(content)
    lost, other = builder.image("app", "2", [b"new"]), builder.image("other", "1")
    outcome = run()
    assert outcome.exit_code == 1
    (line,) = (each for each in outcome.output.splitlines() if each.startswith("missing: "))
    assert line.startswith(f"missing: app/_layout: {index} is damaged: ")
    assert line.endswith("2 manifests concerned")
    wanted = {"app": [lost], "other": [other]}
    store, inventory = FilesystemStore(builder.root), scan_store(builder.root)
    result = back_up(store, inventory, wanted, place, same_filesystem=True)
    assert [each.subject for each in result.faults] == [lost]  # `apply` does not delete it
    reader = BackupReader(place)
    assert reader.content(lost)
    assert [each.digest for each in reader.entries("other")] == [other]
    with pytest.raises(BackupUnusableError, match="is damaged: "):
        reader.entries("app")
    with pytest.raises(BackupUnusableError, match="--repository NAME restores another"):
        open_source(RestoreRequest(place), print)
    source = open_source(RestoreRequest(place, ("other",)), print)
    assert [each.digest for each in source.wanted] == [other]
    index.unlink()  # as the message says
    assert run().exit_code == 0
    assert {tag for each in reader.entries("app") for tag in each.tags} == {"1", "2"}


@pytest.mark.parametrize("name", ["blobs", "oci-layout"])
def test_a_lost_part_of_a_layout_is_made_again(
    name: str, builder: StoreBuilder, run: Run, place: Path
) -> None:
    image = builder.image("team/app", "1")
    assert run().exit_code == 0
    layout = place / "team/app/_layout"
    (layout / name).unlink()
    assert run().exit_code == 0
    assert str((layout / "blobs").readlink()) == blobs_link("team/app")
    assert (layout / "blobs" / image.replace(":", "/")).exists()
    assert (layout / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'


def test_a_directory_in_the_place_of_a_link_is_named_and_all_else_is_saved(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    builder.image("app", "1")
    assert run().exit_code == 0
    link = place / "app/_layout/blobs"
    link.unlink()
    link.mkdir()
    new, other = builder.image("app", "2", [b"new"]), builder.image("other", "1")
    outcome = run()
    assert outcome.exit_code == 1
    assert f"missing: app/_layout: {link} is no symbolic link to ../../_blobs" in outcome.output
    reader = BackupReader(place)
    assert new in {each.digest for each in reader.entries("app")}
    assert [each.digest for each in reader.entries("other")] == [other]
    link.rmdir()
    assert run().exit_code == 0
    assert check(place).exit_code == 0


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("app/_layout/index.json", "unreadable: {place}/app/_layout/index.json: "),
        ("app", "missing: app: the backup has lost this repository, with 2 tags: "),
        ("app/_layout", "missing: app: the backup has lost this repository, with 2 tags: "),
    ],
)
def test_a_lost_index_or_repository_is_a_fault(
    name: str, found: str, builder: StoreBuilder, run: Run, place: Path, tmp_path: Path
) -> None:
    builder.image("app", "1")
    builder.image("app", "2", [b"second"])
    other = builder.image("other", "1")
    assert run().exit_code == 0
    assert run("--repository", "other").exit_code == 0
    (place / name).rename(tmp_path / "lost")
    outcome = check(place)
    assert outcome.exit_code == 1
    assert found.format(place=place) in outcome.output
    assert check(place, "--repository", "other").exit_code == 0
    with pytest.raises(BackupUnusableError, match="--repository NAME restores another"):
        open_source(RestoreRequest(place), print)
    source = open_source(RestoreRequest(place, ("other",)), print)
    assert [each.digest for each in source.wanted] == [other]
    assert run().exit_code == 0
    assert check(place).exit_code == 0


def test_tags_that_an_older_index_lacks_are_a_fault(
    builder: StoreBuilder, run: Run, place: Path
) -> None:
    builder.image("app", "1")
    assert run().exit_code == 0
    index = place / "app/_layout/index.json"
    older = index.read_bytes()
    builder.image("app", "2", [b"second"])
    assert run().exit_code == 0
    index.write_bytes(older)
    outcome = check(place)
    assert outcome.exit_code == 1
    assert f"missing: {index}: lists 1 tag, and 2 were saved: " in outcome.output
    (place / "_backup.json").unlink()
    assert f"missing: {place}/_backup.json: it says what the backup holds" in check(place).output
    assert run().exit_code == 0
    assert check(place).exit_code == 0
