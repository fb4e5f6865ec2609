"""Lines of steps as the parts of a picture. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from exporter.views.chart.marks import round_sizes


@dataclass(frozen=True, slots=True)
class Box:
    """A picture of a width and height, and the edges of the plot in it."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Step:
    """A value between two places on the horizontal axis; None if it is unknown."""

    start: float
    end: float
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it is, and the value that it stands for."""

    at: float
    value: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of steps, with gaps where it is unknown.

    Attributes:
        path: as the attribute ``d`` of an SVG path.
        area: what is below it, likewise.

    """

    path: str
    area: str


@dataclass(frozen=True, slots=True)
class StepChart:
    """Lines in a box.

    Attributes:
        box: where they are.
        lines: in the order of what was drawn.
        across: marks on the horizontal axis.
        up: marks on the vertical axis.

    """

    box: Box
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where places and bytes are in a box."""

    box: Box
    start: float
    end: float
    top: int

    def across(self, place: float) -> float:
        """Return how far from the left a place is."""
        length = self.end - self.start or 1
        return self.box.left + (self.box.right - self.box.left) * (place - self.start) / length

    def down(self, size: int) -> float:
        """Return how far from the top a number of bytes is."""
        return self.box.bottom - (self.box.bottom - self.box.top) * size / self.top


def step_chart(
    box: Box, lines: Sequence[Sequence[Step]], across: Iterable[tuple[float, int]]
) -> StepChart:
    """Return the picture of lines; each has a step. ``across`` has places and their values."""
    sizes = round_sizes(max(each.bytes or 0 for line in lines for each in line))
    scale = _Scale(
        box, min(each[0].start for each in lines), max(each[-1].end for each in lines), sizes[-1]
    )
    return StepChart(
        box,
        tuple(_line(scale, each) for each in lines),
        tuple(Tick(scale.across(place), value) for place, value in across),
        tuple(Tick(scale.down(size), size) for size in sizes),
    )


def _line(scale: _Scale, steps: Sequence[Step]) -> Line:
    line, area = [], []
    ground = f"{scale.down(0):.1f}"
    for is_known, run in groupby(steps, lambda each: each.bytes is not None):
        if not is_known:
            continue
        known = list(run)
        start = f"M{scale.across(known[0].start):.1f} "
        drawn = "V".join(
            f"{scale.down(each.bytes or 0):.1f}H{scale.across(each.end):.1f}" for each in known
        )
        line.append(f"{start}{drawn}")
        area.append(f"{start}{ground}V{drawn}V{ground}Z")
    return Line("".join(line), "".join(area))
