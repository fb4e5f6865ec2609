"""``serve`` records what it publishes, whatever happens to it, its disk and its clock."""

import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from exporter.domain.errors import HistoryUnusableError
from exporter.domain.snapshot import BlobState, GcMode
from exporter.domain.uses import Use
from exporter.history.points import StorePoint
from exporter.history.reader import HistoryReader
from tests.exporter_process import REPOSITORY, Exporter, Metrics
from tests.mounts import Mounts
from tests.recorded_history import HOUR, RecordedHistory, repository
from tests.reliability import Record
from tests.small_filesystem import SmallFilesystem, small_filesystem
from tests.test_faults_clock import DAY, Clock
from tests.test_rescan import small_store

pytestmark = pytest.mark.reliability("faults")


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = small_store(tmp_path / "registry")
    store.unlinked_blob(noise("garbage", 300))
    return store


class Served:
    """A store that is served, and its history."""

    def __init__(self, store: StoreBuilder, directory: Path) -> None:
        self.store = store
        self.environment = {"XDG_STATE_HOME": str(directory / "state")}
        self.path = directory / "state" / "registry-storage-exporter" / "history.sqlite"
        self.reader = HistoryReader(self.path, lambda: os.path.realpath(store.root))

    def serve(self, *flags: str) -> Exporter:
        """Return an exporter of the store."""
        return Exporter("--storage.root", self.store.root, *flags, environment=self.environment)

    def wait_for_points(self, count: int = 1) -> tuple[StorePoint, ...]:
        """Wait until so many points of the store are recorded."""
        wait_until(lambda: len(self.points) >= count, f"there are no {count} points")
        return self.points

    @property
    def points(self) -> tuple[StorePoint, ...]:
        """All points of the store."""
        return self.reader.store_points(0)


@pytest.fixture
def served(store: StoreBuilder, tmp_path: Path) -> Served:
    return Served(store, tmp_path)


def assert_equal(point: StorePoint, page: Metrics) -> None:
    """Assert that a point has the figures of a page of metrics."""
    name = "docker_registry_{}".format
    for state in BlobState:
        assert point.blob_bytes[state] == page.value(name("blob_bytes"), state=state)
    for mode in GcMode:
        assert point.reclaimable_bytes[mode] == page.value(name("gc_reclaimable_bytes"), mode=mode)
    assert point.uploads == page.value(name("uploads"))
    assert point.upload_bytes == page.value(name("upload_bytes"))
    assert point.strays == page.value(name("stray_files"))
    assert point.stray_bytes == page.value(name("stray_bytes"))
    assert point.tags == page.value(name("tags"))
    assert point.repositories == page.value(name("repositories"))


def test_what_is_published_is_recorded_after_the_first_scan_and_at_the_end(served: Served) -> None:
    with served.serve() as exporter:
        first, *_ = served.wait_for_points()
        before = exporter.metrics()
        served.store.image("new", "1", [noise("new", 9000)])
        after = exporter.wait_for(
            lambda page: (
                page != before
                and page.value("docker_registry_repository_tags", repository="new") == 1
            )
        )
        exporter.terminate()
        assert exporter.complaints == []
    assert_equal(first, before)
    assert_equal(served.points[-1], after)
    assert served.points[-1].at >= first.at
    growth = served.reader.repositories_at(served.points[-1].at)
    assert growth is not None
    assert growth["new"].exclusive_bytes == after.value(
        "docker_registry_repository_exclusive_bytes", repository="new"
    )
    assert served.path.stat().st_mode & 0o777 == 0o600
    assert "history.sqlite-wal" not in {each.name for each in served.path.parent.iterdir()}


def test_the_history_goes_on_after_a_restart_and_after_a_crash(served: Served) -> None:
    begins = set()
    for number in range(3):
        with served.serve() as exporter:
            served.wait_for_points()
            served.store.image("app", f"new-{number}")
            exporter.kill() if number == 1 else exporter.terminate()
        begins.add(served.reader.begins_at())
    assert len(begins) == 1
    with served.serve() as exporter:
        last = exporter.value("docker_registry_tags")
        wait_until(lambda: served.points[-1].tags == last, "it records no more")
        assert exporter.complaints == []


def test_without_a_maximum_size_nothing_is_recorded(served: Served) -> None:
    with served.serve("--history.max-size", "0") as exporter:
        exporter.terminate()
    assert not served.path.exists()
    assert (served.path.parent / "inventory.sqlite").exists()


def test_the_history_is_beside_the_cache(store: StoreBuilder, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere" / "kept.sqlite"
    with Exporter("--storage.root", store.root, "--cache.path", cache):
        wait_until((tmp_path / "elsewhere" / "history.sqlite").exists, "nothing is recorded")


def test_use_bytes_are_recorded_with_a_platform(served: Served, tmp_path: Path) -> None:
    config = tmp_path / "captain"
    config.mkdir()
    (config / "config-captain.json").write_text('{"appDefinitions": {"shop": {"versions": []}}}')
    with served.serve("--caprover.config-dir", str(config)) as exporter:
        page = exporter.wait_for(
            lambda page: page.value("docker_registry_use_bytes", use="unmanaged") is not None
        )
        exporter.terminate()
    uses = served.points[-1].use_bytes
    assert uses is not None
    assert uses == {use: page.value("docker_registry_use_bytes", use=use) for use in Use}


# faults


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_text("what?\n" * 999)


def lose_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):
        content[start : start + 2048] = b"\xf0" * 2048
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, overwrite, lose_pages])
def test_a_damaged_history_is_set_aside_with_one_line_and_a_new_one_begins(
    served: Served, record: Record, damage: Callable[[Path], None]
) -> None:
    with served.serve() as exporter:
        before = served.wait_for_points()
        exporter.terminate()
    damage(served.path)
    damaged = served.path.read_bytes()
    with served.serve() as exporter:
        wait_until(served.path.with_suffix(".sqlite.damaged").exists, "it is not set aside")
        served.wait_for_points()
        exporter.terminate()
        (line,) = exporter.complaints
    assert f"the history {served.path} is damaged (" in line
    assert "it is kept as history.sqlite.damaged, and a new history begins" in line
    assert served.path.with_suffix(".sqlite.damaged").read_bytes() == damaged
    assert served.points[-1].tags == before[-1].tags
    record(
        f"The history is damaged ({damage.__name__}): it is set aside, and a new one begins",
        "1 warning; recorded again at once",
    )


def flip_some(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 3, 30))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def change_the_header(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(100)] = chance.randrange(256)


def lose_the_end(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def lose_a_page(content: bytearray, chance: random.Random) -> None:
    start = 4096 * chance.randrange(len(content) // 4096)
    content[start : start + 4096] = chance.choice((bytes(4096), chance.randbytes(4096)))


@pytest.mark.parametrize("damage", [flip_some, change_the_header, lose_the_end, lose_a_page])
def test_random_damage_is_refused_set_aside_or_harmless(
    tmp_path: Path, damage: Callable[[bytearray, random.Random], None]
) -> None:
    whole = RecordedHistory(tmp_path / "whole" / "history.sqlite")
    for hour in range(30):
        whole.now += HOUR
        whole.record_all([repository(f"a{each}", each + hour) for each in range(60)], avail=7)
    whole.file.close()
    for seed in range(25):
        content = bytearray(whole.path.read_bytes())
        damage(content, random.Random(seed))  # noqa: S311 - the same in every run
        history = RecordedHistory(tmp_path / str(seed) / "history.sqlite")
        history.path.parent.mkdir()
        history.path.write_bytes(content)
        history.now = whole.now
        reader = history.reader
        questions: list[Callable[[], object]] = [
            reader.begins_at,
            partial(reader.store_points, 0),
            partial(reader.store_bytes, 0),
            reader.repositories_begin_at,
            partial(reader.growth, DAY),
            partial(reader.repository_points, "a7", 0),
            partial(reader.repositories_at, history.now),
            partial(reader.repositories_growth, DAY),
            reader.seconds_until_full,
        ]
        for ask in questions:
            with suppress(HistoryUnusableError):
                ask()
        recorded = False
        for _ in range(2):
            history.now += HOUR
            with suppress(HistoryUnusableError):
                history.record(repository("new", 7))
                recorded = True
        if recorded:
            assert history.sizes_of("new")[-1][1] == 7
        else:
            assert history.path.read_bytes() == content
        history.file.close()


def test_damage_by_another_program_ends_within_the_hour(tmp_path: Path) -> None:
    history = RecordedHistory(tmp_path / "history.sqlite")
    history.record_all([repository(f"a{each}", each) for each in range(1000)])
    overwrite(history.path)
    for hour in range(3):
        history.now += HOUR
        history.record_all([repository(f"a{each}", each + hour) for each in range(1000)])
    assert history.sizes_of("a7")[-2:] == [(2 * HOUR, 8), (3 * HOUR, 9)]


def test_a_history_of_a_newer_version_is_left_alone_with_one_line(served: Served) -> None:
    with served.serve() as exporter:
        served.wait_for_points()
        exporter.terminate()
    content = bytearray(served.path.read_bytes())
    content[63] = 99  # the last byte of user_version, in SQLite's header
    served.path.write_bytes(content)
    with served.serve() as exporter:
        wait_until(lambda: bool(exporter.complaints), "it says nothing")
        exporter.terminate()
        (line,) = exporter.complaints
    assert f"the history {served.path} is not kept: it was written by a newer version" in line
    assert served.path.read_bytes() == content


@pytest.fixture
def state(mounts: Mounts, tmp_path: Path) -> Iterator[SmallFilesystem]:
    with small_filesystem(mounts, tmp_path / "state", "4m") as mounted:
        yield mounted


def test_a_full_disk_costs_points_but_not_the_history(
    served: Served, state: SmallFilesystem, record: Record
) -> None:
    with served.serve() as exporter:
        served.wait_for_points()
        exporter.terminate()
    before = served.points
    state.fill()
    served.store.image("app", "full")
    with served.serve() as exporter:
        wait_until(lambda: "history" in str(exporter.complaints), "it says nothing")
        tags = exporter.value("docker_registry_tags")
        assert exporter.get("/-/healthy").status_code == 200
        lines = [line for line in exporter.complaints if "history" in line]
        state.make_room()
        exporter.terminate()
    (line,) = lines
    assert f"the history {served.path} is not kept: " in line
    assert "is there room in its directory" in line
    assert served.points[0].at == before[0].at
    assert served.points[-1].tags == tags == before[-1].tags + 1
    record(
        "The disk of the history is full: `serve` continues, logs it once, and keeps what is there",
        "figures right, 1 warning; recorded again once there was room",
    )


def test_a_disk_that_fills_during_a_write_damages_nothing(state: SmallFilesystem) -> None:
    history = RecordedHistory(state.place / "history.sqlite")
    for hour in range(300):
        history.now += HOUR
        try:
            history.record_all([repository(f"a{each}", each + hour) for each in range(1000)])
        except HistoryUnusableError as error:
            message = str(error)
            break
    else:
        raise AssertionError("the disk was never full")
    assert "is there room in its directory" in message
    assert len(history.sizes()) >= hour
    assert not history.path.with_name("history.sqlite.damaged").exists()
    assert len(history.sizes_of("a7")) >= hour - 1
    history.file.close()


def test_a_clock_set_back_while_it_runs_and_while_it_was_down_harms_nothing(
    served: Served, tmp_path: Path, record: Record
) -> None:
    clock = Clock(tmp_path)
    served.environment |= clock.environment
    clock.set(10 * DAY)
    for number, offset in enumerate((8 * DAY, 0.0)):
        with served.serve() as exporter:
            wait_until(served.path.exists, "nothing is recorded")
            served.store.image("app", f"{number}", at=clock.now())
            exporter.wait_for(
                lambda page, tags=3 + number: page.value("docker_registry_tags") == tags  # type: ignore[misc]
            )
            clock.set(offset)
            exporter.terminate()
            assert "history" not in str(exporter.complaints)
    root = os.path.realpath(served.store.root)
    later = HistoryReader(served.path, lambda: root, lambda: clock.now() + 20 * DAY)
    points = later.store_points(0)
    assert points[0].tags == 4  # the last that was recorded, by the right clock
    assert len(points) >= 3
    assert served.points[-1].tags == 4
    record("The clock is set back by days: the history goes on, and loses nothing", "0 warnings")


KILLS = """
import os, random, signal, sqlite3, sys, time
from contextlib import closing
from pathlib import Path
from tests.recorded_history import RecordedHistory, repository, HOUR

path, kills = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(5)
interrupted, last = 0, 0
for kill in range(kills):
    child = os.fork()
    if not child:
        history = RecordedHistory(path)
        points = history.reader.store_points(0)
        history.now = (points[-1].at if points else history.now) + HOUR
        while True:
            size = history.now // HOUR
            history.record_all([repository(f"a{each}", size + each) for each in range(600)])
            history.now += HOUR
    time.sleep(chance.uniform(0.0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if not path.exists():
        continue
    interrupted += Path(f"{path}-wal").exists()
    history = RecordedHistory(path)
    history.now += 10**7 * HOUR // HOUR
    points = history.reader.store_points(0)
    at = points[-1].at if points else 0
    assert at >= last, "points are lost"
    last = at
    for name in ("a0", "a599"):
        for point in history.reader.repository_points(name, 0):
            assert point.referenced_bytes == point.at // HOUR + int(name[1:]), "a wrong point"
    if points:
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
assert not path.with_name(path.name + ".damaged").exists()
names = {each.name.removeprefix(path.name) for each in path.parent.iterdir()}
assert names <= {"", "-wal", "-shm"}, names
print(interrupted, len(points))
"""


def test_kills_at_any_moment_lose_no_recorded_point(tmp_path: Path, record: Record) -> None:
    path = tmp_path / "history.sqlite"
    command = [sys.executable, "-c", KILLS, str(path), "100"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    interrupted, points = map(int, done.stdout.split())
    assert interrupted > 10
    record(
        "Killed with -9 while it records the history: nothing recorded is lost or wrong",
        f"100 kills, {interrupted} while files beside the database were open, {points} points, "
        "0 damaged files",
    )


WRITERS = """
import os, sys
from pathlib import Path
from tests.recorded_history import RecordedHistory, repository

path, children = Path(sys.argv[1]), []
for writer in range(3):
    child = os.fork()
    if not child:
        history = RecordedHistory(path)
        for minute in range(40):
            history.now += 60
            history.record_all([repository(f"a{each}", minute + each) for each in range(700)])
        history.file.close()
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
"""


def test_exporters_that_record_at_once_in_one_file_do_not_harm_each_other(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    command = [sys.executable, "-c", WRITERS, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    history = RecordedHistory(path)
    history.now += 3600
    found = history.reader.repositories_at(history.now)
    assert found is not None
    assert {name: each.referenced_bytes for name, each in found.items()} == {
        f"a{each}": 39 + each for each in range(700)
    }
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert [*tmp_path.iterdir()] == [path]


def test_a_fifo_in_place_of_the_history_blocks_nothing(served: Served) -> None:
    served.path.parent.mkdir(parents=True)
    os.mkfifo(served.path)
    with served.serve() as exporter:
        wait_until(lambda: bool(exporter.complaints), "it says nothing")
        assert exporter.value("docker_registry_scan_success") == 1
        exporter.terminate()
        (line,) = exporter.complaints
    assert "it is not a regular file" in line
