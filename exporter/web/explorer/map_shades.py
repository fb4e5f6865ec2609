"""Colours of a map: what each stands for, as a class of the stylesheet and in words."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.views.overview import PartKind
from exporter.views.treemap.parts import TileKind
from exporter.views.treemap.tiles import Tile
from exporter.web.explorer import wording

_DAY = 86400.0


class Colour(enum.StrEnum):
    """What the colours of a map show."""

    USE = "use"
    AGE = "age"
    GROWTH = "growth"


@dataclass(frozen=True, slots=True)
class Shade:
    """One colour.

    Attributes:
        css: its class.
        label: what it stands for.

    """

    css: str
    label: str


_OWN = {
    TileKind.SHARED: Shade("part-other", "shared"),
    TileKind.UNTAGGED: Shade("part-untagged", wording.PARTS[PartKind.UNTAGGED]),
    TileKind.GARBAGE: Shade("part-garbage", wording.PARTS[PartKind.GARBAGE]),
    TileKind.UPLOADS: Shade("part-uploads", wording.PARTS[PartKind.UPLOADS]),
    TileKind.STRAYS: Shade("part-strays", wording.PARTS[PartKind.STRAYS]),
}
"""Colours of tiles that are no images."""

_UNKNOWN = Shade("shade-none", "unknown")

_USES = [
    Shade(f"part-{kind}", wording.PARTS[kind])
    for kind in (
        PartKind.RUNNING,
        PartKind.ROLLBACK,
        PartKind.UNMANAGED,
        PartKind.SUPERSEDED,
        PartKind.ORPHANED,
    )
]

_AGES = (
    (_DAY, Shade("age-0", "within a day")),
    (7 * _DAY, Shade("age-1", "7 days")),
    (30 * _DAY, Shade("age-2", "30 days")),
    (90 * _DAY, Shade("age-3", "90 days")),
    (365 * _DAY, Shade("age-4", "a year")),
    (float("inf"), Shade("age-5", "longer ago")),
)
"""Ages below a limit in seconds."""

_GROWTHS = (
    (-0.25, Shade("growth-0", "shrank by over 25 %")),
    (-0.05, Shade("growth-1", "shrank by 5 to 25 %")),
    (0.05, Shade("growth-2", "about the same")),
    (0.25, Shade("growth-3", "grew by 5 to 25 %")),
    (float("inf"), Shade("growth-4", "grew by over 25 %")),
)
"""Growth below a limit, as a share of the size before."""


def shade_of(tile: Tile, colour: Colour, now: float) -> Shade:
    """Return the colour of a tile."""
    if colour is Colour.USE:
        if tile.kind in _OWN:
            return _OWN[tile.kind]
        return _UNKNOWN if tile.use is None else Shade(f"part-{tile.use}", tile.use)
    if colour is Colour.AGE:
        if tile.last_push_at is None:
            return _UNKNOWN
        return next(shade for limit, shade in _AGES if now - tile.last_push_at < limit)
    if tile.growth_bytes is None:
        return _UNKNOWN
    before = tile.bytes - tile.growth_bytes
    # what is new has grown from nothing
    ratio = tile.growth_bytes / before if before > 0 else float(tile.growth_bytes > 0)
    return next(shade for limit, shade in _GROWTHS if ratio < limit)


def describe(tile: Tile, colour: Colour, now: float) -> str:
    """Return what the colour of a tile says, in words; empty if it says nothing."""
    if colour is Colour.USE:
        if tile.kind in _OWN or tile.use is None:
            return ""
        is_mixed = tile.kind in (TileKind.NAMESPACE, TileKind.SMALLER)
        return f"mostly {tile.use}" if is_mixed else str(tile.use)
    if colour is Colour.AGE:
        push = tile.last_push_at
        return "" if push is None else f"pushed {wording.age(push, now)}"
    growth = tile.growth_bytes
    return "" if growth is None else f"{wording.growth(growth)} in 7 days"


def legend(tiles: Iterable[Tile], colour: Colour, now: float) -> list[Shade]:
    """Return the colours to explain: of an ordered scale all, of others those that are used."""
    used = {shade_of(tile, colour, now) for tile in tiles}
    if colour is Colour.USE:
        order = [*_USES, *_OWN.values(), _UNKNOWN]
        return [shade for shade in order if shade in used]
    scale = _AGES if colour is Colour.AGE else _GROWTHS
    return [*(shade for _, shade in scale), *({_UNKNOWN} & used)]
