"""The store's bytes and the disk's available bytes over time, from the history."""

from dataclasses import dataclass

from exporter.history.points import store_point_of
from exporter.history.port import History
from exporter.views.over_time.series import MOST_POINTS, Period, Points, ending_now, thinned
from exporter.views.snapshot_view import SnapshotView


@dataclass(frozen=True, slots=True)
class StoreSeries:
    """Two lines, each empty while nothing is known of it, or for less than an hour.

    Attributes:
        store_points: blobs and unfinished uploads.
        avail_points: what is available on the filesystem.

    """

    store_points: Points = ()
    avail_points: Points = ()


def store_series(view: SnapshotView, history: History, period: Period) -> StoreSeries:
    """Return both lines of a period until now.

    Raises NotReadYetError, and HistoryUnusableError if the history cannot be read.
    """
    part = int(view.now // period.grain_seconds)
    past = view.options.past.get(
        ("store series", period, part),
        lambda: _recorded(history, view.now - period.seconds),
        lambda series: bool(series.store_points),
    )
    now = store_point_of(view.snapshot, view.now)
    if now is None:
        return StoreSeries()
    avail = now.avail_bytes
    return StoreSeries(
        ending_now(past.store_points, (now.at, now.store_bytes)),
        () if avail is None else ending_now(past.avail_points, (now.at, avail)),
    )


def _recorded(history: History, since: float) -> StoreSeries:
    points = history.store_bytes(since)
    begins_at = int(since)
    store = [(max(at, begins_at), size) for at, size, _ in points]
    # while it is unknown, the last known value counts
    avail = [(max(at, begins_at), size) for at, _, size in points if size is not None]
    return StoreSeries(thinned(store, MOST_POINTS - 1), thinned(avail, MOST_POINTS - 1))
