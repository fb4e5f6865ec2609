"""A map as rectangles and texts of an SVG picture."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from exporter.views.treemap.layout import Box, squarified
from exporter.views.treemap.tiles import Tile

_HEAD = 18.0
"""Height of a namespace's name above what is in it."""

_FRAME = 2.0
_LEAST_INSIDE = 30.0
_MARGIN = 5.0
_LINE = 15.0
_LETTER = 7.4
"""Width of an average letter, in the units of the picture; fonts differ, and this is a wide one."""

_BOLD_LETTER = 8.4

_LEAST_LETTERS = 7
"""Fewer letters of a longer name say nothing."""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text.

    Attributes:
        x: where it begins.
        y: its base line.
        content: the text.

    """

    x: float
    y: float
    content: str


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile where it is drawn.

    Attributes:
        tile: the tile.
        box: its rectangle.
        texts: what is written on it, as far as it fits; the first is its name.
        is_frame: whether other tiles are inside it.

    """

    tile: Tile
    box: Box
    texts: tuple[Text, ...]
    is_frame: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        css: its class.
        width: of its coordinates.
        height: likewise.
        shapes: the largest first, each before what is inside it.

    """

    css: str
    width: float
    height: float
    shapes: tuple[Shape, ...]


Labels = Callable[[Tile, str], Sequence[str]]
"""Returns the lines of a tile, given the place that it is drawn in."""


def draw(css: str, box: Box, tiles: Sequence[Tile], place: str, labels: Labels) -> Picture:
    """Return the picture of tiles, which are sorted by size, in a place."""
    shapes = sorted(_place(tiles, box, place, labels), key=lambda shape: -shape.tile.bytes)
    return Picture(css, box.width, box.height, tuple(shapes))


def _place(tiles: Sequence[Tile], box: Box, place: str, labels: Labels) -> Iterator[Shape]:
    boxes = squarified([tile.bytes for tile in tiles], box)
    for tile, each in zip(tiles, boxes, strict=True):
        inside = _inside(each)
        if tile.inner and min(inside.width, inside.height) >= _LEAST_INSIDE:
            yield Shape(
                tile,
                each,
                tuple(_texts(each, labels(tile, place)[:1], _BOLD_LETTER)),
                is_frame=True,
            )
            yield from _place(tile.inner, inside, tile.name, labels)
        else:
            yield Shape(tile, each, tuple(_texts(each, labels(tile, place))))


def _inside(box: Box) -> Box:
    width, height = box.width - 2 * _FRAME, box.height - _HEAD - _FRAME
    return Box(box.x + _FRAME, box.y + _HEAD, width, height)


def _texts(box: Box, lines: Sequence[str], letter: float = _LETTER) -> Iterator[Text]:
    letters = int((box.width - 2 * _MARGIN) / letter)
    name = lines[0]
    if len(name) > letters:
        if letters < _LEAST_LETTERS:
            return
        # the names of one namespace often begin alike
        head = letters // 3
        name = f"{name[:head]}…{name[head + 1 - letters :]}"
    y = box.y + _LINE - 1
    for line in (name, *lines[1:]):
        if y + _MARGIN > box.y + box.height:
            return
        if len(line) <= letters:
            yield Text(box.x + _MARGIN, y, line)
            y += _LINE
