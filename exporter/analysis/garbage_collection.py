"""Estimate of a run of the registry's garbage collector: what it frees, breaks, and aborts on."""

from collections.abc import Iterator, Mapping

from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.collector_simulation import Marks, mark
from exporter.analysis.integrity import PullCheck, sound_links
from exporter.analysis.reachability import Reaches
from exporter.domain.digests import BlobNumber
from exporter.domain.model import ABSENT, Inventory, Repository
from exporter.domain.snapshot import (
    VERSION_2,
    BlobState,
    BlobTotal,
    Blocker,
    CollectorRun,
    Dialect,
    GcMode,
    TagName,
)


def simulate_runs(
    inventory: Inventory,
    states: BlobStates,
    check: PullCheck,
    dialect: Dialect,
    blobs: Mapping[BlobState, BlobTotal],
) -> Mapping[GcMode, CollectorRun] | None:
    """Return what the collector would do in each mode.

    ``blobs`` are the totals by state. None while something is unread that may change the result.
    """
    if inventory.unread:
        return None
    if states.is_orderly and check.is_faultless and states.has_sound_links:
        return _runs_of_consistent_store(states, dialect, blobs)
    return _runs_by_walk(inventory, states.reaches, check, dialect)


def _runs_of_consistent_store(
    states: BlobStates, dialect: Dialect, blobs: Mapping[BlobState, BlobTotal]
) -> Mapping[GcMode, CollectorRun]:
    """Return the runs on a consistent store, where only version 2 deletes what is needed."""
    lost = BlobTotal()
    endangered: tuple[TagName, ...] = ()
    if dialect == VERSION_2:
        lost = states.lost_below_indexes
        endangered = tuple(name for each in states.summaries for name in each.over_untagged)
    garbage, untagged = blobs[BlobState.UNREFERENCED], blobs[BlobState.UNTAGGED]
    frees = BlobTotal(
        garbage.blobs + untagged.blobs + lost.blobs,
        garbage.bytes + untagged.bytes + lost.bytes,
    )
    return {
        GcMode.DEFAULT: CollectorRun(garbage, (), ()),
        GcMode.DELETE_UNTAGGED: CollectorRun(frees, endangered, ()),
    }


def _runs_by_walk(
    inventory: Inventory, reaches: Reaches, check: PullCheck, dialect: Dialect
) -> Mapping[GcMode, CollectorRun]:
    runs = {}
    present = set(range(len(inventory.sizes)))
    if ABSENT in inventory.sizes:
        present = {number for number in present if inventory.sizes[number] != ABSENT}
    for mode in GcMode:
        marks = mark(inventory, reaches, dialect, mode)
        blockers = tuple(Blocker(*each) for each in sorted(marks.blockers.items()))
        endangered = () if blockers else tuple(_endangered(inventory, reaches, check, marks))
        freed = set() if blockers else present - marks.blobs
        frees = BlobTotal(len(freed), bytes_on_disk(inventory, freed))
        runs[mode] = CollectorRun(frees, endangered, blockers)
    return runs


def _endangered(
    inventory: Inventory, reaches: Reaches, check: PullCheck, marks: Marks
) -> Iterator[TagName]:
    """Yield the tags that can be pulled now and could not be pulled after a run.

    A tag of which only some images can be pulled now counts if a run would break one of these.
    """
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        removed = marks.removed.get(repository.name, set())
        held = sound_links(repository, reach)
        left = held - removed
        suspects = reach.targets
        is_sound = check.is_sound(repository, reach)
        if repository.name in marks.plain and is_sound:
            # what its tags point to stays, with its references; but not what lies below that
            suspects = suspects & inventory.indexes if removed else set()
            suspects = _with_lost_children(inventory, suspects, left)
        lost = {
            target
            for target in suspects
            if check.fault(repository, target, left, marks.blobs) is not None
            and (
                is_sound
                or check.fault(repository, target, held) is None
                or _loses_images(check, repository, target, held, left, marks)
            )
        }
        if lost:
            names = (tag.name for tag in repository.tags if tag.target in lost)
            yield from (TagName(repository.name, name) for name in names)


def _loses_images(
    check: PullCheck,
    repository: Repository,
    target: BlobNumber,
    held: set[BlobNumber],
    left: set[BlobNumber],
    marks: Marks,
) -> bool:
    """Return whether a run breaks an image that a tag leads to and that can be pulled now."""
    before = {each.manifest for each in check.images(repository, target, held) if each.is_whole}
    after = check.images(repository, target, left, marks.blobs)
    return not before <= {each.manifest for each in after if each.is_whole}


def _with_lost_children(
    inventory: Inventory, indexes: set[BlobNumber], left: set[BlobNumber]
) -> set[BlobNumber]:
    """Return the indexes that list a manifest that is gone, or another index."""
    children = {index: inventory.manifests[index].children for index in indexes}
    return {
        index
        for index, below in children.items()
        if not (left.issuperset(below) and inventory.indexes.isdisjoint(below))
    }
