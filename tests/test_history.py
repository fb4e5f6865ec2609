"""What the history records, and what it answers."""

import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.commands.one_scan import scan_once
from exporter.domain.errors import HistoryUnusableError
from exporter.domain.model import FilesystemUsage
from exporter.domain.snapshot import BlobState, Snapshot
from exporter.domain.uses import Use, UseFigures, UseTotal
from exporter.history.growth import Change, repository_changes
from exporter.history.points import RepositoryPoint, store_point_of
from exporter.history.port import History
from exporter.history.rows import COLUMNS, point_of, row_of
from exporter.history.time_to_full import Sample, seconds_until_full
from exporter.store.filesystem.store import FilesystemStore
from tests.recorded_history import DAY, EMPTY, HOUR, NOON, RecordedHistory, repository

A, B = repository("a", 100), repository("b", 1000)
GROWN = repository("a", 150, tags=2)
SMALL = 6_000_000


@pytest.fixture
def history(tmp_path: Path) -> RecordedHistory:
    return RecordedHistory(tmp_path / "state" / "history.sqlite")


# the store


def test_a_point_has_the_figures_of_the_scan(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1", [noise("layer", 5000)])
    store.image("app", None, [noise("other", 700)])
    store.unlinked_blob(noise("garbage", 300))
    store.upload("app", b"half a layer", time.time())
    snapshot = scan_once(FilesystemStore(store.root), None, Analyst(AnalysisOptions()))
    point = store_point_of(snapshot, 7.9)
    assert point is not None
    assert snapshot.store is not None
    assert snapshot.filesystem is not None
    figures = snapshot.store.figures
    assert point.at == 7
    assert point.blob_bytes == {state: total.bytes for state, total in figures.blobs.items()}
    assert point.blob_bytes[BlobState.UNREFERENCED] == 300
    assert point.store_bytes == figures.total_bytes + len(b"half a layer")
    assert (point.uploads, point.tags, point.repositories) == (1, 1, 1)
    assert figures.collector is not None
    assert point.reclaimable_bytes == {
        mode: run.frees.bytes for mode, run in figures.collector.items()
    }
    assert point.size_bytes == snapshot.filesystem.size_bytes
    assert point.files_free == snapshot.filesystem.files_free
    assert point.use_bytes is None


def test_there_is_no_point_before_the_first_scan() -> None:
    assert store_point_of(Snapshot(), 1) is None


def test_a_point_is_the_same_after_it_was_written_and_read() -> None:
    usage = FilesystemUsage(10, 9, 8, 7, 6, readonly=False)
    uses = dict.fromkeys((Use.RUNNING, Use.ORPHANED), 5)
    whole = replace(
        EMPTY, size_bytes=usage.size_bytes, files=usage.files, use_bytes=uses, strays=3, at=NOON
    )
    for point in (EMPTY, whole):
        assert point_of(row_of(point)) == point
    assert len(COLUMNS) == len(set(COLUMNS)) == len(row_of(whole))


def test_more_inodes_than_a_column_can_hold_are_recorded_as_the_most_it_can(
    history: RecordedHistory,
) -> None:
    history.file.record(replace(EMPTY, at=NOON, files=2**64 - 1), ())
    (point,) = history.reader.store_points(0)
    assert point.files == 2**63 - 1


def test_the_bytes_by_use_are_those_of_the_snapshot(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1")
    snapshot = scan_once(FilesystemStore(store.root), None, Analyst(AnalysisOptions()))
    uses = UseFigures({Use.RUNNING: UseTotal(1, 77)}, {}, {}, frozenset(), {})
    point = store_point_of(replace(snapshot, uses=uses), NOON)
    assert point is not None
    assert point.use_bytes == {Use.RUNNING: 77}


def test_the_store_has_a_point_at_each_change(history: RecordedHistory) -> None:
    for minute, repositories in enumerate(((A,), (A,), (A, B), (A, B), (B,))):
        history.now = NOON + 60 * minute
        history.record(*repositories)
    assert history.sizes() == [(0, 100), (120, 1100), (240, 1000)]


def test_points_since_a_moment_begin_with_the_state_at_that_moment(
    history: RecordedHistory,
) -> None:
    for minute, size in enumerate((1, 2, 3)):
        history.now = NOON + 60 * minute
        history.record(repository("a", size))
    assert history.sizes(NOON + 61) == [(60, 2), (120, 3)]
    assert history.sizes(NOON - 1) == [(0, 1), (60, 2), (120, 3)]


@pytest.mark.parametrize("since", [0, NOON, NOON + 30, NOON + 60, NOON + 900])
def test_the_bytes_of_points_are_those_of_the_points(history: RecordedHistory, since: int) -> None:
    for number, avail in enumerate((5000, None, 4000, 4000)):
        history.now = NOON + 60 * number
        history.record_all([repository("a", 100 * number)], avail)
    expected = [
        (each.at, each.store_bytes, each.avail_bytes) for each in history.reader.store_points(since)
    ]
    assert list(history.reader.store_bytes(since)) == expected
    history.now = NOON + 60
    assert history.reader.store_bytes(0) == ((NOON, 0, 5000), (NOON + 60, 100, None))


def test_unfinished_uploads_are_bytes_of_the_store(history: RecordedHistory) -> None:
    states = {BlobState.TAGGED: 1, BlobState.UNTAGGED: 20, BlobState.UNREFERENCED: 300}
    history.file.record(replace(EMPTY, at=NOON, blob_bytes=states, upload_bytes=4000), [])
    assert history.reader.store_bytes(0) == ((NOON, 4321, None),)


def test_growth_is_the_difference_to_the_nearest_point_before(history: RecordedHistory) -> None:
    history.record(A, avail=1000)
    history.now += HOUR
    history.record(GROWN, avail=940)
    history.now += DAY - HOUR
    growth = history.reader.growth(DAY)
    assert growth is not None
    assert (growth.store_bytes, growth.avail_bytes, growth.seconds) == (50, -60, HOUR)
    growth = history.reader.growth(HOUR)
    assert growth is not None
    assert growth.store_bytes == 0


def test_growth_over_more_than_the_history_is_unknown(history: RecordedHistory) -> None:
    assert history.reader.growth(DAY) is None
    history.record(A)
    history.now += DAY - 1
    history.record(GROWN)
    assert history.reader.growth(DAY) is None
    assert history.reader.repositories_growth(DAY) is None
    assert history.reader.repositories_at(NOON - 1) is None
    assert history.reader.store_at(NOON - 1) is None
    history.now += 1
    assert history.reader.growth(DAY) is not None
    assert history.reader.repositories_growth(DAY) == {"a": 25}


def test_without_a_file_every_answer_is_empty(history: RecordedHistory) -> None:
    reader: History = history.reader
    assert reader.begins_at() is None
    assert reader.store_bytes(0) == ()
    assert reader.repositories_begin_at() is None
    assert reader.store_points(0) == ()
    assert reader.store_at(NOON) is None
    assert reader.repository_points("a", 0) == ()
    assert reader.repositories_at(NOON) is None
    assert reader.repositories_growth(0) is None
    assert reader.seconds_until_full() is None
    assert not history.path.parent.exists()


def test_the_estimate_of_when_the_disk_is_full_is_that_of_the_recorded_samples(
    history: RecordedHistory,
) -> None:
    samples = [Sample(NOON + 60 * minute, 10**12 - 10**8 * minute) for minute in range(600)]
    for each in samples:
        history.now = int(each.at)
        history.record(A, avail=each.avail_bytes)
    expected = seconds_until_full(samples, history.now)
    assert expected == pytest.approx(60 * (10**12 - 10**8 * 599) / 10**8)
    assert history.reader.seconds_until_full() == expected


# repositories


def test_a_repository_has_its_last_state_of_each_hour_in_which_it_changed(
    history: RecordedHistory,
) -> None:
    for minutes, size in ((0, 1), (10, 2), (59, 3), (60, 3), (70, 4), (200, 5), (201, 5)):
        history.now = NOON + 60 * minutes
        history.record(repository("a", size), B)
    assert history.sizes_of("a") == [(59 * 60, 3), (70 * 60, 4), (200 * 60, 5)]
    assert history.sizes_of("b") == [(0, 1000)]
    assert history.sizes_of("c") == []


def test_points_of_a_repository_begin_with_its_state_at_that_moment(
    history: RecordedHistory,
) -> None:
    for hour, size in enumerate((1, 2, 3, 3)):
        history.now = NOON + hour * HOUR
        history.record(repository("a", size))
    assert history.sizes_of("a", NOON + HOUR + 1) == [(HOUR, 2), (2 * HOUR, 3)]
    assert history.sizes_of("a", NOON + 9 * HOUR) == [(2 * HOUR, 3)]


def test_growth_of_repositories_counts_those_that_came_and_went(history: RecordedHistory) -> None:
    history.record(A, B)
    history.now += DAY
    history.record(GROWN, repository("new", 8))
    assert history.reader.repositories_growth(DAY) == {"a": 25, "b": -500, "new": 4}
    assert history.reader.repositories_growth(HOUR) == {"a": 25, "b": -500, "new": 4}
    history.now += HOUR
    assert history.reader.repositories_growth(HOUR) == {}


def test_the_repositories_of_a_moment_are_those_that_existed_then(
    history: RecordedHistory,
) -> None:
    history.record(A, B)
    history.now += 2 * HOUR
    history.record(GROWN)
    history.now += 2 * HOUR
    history.record(GROWN, repository("b", 2))
    before, gone, back = (history.reader.repositories_at(NOON + hour * HOUR) for hour in (1, 3, 5))
    assert before == {
        "a": RepositoryPoint(NOON, 100, 50, 1),
        "b": RepositoryPoint(NOON, 1000, 500, 1),
    }
    assert gone == {"a": RepositoryPoint(NOON + 2 * HOUR, 150, 75, 2)}
    assert back is not None
    assert back["b"].exclusive_bytes == 1
    points = history.reader.repository_points("b", 0)
    assert [each.exists for each in points] == [True, False, True]


def test_changes_name_what_came_went_grew_and_shrank_with_the_largest_first() -> None:
    before = {
        name: RepositoryPoint(0, size, size // 2, 1)
        for name, size in {"a": 100, "b": 900, "same": 5, "less": 50}.items()
    }
    now = [GROWN, repository("same", 5, tags=3), repository("less", 20), repository("new", 400)]
    changes = repository_changes(before, now)
    assert [(each.name, each.change, each.exclusive_bytes, each.tags) for each in changes] == [
        ("b", Change.WENT, -450, -1),
        ("new", Change.CAME, 200, 1),
        ("a", Change.GREW, 25, 1),
        ("less", Change.SHRANK, -15, 0),
    ]


def test_a_repository_that_shares_all_of_its_new_blobs_has_grown() -> None:
    before = {"a": RepositoryPoint(0, 100, 50, 1)}
    (change,) = repository_changes(before, [replace(A, referenced_bytes=300)])
    assert (change.change, change.exclusive_bytes, change.referenced_bytes) == ("grew", 0, 200)


def test_any_thread_may_ask_while_another_records(history: RecordedHistory) -> None:
    history.record(A)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(history.reader.repository_points, "a", 0) for _ in range(50)]
        for hour in range(20):
            history.now = NOON + hour * HOUR
            history.record(repository("a", hour + 1))
        assert all(answer.result() for answer in answers)
    assert len(history.sizes_of("a")) == 20


# its size


def test_after_sixty_days_one_point_a_day_is_left(history: RecordedHistory) -> None:
    for hour in range(3 * 24):
        history.now = NOON + hour * HOUR
        history.record(repository("a", 1 + hour), B)
    for hour in range(70):  # each hour the points of one day are thinned
        history.now = NOON + 62 * DAY + hour * HOUR
        history.record(repository("a", 1000), B)
    points = [at for at, _ in history.sizes()]
    last_of_days = [11 * HOUR, 35 * HOUR, 59 * HOUR, 71 * HOUR]
    assert points == [*last_of_days, 62 * DAY]
    assert history.sizes_of("a") == [(at, at // HOUR + 1) for at in last_of_days] + [
        (62 * DAY, 1000)
    ]
    assert history.sizes_of("b") == [(0, 1000)]


def test_points_of_sixty_days_are_all_there(history: RecordedHistory) -> None:
    for part in range(60 * 4):
        history.now = NOON + part * 6 * HOUR
        history.record(repository("a", 1 + part))
    assert len(history.sizes()) == 60 * 4
    assert len(history.sizes_of("a")) == 60 * 4


def test_a_clock_that_is_ahead_for_a_moment_thins_no_more_than_a_day(
    history: RecordedHistory,
) -> None:
    for hour in range(5 * 24):
        history.now = NOON + hour * HOUR
        history.record(repository("a", 1 + hour))
    history.now = NOON + 3650 * DAY
    history.record(repository("a", 7))
    history.now = NOON + 5 * DAY
    history.record(repository("a", 8))
    assert len(history.sizes()) >= 5 * 24 - 24
    assert history.sizes()[-1] == (5 * DAY, 8)


MANY = 1000
HOURS = 100


def fill(history: RecordedHistory, hours: int) -> list[int]:
    """Change every repository every hour; return the bytes on disk after each hour."""
    sizes = []
    for hour in range(hours):
        history.now = NOON + hour * HOUR
        history.record_all([repository(f"team/{each}", hour + each) for each in range(MANY)])
        sizes.append(history.bytes_on_disk())
    return sizes


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordedHistory, list[int]]:
    """Return a history with more than fits, and its sizes."""
    history = RecordedHistory(tmp_path_factory.mktemp("filled") / "history.sqlite", SMALL)
    history.record(A, repository("gone", 5))
    return history, fill(history, HOURS)


def test_the_history_never_takes_more_than_its_maximum(
    filled: tuple[RecordedHistory, list[int]],
) -> None:
    _, sizes = filled
    assert SMALL // 3 < max(sizes) <= SMALL


def test_the_oldest_points_of_repositories_go_first(
    filled: tuple[RecordedHistory, list[int]],
) -> None:
    history, _ = filled
    assert len(history.sizes()) == HOURS
    points = history.sizes_of("team/7")
    assert points[-1] == ((HOURS - 1) * HOUR, HOURS + 6)
    assert 2 < len(points) < HOURS
    assert history.reader.repositories_growth((HOURS - 1) * HOUR) is None
    growth = history.reader.repositories_growth(2 * HOUR)
    assert growth == {f"team/{each}": 1 for each in range(MANY)}


def test_what_is_left_of_the_history_is_right(filled: tuple[RecordedHistory, list[int]]) -> None:
    history, _ = filled
    begins_at = history.reader.repositories_begin_at()
    assert begins_at is not None
    known = 0
    for hour in range(0, HOURS, 3):
        found = history.reader.repositories_at(NOON + hour * HOUR)
        if found is not None:
            sizes = {name: point.referenced_bytes for name, point in found.items()}
            assert sizes == {f"team/{each}": hour + each for each in range(MANY)}
            known += 1
        assert (found is not None) == (NOON + hour * HOUR >= begins_at)
    assert 2 < known < HOURS // 3


def test_repositories_that_went_before_the_history_begins_are_forgotten(
    filled: tuple[RecordedHistory, list[int]],
) -> None:
    history, _ = filled
    assert history.sizes_of("gone") == []


@pytest.mark.parametrize("years", [-6, 6])
def test_a_wrong_clock_makes_a_full_history_forget_little(
    filled: tuple[RecordedHistory, list[int]], tmp_path: Path, years: int
) -> None:
    history = RecordedHistory(tmp_path / "history.sqlite", SMALL)
    history.now = right = filled[0].now
    with (
        closing(sqlite3.connect(filled[0].path)) as source,
        closing(sqlite3.connect(history.path)) as copy,
    ):
        source.backup(copy)
    known = len(history.sizes_of("team/7"))
    history.now += years * 365 * DAY
    for _ in range(3):
        history.now += 60
        history.record_all([repository(f"team/{each}", 5 + each) for each in range(MANY)])
    history.now = right + 2 * HOUR
    history.record_all([repository(f"team/{each}", each) for each in range(MANY)])
    assert len(history.sizes_of("team/7")) >= known // 2
    assert history.sizes_of("team/7")[-1] == (right + 2 * HOUR - NOON, 7)
    assert history.bytes_on_disk() <= SMALL


def test_a_lower_maximum_makes_the_file_smaller(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    large = RecordedHistory(path)
    fill(large, hours=20)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("CREATE TABLE ballast (content)")
        database.execute("INSERT INTO ballast VALUES (zeroblob(?))", (2 * SMALL,))
        database.execute("DROP TABLE ballast")
    large.file.close()
    assert path.stat().st_size > SMALL
    small = RecordedHistory(path, SMALL)
    small.now = large.now + HOUR
    small.record(A)
    small.file.close()
    assert small.bytes_on_disk() <= SMALL
    assert small.sizes()[-1] == (20 * HOUR, 100)


def test_more_names_than_fit_are_an_error_that_names_the_setting(tmp_path: Path) -> None:
    history = RecordedHistory(tmp_path / "history.sqlite", SMALL)
    many = [repository(f"{'long/' * 40}{each}", each) for each in range(10_000)]
    messages = []
    for _ in range(2):
        with pytest.raises(HistoryUnusableError) as raised:
            history.record_all(many)
        messages.append(str(raised.value))
        history.now += 60
    assert "10,000 repositories fill it; set a larger --history.max-size" in messages[-1]
    assert history.bytes_on_disk() <= SMALL
    assert len(history.sizes()) >= 1


# the file


def test_only_the_owner_may_read_the_files(history: RecordedHistory) -> None:
    history.record(A)
    files = sorted(history.path.parent.iterdir())
    assert [each.name for each in files] == [
        "history.sqlite",
        "history.sqlite-shm",
        "history.sqlite-wal",
    ]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(history.path.parent.stat().st_mode) == 0o700
    history.file.close()
    assert [*history.path.parent.iterdir()] == [history.path]
    history.path.chmod(0o644)
    history.record(A)
    assert stat.S_IMODE(history.path.stat().st_mode) == 0o600


def test_a_new_file_takes_the_place_of_a_removed_one(history: RecordedHistory) -> None:
    history.record(A)
    for each in history.path.parent.iterdir():
        each.unlink()
    history.now += 60
    history.record(A)
    assert history.sizes() == [(60, 100)]
    assert history.sizes_of("a") == [(60, 100)]


def test_two_exporters_record_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    both = [RecordedHistory(path), RecordedHistory(path)]
    for minute in range(200):
        for number, each in enumerate(both):
            each.now = NOON + 60 * minute + 30 * number
            each.record(repository("a", minute), B)
    assert both[0].sizes() == [(60 * minute, minute + 1000) for minute in range(200)]
    assert both[1].sizes_of("a") == [
        (59 * 60, 59),
        (119 * 60, 119),
        (179 * 60, 179),
        (199 * 60, 199),
    ]


def write_as(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("PRAGMA user_version = 99", "it was written by a newer version of this program"),
        ("PRAGMA application_id = 7", "it is a database of another program"),
        ("UPDATE about SET value = '/other' WHERE name = 'root'", "it is of another store, /other"),
    ],
)
def test_a_file_of_something_else_is_left_alone(
    history: RecordedHistory, script: str, reason: str
) -> None:
    history.record(A)
    history.file.close()
    write_as(history.path, script)
    before = history.path.read_bytes()
    with pytest.raises(HistoryUnusableError, match=reason):
        history.record(B)
    with pytest.raises(HistoryUnusableError, match=reason):
        history.reader.growth(DAY)
    assert history.path.read_bytes() == before
    assert [*history.path.parent.iterdir()] == [history.path]


def test_a_running_exporter_stops_writing_when_a_newer_version_takes_over(
    history: RecordedHistory,
) -> None:
    history.record(A)
    write_as(history.path, "PRAGMA user_version = 99")
    with pytest.raises(HistoryUnusableError, match="newer version"):
        history.record(B)


def test_a_directory_in_its_place_is_left_alone(history: RecordedHistory) -> None:
    history.path.mkdir(parents=True)
    with pytest.raises(HistoryUnusableError, match="it is not a regular file"):
        history.record(A)


def test_an_empty_file_is_a_new_history(history: RecordedHistory) -> None:
    history.path.parent.mkdir()
    history.path.touch()
    assert history.reader.begins_at() is None
    history.record(A)
    assert history.sizes() == [(0, 100)]


def test_a_locked_file_is_an_error_that_says_so(history: RecordedHistory) -> None:
    history.record(A)
    with closing(sqlite3.connect(history.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert history.file.path == history.path
        assert history.reader.begins_at() == NOON  # readers do not wait
        with pytest.raises(HistoryUnusableError, match="another process has locked it"):
            history.record(B)
    history.record(B)
    assert history.sizes()[-1] == (0, 1000)


def test_a_directory_that_may_not_be_written_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    history = RecordedHistory(tmp_path / "file" / "history.sqlite")
    with pytest.raises(HistoryUnusableError, match="Not a directory; give a --cache"):
        history.record(A)


# the clock


def test_a_clock_set_back_neither_loses_nor_garbles_anything(history: RecordedHistory) -> None:
    for hour in range(48):
        history.now = NOON + hour * HOUR
        history.record(repository("a", 1000 + hour), B, avail=10**9)
    for hour in range(10):  # an hour of yesterday again
        history.now = NOON + 20 * HOUR + hour * HOUR + 60
        history.record(repository("a", 5000 + hour), B, avail=10**9)
        growth = history.reader.growth(HOUR)
        assert growth is not None
        assert history.sizes_of("a")[-1] == (history.now - NOON, 5000 + hour)
    assert history.sizes()[0] == (0, 2000)
    # and when the clock is right again
    history.now = NOON + 60 * HOUR
    history.record(repository("a", 6000), B, avail=10**9)
    assert history.sizes()[-1] == (60 * HOUR, 7000)
    assert (47 * HOUR, 2047) in history.sizes()
    assert history.reader.repositories_growth(10 * HOUR) == {"a": 3000 - 1047 // 2}
    at = [at for at, _ in history.sizes()]
    assert all(one < other for one, other in pairwise(at))


def test_a_history_that_begins_while_the_clock_is_ahead_is_of_use_once_it_is_right(
    history: RecordedHistory,
) -> None:
    history.now = NOON + 3650 * DAY
    history.record(A, B)
    history.now = NOON
    assert history.reader.store_points(0) == ()
    history.record(A, B)
    history.now += 2 * DAY
    history.record(GROWN, B)
    growth = history.reader.growth(DAY)
    assert growth is not None
    assert growth.store_bytes == 50
    assert history.reader.repositories_growth(DAY) == {"a": 25}
    assert history.sizes_of("b") == [(0, 1000)]


def test_times_that_no_clock_shows_are_answered(history: RecordedHistory) -> None:
    history.record(A)
    assert history.sizes(-1e12) == [(0, 100)]
    assert history.reader.store_at(1e12) is not None
    assert history.reader.repositories_at(-5) is None
