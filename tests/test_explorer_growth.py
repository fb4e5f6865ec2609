"""Growth over time on pages and in the API: which points are drawn, and what is said of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.commands.one_scan import scan_once
from exporter.domain.snapshot import RepositoryFigures
from exporter.store.filesystem.store import FilesystemStore
from exporter.views.action import CommandLines
from exporter.views.chart.marks import round_moments
from exporter.views.chart.time_chart import time_chart
from exporter.views.detail.repository import repository_detail
from exporter.views.over_time.repository_growth import RepositoryGrowth, repository_growth
from exporter.views.over_time.series import (
    MOST_POINTS,
    Extent,
    Period,
    Point,
    extent,
    thinned,
    value_at,
)
from exporter.views.overview import overview
from exporter.views.snapshot_view import SnapshotView, ViewOptions
from exporter.views.trend import trend
from exporter.web.explorer import wording
from tests.recorded_history import DAY, HOUR, NOON, RecordedHistory

MINUTE = 60


# Few enough points


def lines(most_points: int) -> st.SearchStrategy[list[Point]]:
    moments = st.lists(st.integers(0, 10**6), min_size=1, max_size=most_points, unique=True)
    return moments.flatmap(
        lambda times: st.lists(
            st.integers(0, 9) | st.integers(0, 2**62), min_size=len(times), max_size=len(times)
        ).map(lambda sizes: list(zip(sorted(times), sizes, strict=True)))
    )


@given(lines(120), st.integers(5, 40))
@example([(at, at % 7) for at in range(1000)], 300)
@example([(0, 1), *((10**6 + at, at % 5) for at in range(1000))], 300)
def test_thinned_points_keep_both_ends_the_lowest_and_the_highest(
    points: list[Point], most: int
) -> None:
    kept = thinned(points, most)
    assert len(kept) <= most
    assert list(kept) == sorted(set(kept))
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    for choose in (min, max):
        assert choose(size for _, size in kept) == choose(size for _, size in points)


@given(lines(20))
def test_few_points_are_not_thinned(points: list[Point]) -> None:
    assert thinned(points, 20) == tuple(points)


def test_a_thinned_line_stays_at_its_last_value_where_nothing_changes() -> None:
    burst = [(at, at * 37 % 101) for at in range(1000)]
    kept = thinned([*burst, (999_000, 7), (1_000_000, 8)])
    assert value_at(kept, 500_000) == value_at(burst, 500_000) == 999 * 37 % 101


def test_points_that_say_nothing_new_go_first() -> None:
    same = [(at, 5) for at in range(1000)]
    assert thinned([*same, (1000, 6), (1001, 6), (2000, 6)]) == ((0, 5), (1000, 6), (2000, 6))


def test_the_extent_of_a_line_has_its_first_lowest_and_highest_points() -> None:
    points = ((0, 4), (1, 2), (2, 9), (3, 2), (4, 9), (5, 6))
    assert extent(points) == Extent((0, 4), (1, 2), (2, 9), (5, 6))


# The repository


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1", [noise("layer", 5000), noise("base", 3000)])
    store.image("other", "1", [noise("base", 3000)])
    return store


@pytest.fixture
def history(tmp_path: Path) -> RecordedHistory:
    return RecordedHistory(tmp_path / "state" / "history.sqlite")


def view_of(store: StoreBuilder, history: RecordedHistory | None) -> SnapshotView:
    analysis = AnalysisOptions()
    files = FilesystemStore(store.root)
    snapshot = scan_once(files, None, Analyst(analysis))
    reader = None if history is None else history.reader
    options = ViewOptions(files, analysis, CommandLines("plan"), history=reader)
    return SnapshotView(snapshot, options, now=0.0 if history is None else history.now)


def later(view: SnapshotView, history: RecordedHistory, seconds: int) -> SnapshotView:
    history.now += seconds
    return replace(view, now=float(history.now))


def app(size: int, exclusive: int) -> RepositoryFigures:
    return RepositoryFigures("app", 1, 1, 0, size, exclusive, None)


OTHER = RepositoryFigures("other", 1, 1, 0, 50, 20, None)


def growth_of(
    store: StoreBuilder, history: RecordedHistory, period: Period = Period.MONTH
) -> RepositoryGrowth:
    growth = repository_growth(view_of(store, history), "app", period)
    assert growth is not None
    return growth


def since_noon(points: Sequence[Point]) -> list[Point]:
    return [(at - NOON, size) for at, size in points]


def test_a_repository_is_drawn_from_the_beginning_of_the_period_until_now(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    for day, size in ((0, 100), (20, 300), (39, 200)):
        history.now = NOON + day * DAY
        history.record(app(size, size // 10), OTHER)
    history.now = NOON + 40 * DAY
    now = view_of(store, history).figures["app"]
    growth = growth_of(store, history)
    assert since_noon(growth.exclusive_points) == [
        (10 * DAY, 10),
        (20 * DAY, 30),
        (39 * DAY, 20),
        (40 * DAY, now.exclusive_bytes),
    ]
    assert [size for _, size in growth.referenced_points] == [100, 300, 200, now.referenced_bytes]
    week = growth_of(store, history, Period.WEEK)
    assert since_noon(week.exclusive_points)[:2] == [(33 * DAY, 30), (39 * DAY, 20)]
    year = growth_of(store, history, Period.YEAR)
    assert since_noon(year.exclusive_points)[:2] == [(0, 10), (20 * DAY, 30)]


def test_growth_of_a_repository_is_the_same_as_in_the_table(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    for day, size in ((0, 100), (20, 300), (33, 250), (39, 200)):
        history.now = NOON + day * DAY
        history.record(app(size, size // 10), OTHER)
    history.now = NOON + 40 * DAY
    view = view_of(store, history)
    repository = view.repository("app")
    assert repository is not None
    detail = repository_detail(view, repository)
    assert detail.growth is not None
    spans = {each.span_seconds: each.exclusive_bytes for each in detail.growth.spans}
    assert spans == {DAY: 20 - 20, 7 * DAY: 20 - 25, 30 * DAY: 20 - 10}
    assert detail.row.growth_bytes == spans[7 * DAY]


def test_a_repository_that_came_later_had_nothing_before(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    history.record(OTHER)
    history.now = NOON + 3 * DAY
    history.record(app(100, 40), OTHER)
    history.now = NOON + 3 * DAY + HOUR
    growth = growth_of(store, history)
    assert since_noon(growth.exclusive_points)[:2] == [(0, 0), (3 * DAY, 40)]
    assert [each.exclusive_bytes for each in growth.spans] == [40, None, None]


def test_growth_is_known_of_an_hour_and_not_of_less(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    history.record(app(100, 40), OTHER)
    history.now += HOUR - 1
    assert growth_of(store, history) == RepositoryGrowth()
    assert trend(view_of(store, history)).store_points == ()
    history.now += 1
    assert since_noon(growth_of(store, history).exclusive_points)[0] == (0, 40)
    assert since_noon(trend(view_of(store, history)).store_points)[0] == (0, 150)


def test_without_a_history_a_repository_has_no_growth(store: StoreBuilder) -> None:
    assert repository_growth(view_of(store, None), "app", Period.MONTH) is None


def test_a_history_that_cannot_be_read_is_the_reason(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    history.path.mkdir(parents=True)
    growth = growth_of(store, history)
    assert growth.failure is not None
    assert growth == RepositoryGrowth(failure=growth.failure)
    assert "not a regular file" in growth.failure


# The store


def test_the_store_and_the_disk_are_drawn_until_now(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    for day, size, avail in ((0, 100, 900), (20, 300, None), (39, 200, 700)):
        history.now = NOON + day * DAY
        history.record_all([app(size, size)], avail)
    history.now = NOON + 40 * DAY
    view = view_of(store, history)
    shown = overview(view).trend
    bytes_now = view.reading.figures.total_bytes
    assert view.snapshot.filesystem is not None
    assert since_noon(shown.store_points) == [
        (10 * DAY, 100), (20 * DAY, 300), (39 * DAY, 200), (40 * DAY, bytes_now),
    ]  # fmt: skip
    assert since_noon(shown.avail_points) == [
        (10 * DAY, 900), (39 * DAY, 700), (40 * DAY, view.snapshot.filesystem.avail_bytes),
    ]  # fmt: skip
    week = overview(view, Period.WEEK).trend
    assert since_noon(week.store_points)[0] == (33 * DAY, 300)


def test_many_points_of_the_store_are_thinned_and_keep_its_highest_moment(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    for minute in range(2000):
        history.now = NOON + minute * MINUTE
        size = 10**9 if minute == 777 else 10**6 + minute % 13
        history.record_all([app(size, size)], avail=5 * 10**9 - 7 * (minute % 501))
    shown = trend(view_of(store, history))
    assert 100 < len(shown.store_points) <= MOST_POINTS
    assert 100 < len(shown.avail_points) <= MOST_POINTS
    assert (777 * MINUTE, 10**9) in since_noon(shown.store_points)
    assert since_noon(shown.store_points)[0] == (0, 10**6)
    assert min(size for _, size in shown.avail_points) == 5 * 10**9 - 3500


def test_the_points_of_a_month_are_read_once_an_hour_also_after_new_scans(
    store: StoreBuilder, history: RecordedHistory
) -> None:
    history.now = NOON - DAY
    history.record(app(100, 100))
    history.now = NOON
    view = view_of(store, history)
    known = since_noon(trend(view).store_points)
    view = later(view, history, 10 * MINUTE)
    history.record(app(900, 900))
    view = later(view, history, 10 * MINUTE)
    (*before, now), latest = since_noon(trend(view).store_points), view.reading.figures.total_bytes
    assert before == known[:-1] == [(-DAY, 100)]
    assert now == (20 * MINUTE, latest)
    view = later(view, history, 40 * MINUTE)
    assert since_noon(trend(view).store_points) == [
        (-DAY, 100), (10 * MINUTE, 900), (HOUR, latest),
    ]  # fmt: skip


# The picture


def test_marks_of_a_month_are_mondays() -> None:
    marks = round_moments(NOON, NOON + 30 * DAY, 6)
    # 15 January 2027 is a Friday
    assert [wording.day(each) for each in marks] == [
        "2027-01-18", "2027-01-25", "2027-02-01", "2027-02-08",
    ]  # fmt: skip
    assert [wording.mark(each) for each in marks] == ["18 Jan", "25 Jan", "1 Feb", "8 Feb"]


def test_marks_of_a_day_are_round_hours() -> None:
    marks = round_moments(NOON - 7, NOON + DAY - 7, 6)
    assert [wording.mark(each) for each in marks] == ["12:00", "18:00", "16 Jan", "06:00"]


def test_marks_of_a_year_are_first_days_of_months() -> None:
    marks = round_moments(NOON, NOON + 365 * DAY, 6)
    assert [wording.mark(each) for each in marks] == [
        "1 Mar", "1 May", "1 Jul", "1 Sep", "1 Nov", "1 Jan 2028",
    ]  # fmt: skip


@given(st.integers(0, 2 * 10**9), st.integers(HOUR, 20 * 365 * DAY), st.integers(4, 6))
def test_marks_are_few_in_order_and_within_the_period(start: int, length: int, most: int) -> None:
    marks = round_moments(start, start + length, most)
    assert marks == sorted(set(marks))
    assert all(start <= each <= start + length for each in marks)
    assert len(marks) <= most + 2 or length > 6 * 366 * DAY


def test_lines_are_drawn_as_steps_on_the_same_axes() -> None:
    chart = time_chart(((0, 0), (HOUR, 1000), (4 * HOUR, 1000)), ((0, 2000), (4 * HOUR, 500)))
    assert chart is not None
    wide, narrow = chart.wide, chart.narrow
    assert [tick.value for tick in wide.up] == [0, 500, 1000, 1500, 2000]
    assert [(tick.at, tick.value) for tick in wide.across] == [
        (72, 0), (207, HOUR), (342, 2 * HOUR), (477, 3 * HOUR), (612, 4 * HOUR),
    ]  # fmt: skip
    assert [each.path for each in wide.lines] == [
        "M72.0 200.0H207.0V106.0H612.0V106.0H612.0",
        "M72.0 12.0H612.0V153.0H612.0",
    ]
    assert wide.lines[1].area == "M72.0 200.0V12.0H612.0V153.0H612.0V200.0Z"
    assert narrow.lines[1].path == "M68.0 12.0H318.0V145.5H318.0"


@pytest.mark.parametrize("lines", [(), ((),), (((0, 1),),), (((0, 1), (9, 1)), ())])
def test_nothing_is_drawn_of_less_than_a_step(lines: tuple[tuple[Point, ...], ...]) -> None:
    assert time_chart(*lines) is None


def test_a_line_of_nothing_is_drawn_on_the_ground() -> None:
    chart = time_chart(((0, 0), (HOUR, 0)))
    assert chart is not None
    assert chart.wide.lines[0].path == "M72.0 200.0H612.0V200.0H612.0"
