"""Trends: how the store has grown, and when the disk is full."""

from dataclasses import dataclass

from exporter.domain.errors import HistoryUnusableError
from exporter.history.port import SPANS
from exporter.views.over_time.series import Period, Points
from exporter.views.over_time.store_series import store_series
from exporter.views.snapshot_view import SnapshotView


@dataclass(frozen=True, slots=True)
class SpanGrowth:
    """Growth over a span.

    Attributes:
        span_seconds: how long it is.
        store_bytes: by how many bytes blobs and unfinished uploads have grown; None while the
            history is shorter.
        avail_bytes: likewise what is available on the filesystem; None also if unknown.

    """

    span_seconds: float
    store_bytes: int | None
    avail_bytes: int | None


@dataclass(frozen=True, slots=True)
class Trend:
    """What the history says.

    Attributes:
        seconds_until_full: as the alert StorageFillingUp estimates it; None if nothing fills the
            disk, or it has been watched for too short a time.
        growth: over each span, the shortest first.
        store_points: bytes of blobs and unfinished uploads over the period that was asked for,
            each as Unix seconds and bytes that count until the next one; empty while the history
            is shorter than an hour.
        avail_points: likewise what is available on the filesystem.
        failure: why the history cannot be read; None if it can, or none is kept.

    """

    seconds_until_full: float | None = None
    growth: tuple[SpanGrowth, ...] = ()
    store_points: Points = ()
    avail_points: Points = ()
    failure: str | None = None


def trend(view: SnapshotView, period: Period = Period.MONTH) -> Trend:
    """Return what the history says; nothing if none is kept. Raises NotReadYetError."""
    history = view.options.history
    if history is None:
        return Trend()
    try:
        spans = []
        for span in SPANS:
            growth = history.growth(span)
            if growth is None:
                spans.append(SpanGrowth(span, None, None))
            else:
                spans.append(SpanGrowth(span, growth.store_bytes, growth.avail_bytes))
        series = store_series(view, history, period)
        return Trend(
            history.seconds_until_full(), tuple(spans), series.store_points, series.avail_points
        )
    except HistoryUnusableError as error:
        return Trend(failure=str(error))
