"""Faults of the state directory cost time and one line of the log, but no figure."""

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
from tests.test_cache import about_of, cache_path_in, of_the_store, put, state_variables
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
    """Return the metrics of a scan by a new process."""
    return Metrics.parse(run_command("collect", "--storage.root", root).output)


def assert_serves(exporter: Exporter, root: Path, *, loaded: bool, written: bool) -> None:
    """Assert that the figures are right, and whether the cache was loaded and written."""
    metrics = exporter.wait_for(lambda page: page.value(WRITTEN) == written)
    assert metrics.value(LOADED) == loaded
    assert of_the_store(metrics) == of_the_store(freshly_collected(root))
    assert metrics.value("docker_registry_scan_success") == 1
    assert exporter.get("/-/healthy").status_code == 200


def cached_tags(path: Path, root: Path) -> int | None:
    """Return the number of tags of ``app`` in the cache; None without a valid cache."""
    kept = figures_cache(path, root).load()
    return None if kept is None else len(kept.known.inventory.repositories[0].tags)


# no room, no write permission


def test_a_full_state_directory_costs_no_figure_and_one_line(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    flags, environment = ("--storage.root", store.root), state_variables(state.place.parent)
    path = cache_path_in(state.place.parent)
    state.fill()
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=False, written=False)
        (line,) = exporter.complaints
        assert str(path) in line
        assert "database or disk is full; is there room in its directory" in line
        state.make_room()
        exporter.terminate()  # writes what is not saved yet
        assert exporter.complaints == [line]
    assert cached_tags(path, store.root) == 2
    store.image("app", "3")
    state.fill()
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=True, written=False)
        assert len(exporter.complaints) == 1
        exporter.terminate()
    state.make_room()
    assert cached_tags(path, store.root) == 2
    assert state.names() == [path.name]
    record(
        "State directory full: `serve` continues, logs it once, and leaves the earlier cache whole",
        "a full tmpfs of 1 MiB: figures equal a fresh scan's, 1 warning, "
        f"{WRITTEN} 0; written once there was room",
    )


def test_a_read_only_state_directory_costs_no_figure_and_one_line(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    flags, environment = ("--storage.root", store.root), state_variables(state.place.parent)
    path = cache_path_in(state.place.parent)
    logged = []
    for expected in ("Read-only file system; give a --cache.path", "readonly database; is there"):
        is_kept = path.exists()
        state.make_read_only()
        store.image("app", f"more-{is_kept}")
        with Exporter(*flags, environment=environment) as exporter:
            assert_serves(exporter, store.root, loaded=is_kept, written=False)
            (line,) = exporter.complaints
            assert str(path) in line
            assert expected in line
            logged.append(line)
            state.make_writable()
            exporter.terminate()
        assert cached_tags(path, store.root) == 3 + is_kept
    record(
        "State directory read-only: `serve` uses the cache, continues and logs it once",
        f"a tmpfs that was remounted: {len(logged)} starts, {len(logged)} warnings, figures equal",
    )


def test_a_half_written_cache_on_a_read_only_disk_is_not_used(
    store: StoreBuilder, state: SmallFilesystem, record: Record
) -> None:
    path = cache_path_in(state.place.parent)
    path.parent.mkdir()
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, 1.0))
    leave_half_written(path)
    state.make_read_only()
    flags, environment = ("--storage.root", store.root), state_variables(state.place.parent)
    with Exporter(*flags, environment=environment) as exporter:
        assert_serves(exporter, store.root, loaded=False, written=False)
        (line,) = exporter.complaints
        assert str(path) in line
        state.make_writable()
        exporter.terminate()
    assert cached_tags(path, store.root) == 2
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
    """Kill a process in the middle of its transaction on the file."""
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", HALF_WRITTEN, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() != before
    assert path.with_name(f"{path.name}-journal").stat().st_size > 0


@pytest.mark.parametrize(
    ("fault", "reason", "fix"),
    [
        (SmallFilesystem.fill, "No space left on device", "free some room on that filesystem"),
        (SmallFilesystem.make_read_only, "Read-only file system", "give a file"),
    ],
    ids=["full", "read-only"],
)
def test_verify_finds_the_same_without_a_writable_checkpoint(
    store: StoreBuilder,
    state: SmallFilesystem,
    record: Record,
    fault: Callable[[SmallFilesystem], None],
    reason: str,
    fix: str,
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
    assert f"{reason}; {fix}" in line
    assert "continuing, but an interrupted run cannot be resumed" in line
    assert state.names() == []
    record(
        f"`verify`, its checkpoint's disk {reason.lower()}: finds what it would find",
        f"{len(found.stdout.splitlines()) - 1} corrupt blob found, 1 warning, no file left",
    )


# a damaged or foreign file


@dataclass(frozen=True)
class Damage:
    """A possible damage of the file.

    Attributes:
        name: for people.
        do: damages the file.
        reason: text in the log; empty without a warning.
        is_replaced: whether the next write replaces the file.
        is_loaded: whether the damaged file is still loaded.

    """

    name: str
    do: Callable[[Path], object]
    reason: str
    is_replaced: bool = True
    is_loaded: bool = False


def put_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def put_byte(path: Path, place: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)


def garble_names(path: Path) -> None:
    """Make SQLite quote a garbled table name in its error."""
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
    Damage("a directory", put_directory, "it is not a regular file", is_replaced=False),
    Damage("with names that are no text", garble_names, "is damaged (its text is not UTF-8)"),
    Damage("for a newer SQLite", lambda path: put_byte(path, 18, 3), "", is_loaded=True),
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
def test_an_unusable_cache_costs_a_full_scan_and_one_line_of_the_log(
    store: StoreBuilder, tmp_path: Path, record: Record, damage: Damage
) -> None:
    path = cache_path_in(tmp_path)
    path.parent.mkdir(parents=True)
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, time.time()))
    damage.do(path)
    store.image("app", "3")
    with Exporter("--storage.root", store.root, environment=state_variables(tmp_path)) as exporter:
        assert_serves(exporter, store.root, loaded=damage.is_loaded, written=damage.is_replaced)
        lines = exporter.complaints
        exporter.kill()
    if damage.reason:
        (line,) = lines
        assert f"the cache {path} " in line
        assert damage.reason in line
    else:
        assert lines == []
    assert (cached_tags(path, store.root) == 3) == damage.is_replaced
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    used = "used, and" if damage.is_loaded else "not used, everything is read:"
    outcome = "replaced by a good one" if damage.is_replaced else "left alone"
    record(
        f"The cache is {damage.name}: it is {used} {outcome}",
        f"figures equal a fresh scan's, {len(lines)} warnings",
    )


APPLICATION_ID = slice(68, 72)
"""The bytes of SQLite's header that name the program of the file."""


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


def test_random_damage_is_noticed_or_harmless_and_the_next_write_repairs_it(
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
    chance = random.Random(12)  # noqa: S311 - reproducible
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
        if damaged[APPLICATION_ID] != content[APPLICATION_ID] and not cache.save(whole):
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
    """Let another process hold the exclusive lock."""
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


def test_a_cache_locked_by_another_process_delays_the_start_only_briefly(
    store: StoreBuilder, tmp_path: Path, record: Record
) -> None:
    path = cache_path_in(tmp_path)
    path.parent.mkdir(parents=True)
    memory = StoreMemory(0.0)
    scan_store(store.root, memory=memory)
    assert figures_cache(path, store.root).save(CacheContent(memory.known, time.time()))
    flags, environment = ("--storage.root", store.root), state_variables(tmp_path)
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
