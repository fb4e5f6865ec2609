"""Whatever happens to what is kept between runs costs time, one line of the log, and no figure."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from demo.store import StoreBuilder, noise
from exporter.domain.snapshot import StoreFigures
from exporter.store.filesystem.cache.cache_file import CacheContent
from exporter.store.filesystem.rescan.scan_memory import StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Exporter, Metrics, run_exporter
from tests.followed_store import figures_cache
from tests.in_process import run_command
from tests.mounts import Mounts
from tests.reliability import Record
from tests.small_filesystem import SmallFilesystem, small_filesystem
from tests.test_cache import about_of, in_state, kept_at, of_the_store, put
from tests.test_rescan import described, small_store
from tests.test_verify import flip_a_byte

pytestmark = pytest.mark.reliability("faults")

LOADED = "docker_registry_cache_loaded"
WRITTEN = "docker_registry_cache_write_success"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return small_store(tmp_path / "registry")


@pytest.fixture
def state(mounts: Mounts, tmp_path: Path) -> Iterator[SmallFilesystem]:
    with small_filesystem(mounts, tmp_path / "state") as mounted:
        yield mounted


def freshly_collected(root: Path) -> Metrics:
    """Scan with a process's memory of nothing."""
    return Metrics.parse(run_command("collect", "--storage.root", root).output)


def assert_serves(exporter: Exporter, root: Path, *, loaded: bool, written: bool) -> None:
    """Find that it tells the truth, and how keeping went."""
    metrics = exporter.wait_for(lambda page: page.value(WRITTEN) == written)
    assert metrics.value(LOADED) == loaded
    assert of_the_store(metrics) == of_the_store(freshly_collected(root))
    assert metrics.value("docker_registry_scan_success") == 1
    assert exporter.get("/-/healthy").status_code == 200


def tags_kept(path: Path, root: Path) -> int | None:
    """Tell how many tags of ``app`` are kept; None where nothing is."""
    kept = figures_cache(path, root).load()
    return None if kept is None else len(kept.known.inventory.repositories[0].tags)


# no room, no right to write


def test_a_full_state_directory_costs_no_figure_and_one_line(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    flags, environment = ("--storage.root", store.root), kept_at(state.place.parent)
    path = in_state(state.place.parent)
    state.fill()
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=False, written=False)
        (line,) = exporter.complaints
        assert str(path) in line
        assert "database or disk is full; is there room in its directory" in line
        state.make_room()
        exporter.terminate()  # which writes what is not kept yet
        assert exporter.complaints == [line]
    assert tags_kept(path, store.root) == 2
    store.image("app", "3")
    state.fill()
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=True, written=False)
        assert len(exporter.complaints) == 1
        exporter.terminate()
    state.make_room()
    assert tags_kept(path, store.root) == 2
    assert state.names() == [path.name]
    record(
        "State directory full: `serve` goes on, says so once, and keeps what it had kept whole",
        "a full tmpfs of 1 MiB: figures equal a fresh scan's, 1 warning, "
        f"{WRITTEN} 0; written once there was room",
    )


def test_a_read_only_state_directory_costs_no_figure_and_one_line(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    flags, environment = ("--storage.root", store.root), kept_at(state.place.parent)
    path = in_state(state.place.parent)
    said = []
    for expected in ("Read-only file system; give a --cache.path", "readonly database; is there"):
        is_kept = path.exists()
        state.make_read_only()
        store.image("app", f"more-{is_kept}")
        with Exporter(*flags, environment=environment) as exporter:
            assert_serves(exporter, store.root, loaded=is_kept, written=False)
            (line,) = exporter.complaints
            assert str(path) in line
            assert expected in line
            said.append(line)
            state.make_writable()
            exporter.terminate()
        assert tags_kept(path, store.root) == 3 + is_kept
    record(
        "State directory read-only: `serve` uses what was kept, goes on and says so once",
        f"a tmpfs that was remounted: {len(said)} starts, {len(said)} warnings, figures equal",
    )


def test_what_a_kill_left_half_written_on_a_disk_that_turned_read_only_is_not_believed(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    path = in_state(state.place.parent)
    path.parent.mkdir()
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, 1.0))
    leave_half_written(path)
    state.make_read_only()
    flags, environment = ("--storage.root", store.root), kept_at(state.place.parent)
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=False, written=False)
        (line,) = exporter.complaints
        assert str(path) in line
        state.make_writable()
        exporter.terminate()
    assert tags_kept(path, store.root) == 2
    assert state.names() == [path.name]
    record(
        "Killed in the middle of a write, then its disk turns read-only: everything is read again",
        "figures equal a fresh scan's, 1 warning; replaced once the disk was writable",
    )


HALF_WRITTEN = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")
database.execute("BEGIN IMMEDIATE")
database.execute("UPDATE part SET content = zeroblob(20000), checksum = 0")
os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_half_written(path: Path) -> None:
    """Kill a process once a part of its transaction is in the file."""
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", HALF_WRITTEN, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() != before
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


@pytest.mark.parametrize(
    ("fault", "reason", "mend"),
    [
        (SmallFilesystem.fill, "No space left on device", "free some room on that filesystem"),
        (SmallFilesystem.make_read_only, "Read-only file system", "give a file"),
    ],
    ids=["full", "read-only"],
)
def test_verify_finds_the_same_where_it_cannot_keep_how_far_it_is(
    store: StoreBuilder,
    state: SmallFilesystem,
    record: Record,
    fault: Callable[[SmallFilesystem], None],
    reason: str,
    mend: str,
) -> None:
    damaged = store.unlinked_blob(noise("damaged", 100))
    flip_a_byte(store.blob_path(damaged))
    flags = ("verify", "--storage.root", store.root, "--checkpoint", state.place / "verify.json")
    expected = run_exporter(*flags)
    fault(state)
    found = run_exporter(*flags)
    assert (found.returncode, expected.returncode) == (1, 1)
    assert found.stdout.splitlines()[:-1] == expected.stdout.splitlines()[:-1]
    (line,) = [line for line in found.stderr.splitlines() if "verify.json" in line]
    assert f"{reason}; {mend}" in line
    assert "continuing, but an interrupted run cannot be resumed" in line
    assert state.names() == []
    record(
        f"`verify`, its checkpoint's disk {reason.lower()}: finds what it would find",
        f"{len(found.stdout.splitlines()) - 1} corrupt blob found, 1 warning, no file left",
    )


# a file that is no longer what it was


@dataclass(frozen=True)
class Damage:
    """What may happen to the file.

    Attributes:
        name: for people.
        do: makes it happen.
        said: what the log says of it.
        mended: whether the next write replaces the file.
        is_read: whether it is of use until then.

    """

    name: str
    do: Callable[[Path], object]
    said: str
    mended: bool = True
    is_read: bool = False


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_byte(path: Path, place: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)


def garble_names(path: Path) -> None:
    """Have SQLite complain of a table, and quote its name."""
    content = path.read_bytes()
    path.write_bytes(
        content.replace(b"tablepart", b"table\xf0art").replace(b"CREATE", b"CRE\xf0TE")
    )


def claim(path: Path, **changes: object) -> None:
    put(path, "about", msgspec.msgpack.encode(about_of(path) | changes))


DAMAGES = [
    Damage("empty", lambda path: os.truncate(path, 0), "is empty"),
    Damage("cut short", lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    Damage("not SQLite", lambda path: path.write_text("what?\n" * 999), "is damaged"),
    Damage("a directory", put_directory, "it is not a regular file", mended=False),
    Damage("with names that are no text", garble_names, "is damaged (its text is not UTF-8)"),
    Damage("for a newer SQLite", lambda path: put_byte(path, 18, 3), "", is_read=True),
    Damage(
        "of a newer format", lambda path: claim(path, format=99), "was written by another version"
    ),
    Damage(
        "of a newer version",
        lambda path: claim(path, program="99.0"),
        "was written by version 99.0",
    ),
]


@pytest.mark.parametrize("damage", DAMAGES, ids=[each.name for each in DAMAGES])
def test_a_cache_that_is_of_no_use_costs_a_full_scan_and_one_line(
    store: StoreBuilder, tmp_path: Path, record: Record, damage: Damage
) -> None:
    path = in_state(tmp_path)
    path.parent.mkdir(parents=True)
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, time.time()))
    damage.do(path)
    store.image("app", "3")
    with Exporter("--storage.root", store.root, environment=kept_at(tmp_path)) as exporter:
        assert_serves(exporter, store.root, loaded=damage.is_read, written=damage.mended)
        lines = exporter.complaints
        exporter.kill()
    if damage.said:
        (line,) = lines
        assert f"the cache {path} " in line
        assert damage.said in line
    else:
        assert lines == []
    assert (tags_kept(path, store.root) == 3) == damage.mended
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    used = "used, and" if damage.is_read else "not used, everything is read:"
    mended = "replaced by a good one" if damage.mended else "left alone"
    record(
        f"The cache is {damage.name}: it is {used} {mended}",
        f"figures equal a fresh scan's, {len(lines)} warnings",
    )


WHOSE = slice(68, 72)
"""Bytes by which SQLite's files tell whose they are."""


def flip_some(content: bytearray, chance: random.Random) -> None:
    in_use = [place for place, byte in enumerate(content) if byte]
    for place in chance.sample(in_use, chance.choice((1, 1, 3, 30))):
        content[place] ^= 1 << chance.randrange(8)


def flip_the_header(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(100)] = chance.randrange(256)


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def lose_a_page(content: bytearray, chance: random.Random) -> None:
    start = 4096 * chance.randrange(len(content) // 4096)
    content[start : start + 4096] = chance.choice((bytes(4096), chance.randbytes(4096)))


def append(content: bytearray, chance: random.Random) -> None:
    content += chance.randbytes(chance.randrange(1, 9000))


def test_whatever_became_of_the_file_is_noticed_or_harmless_and_the_next_write_mends_it(
    store: StoreBuilder,
    tmp_path: Path,
    record: Record,
    caplog: pytest.LogCaptureFixture,
    *,
    at_length: bool,
) -> None:
    path = tmp_path / "inventory.sqlite"
    memory = StoreMemory(0.0)
    expected = described(scan_store(store.root, memory=memory))
    whole: CacheContent[StoreFigures] = CacheContent(memory.known, 1.0)
    assert figures_cache(path, store.root).save(whole)
    content = path.read_bytes()
    chance = random.Random(12)  # noqa: S311 - the same damage each time
    noticed, left_alone, rounds = 0, 0, 5000 if at_length else 200
    for number in range(rounds):
        damaged = bytearray(content)
        kinds = (flip_some, flip_the_header, cut, lose_a_page, append)
        kinds[number % len(kinds)](damaged, chance)
        path.write_bytes(damaged)
        cache = figures_cache(path, store.root)
        kept = cache.load()
        noticed += kept is None
        assert kept is None or described(kept.known.inventory) == expected
        if damaged[WHOSE] != content[WHOSE] and not cache.save(whole):
            assert "it is a database of another program; give another" in caplog.text
            left_alone += 1
            continue
        assert cache.save(whole), number
        again = figures_cache(path, store.root).load()
        assert again is not None, number
        assert described(again.known.inventory) == expected
        assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [path.name]
    assert 0 < noticed < rounds
    record(
        "The cache damaged at random places: never believed, and replaced by the next write, "
        "unless it looks like another program's database",
        f"{rounds} damages, {noticed} noticed, {rounds - noticed} harmless, 0 believed, "
        f"{left_alone} left alone",
    )


# another process


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another process hold the exclusive lock."""
    code = (
        "import sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        yield
        holder.communicate()


def test_a_cache_that_another_process_has_locked_delays_the_start_by_a_second_at_most(
    store: StoreBuilder, tmp_path: Path, record: Record
) -> None:
    path = in_state(tmp_path)
    path.parent.mkdir(parents=True)
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, time.time()))
    flags, environment = ("--storage.root", store.root), kept_at(tmp_path)
    seconds = []
    with Exporter(*flags, environment=environment) as exporter:
        seconds.append(first_scan_seconds(exporter))
        exporter.kill()
    with locked(path), Exporter(*flags, environment=environment) as exporter:
        seconds.append(first_scan_seconds(exporter))
        assert_serves(exporter, store.root, loaded=False, written=False)
        (line,) = exporter.complaints
        assert f"the cache {path} is not used: another process has locked it" in line
        assert "give another --cache.path" in line
        exporter.kill()
    store.image("app", "3")
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=True, written=True)
        assert exporter.complaints == []
    delay = seconds[1] - seconds[0]
    assert delay < 3.0
    record(
        "The cache locked by another process: the start waits a moment and goes on without it",
        f"{delay:.1f} s later, 1 warning; used again once it is free",
    )


def first_scan_seconds(exporter: Exporter) -> float:
    seconds = exporter.value("docker_registry_scan_duration_seconds")
    assert seconds is not None
    return seconds
