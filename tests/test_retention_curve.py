"""Figures for all tags at once equal those of each policy and of each plan."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.collector_simulation import mark
from exporter.analysis.deletion.lazy_reaches import lazy_manifest_reaches, lazy_reaches
from exporter.analysis.deletion.order import Dating
from exporter.analysis.deletion.plan import choose, make_plan
from exporter.analysis.deletion.plan_summary import summarize_plan
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.retention_curve import MOST, retention_curve, some_points
from exporter.analysis.deletion.selection import Selection
from exporter.analysis.reachability import reaches_of
from exporter.domain.digests import parse_digest
from exporter.domain.model import Inventory
from exporter.domain.snapshot import Dialect, GcMode
from exporter.domain.uses import TagUses, Use, UseFigures
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import (
    STEPS_WITH_LOSSES,
    STEPS_WITH_MANY_TAGS,
    Step,
    build,
    temporary_directory,
)

NOW = 2e6
DIALECTS: tuple[Dialect, ...] = (2, 3)
MOMENTS = (0.0, 1.0, 200.0, 10_000.0, 10_200.0, 500_000.0, 1_000_000.0)
PLACES = st.lists(st.integers(0, len(MOMENTS) - 1), min_size=9, max_size=9)


def with_times(inventory: Inventory, places: list[int]) -> Inventory:
    """Return an inventory whose tags were written at some of the moments."""
    moments = iter(places * 100)
    return replace(
        inventory,
        repositories=tuple(
            replace(
                repository,
                tags=tuple(
                    type(tag)(tag.name, tag.target, MOMENTS[next(moments)])
                    for tag in repository.tags
                ),
            )
            for repository in inventory.repositories
        ),
    )


def uses_with(inventory: Inventory, running: list[int]) -> UseFigures:
    """Return uses in which some tags run, and some manifests by their digest."""
    names = ("1", "2", "latest")
    return UseFigures(
        {},
        {
            each.name: TagUses(
                each.tags,
                {tag.name: Use.RUNNING for tag in each.tags if names.index(tag.name) in running}
                if all(tag.name in names for tag in each.tags)
                else {},
                Use.SUPERSEDED,
            )
            for each in inventory.repositories
        },
        {
            each.name: {
                revision.manifest: Use.RUNNING
                for revision in each.revisions
                if revision.manifest % 4 in running
            }
            for each in inventory.repositories
        },
        frozenset(),
        {},
    )


def dated(date: int) -> Dating:
    """Return a dating that knows when some images were created."""
    return Dating(
        read=lambda _, numbers: {
            number: 1e9 + 1e6 * (number * date % 5) for number in numbers if date
        }
    )


@settings(max_examples=100, deadline=None)
@given(
    STEPS_WITH_MANY_TAGS,
    PLACES,
    st.none() | st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 3),
    st.sampled_from(DIALECTS),
)
def test_the_curve_equals_every_policy_priced_alone(
    steps: list[Step],
    places: list[int],
    running: list[int] | None,
    date: int,
    dialect: Dialect,
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = with_times(scan_store(directory), places)
    uses = None if running is None else uses_with(inventory, running)
    collector = CollectorAfter(inventory, reaches_of(inventory), dialect)
    assume(collector.is_orderly)
    curve = retention_curve(
        inventory, lazy_manifest_reaches(inventory), collector, uses, dated(date)
    )
    expected = some_points(
        inventory, reaches_of(inventory), collector, uses, range(1, 8), dated(date)
    )
    assert [each.keep_last for each in curve] == list(range(1, MOST + 1))
    assert curve[:7] == expected


def test_the_curve_reaches_as_far_as_the_largest_number_of_tags_that_is_kept(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    for number in range(60):
        store.image("app", str(number), [noise(f"layer {number}", 100)], at=1000.0 * number)
    inventory = scan_store(tmp_path)
    reaches = reaches_of(inventory)
    collector = CollectorAfter(inventory, reaches, 2)
    curve = retention_curve(inventory, reaches, collector, None)
    wanted = (1, 2, 49, 50)
    assert tuple(curve[keep - 1] for keep in wanted) == some_points(
        inventory, reaches, collector, None, wanted
    )
    assert [curve[keep - 1].tags for keep in wanted] == [59, 58, 11, 10]


def test_a_store_in_disorder_has_no_curve(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    digest = store.image("app", "1")
    store.revision_link("app", digest).unlink()
    inventory = scan_store(tmp_path)
    reaches = reaches_of(inventory)
    collector = CollectorAfter(inventory, reaches, 2)
    with pytest.raises(ValueError, match="not orderly"):
        retention_curve(inventory, reaches, collector, None)


@settings(max_examples=100, deadline=None)
@given(
    STEPS_WITH_MANY_TAGS,
    st.sampled_from([Selection(keep_last=0), Selection(keep_last=1), Selection(untagged=True)]),
    st.booleans(),
    st.sampled_from(DIALECTS),
)
def test_counted_references_say_what_the_simulated_collector_frees(
    steps: list[Step], selection: Selection, include_children: bool, dialect: Dialect
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = scan_store(directory)
    reaches = reaches_of(inventory)
    collector = CollectorAfter(inventory, lazy_reaches(inventory), dialect)
    assume(collector.is_orderly)
    chosen = choose(inventory, reaches, selection, None, now=NOW, include_children=include_children)
    plan = make_plan(inventory, collector, chosen)
    deleted: dict[str, set[int]] = {}
    for each in plan.deletions:
        digest = parse_digest(each.digest)
        assert digest is not None
        deleted.setdefault(each.repository, set()).add(inventory.digests.intern(digest))
    before = mark(inventory, reaches, dialect, GcMode.DEFAULT)
    after = mark(inventory, reaches, dialect, GcMode.DEFAULT, deleted)
    freed = before.blobs - after.blobs
    assert collector.freed(deleted) == freed
    assert sum(each.freed_bytes for each in plan.deletions) == bytes_on_disk(inventory, freed)


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(STEPS_WITH_MANY_TAGS, STEPS_WITH_LOSSES),
    PLACES,
    st.sampled_from(
        [
            Selection(keep_last=0),
            Selection(keep_last=1),
            Selection(untagged=True),
            Selection(detached=True),
            Selection(keep_last=1, older_than=1_500_000.0),
        ]
    ),
    st.booleans(),
    st.sampled_from(DIALECTS),
)
def test_a_summary_is_the_sum_of_the_plans_lines(
    steps: list[Step],
    places: list[int],
    selection: Selection,
    include_children: bool,
    dialect: Dialect,
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = with_times(scan_store(directory), places)
    reaches = reaches_of(inventory)
    collector = CollectorAfter(inventory, reaches, dialect)
    chosen, lazily = (
        choose(inventory, each, selection, None, now=NOW, include_children=include_children)
        for each in (reaches, lazy_manifest_reaches(inventory))
    )
    plan = make_plan(inventory, collector, chosen)
    summary = summarize_plan(inventory, collector, lazily)
    by_repository: dict[str, list[int]] = {}
    for each in plan.deletions:
        counts = by_repository.setdefault(each.repository, [0, 0, 0])
        counts[0] += 1
        counts[1] += len(each.tags)
        counts[2] += each.freed_bytes
    assert {
        each.name: [each.manifests, each.tags, each.frees_bytes] for each in summary.repositories
    } == by_repository
    assert (
        summary.kept_tags, summary.children_left, summary.recent_tags,
        summary.blockers, summary.ordered, summary.tied,
    ) == (
        plan.kept_tags, plan.children_left, plan.recent_tags,
        plan.blockers, plan.ordered, plan.tied,
    )  # fmt: skip
