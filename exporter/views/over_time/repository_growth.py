"""How one repository has grown, from the history."""

from dataclasses import dataclass

from exporter.domain.errors import HistoryUnusableError
from exporter.domain.snapshot import RepositoryFigures
from exporter.history.points import RepositoryPoint
from exporter.history.port import SPANS, History
from exporter.views.over_time.series import (
    HOUR_SECONDS,
    Period,
    Point,
    Points,
    ending_now,
    value_at,
)
from exporter.views.snapshot_view import SnapshotView


@dataclass(frozen=True, slots=True)
class RepositorySpan:
    """Growth over a span.

    Attributes:
        span_seconds: how long it is.
        exclusive_bytes: by how many bytes the exclusive bytes have grown; None while the history
            is shorter.

    """

    span_seconds: float
    exclusive_bytes: int | None


@dataclass(frozen=True, slots=True)
class RepositoryGrowth:
    """What the history says of a repository.

    Attributes:
        spans: its growth over each span, the shortest first; empty while the history is shorter
            than an hour.
        exclusive_points: its exclusive bytes over the period that was asked for, each as Unix
            seconds and bytes that count until the next one; 0 bytes before it was there.
        referenced_points: its size, likewise.
        failure: why the history cannot be read; None if it can.

    """

    spans: tuple[RepositorySpan, ...] = ()
    exclusive_points: Points = ()
    referenced_points: Points = ()
    failure: str | None = None


def repository_growth(view: SnapshotView, name: str, period: Period) -> RepositoryGrowth | None:
    """Return how a repository has grown; None if no history is kept. Raises NotReadYetError."""
    history = view.options.history
    if history is None:
        return None
    figures = view.figures[name]
    try:
        return _growth(history, figures, period, view.now)
    except HistoryUnusableError as error:
        return RepositoryGrowth(failure=str(error))


def _growth(
    history: History, figures: RepositoryFigures, period: Period, now: float
) -> RepositoryGrowth:
    begins_at = history.repositories_begin_at()
    if begins_at is None or now - begins_at < HOUR_SECONDS:
        return RepositoryGrowth()
    points = history.repository_points(figures.name, now - max(period.seconds, *SPANS))
    exclusive = [(each.at, each.exclusive_bytes) for each in points]
    referenced = [(each.at, each.referenced_bytes) for each in points]
    start, moment = max(int(now) - period.seconds, begins_at), int(now)
    return RepositoryGrowth(
        tuple(RepositorySpan(span, _grown(points, now - span, begins_at)) for span in SPANS),
        ending_now(_from(exclusive, start), (moment, figures.exclusive_bytes)),
        ending_now(_from(referenced, start), (moment, figures.referenced_bytes)),
    )


def _grown(points: tuple[RepositoryPoint, ...], moment: float, begins_at: int) -> int | None:
    if moment < begins_at:
        return None
    sizes = [(each.at, each.exclusive_bytes) for each in points]
    return (sizes[-1][1] if sizes else 0) - value_at(sizes, moment)


def _from(points: list[Point], start: int) -> list[Point]:
    """Return a line from ``start`` on, where it has a point."""
    return [(start, value_at(points, start)), *(each for each in points if each[0] > start)]
