"""The overview: how full the disk is, what fills it, what can go, and what is wrong."""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.domain.model import FilesystemUsage
from exporter.domain.snapshot import BlobState, GcMode, StoreFigures
from exporter.domain.text import plural
from exporter.domain.uses import Use
from exporter.views.health.problems import Problem, problems_of
from exporter.views.health.severity import Severity
from exporter.views.over_time.series import Period
from exporter.views.snapshot_view import SnapshotView
from exporter.views.trend import Trend, trend


class PartKind(enum.StrEnum):
    """What a part of the disk holds.

    The uses are those of tagged blobs; ``tagged`` stands for all of them if no platform says what
    they are used for. ``garbage`` is what nothing references. ``other`` is whatever else is on the
    filesystem, the registry's directories and links among it; ``reserved`` only root may use.
    """

    RUNNING = Use.RUNNING
    ROLLBACK = Use.ROLLBACK
    SUPERSEDED = Use.SUPERSEDED
    ORPHANED = Use.ORPHANED
    UNMANAGED = Use.UNMANAGED
    TAGGED = "tagged"
    UNTAGGED = "untagged"
    GARBAGE = "garbage"
    UPLOADS = "uploads"
    STRAYS = "strays"
    OTHER = "other"
    RESERVED = "reserved"
    FREE = "free"


_USES = (Use.RUNNING, Use.ROLLBACK, Use.SUPERSEDED, Use.ORPHANED, Use.UNMANAGED)


OF_THE_DISK = frozenset({PartKind.OTHER, PartKind.RESERVED, PartKind.FREE})
"""Parts that do not belong to the registry."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the disk, and how many bytes it has."""

    kind: PartKind
    bytes: int


@dataclass(frozen=True, slots=True)
class Level:
    """How full something is.

    Attributes:
        used: in its unit.
        total: all of it.
        available: what is left for everybody but root.
        severity: of the alert that compares with it, as its thresholds say; None if none would
            fire.

    """

    used: int
    total: int
    available: int
    severity: Severity | None = None

    @property
    def used_ratio(self) -> float:
        """The share that is not available, 0 to 1."""
        return 1 - self.available / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class Deletable:
    """Something that would free space.

    Attributes:
        action: its name, as ``report`` has it.
        frees_bytes: what it would free after a collector run; None if unknown.
        danger: why it must not be run as things are; None if it may.

    """

    action: str
    frees_bytes: int | None
    danger: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The store at a glance.

    Attributes:
        scanned_at: when the last scan that succeeded ended, Unix seconds.
        disk: how full the filesystem is; None if unknown.
        inodes: likewise; None where the filesystem has no fixed number of them.
        budget: how full the configured budget is; None without one.
        parts: of the filesystem, which add up to its size; of the store, if that is unknown.
        store_bytes: those of the registry.
        blobs: how many on disk.
        logical_bytes: what all tags would take if nothing were shared.
        shared_bytes: of blobs that two or more repositories reference.
        repositories: how many.
        tags: how many.
        deletables: what would free space.
        problems: what is wrong, the worst first.
        trend: how the store has grown, and when the disk is full.

    """

    scanned_at: float | None
    disk: Level | None
    inodes: Level | None
    budget: Level | None
    parts: tuple[Part, ...]
    store_bytes: int
    blobs: int
    logical_bytes: int
    shared_bytes: int
    repositories: int
    tags: int
    deletables: tuple[Deletable, ...]
    problems: tuple[Problem, ...]
    trend: Trend


def overview(view: SnapshotView, period: Period = Period.MONTH) -> Overview:
    """Return the overview, with the lines of a period. Raises NotReadYetError."""
    figures, filesystem = view.reading.figures, view.snapshot.filesystem
    of_store = tuple(_parts(view, figures))
    store_bytes = sum(each.bytes for each in of_store)
    return Overview(
        scanned_at=view.snapshot.scan.last_success_at,
        disk=_disk(view, filesystem),
        inodes=_inodes(view, filesystem),
        budget=_budget(view, figures),
        parts=(*of_store, *_rest(filesystem, store_bytes)),
        store_bytes=store_bytes,
        blobs=sum(each.blobs for each in figures.blobs.values()),
        logical_bytes=figures.logical_bytes,
        shared_bytes=figures.shared_bytes,
        repositories=len(figures.repositories),
        tags=sum(each.tags for each in figures.repositories),
        deletables=tuple(_deletables(view, figures)),
        problems=tuple(problems_of(view)),
        trend=trend(view, period),
    )


def _parts(view: SnapshotView, figures: StoreFigures) -> Iterator[Part]:
    uses = view.snapshot.uses
    if uses is None:
        yield Part(PartKind.TAGGED, figures.blobs[BlobState.TAGGED].bytes)
    else:
        for use in _USES:
            if use in uses.totals:
                yield Part(PartKind(use), uses.totals[use].bytes)
    yield Part(PartKind.UNTAGGED, figures.blobs[BlobState.UNTAGGED].bytes)
    yield Part(PartKind.GARBAGE, figures.blobs[BlobState.UNREFERENCED].bytes)
    yield Part(PartKind.UPLOADS, figures.uploads.bytes)
    yield Part(PartKind.STRAYS, figures.strays.bytes)


def _rest(filesystem: FilesystemUsage | None, store_bytes: int) -> Iterator[Part]:
    if filesystem is None:
        return
    used = filesystem.size_bytes - filesystem.free_bytes
    # blocks are larger than files, sparse and compressed files smaller
    yield Part(PartKind.OTHER, max(used - store_bytes, 0))
    yield Part(PartKind.RESERVED, max(filesystem.free_bytes - filesystem.avail_bytes, 0))
    yield Part(PartKind.FREE, filesystem.avail_bytes)


def _disk(view: SnapshotView, filesystem: FilesystemUsage | None) -> Level | None:
    if filesystem is None:
        return None
    available, size = filesystem.avail_bytes, filesystem.size_bytes
    severity = _severity(
        view, "StorageAlmostFull", lambda least: size > 0 and available / size < least
    )
    return Level(size - filesystem.free_bytes, size, available, severity)


def _inodes(view: SnapshotView, filesystem: FilesystemUsage | None) -> Level | None:
    if filesystem is None or not filesystem.files:
        return None
    left, files = filesystem.files_free, filesystem.files
    severity = _severity(view, "InodesAlmostExhausted", lambda least: left / files < least)
    return Level(files - left, files, left, severity)


def _budget(view: SnapshotView, figures: StoreFigures) -> Level | None:
    limit = view.options.storage_limit
    if limit is None:
        return None
    used = figures.total_bytes + figures.uploads.bytes
    severity = _severity(view, "StorageLimitApproaching", lambda most: used / limit > most)
    return Level(used, limit, max(limit - used, 0), severity)


def _severity(
    view: SnapshotView, alert: str, is_beyond: Callable[[float], bool]
) -> Severity | None:
    """Return the worst severity with a threshold that something is beyond; None if it is not."""
    for severity in (Severity.CRITICAL, Severity.WARNING):
        threshold = view.options.threshold(alert, severity)
        if threshold is not None and is_beyond(threshold):
            return severity
    return None


def _deletables(view: SnapshotView, figures: StoreFigures) -> Iterator[Deletable]:
    runs, snapshot = figures.collector, view.snapshot
    default = None if runs is None else runs[GcMode.DEFAULT]
    untagged = None if runs is None else runs[GcMode.DELETE_UNTAGGED]
    blocked = None
    if default is not None and default.blockers:
        blocked = f"the collector aborts on {default.blockers[0].path}"
    yield Deletable("garbage-collect", None if default is None else default.frees.bytes, blocked)
    danger = blocked
    if untagged is not None and untagged.endangered and danger is None:
        danger = f"{plural(len(untagged.endangered), 'tag')} could not be pulled any more"
    yield Deletable(
        "garbage-collect --delete-untagged",
        None if untagged is None else untagged.frees.bytes,
        danger,
    )
    if view.inventory.is_cache:  # it answers 405 to every deletion
        return
    yield Deletable("untagged", snapshot.untagged_reclaimable_bytes, blocked)
    for policy in snapshot.policies or ():
        yield Deletable(policy.policy, policy.reclaimable_bytes, blocked)
