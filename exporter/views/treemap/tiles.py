"""Tiles of a picture: what each stands for, and what is known of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from exporter.domain.uses import Use
from exporter.views.treemap.parts import TileKind

STRENGTH = {use: place for place, use in enumerate(Use)}
"""The place of each use in the order of their strength."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile.

    Attributes:
        kind: what it stands for.
        name: of a namespace, with a slash at its end, or of a repository; the tags of an image;
            of what is smaller, the place that it belongs to; else empty.
        bytes: its area.
        share: of the picture, 0 to 1.
        members: how many repositories a namespace has; how many things are smaller; else 1.
        digest: of an image.
        use: the strongest use of its tags; of several repositories, the use of the most bytes.
            None if unknown.
        last_push_at: the newest push, Unix seconds; None if unknown.
        growth_bytes: growth of its bytes in the last 7 days; None if unknown.
        skipped: of what is smaller, how many larger parts its place has.
        inner: tiles inside it, which together have its bytes.

    """

    kind: TileKind
    name: str
    bytes: int
    share: float
    members: int = 1
    digest: str | None = None
    use: Use | None = None
    last_push_at: float | None = None
    growth_bytes: int | None = None
    skipped: int = 0
    inner: tuple["Tile", ...] = ()


def leaves(tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Yield the tiles that have no tiles inside; their bytes add up to the picture's."""
    for tile in tiles:
        if tile.inner:
            yield from leaves(tile.inner)
        else:
            yield tile


@dataclass(slots=True)
class Facts:
    """What is known of one or more parts together."""

    bytes: int = 0
    uses: Counter[Use] = field(default_factory=Counter)
    last_push_at: float | None = None
    growth_bytes: int | None = None

    def add(self, size: int, use: Use | None, push: float | None, growth: int | None) -> None:
        """Add one part: its size, use, last push and growth."""
        self.bytes += size
        if use is not None:
            self.uses[use] += size
        if push is not None and (self.last_push_at is None or push > self.last_push_at):
            self.last_push_at = push
        if growth is not None:
            self.growth_bytes = (self.growth_bytes or 0) + growth

    def tile(self, kind: TileKind, name: str, members: int, whole: int) -> Tile:
        """Return a tile of these parts in a picture of ``whole`` bytes."""
        uses = self.uses
        use = max(uses, key=lambda use: (uses[use], -STRENGTH[use]), default=None)
        share = self.bytes / whole
        known = use, self.last_push_at, self.growth_bytes
        return Tile(kind, name, self.bytes, share, members, None, *known)


def coarser(
    tiles: Sequence[Tile], place: str, least_share: float, opening_share: float, skipped: int = 0
) -> tuple[Tile, ...]:
    """Return fewer tiles, for a small picture: those that are too small in one, as before.

    ``skipped`` is how many larger parts the place has.
    """
    small = [tile for tile in tiles if tile.kind is TileKind.SMALLER or tile.share < least_share]
    kept = [
        _coarser_inside(tile, least_share, opening_share)
        for tile in tiles
        if tile.kind is not TileKind.SMALLER and tile.share >= least_share
    ]
    skipped += len(kept)
    if len(small) == 1:
        kept += small
    elif small:
        facts = Facts()
        for tile in small:
            facts.add(tile.bytes, tile.use, tile.last_push_at, tile.growth_bytes)
        members = sum(tile.members if tile.kind is TileKind.SMALLER else 1 for tile in small)
        rest = facts.tile(TileKind.SMALLER, place, members, facts.bytes)
        share = sum(tile.share for tile in small)
        kept.append(replace(rest, share=share, skipped=skipped))
    return tuple(sorted(kept, key=lambda tile: -tile.bytes))


def _coarser_inside(tile: Tile, least_share: float, opening_share: float) -> Tile:
    inner: tuple[Tile, ...] = ()
    if tile.share >= opening_share:
        inner = coarser(tile.inner, tile.name, least_share, opening_share)
    has_large = any(each.kind is not TileKind.SMALLER for each in inner)
    return replace(tile, inner=inner if has_large else ())
