"""The map as clients get it: tiles whose bytes add up, colours, places, smaller parts."""

import asyncio
import gzip
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import unescape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.routing import Route

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.store_figures import analyse
from exporter.domain.model import Inventory, Repository, Tag
from exporter.domain.snapshot import BlobState, BlobTotal, RepositoryFigures, Snapshot, StoreReading
from exporter.domain.uses import TagUses, Use, UseFigures
from exporter.store.filesystem.store import FilesystemStore
from exporter.views.action import CommandLines
from exporter.views.snapshot_view import SnapshotView, Viewer, ViewOptions
from exporter.views.treemap.parts import TileKind
from exporter.views.treemap.store_map import store_map
from exporter.views.treemap.tiles import Tile, coarser, leaves
from exporter.web.explorer.links import Links
from exporter.web.explorer.map_shades import Colour, describe, shade_of
from exporter.web.explorer.rendering import Renderer
from exporter.web.explorer.routes import Explorer
from exporter.web.explorer.turns import Turns
from tests.exporter_process import Exporter
from tests.servers import DockerRegistry, RegistryClient

NOW = 1_790_000_000.0
DAY = 86400.0
TILE = re.compile(
    r'<a href="([^"]+)" class="([^"]+)"><title>([^<]+)</title>'
    r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/>(.*?)</a>'
)


class Drawn:
    """A tile on a page."""

    def __init__(self, found: tuple[str, ...]) -> None:
        self.address, self.shade, self.title = map(unescape, found[:3])
        self.x, self.y, self.width, self.height = map(float, found[3:7])
        self.texts = [unescape(each) for each in re.findall(r"<text[^>]*>([^<]*)<", found[7])]
        bytes_ = re.search(r"\(([\d,]+) bytes\)", self.title)
        assert bytes_
        self.bytes = int(bytes_[1].replace(",", ""))
        self.name = self.title.partition(":")[0]


def drawn(page: str, picture: str = "wide") -> list[Drawn]:
    found = re.search(rf'<svg class="map {picture}".*?</svg>', page, re.DOTALL)
    return [Drawn(each) for each in TILE.findall(found[0])] if found else []


def names(tiles: list[Drawn]) -> list[str]:
    return [tile.name for tile in tiles]


def legend(page: str) -> list[str]:
    found = re.search(r'<ul class="legend".*?</ul>', page, re.DOTALL)
    return re.findall(r"</svg> ([^<]+)</li>", found[0]) if found else []


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """Serve the sample store, with the apps that use it."""
    directory = tmp_path_factory.mktemp("map")
    build_sample(directory / "registry", NOW)
    write_captain_config(directory, NOW)
    with Exporter(
        "--storage.root", directory / "registry", "--caprover.config-dir", directory
    ) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_caprover_up") == 1)
        yield exporter


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    """Return a store with nested namespaces, and a repository named as one of them."""
    store = StoreBuilder(tmp_path_factory.mktemp("small") / "registry")
    base = noise("base", 50_000)
    store.image("team", "1", [noise("team", 40_000)])
    store.image("team/api", "1", [base, noise("api 1", 30_000)])
    store.image("team/api", "2", [base, noise("api 2", 20_000)])
    store.tag("team/api", "latest", store.image("team/api", "3", [base, noise("api 3", 10_000)]))
    store.image("team/api", None, [base, noise("api untagged", 15_000)])
    store.image("team/web/site", "1", [noise("site", 25_000)])
    store.image("team/web/docs", "1", [base, noise("docs", 22_000)])
    store.image("tools/ci/runner", "1", [noise("runner", 12_000)])
    store.unlinked_blob(noise("garbage", 9_000))
    store.upload("team/api", noise("upload", 8_000), None)
    store.stray("docker/registry/v2/blobs/README", noise("stray", 7_000))
    return store


@pytest.fixture(scope="module")
def exporter(small: StoreBuilder) -> Iterator[Exporter]:
    with Exporter("--storage.root", small.root) as exporter:
        yield exporter


@pytest.mark.parametrize("served", ["sample", "exporter"])
def test_the_tiles_add_up_to_blobs_uploads_and_stray_files(
    served: str, request: pytest.FixtureRequest
) -> None:
    exporter: Exporter = request.getfixturevalue(served)
    page, metrics = exporter.get("/map").text, exporter.metrics()
    whole = sum(
        metrics.total(f"docker_registry_{name}_bytes") for name in ("blob", "upload", "stray")
    )
    for picture in ("wide", "narrow"):
        tiles = [tile for tile in drawn(page, picture) if tile.shade != "frame"]
        assert sum(tile.bytes for tile in tiles) == whole
    listed = re.findall(r'<td class="number"><data value="(\d+)">', page)
    assert sum(map(int, listed)) == whole


def test_tiles_stand_in_their_order_of_size_and_have_areas_of_their_size(
    exporter: Exporter,
) -> None:
    page = exporter.get("/map").text
    for picture, area in (("wide", 1000 * 540), ("narrow", 360 * 500)):
        tiles = drawn(page, picture)
        sizes = [tile.bytes for tile in tiles]
        assert sizes == sorted(sizes, reverse=True)
        team = next(tile for tile in tiles if tile.name == "team/")
        inside = [tile for tile in tiles if tile.name.startswith("team/") and tile is not team]
        outside = [tile for tile in tiles if tile not in inside]
        whole = sum(tile.bytes for tile in outside)
        for tile in outside:
            assert tile.width * tile.height == pytest.approx(area * tile.bytes / whole, rel=0.01)
        for tile in inside:
            assert team.x < tile.x < tile.x + tile.width < team.x + team.width + 0.1
            assert team.y < tile.y < tile.y + tile.height < team.y + team.height + 0.1


def test_a_tile_says_what_it_is_how_large_and_what_its_colour_means(sample: Exporter) -> None:
    tiles = {tile.name: tile for tile in drawn(sample.get("/map").text)}
    shop = tiles["captain/img-captain-shop"]
    figure = sample.value(
        "docker_registry_repository_exclusive_bytes", repository="captain/img-captain-shop"
    )
    assert shop.bytes == figure
    assert re.fullmatch(
        r"captain/img-captain-shop: repository, 17\.\d MiB \([\d,]+ bytes\), \d+ %, running",
        shop.title,
    )
    assert shop.shade == "part-running"
    assert shop.texts == ["img-captain-shop", "17.9 MiB", "running"]
    assert "mostly running" in tiles["captain/"].title
    assert tiles["captain/img-captain-old-shop"].shade == "part-orphaned"
    assert {tiles[each].address for each in ("garbage", "uploads", "stray files")} == {
        "/clean-up", "/issues",
    }  # fmt: skip


def test_a_place_is_a_namespace_or_a_repository_even_if_both_have_one_name(
    exporter: Exporter,
) -> None:
    store = drawn(exporter.get("/map").text)
    assert {"team", "team/", "tools/ci/runner", "shared by repositories"} < set(names(store))
    addresses = {tile.name: tile.address for tile in store}
    assert addresses["team"] == "/map?in=team"
    assert addresses["team/"] == "/map?in=team%2F"
    namespace = drawn(exporter.get(addresses["team/"]).text)
    assert {"team/api", "team/web/", "team/web/site", "team/web/docs"} <= set(names(namespace))
    assert names(drawn(exporter.get(addresses["team"]).text)) == ["1"]
    assert "runner" in exporter.get("/map?in=tools/ci").text


def test_tags_of_one_image_share_a_tile_and_the_rest_of_a_repository_has_its_own(
    exporter: Exporter,
) -> None:
    page = exporter.get("/map?in=team/api").text
    tiles = {tile.name: tile for tile in drawn(page)}
    assert set(tiles) == {"1", "2", "3, latest", "untagged", "shared by images"}
    assert tiles["shared by images"].bytes == 50_000
    for name, layer in (("1", 30_000), ("2", 20_000), ("3, latest", 10_000), ("untagged", 15_000)):
        assert layer < tiles[name].bytes < layer + 2000, "with its manifest and configuration"
    referenced = exporter.value(
        "docker_registry_repository_referenced_bytes", repository="team/api"
    )
    assert sum(tile.bytes for tile in tiles.values()) == referenced
    assert re.fullmatch(r"/images/sha256:[0-9a-f]{64}", tiles["1"].address)
    assert "48.8 KiB of it shared with other repositories" in page
    trail = re.findall(r'<a href="(/map[^"]*)"(?: aria-current="page")?>', page)
    assert {"/map", "/map?in=team%2F", "/map?in=team%2Fapi"} <= set(map(unescape, trail))


def test_colours_are_chosen_in_the_address_and_kept_by_links(
    exporter: Exporter, sample: Exporter
) -> None:
    assert "Strongest use of the tags" in sample.get("/map").text
    plain = exporter.get("/map").text
    assert "Last push:" in plain
    assert legend(plain)[:6] == [
        "within a day", "7 days", "30 days", "90 days", "a year", "longer ago",
    ]  # fmt: skip
    assert "not configured to read which apps run" in exporter.get("/map?colour=use").text
    growth = exporter.get("/map?colour=growth").text
    assert "the history is shorter than 7 days" in growth
    assert {tile.shade for tile in drawn(growth)} == {"frame", "shade-none"}
    places = [tile.address for tile in drawn(growth) if tile.address.startswith("/map")]
    assert places
    assert all(each.endswith("colour=growth") for each in places)
    aged = sample.get("/map?colour=age").text
    assert any("pushed 1" in tile.title for tile in drawn(aged))


@pytest.mark.parametrize("place", ["", "team/", "team/api"])
def test_the_api_returns_what_the_page_draws(exporter: Exporter, place: str) -> None:
    query = urlencode({"in": place})
    answer = exporter.get(f"/api/v1/map?{query}").json()

    def bytes_of(tiles: list[dict[str, Any]]) -> list[int]:
        return [size for tile in tiles for size in (tile["bytes"], *bytes_of(tile["inner"]))]

    shown = drawn(exporter.get(f"/map?{query}").text)
    assert sorted(bytes_of(answer["tiles"])) == sorted(tile.bytes for tile in shown)
    assert answer["place"] == place
    assert answer["bytes"] == sum(tile["bytes"] for tile in answer["tiles"])


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"colour": "pink"}, 400, "Colour is none of: use, age, growth"),
        ({"rest": "-1"}, 400, "Rest is not a whole number from 0"),
        ({"in": "x" * 301}, 400, "In is longer than 300 characters"),
        ({"in": "web/ap"}, 404, "There is no repository or namespace web/ap"),
        ({"in": "<b>\u202e\0"}, 404, "There is no repository or namespace &lt;b&gt;"),
        ({"in": "/"}, 404, "There is no repository or namespace /"),
        ({"rest": "1000"}, 200, "Nothing smaller is left here"),
    ],
)
def test_wrong_places_and_parameters_are_named(
    exporter: Exporter, query: Mapping[str, str], status: int, text: str
) -> None:
    answer = exporter.get(f"/map?{urlencode(query)}")
    assert answer.status_code == status
    assert text in answer.text


def test_similar_repositories_are_offered_for_a_place_that_does_not_exist(
    exporter: Exporter,
) -> None:
    page = exporter.get("/map?in=other/si").text
    assert '<a href="/map?in=team%2Fweb%2Fsite">team/web/site</a>' in page


def test_an_empty_store_has_a_page_without_a_picture(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    for part in ("blobs", "repositories"):
        (store.version_path / part).mkdir(parents=True)
    with Exporter("--storage.root", tmp_path) as exporter:
        page = exporter.get("/map").text
    assert "The store is empty" in page
    assert '<svg class="map' not in page


def test_a_registry_frees_the_bytes_of_an_image_s_tile_when_that_image_is_deleted(
    tmp_path: Path,
) -> None:
    base = noise("base", 40_000)
    with DockerRegistry(tmp_path) as registry, RegistryClient(registry.url) as client:
        *_, image = [
            client.push_image("team/app", str(number), [base, noise(f"{number}", 9_000)])
            for number in (1, 2, 3)
        ]
        client.push_image("team/app", None, [base, noise("untagged", 8_000)])
        with Exporter("--storage.root", tmp_path) as exporter:
            tiles = {tile.name: tile for tile in drawn(exporter.get("/map?in=team/app").text)}
        before = stored_bytes(tmp_path)
        client.delete_manifest("team/app", image)
        registry.garbage_collect()
    assert sum(tile.bytes for tile in tiles.values()) == before
    assert tiles["3"].bytes == before - stored_bytes(tmp_path) > 9_000
    assert tiles["3"].address == f"/images/{image}"


def stored_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("blobs/**/data"))


# A made-up snapshot


class Grown(SnapshotView):
    """A view whose repositories' growth is known."""

    __slots__ = ()

    @property
    def growth(self) -> Mapping[str, int]:
        return {name: -1000 * number for number, name in enumerate(self.figures) if number}


def made_up(sizes: Mapping[str, int], *, has_uses: bool = True) -> Snapshot:
    """Return the snapshot of a store with repositories of these sizes."""
    inventory = Inventory(repositories=tuple(Repository(name) for name in sorted(sizes)))
    repositories = tuple(
        RepositoryFigures(name, 1, 1, 0, size, size, NOW - index * DAY)
        for index, (name, size) in enumerate(sizes.items())
    )
    blobs = {
        **dict.fromkeys(BlobState, BlobTotal()),
        BlobState.TAGGED: BlobTotal(1, sum(sizes.values())),
    }
    figures = replace(analyse(inventory), repositories=repositories, blobs=blobs)
    uses = None
    if has_uses:
        tags, kinds = (Tag("1", 0, NOW),), list(Use)
        by_name = {
            name: TagUses(tags, {}, kinds[index % len(kinds)]) for index, name in enumerate(sizes)
        }
        uses = UseFigures({}, by_name, {}, frozenset(), {})
    return Snapshot(store=StoreReading(inventory, figures), uses=uses)


OPTIONS = ViewOptions(FilesystemStore(Path("/nowhere")), AnalysisOptions(), CommandLines("plan"))


def view_of(sizes: Mapping[str, int]) -> SnapshotView:
    return SnapshotView(made_up(sizes), OPTIONS)


def fetch(snapshot: Snapshot, *addresses: str) -> list[httpx.Response]:
    """Ask the explorer for pages about a snapshot."""
    viewer, limiter = Viewer(lambda: snapshot, OPTIONS), CapacityLimiter(1)
    explorer = Explorer(viewer, Renderer(Links()), "made up", limiter, Turns())
    app = Starlette(routes=[Route(path, answer) for path, answer in explorer.pages()])

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://explorer") as client:
            return [await client.get(address) for address in addresses]

    return asyncio.run(ask())


def many() -> Mapping[str, int]:
    """Return twenty thousand repositories in namespaces of all sizes."""
    chance = random.Random(20_000)  # noqa: S311 - nothing secret
    return {
        f"team-{int(chance.paretovariate(0.8)) % 300}/{'lib/' if number % 5 == 0 else ''}"
        f"app-{number}": int(chance.lognormvariate(18, 2))
        for number in range(20_000)
    }


def test_twenty_thousand_repositories_are_few_tiles_on_a_small_page() -> None:
    sizes = many()
    (answer,) = fetch(made_up(sizes), "/map")
    wide, narrow = drawn(answer.text), drawn(answer.text, "narrow")
    for tiles in (wide, narrow):
        assert sum(tile.bytes for tile in tiles if tile.shade != "frame") == sum(sizes.values())
    assert 200 < len(wide) <= 400
    assert len(narrow) < 120
    assert len(gzip.compress(answer.content, 5)) < 40_000
    assert "more tiles are in the picture" in answer.text


def test_every_repository_is_reached_through_the_tiles_of_what_is_smaller() -> None:
    sizes = {f"{'a' if number % 3 else 'b/c'}/{number}": 1000 + number for number in range(1500)}
    view, found, places = view_of(sizes), set[str](), [("", 0)]
    asked = 0
    while places:
        place, skipped = places.pop()
        shown = store_map(view, place, skipped)
        assert shown is not None
        asked += 1
        if shown.later:
            places.append((shown.place, shown.skipped + len(shown.tiles)))
        for tile in leaves(shown.tiles):
            if tile.kind is TileKind.REPOSITORY:
                found.add(tile.name)
            elif tile.kind is TileKind.NAMESPACE:
                places.append((tile.name, 0))
            else:
                places.append((tile.name, tile.skipped))
    assert found == set(sizes)
    assert asked < 20


def test_smaller_ones_follow_page_by_page_if_all_have_the_same_size() -> None:
    snapshot = made_up({f"app-{number:04}": 1000 for number in range(6000)})
    first, second, last = fetch(snapshot, "/map", "/map?rest=0", "/map?rest=5900")
    assert names(drawn(first.text)) == ["6,000 smaller"] == names(drawn(second.text))
    (rest,) = fetch(snapshot, "/map?rest=1")
    assert len(drawn(rest.text)) == 400
    assert 'href="/map?rest=401"' in rest.text
    assert len(drawn(last.text)) == 100
    assert "smaller follow" not in last.text


def test_a_single_smaller_part_has_its_own_tile_and_one_without_bytes_has_none() -> None:
    found = store_map(view_of({"large": 10**9, "tiny": 1, "team/nothing": 0}))
    assert found is not None
    assert [tile.name for tile in found.tiles] == ["large", ""]
    found = store_map(view_of({"large": 10**9, "tiny": 1}))
    assert found is not None
    assert [tile.name for tile in found.tiles] == ["large", "tiny"]
    nothing = store_map(view_of({"large": 5, "nothing": 0}), skipped=1)
    assert nothing is not None
    assert (nothing.tiles, nothing.later) == ((), 0)


def test_names_are_text_whatever_they_hold() -> None:
    hostile = "<script>alert(1)</script>\u202e\x00\"'"
    sizes = {f"{hostile}/{'x' * 250}": 5000, f"{hostile}/b": 4000, "a": 3000}
    pages = fetch(made_up(sizes), "/map", f"/map?{urlencode({'in': f'{hostile}/b'})}")
    for page in pages:
        assert page.status_code == httpx.codes.OK
        assert "<script>" not in page.text
        assert "&lt;script&gt;" in page.text
    labels = [text for tile in drawn(pages[0].text) for text in tile.texts]
    assert any(re.fullmatch("x{9,}…x{18,}", text) for text in labels)


def test_a_coarser_picture_has_the_same_bytes_in_fewer_tiles() -> None:
    found = store_map(view_of(many()))
    assert found is not None
    fewer = coarser(found.tiles, "", 1 / 200, 1 / 10)
    few = list(leaves(fewer))
    assert sum(tile.bytes for tile in few) == found.bytes
    assert len(few) < len(list(leaves(found.tiles))) / 4
    assert sum(tile.share for tile in few) == pytest.approx(1)
    for tile in (each for each in few if each.kind is TileKind.SMALLER):
        rest = store_map(view_of(many()), tile.name, tile.skipped)
        assert rest is not None
        assert rest.shown_bytes + rest.later_bytes == tile.bytes


def test_growth_is_known_of_namespaces_too() -> None:
    snapshot = made_up({"a/1": 9000, "a/2": 8000, "b": 7000})
    found = store_map(Grown(snapshot, OPTIONS))
    assert found is not None
    assert [(tile.name, tile.growth_bytes) for tile in found.tiles] == [("a/", -1000), ("b", -2000)]


def tile(**values: Any) -> Tile:  # noqa: ANN401 - those of Tile
    return replace(Tile(TileKind.REPOSITORY, "app", 1000, 0.5), **values)


@pytest.mark.parametrize(
    ("colour", "values", "css", "words"),
    [
        (Colour.USE, {"use": Use.SUPERSEDED}, "part-superseded", "superseded"),
        (Colour.USE, {"use": None}, "shade-none", ""),
        (Colour.USE, {"kind": TileKind.GARBAGE}, "part-garbage", ""),
        (Colour.USE, {"kind": TileKind.SMALLER, "use": Use.RUNNING}, "part-running",
         "mostly running"),
        (Colour.AGE, {"last_push_at": NOW - DAY / 2}, "age-0", "pushed 12h ago"),
        (Colour.AGE, {"last_push_at": NOW + 9 * DAY}, "age-0", "pushed just now"),
        (Colour.AGE, {"last_push_at": NOW - 7 * DAY}, "age-2", "pushed 7d ago"),
        (Colour.AGE, {"last_push_at": 0.0}, "age-5", "pushed 20718d ago"),
        (Colour.AGE, {}, "shade-none", ""),
        (Colour.GROWTH, {"growth_bytes": 1000}, "growth-4", "+1000 B in 7 days"),
        (Colour.GROWTH, {"growth_bytes": 1500}, "growth-4", "+1.5 KiB in 7 days"),
        (Colour.GROWTH, {"growth_bytes": 100}, "growth-3", "+100 B in 7 days"),
        (Colour.GROWTH, {"growth_bytes": 0}, "growth-2", "0 B in 7 days"),
        (Colour.GROWTH, {"growth_bytes": -200}, "growth-1", "\u2212200 B in 7 days"),
        (Colour.GROWTH, {"growth_bytes": -900}, "growth-0", "\u2212900 B in 7 days"),
        (Colour.GROWTH, {"bytes": 0, "growth_bytes": 0}, "growth-2", "0 B in 7 days"),
        (Colour.GROWTH, {"growth_bytes": None}, "shade-none", ""),
    ],
)  # fmt: skip
def test_a_colour_has_a_meaning_that_is_said_in_words_too(
    colour: Colour, values: Mapping[str, object], css: str, words: str
) -> None:
    shown = tile(**values)
    assert shade_of(shown, colour, NOW).css == css
    assert describe(shown, colour, NOW) == words


# The stylesheet


def css(is_dark: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Return the colours of tiles and of the texts on them, by class, in one colour scheme."""
    text = files("exporter.web.explorer").joinpath("static", "style.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[: 2 if is_dark else 1]
    variables = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", " ".join(roots)))

    def colour(value: str) -> str:
        found = variables[value[6:-1]] if value.startswith("var") else value
        return found if len(found) == 7 else "#" + "".join(each * 2 for each in found[1:])

    rules = re.findall(r"^ *(\S.*?) \{ ([^}]*)\}", text.replace("} .", "}\n."), re.MULTILINE)
    fills, inks = {}, {}
    for selectors, body in rules:
        fill = re.search(r"fill: ([^;]+);", body)
        if fill is None:
            continue
        for selector in selectors.split(", "):
            if match := re.fullmatch(r"\.([a-z]+-[a-z0-9]+)", selector):
                fills[match[1]] = colour(fill[1])
            elif match := re.fullmatch(r"\.map (?:\.(\S+) )?text", selector):
                inks[match[1] or ""] = colour(fill[1])
    return fills, inks


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("is_dark", [False, True])
def test_texts_on_tiles_have_the_contrast_that_wcag_aa_demands(is_dark: bool) -> None:
    fills, inks = css(is_dark)
    on_maps = {
        name: fill
        for name, fill in fills.items()
        if name.startswith(("age-", "growth-", "shade-", "part-"))
        and name not in ("part-reserved", "part-free", "part-tagged")
    }
    assert len(on_maps) == 6 + 5 + 1 + 10
    for name, fill in on_maps.items():
        light, dark = sorted(map(luminance, (fill, inks.get(name, inks[""]))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def test_ages_get_darker_so_that_their_order_is_seen_without_colour() -> None:
    fills, _ = css(is_dark=False)
    shades = [luminance(fills[f"age-{number}"]) for number in range(6)]
    assert shades == sorted(shades, reverse=True)
    assert all(lighter > 1.2 * darker for lighter, darker in pairwise(shades))
