"""Bytes over time, in few enough points for a picture. Pure."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

Point = tuple[int, int]
"""A moment, Unix seconds, and how many bytes there were until the next one."""

Points = tuple[Point, ...]
"""Points in the order of time, at most :data:`MOST_POINTS`."""

MOST_POINTS = 300
HOUR_SECONDS = 3600
_DAY_SECONDS = 24 * HOUR_SECONDS
_OF_PART = 3


class Period(enum.StrEnum):
    """For how many days growth is drawn."""

    DAY = "1"
    WEEK = "7"
    MONTH = "30"
    YEAR = "365"

    @property
    def seconds(self) -> int:
        """Its length."""
        return int(self) * _DAY_SECONDS

    @property
    def grain_seconds(self) -> int:
        """What is too short to be seen in a picture of it; an hour at the most."""
        return min(self.seconds // MOST_POINTS, HOUR_SECONDS)


@dataclass(frozen=True, slots=True)
class Extent:
    """The points of a line that say most.

    Attributes:
        first: the earliest.
        least: the first with the fewest bytes.
        most: the first with the most bytes.
        last: the latest.

    """

    first: Point
    least: Point
    most: Point
    last: Point


def extent(points: Points) -> Extent:
    """Return the points that say most of at least one."""
    least = min(points, key=lambda each: each[1])
    return Extent(points[0], least, max(points, key=lambda each: each[1]), points[-1])


def value_at(points: Sequence[Point], moment: float) -> int:
    """Return how many bytes there were at a moment: none before the first point."""
    before = (size for at, size in reversed(points) if at <= moment)
    return next(before, 0)


def ending_now(points: Sequence[Point], now: Point) -> Points:
    """Return a line of at most :data:`MOST_POINTS`, with its state now as the last point.

    Empty if it is shorter than an hour.
    """
    if not points or now[0] - points[0][0] < HOUR_SECONDS:
        return ()
    # the clock may differ by a moment from the one that the last point was read by
    moment = max(now[0], points[-1][0])
    return (*thinned(points, MOST_POINTS - 1), (moment, now[1]))


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> Points:
    """Return at most ``most`` of some points: both ends, the lowest and the highest are kept.

    ``most`` is at least 5. The time is divided into parts, and of each part its lowest, its highest
    and its last point stay, the last because it counts until the next part.
    """
    if len(points) > most:
        points = list(_changes(points))
    if len(points) <= most:
        return tuple(points)
    first, *between, last = points
    parts = (most - 2) // _OF_PART
    length = max(last[0] - first[0], 1)

    def part_of(point: Point) -> int:
        return min((point[0] - first[0]) * parts // length, parts - 1)

    kept = [first]
    for _, part in groupby(between, part_of):
        kept += _telling(list(part))
    return (*kept, last)


def _changes(points: Sequence[Point]) -> Iterator[Point]:
    """Yield both ends, and the points that differ from the one before."""
    before = None
    for each in points[:-1]:
        if each[1] != before:
            yield each
        before = each[1]
    yield points[-1]


def _telling(part: list[Point]) -> list[Point]:
    places = range(len(part))
    lowest = min(places, key=lambda place: part[place][1])
    highest = max(places, key=lambda place: part[place][1])
    return [part[place] for place in sorted({lowest, highest, places[-1]})]
