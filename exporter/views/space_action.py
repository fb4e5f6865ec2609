"""The action against a disk that is almost full: how much to free, and the plan for it."""

import math
from collections.abc import Iterator

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.freeable import Kind, Needs
from exporter.analysis.deletion.freeing import Freeing, Step, plan_freeing
from exporter.analysis.deletion.protection import find_protected
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of
from exporter.domain.model import FilesystemUsage
from exporter.domain.snapshot import GcMode, Snapshot, StoreReading
from exporter.views.action import SPACE, Action, CommandWriter

_MIB = 1024**2


def missing_bytes(filesystem: FilesystemUsage | None, least_available: float) -> int:
    """Return how many bytes to free until a share of the filesystem is available, as whole MiB.

    0 if so much is available, or it is unknown.
    """
    if filesystem is None:
        return 0
    missing = least_available * filesystem.size_bytes - filesystem.avail_bytes
    return max(math.ceil(missing / _MIB), 0) * _MIB


def space_action(
    reading: StoreReading,
    snapshot: Snapshot,
    options: AnalysisOptions,
    write: CommandWriter,
    least_available: float,
) -> Iterator[Action]:
    """Yield the plan that makes ``least_available``, a share of the filesystem, available again.

    Without commands if all that may go is not enough.
    Nothing if enough is available, a collector run alone is enough, or it is unknown what may go.
    """
    wanted = missing_bytes(snapshot.filesystem, least_available)
    runs, uses = reading.figures.collector, snapshot.uses
    is_unknown = runs is None or (uses is None and options.ownership is not None)
    if not wanted or is_unknown or runs is None or reading.inventory.is_cache:
        return
    run = runs[GcMode.DEFAULT]
    if run.blockers or run.frees.bytes >= wanted:
        return
    reaches = reaches_of(reading.inventory)
    changed_at = None if snapshot.platform is None else snapshot.platform.changed_at
    collector = CollectorAfter(reading.inventory, reaches, options.dialect)
    protected = find_protected(reading.inventory, options.protect, collector.unlisted)
    freeing = plan_freeing(
        reading.inventory,
        reaches,
        collector,
        Needs(uses, changed_at, protected),
        wanted,
        run.frees.bytes,
    )
    warnings = tuple(_warnings(freeing, least_available))
    if freeing.missing_bytes:
        # all rollbacks must not go in vain: perhaps the store is a small part of the disk
        yield Action(SPACE, 0, (), warnings)
    else:
        frees = freeing.freed_bytes - freeing.alone_bytes
        yield write.deletion(SPACE, frees, f"--free {wanted // _MIB}MiB", *warnings)


_NAMES = {
    Kind.SUPERSEDED: "superseded tags",
    Kind.UNTAGGED: "untagged manifests",
    Kind.ORPHANED: "tags of apps that are not known, from which something else may still pull",
    Kind.ROLLBACK: "old rollbacks, so that apps cannot go back to them",
}


def _name(step: Step) -> str:
    return f"{_NAMES[step.kind]} ({step.freed_bytes:,} bytes)"


def _warnings(freeing: Freeing, least_available: float) -> Iterator[str]:
    yield (
        f"{freeing.wanted_bytes // _MIB:,} MiB must be freed until {least_available:.0%} of the "
        "filesystem is available, the warning threshold of StorageAlmostFull"
    )
    if not freeing.missing_bytes:
        yield f"it would delete, in this order: {', '.join(map(_name, freeing.steps))}"
        return
    kinds = {step.kind for step in freeing.steps}
    rollbacks = ", old rollbacks included" if Kind.ROLLBACK in kinds else ""
    yield (
        f"not enough: with a collector run, only {freeing.freed_bytes:,} bytes of the store can go"
        f"{rollbacks}; free other data, make the disk larger, or choose from the actions below"
    )
