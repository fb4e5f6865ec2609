"""A line of steps as the parts of a picture: one step for each whole number."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.analysis.deletion.retention_curve import CurvePoint

_FEWEST = 5
_MOST_TICKS = 5
_UNIT = 1024
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, slots=True)
class Box:
    """A picture of a width and height, and the edges of the plot in it."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


BOX = Box(width=640, height=260, left=94, right=628, top=12, bottom=216)
"""The picture of every chart."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it is, and the value that it stands for."""

    at: float
    value: int


@dataclass(frozen=True, slots=True)
class StepChart:
    """A line in :data:`BOX`.

    Attributes:
        path: the line, as the attribute ``d`` of an SVG path.
        area: what is below it, likewise.
        across: marks on the horizontal axis.
        up: marks on the vertical axis.

    """

    path: str
    area: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def step_chart(points: Sequence[CurvePoint]) -> StepChart | None:
    """Return the chart of the bytes that each number frees; None if there are none.

    It ends where nothing is freed any more, and has gaps where it is unknown.
    """
    freeing = [each.keep_last for each in points if each.frees_bytes]
    if not freeing:
        return None
    last = max(*freeing, _FEWEST)
    shown = [each for each in points if each.keep_last <= last + 1]
    count = shown[-1].keep_last
    most = max(each.frees_bytes or 0 for each in shown)
    wide = (BOX.right - BOX.left) / count
    ticks = _ticks(most)
    top = max(most, ticks[-1])

    def place(size: int) -> float:
        return BOX.bottom - (BOX.bottom - BOX.top) * size / top

    line, area = [], []
    joined = False
    for each in shown:
        if each.frees_bytes is None:
            joined = False
            continue
        start, height = BOX.left + wide * (each.keep_last - 1), place(each.frees_bytes)
        line.append(f"{'V' if joined else f'M{start:.1f} '}{height:.1f}H{start + wide:.1f}")
        area.append(f"M{start:.1f} {place(0):.1f}V{height:.1f}H{start + wide:.1f}V{place(0):.1f}Z")
        joined = True
    every = next(step for step in _STEPS if count / step <= 2 * _MOST_TICKS)
    numbers = sorted({1, *range(every, count + 1, every)} - ({2} if every > 1 else set()))
    return StepChart(
        "".join(line),
        "".join(area),
        tuple(Tick(BOX.left + wide * (number - 0.5), number) for number in numbers),
        tuple(Tick(place(size), size) for size in ticks),
    )


def _ticks(most: int) -> list[int]:
    """Return round sizes from 0 to the first that is not below ``most``, a few of them."""
    unit = 1
    while most > _STEPS[-1] * unit * _MOST_TICKS:
        unit *= _UNIT
    step = next(
        (each * unit for each in _STEPS if most <= each * unit * _MOST_TICKS), _STEPS[-1] * unit
    )
    return list(range(0, most + step, step))
