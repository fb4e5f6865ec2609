"""Bytes over time as a picture. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from exporter.views.chart.marks import round_moments
from exporter.views.chart.step_chart import Box, Step, StepChart, step_chart
from exporter.views.over_time.series import Extent, Points, extent

_WIDE = Box(width=640, height=230, left=72, right=612, top=12, bottom=200)
_NARROW = Box(width=340, height=220, left=68, right=318, top=12, bottom=190)
_MOST_WIDE = 6
_MOST_NARROW = 5


@dataclass(frozen=True, slots=True)
class TimeChart:
    """Lines over the same time.

    Attributes:
        wide: the picture.
        narrow: the same for a small screen.
        extents: the points of each line that say most.

    """

    wide: StepChart
    narrow: StepChart
    extents: tuple[Extent, ...]


def time_chart(*lines: Points) -> TimeChart | None:
    """Return the picture of some lines; None if one of them has no steps."""
    if not lines or any(len(each) < 2 for each in lines):  # noqa: PLR2004 - the ends of a step
        return None
    return TimeChart(
        _picture(_WIDE, lines, _MOST_WIDE),
        _picture(_NARROW, lines, _MOST_NARROW),
        tuple(map(extent, lines)),
    )


def _picture(box: Box, lines: Sequence[Points], most: int) -> StepChart:
    steps = [
        [Step(at, until, size) for (at, size), (until, _) in pairwise(each)] + _now(each)
        for each in lines
    ]
    start, end = min(each[0][0] for each in lines), max(each[-1][0] for each in lines)
    return step_chart(box, steps, ((each, each) for each in round_moments(start, end, most)))


def _now(line: Points) -> list[Step]:
    """Return the end of a line, a step without a length."""
    at, size = line[-1]
    return [Step(at, at, size)]
