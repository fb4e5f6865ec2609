"""The page ``/map``: the store as tiles whose areas are bytes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.domain.text import plural
from exporter.views.treemap.layout import Box
from exporter.views.treemap.parts import TileKind
from exporter.views.treemap.store_map import PlaceKind, StoreMap, store_map
from exporter.views.treemap.tiles import Tile, coarser, leaves
from exporter.web.explorer import wording
from exporter.web.explorer.map_picture import Picture, draw
from exporter.web.explorer.map_shades import Colour, Shade, describe, legend, shade_of
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import Page

ROWS = 50
"""Rows of the table under the picture."""

_WIDE = Box(0, 0, 1000, 540)
_NARROW = Box(0, 0, 360, 500)
_NARROW_LEAST, _NARROW_OPENING = 1 / 500, 1 / 12
_SUGGESTIONS = 5

_NAMES = {
    TileKind.UNTAGGED: "untagged",
    TileKind.GARBAGE: "garbage",
    TileKind.UNKNOWN: "not known to be needed",
    TileKind.UPLOADS: "uploads",
    TileKind.STRAYS: "stray files",
}

_KINDS = {
    TileKind.REPOSITORY: "repository",
    TileKind.IMAGE: "image",
    TileKind.UNTAGGED: "what only untagged manifests need",
    TileKind.GARBAGE: "blobs that nothing references",
    TileKind.UNKNOWN: "no reference was found, but not everything could be read",
    TileKind.UPLOADS: "unfinished pushes",
    TileKind.STRAYS: "files that the registry did not write",
}

_ELSEWHERE = {
    TileKind.GARBAGE: "/clean-up",
    TileKind.UNKNOWN: "/issues",
    TileKind.UPLOADS: "/issues",
    TileKind.STRAYS: "/issues",
}


def make(question: Question) -> Page:
    """Return the map of the store, or of a namespace or repository."""
    view = question.view
    given = question.parameters.choice("colour", Colour)
    shown = read_map(question)
    colour = given or (Colour.AGE if view.snapshot.uses is None else Colour.USE)
    drawing = _Drawing(question, shown, colour, given)
    pictures = drawing.pictures() if shown.tiles else []
    listed = sorted(leaves(shown.tiles), key=lambda tile: -tile.bytes)
    return Page(
        "map.html",
        f"Map of {shown.place}" if shown.place else "Map",
        {
            "map": shown,
            "drawing": drawing,
            "pictures": pictures,
            "rows": listed[:ROWS],
            "more_rows": max(len(listed) - ROWS, 0),
            "legend": legend(_coloured(pictures), colour, question.now),
            "colour": colour,
            "colours": drawing.colours(),
            "crumbs": drawing.crumbs(),
            "missing": _missing(question, shown, colour),
            "repositories": len(view.figures),
            "has_uses": view.snapshot.uses is not None,
            "has_growth": view.growth is not None,
        },
    )


def read_map(question: Question) -> StoreMap:
    """Return the map that the address asks for. Raises NothingThereError, BadParameterError."""
    place = question.parameters.text("in")
    shown = store_map(question.view, place, question.parameters.number("rest", 0, least=0))
    if shown is None:
        raise NothingThereError(
            f"there is no repository or namespace {place}", _suggestions(question, place)
        )
    return shown


def _coloured(pictures: Iterable[Picture]) -> Iterator[Tile]:
    for picture in pictures:
        yield from (shape.tile for shape in picture.shapes if not shape.is_frame)


def _suggestions(question: Question, place: str) -> dict[str, str]:
    """Return repositories with a similar name."""
    wanted = place.rstrip("/").rpartition("/")[2].lower()
    names = (name for name in question.view.figures if wanted and wanted in name)
    found = [name for name, _ in zip(names, range(_SUGGESTIONS), strict=False)]
    return {name: question.links.to("/map", {"in": name}) for name in found}


def _missing(question: Question, shown: StoreMap, colour: Colour) -> str:
    """Return why the colours say nothing; empty if they say something."""
    view = question.view
    if colour is Colour.USE and view.snapshot.uses is None:
        if view.options.analysis.ownership is None:
            return "Uses are not known: the exporter is not configured to read which apps run."
        return "Uses are not known yet: the apps' configuration has not been read."
    if colour is Colour.GROWTH and view.options.history is None:
        return "Growth is not known: the exporter keeps no history."
    if colour is Colour.GROWTH and view.growth is None:
        return "Growth is not known yet: the history is shorter than 7 days, or cannot be read."
    if colour is Colour.GROWTH and shown.kind is PlaceKind.REPOSITORY:
        return "Growth is known of whole repositories, not of their images."
    return ""


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Writes names, addresses and descriptions of the tiles of one map."""

    question: Question
    shown: StoreMap
    colour: Colour
    given: Colour | None

    def pictures(self) -> list[Picture]:
        """Return the picture for a wide screen, and the one for a narrow one."""
        shown = self.shown
        fewer = coarser(shown.tiles, shown.place, _NARROW_LEAST, _NARROW_OPENING, shown.skipped)
        return [
            draw("wide", _WIDE, shown.tiles, shown.place, self._lines),
            draw("narrow", _NARROW, fewer, shown.place, self._lines),
        ]

    def _lines(self, tile: Tile, place: str) -> Sequence[str]:
        name = self.name(tile)
        if tile.kind in (TileKind.NAMESPACE, TileKind.REPOSITORY):
            name = name.removeprefix(place)
        elif tile.kind is TileKind.SMALLER:
            name = name.removesuffix(f" in {place}")
        elif tile.kind is TileKind.SHARED:
            name = "shared"
        return name, wording.size(tile.bytes), self.describe(tile)

    def name(self, tile: Tile) -> str:
        """Return the name of a tile."""
        if tile.kind is TileKind.SMALLER:
            where = f" in {tile.name}" if tile.name != self.shown.place else ""
            return f"{tile.members:,} smaller{where}"
        if tile.kind is TileKind.SHARED:
            is_image = self.shown.kind is PlaceKind.REPOSITORY
            return "shared by images" if is_image else "shared by repositories"
        return _NAMES.get(tile.kind, tile.name)

    def kind(self, tile: Tile) -> str:
        """Return what a tile stands for."""
        if tile.kind is TileKind.NAMESPACE:
            return plural(tile.members, "repository", "repositories")
        if tile.kind is TileKind.SMALLER:
            return "too small for a tile each"
        if tile.kind is TileKind.SHARED:
            is_image = self.shown.kind is PlaceKind.REPOSITORY
            return f"what several {'images' if is_image else 'repositories'} need"
        return _KINDS[tile.kind]

    def shade(self, tile: Tile) -> Shade:
        """Return the colour of a tile."""
        return shade_of(tile, self.colour, self.question.now)

    def describe(self, tile: Tile) -> str:
        """Return what the colour of a tile says, in words."""
        return describe(tile, self.colour, self.question.now)

    def title(self, tile: Tile) -> str:
        """Return everything about a tile."""
        size = f"{wording.size(tile.bytes)} ({tile.bytes:,} bytes)"
        about = f"{self.name(tile)}: {self.kind(tile)}"
        words = (about, size, wording.percent(tile.share), self.describe(tile))
        return ", ".join(filter(None, words))

    def address(self, tile: Tile) -> str:
        """Return where a tile leads."""
        links = self.question.links
        if tile.kind in (TileKind.NAMESPACE, TileKind.REPOSITORY):
            return self._map(tile.name)
        if tile.kind is TileKind.SMALLER:
            return self._map(tile.name, tile.skipped)
        if tile.digest is not None:
            return links.image(tile.digest)
        if tile.kind in _ELSEWHERE:
            return links.to(_ELSEWHERE[tile.kind])
        return self.table()

    def table(self) -> str:
        """Return the address of the table that lists everything here."""
        links, place = self.question.links, self.shown.place
        if self.shown.kind is PlaceKind.REPOSITORY:
            return links.repository(place)
        return links.to("/repositories", {"q": place})

    def later(self) -> str:
        """Return the address of what is too small for this picture."""
        shown = self.shown
        return self._map(shown.place, shown.skipped + len(shown.tiles))

    def colours(self) -> Mapping[Colour, str]:
        """Return the address of the same map in each colour."""
        shown = self.shown
        return {each: self._map(shown.place, shown.skipped, each) for each in Colour}

    def crumbs(self) -> list[tuple[str, str]]:
        """Return the names and addresses of the places that this one is in, and its own."""
        crumbs = [("store", self._map(""))]
        crumbs += [(each, self._map(path)) for each, path in _steps(self.shown.place)]
        if self.shown.skipped:
            here = self._map(self.shown.place, self.shown.skipped)
            crumbs.append((f"without the {self.shown.skipped:,} largest", here))
        return crumbs

    def _map(self, place: str, skipped: int = 0, colour: Colour | None = None) -> str:
        query = {"in": place, "rest": skipped or None, "colour": colour or self.given}
        return self.question.links.to("/map", query)


def _steps(place: str) -> Iterator[tuple[str, str]]:
    path = ""
    for step in place.removesuffix("/").split("/") if place else ():
        path += step
        is_namespace = len(path) < len(place)
        path += "/" if is_namespace else ""
        yield (f"{step}/" if is_namespace else step), path
