"""Treemaps: where tiles are placed, and which parts of a store become tiles."""

from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.store import StoreBuilder
from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.reachability import expand
from exporter.analysis.repository_figures import parts_of
from exporter.analysis.store_figures import analyse
from exporter.domain.snapshot import RepositoryFigures
from exporter.store.filesystem.scanner import scan_store
from exporter.views.treemap.layout import Box, squarified
from exporter.views.treemap.parts import (
    Choice,
    Detail,
    Part,
    TileKind,
    by_size,
    choose,
    choose_after,
    divided,
)
from tests.random_stores import STEPS_WITH_LOSSES, Step, build, temporary_directory

sizes = st.lists(st.floats(1, 1e12), min_size=1, max_size=60).map(lambda x: sorted(x, reverse=True))
boxes = st.builds(Box, st.floats(0, 50), st.floats(0, 50), st.floats(20, 2000), st.floats(20, 2000))
names = st.lists(
    st.lists(st.sampled_from(["a", "b", "a-b", "c"]), min_size=1, max_size=4).map("/".join),
    unique=True,
    max_size=40,
)


def overlap(one: Box, other: Box) -> tuple[float, float]:
    """Return the width and height that two boxes have in common; negative if they are apart."""
    return (
        min(one.x + one.width, other.x + other.width) - max(one.x, other.x),
        min(one.y + one.height, other.y + other.height) - max(one.y, other.y),
    )


@given(sizes, boxes)
def test_areas_are_proportional_to_sizes_and_fill_the_box(sizes: list[float], box: Box) -> None:
    placed = squarified(sizes, box)
    assert [each.area for each in placed] == pytest.approx(
        [box.area * size / sum(sizes) for size in sizes], rel=1e-6, abs=1e-6
    )


@given(sizes, boxes)
def test_boxes_are_inside_and_do_not_overlap(sizes: list[float], box: Box) -> None:
    placed = squarified(sizes, box)
    for each in placed:
        assert each.x >= box.x - 1e-6
        assert each.y >= box.y - 1e-6
        assert each.x + each.width <= box.x + box.width + 1e-6
        assert each.y + each.height <= box.y + box.height + 1e-6
    for one, other in combinations(placed, 2):
        assert min(overlap(one, other)) < 1e-6


@given(sizes, boxes)
def test_the_same_sizes_are_always_placed_in_the_same_way(sizes: list[float], box: Box) -> None:
    assert squarified(sizes, box) == squarified(list(sizes), box)


def test_the_example_of_the_paper_is_placed_as_in_the_paper() -> None:
    placed = squarified([6, 6, 4, 3, 2, 2, 1], Box(0, 0, 6, 4))
    assert [(round(each.x, 2), round(each.y, 2)) for each in placed] == [
        (0, 0), (0, 2), (3, 0), (4.71, 0), (3, 2.33), (4.2, 2.33), (5.4, 2.33),
    ]  # fmt: skip


def test_equal_sizes_become_squares_and_extreme_ones_are_still_placed() -> None:
    squares = squarified([1] * 16, Box(0, 0, 80, 80))
    assert {(round(each.width), round(each.height)) for each in squares} == {(20, 20)}
    assert len(squarified([1e18, 1, 1, 1e-9], Box(0, 0, 1000, 500))) == 4
    assert squarified([], Box(0, 0, 10, 10)) == []


def repositories(**sizes: int) -> list[RepositoryFigures]:
    return [
        RepositoryFigures(name.replace("__", "/"), 1, 1, 0, size, size, None)
        for name, size in sizes.items()
    ]


def figures(names: Iterable[str]) -> list[RepositoryFigures]:
    return [
        RepositoryFigures(name, 1, 1, 0, number, number, None) for number, name in enumerate(names)
    ]


def test_repositories_are_grouped_by_the_beginning_of_their_names() -> None:
    parts = divided(repositories(a__x=5, a__y=6, b__c__x=1, b__c__y=1, c__d__e=4, a=20), "")
    assert [(part.name, part.kind, part.bytes) for part in parts] == [
        ("a", TileKind.REPOSITORY, 20),
        ("a/", TileKind.NAMESPACE, 11),
        ("c/d/e", TileKind.REPOSITORY, 4),
        ("b/c/", TileKind.NAMESPACE, 2),
    ]


@given(names)
def test_a_division_holds_every_repository_once_and_ends(names: list[str]) -> None:
    def inside(parts: list[Part]) -> list[str]:
        found = []
        for part in parts:
            assert part.bytes == sum(each.exclusive_bytes for each in part.repositories)
            if part.kind is TileKind.REPOSITORY:
                found.append(part.name)
            else:
                assert all(each.name.startswith(part.name) for each in part.repositories)
                inner = divided(part.repositories, part.name)
                assert len(inner) > 1
                found += inside(inner)
        return found

    assert sorted(inside(divided(figures(names), ""))) == sorted(names)


def count(choice: Choice) -> int:
    rest = len(choice.parts) > choice.shown
    return choice.shown + rest + sum(count(inner) for inner in choice.opened.values())


details = st.builds(Detail, st.integers(2, 30), st.floats(0, 0.1), st.floats(0, 0.5))


@given(names, details)
def test_there_are_never_more_tiles_than_allowed(names: list[str], detail: Detail) -> None:
    assert count(choose(divided(figures(names), ""), detail)) <= detail.tiles + 1


def test_the_largest_parts_have_tiles_wherever_they_are() -> None:
    found = choose(
        divided(repositories(a__x=500, a__y=400, a__z=1, b__x=300, b__y=2, b__z=2), ""),
        Detail(tiles=20, least_share=0.05, opening_share=0.1),
    )
    shown = [
        [part.name for part in each.parts[: each.shown]]
        for each in (found, found.opened[0], found.opened[1])
    ]
    assert shown == [["a/", "b/"], ["a/x", "a/y", "a/z"], ["b/x"]]


def images(*sizes: int) -> list[Part]:
    return by_size(Part(TileKind.IMAGE, size, str(size)) for size in sizes)


def test_those_after_the_largest_are_shown_as_long_as_they_can_be_seen_together() -> None:
    detail = Detail(tiles=3, least_share=0.1, opening_share=1)
    parts = images(100, 10, 9, 8, 7, 1, 0)
    assert choose_after(parts, 1, detail) == 4
    assert choose_after(parts, 4, detail) == 6
    assert choose_after(parts, 5, detail) == 6
    assert choose_after(parts, 6, detail) == 6
    assert choose_after(parts, 99, detail) == 99


@given(STEPS_WITH_LOSSES)
def test_the_parts_of_a_repository_are_what_its_images_do_not_share(steps: list[Step]) -> None:
    with temporary_directory() as root:
        build(StoreBuilder(root), steps)
        inventory = scan_store(root)
    by_name = {each.name: each for each in analyse(inventory).repositories}
    for repository in inventory.repositories:
        parts = parts_of(inventory, repository)
        whole = sum(parts.tagged.values()) + parts.untagged + parts.shared
        assert whole == by_name[repository.name].referenced_bytes
        roots = {each.manifest for each in repository.revisions}
        targets = {tag.target for tag in repository.tags if tag.target is not None}
        below, _ = expand(inventory.manifests, targets)
        for target in targets:
            others = targets - {target} | (roots - below)
            alone = expand(inventory.manifests, (target,))[0]
            alone -= expand(inventory.manifests, others)[0]
            assert parts.tagged[target] == bytes_on_disk(inventory, alone)
