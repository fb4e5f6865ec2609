"""Deletions in one repository: what the collector frees, without a look at all the others."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.deletion.one_repository import CollectorAfterInOne, count_marks
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of
from exporter.domain.snapshot import VERSION_2, Dialect
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import STEPS, STEPS_WITH_LOSSES, Step, build, temporary_directory


@settings(max_examples=200, deadline=None)
@given(st.one_of(STEPS, STEPS_WITH_LOSSES), st.sampled_from([2, 3]), st.randoms())
def test_the_same_is_freed_as_by_the_simulation_of_the_whole_store(
    steps: list[Step], dialect: Dialect, random: Random
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = scan_store(directory)
    reaches = reaches_of(inventory)
    whole = CollectorAfter(inventory, reaches, dialect)
    marks = count_marks(inventory, BlobStates.of(inventory).holders, dialect)
    if marks is None:
        assert dialect != VERSION_2
        assert not whole.is_orderly
        return
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        one = CollectorAfterInOne(inventory, repository, reach, marks, whole.blockers, dialect)
        held = sorted(reach.held)
        for size in range(len(held) + 1):
            deleted = {repository.name: set(random.sample(held, size))}
            assert one.freed(deleted) == whole.freed(deleted)


@settings(max_examples=100, deadline=None)
@given(st.one_of(STEPS, STEPS_WITH_LOSSES))
def test_holders_are_the_repositories_that_reach_a_blob(steps: list[Step]) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = scan_store(directory)
    reaches = reaches_of(inventory)
    counts = BlobStates.of(inventory).holders.counts
    assert list(counts) == [
        sum(blob in reach.all for reach in reaches) for blob in range(len(inventory.sizes))
    ]


def test_holders_do_not_change_with_the_next_inventory() -> None:
    states = BlobStates()
    with temporary_directory() as directory:
        store = StoreBuilder(directory)
        store.image("a", "1")
        states.follow(scan_store(directory))
        before = states.holders
        kept = list(before.counts)
        store.image("b", "1")
        states.follow(scan_store(directory))
    assert list(before.counts) == kept
    assert len(states.holders.counts) > len(kept)
