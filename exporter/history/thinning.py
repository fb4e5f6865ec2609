"""How much of the history is kept: daily points after a while, and less if room is scarce. Pure."""

from collections.abc import Iterator

HOUR = 3600
DAY = 24 * HOUR

DAILY_AFTER = 60 * DAY
"""Older points are thinned to one a day, the last."""

_NEWEST_KEPT = 2 * HOUR
_SHORTER_DAYS = (30, 14, 7, 2, 1)


def daily_before(now: int, after: int = DAILY_AFTER) -> int:
    """Return the moment before which one point a day is enough: the beginning of a day."""
    return (now - after) // DAY * DAY


def later_beginnings(begins_at: int, now: int) -> Iterator[int]:
    """Yield later and later moments at which the history of repositories could begin instead."""
    while begins_at < now - _NEWEST_KEPT:
        begins_at += max((now - begins_at) // 4, HOUR)
        yield min(begins_at, now - _NEWEST_KEPT)


def nearer_daily_limits(now: int) -> Iterator[int]:
    """Yield nearer and nearer moments before which one point of the store a day is enough."""
    for days in _SHORTER_DAYS:
        yield daily_before(now, days * DAY)
