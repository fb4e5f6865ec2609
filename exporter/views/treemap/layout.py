"""A squarified treemap: rectangles with given areas that are as close to squares as possible.

The algorithm is that of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000).
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; ``y`` grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Width times height."""
        return self.width * self.height


def squarified(sizes: Sequence[float], box: Box) -> list[Box]:
    """Divide a box into boxes whose areas are proportional to ``sizes``, in the same order.

    The sizes are positive; the boxes are closest to squares if the largest size comes first.
    """
    boxes: list[Box] = []
    scale = box.area / (sum(sizes) or 1)
    areas = [size * scale for size in sizes]
    while len(boxes) < len(areas):
        side = min(box.width, box.height)
        end = _row_end(areas, len(boxes), side)
        row = areas[len(boxes) : end]
        placed, box = _cut(row, box, is_last=end == len(areas))
        boxes += placed
    return boxes


def _row_end(areas: Sequence[float], start: int, side: float) -> int:
    """Return where the row ends that begins with ``areas[start]``, along a side of this length."""
    total = least = most = areas[start]
    worst = _worst(total, least, most, side)
    for place in range(start + 1, len(areas)):
        total += areas[place]
        least, most = min(least, areas[place]), max(most, areas[place])
        ratio = _worst(total, least, most, side)
        if ratio > worst:
            return place
        worst = ratio
    return len(areas)


def _worst(total: float, least: float, most: float, side: float) -> float:
    """Return the largest ratio of two sides in a row with these areas."""
    square, whole = side * side, total * total
    return max(square * most / whole, whole / (square * least)) if square else 0.0


def _cut(row: Sequence[float], box: Box, *, is_last: bool) -> tuple[list[Box], Box]:
    """Place a row along the shorter side; return its boxes and what is left."""
    total, placed = sum(row), []
    if box.width >= box.height:
        width = box.width if is_last else total / box.height
        y = box.y
        for area in row:
            height = box.height * area / total
            placed.append(Box(box.x, y, width, height))
            y += height
        return placed, Box(box.x + width, box.y, max(box.width - width, 0.0), box.height)
    height = box.height if is_last else total / box.width
    x = box.x
    for area in row:
        width = box.width * area / total
        placed.append(Box(x, box.y, width, height))
        x += width
    return placed, Box(box.x, box.y + height, box.width, max(box.height - height, 0.0))
