"""The map: the store, a namespace or a repository as tiles, with what is known of each."""

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from exporter.analysis.repository_figures import parts_of
from exporter.domain.digests import format_digest
from exporter.domain.model import Tag
from exporter.domain.text import first_of
from exporter.views.repository_table import use_of
from exporter.views.snapshot_view import SnapshotView
from exporter.views.tag_rows import repository_named
from exporter.views.treemap.parts import (
    FINE,
    Choice,
    Part,
    TileKind,
    by_size,
    choose,
    choose_after,
    divided,
)
from exporter.views.treemap.tiles import STRENGTH, Facts, Tile


class PlaceKind(enum.StrEnum):
    """What a map shows."""

    STORE = "store"
    NAMESPACE = "namespace"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class StoreMap:
    """A picture of the store, or of a part of it.

    Attributes:
        kind: what it shows.
        place: its name: empty for the store, with a slash at its end for a namespace.
        bytes: of the whole place.
        shared_bytes: of a repository, those of ``bytes`` that other repositories need too.
        skipped: how many of its largest parts are left out.
        shown_bytes: of the tiles together.
        tiles: the largest first; what is inside others is not listed again.
        later: how many parts follow that are too small for this picture; without a tile, they
            have a picture of their own.
        later_bytes: of those.

    """

    kind: PlaceKind
    place: str
    bytes: int
    shared_bytes: int
    skipped: int
    shown_bytes: int
    tiles: tuple[Tile, ...]
    later: int = 0
    later_bytes: int = 0


def store_map(view: SnapshotView, place: str = "", skipped: int = 0) -> StoreMap | None:
    """Return the map of a place; None if there is no such place. Raises NotReadYetError.

    The place is empty for the store, or the name of a repository or a namespace; a slash at the
    end says that it is a namespace. With ``skipped``, its largest parts are left out.
    """
    found = _place(view, place)
    if found is None:
        return None
    kind, name, shared, choice = found
    parts = choice.parts
    whole = sum(part.bytes for part in parts)
    if not skipped:
        tiles = _Tiles(view, whole).of(choice, name)
        return StoreMap(kind, name, whole, shared, 0, whole, tiles)
    end = choose_after(parts, skipped, FINE)
    shown = sum(part.bytes for part in parts[skipped:end])
    make, rest = _Tiles(view, shown), [part for part in parts[end:] if part.bytes]
    return StoreMap(
        kind=kind,
        place=name,
        bytes=whole,
        shared_bytes=shared,
        skipped=skipped,
        shown_bytes=shown,
        tiles=tuple(make.tile(part) for part in parts[skipped:end]),
        later=len(rest),
        later_bytes=sum(part.bytes for part in rest),
    )


_Place = tuple[PlaceKind, str, int, Choice]


def _place(view: SnapshotView, place: str) -> _Place | None:
    """Return what a place is, its name, what it shares, and what is shown of it."""

    def choice(name: str, divide: Callable[[], Sequence[Part]]) -> Choice:
        # what is known of its parts may change meanwhile
        return view.memo.get(("map", name), lambda: choose(divide(), FINE))

    if not place:
        return PlaceKind.STORE, "", 0, choice("", lambda: _store_parts(view))
    figures = view.figures.get(place)
    if figures is not None:
        shared = figures.referenced_bytes - figures.exclusive_bytes
        parts = choice(place, lambda: _repository_parts(view, place))
        return PlaceKind.REPOSITORY, place, shared, parts
    namespace = f"{place.rstrip('/')}/"
    here = [each for each in view.figures.values() if each.name.startswith(namespace)]
    if not here:
        return None
    return PlaceKind.NAMESPACE, namespace, 0, choice(namespace, lambda: divided(here, namespace))


def _store_parts(view: SnapshotView) -> Sequence[Part]:
    figures = view.reading.figures
    exclusive = sum(each.exclusive_bytes for each in figures.repositories)
    unreferenced = figures.total_bytes - exclusive - figures.shared_bytes
    is_known = view.inventory.references_known
    others = (
        Part(TileKind.SHARED, figures.shared_bytes),
        Part(TileKind.GARBAGE if is_known else TileKind.UNKNOWN, unreferenced),
        Part(TileKind.UPLOADS, figures.uploads.bytes),
        Part(TileKind.STRAYS, figures.strays.bytes),
    )
    named = divided(figures.repositories, "")
    return by_size((*named, *(each for each in others if each.bytes > 0)))


def _repository_parts(view: SnapshotView, name: str) -> Sequence[Part]:
    inventory, uses = view.inventory, view.snapshot.uses
    repository = repository_named(inventory, name)
    by_tag = {} if uses is None else uses.repositories[name]
    needs = parts_of(inventory, repository)
    tags: dict[int, list[Tag]] = {}
    for tag in repository.tags:
        if tag.target is not None:
            tags.setdefault(tag.target, []).append(tag)
    images = (
        Part(
            TileKind.IMAGE,
            size,
            first_of([tag.name for tag in tags[target]]),
            format_digest(inventory.digests[target]),
            use=min(
                (by_tag[tag.name] for tag in tags[target] if tag.name in by_tag),
                key=STRENGTH.__getitem__,
                default=None,
            ),
            last_push_at=_latest(tag.updated_at for tag in tags[target]),
        )
        for target, size in needs.tagged.items()
    )
    others = (
        Part(TileKind.SHARED, needs.shared),
        Part(TileKind.UNTAGGED, needs.untagged),
    )
    return by_size((*images, *(each for each in others if each.bytes)))


class _Tiles:
    """Makes tiles of parts, with what is known of each."""

    def __init__(self, view: SnapshotView, whole: int) -> None:
        self._uses = view.memo.get(
            "strongest uses", lambda: {each: use_of(view, each) for each in view.figures}
        )
        self._growth = view.growth
        self._whole = whole or 1

    def of(self, choice: Choice, place: str) -> tuple[Tile, ...]:
        """Return the tiles of what was chosen in a place."""
        tiles = []
        for number, part in enumerate(choice.parts[: choice.shown]):
            inner = choice.opened.get(number)
            tiles.append(self.tile(part, () if inner is None else self.of(inner, part.name)))
        rest = choice.parts[choice.shown :]
        if any(part.bytes for part in rest):
            tiles.append(self._smaller(rest, place, choice.shown))
        return tuple(sorted(tiles, key=lambda tile: -tile.bytes))

    def tile(self, part: Part, inner: tuple[Tile, ...] = ()) -> Tile:
        """Return the tile of one part."""
        members = len(part.repositories) or 1
        tile = self._tile(part.kind, part.name, members, [part])
        return replace(tile, digest=part.digest, inner=inner)

    def _smaller(self, parts: Sequence[Part], place: str, skipped: int) -> Tile:
        return replace(self._tile(TileKind.SMALLER, place, len(parts), parts), skipped=skipped)

    def _tile(self, kind: TileKind, name: str, members: int, parts: Iterable[Part]) -> Tile:
        facts, uses, growth = Facts(), self._uses, self._growth
        for part in parts:
            if not part.repositories:
                facts.add(part.bytes, part.use, part.last_push_at, None)
            for each in part.repositories:
                grown = None if growth is None else growth.get(each.name, 0)
                facts.add(each.exclusive_bytes, uses[each.name], each.last_push_at, grown)
        return facts.tile(kind, name, members, self._whole)


def _latest(times: Iterable[float | None]) -> float | None:
    return max((time for time in times if time is not None), default=None)
