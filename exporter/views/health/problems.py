"""What is wrong with a store, its registry or the exporter's view of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from exporter.domain.last_runs import LastRun
from exporter.domain.model import LEAVES_UNREAD
from exporter.domain.snapshot import GcMode, Snapshot, StoreFigures
from exporter.domain.text import first_of, plural, printable
from exporter.domain.uses import Use
from exporter.support.quantities import format_duration
from exporter.views.health.severity import Severity
from exporter.views.snapshot_view import SnapshotView

_ORDER = list(Severity)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong.

    Attributes:
        severity: of the alert that reports it.
        alert: the name of that alert, without ``DockerRegistry``; it has a runbook.
        text: what is wrong.
        page: the address of the page that shows more, below the explorer's root.
        section: the part of that page; empty for all of it.

    """

    severity: Severity
    alert: str
    text: str
    page: str = "/issues"
    section: str = ""


def problems_of(view: SnapshotView) -> list[Problem]:
    """Return what is wrong, the worst first."""
    snapshot = view.snapshot
    found = [*_of_sources(snapshot), *_of_images(snapshot), *_of_last_runs(view)]
    if snapshot.store is not None:
        found += _of_store(snapshot.store.figures)
    return sorted(found, key=lambda each: _ORDER.index(each.severity))


def _of_sources(snapshot: Snapshot) -> Iterator[Problem]:
    scan, api, platform = snapshot.scan, snapshot.api, snapshot.platform
    if scan.failure is not None:
        text = f"the last scan failed: {scan.failure}"
        yield Problem(Severity.WARNING, "ScanFailing", text)
    if platform is not None and platform.failure is not None:
        text = f"{platform.name}'s configuration was not read: {platform.failure}"
        yield Problem(Severity.WARNING, "ScanFailing", text)
    if api is not None and api.failure is not None:
        text = f"the registry's API gave no complete answer: {api.failure}"
        yield Problem(Severity.CRITICAL, "APIDown", text)
    if snapshot.tag_differences:
        text = f"only one of disk and API has {plural(snapshot.tag_differences, 'tag')}"
        yield Problem(Severity.WARNING, "APIDisagrees", text)
    if snapshot.filesystem is not None and snapshot.filesystem.readonly:
        text = "the filesystem is read-only: nothing can be pushed"
        yield Problem(Severity.CRITICAL, "FilesystemReadOnly", text)


_LAST_RUNS: tuple[tuple[str, Callable[[Snapshot], LastRun | None], str, str], ...] = (
    (
        "BackupMissing",
        lambda snapshot: snapshot.backup,
        "there is no complete backup of the whole store in backup.dir",
        "the newest complete backup of the whole store is {age} old",
    ),
    (
        "MaintenanceFailing",
        lambda snapshot: snapshot.maintenance,
        "the maintenance has never succeeded: there is no maintenance.result-file",
        "the maintenance last succeeded {age} ago",
    ),
)


def _of_last_runs(view: SnapshotView) -> Iterator[Problem]:
    for alert, run_of, never, long_ago in _LAST_RUNS:
        run = run_of(view.snapshot)
        most = view.options.threshold(alert, Severity.WARNING)
        if run is None or most is None:
            continue
        if run.completed_at is None:
            yield Problem(Severity.WARNING, alert, never)
        elif (age := view.now - run.completed_at) > most:
            text = long_ago.format(age=format_duration(age))
            yield Problem(Severity.WARNING, alert, text)


def _of_images(snapshot: Snapshot) -> Iterator[Problem]:
    integrity, uses = snapshot.integrity, snapshot.uses
    missing = 0 if uses is None else uses.missing_images.get(Use.RUNNING, 0)
    if missing:
        text = f"apps run {plural(missing, 'image')} that this store cannot serve"
        yield Problem(Severity.CRITICAL, "ImagesBroken", text)
    if integrity is None:
        return
    if integrity.broken_tags:
        names = first_of([f"{each.repository}:{each.tag}" for each in integrity.broken_tags])
        text = f"{plural(len(integrity.broken_tags), 'tag')} cannot be pulled: {printable(names)}"
        yield Problem(Severity.CRITICAL, "ImagesBroken", text, section="broken-tags")
    if integrity.partial_tags:
        text = f"{plural(len(integrity.partial_tags), 'tag')} can be pulled for some platforms only"
        yield Problem(Severity.WARNING, "ImagesPartial", text, section="partial-tags")


def _of_store(figures: StoreFigures) -> Iterator[Problem]:
    unread = sum(figures.issues[cause] for cause in LEAVES_UNREAD)
    if not figures.complete:
        text = f"{plural(unread, 'part')} of the store could not be read: figures may be too low"
        yield Problem(Severity.WARNING, "ScanFailing", text, section="scan-issues")
    runs = figures.collector
    if runs is not None:
        blockers = runs[GcMode.DEFAULT].blockers
        if blockers:
            text = f"garbage collection aborts on {plural(len(blockers), 'obstacle')}"
            yield Problem(Severity.WARNING, "GarbageCollectionBlocked", text, section="blockers")
        endangered = runs[GcMode.DELETE_UNTAGGED].endangered
        if endangered:
            tags = plural(len(endangered), "tag")
            text = f"a run of garbage-collect --delete-untagged would break {tags}"
            yield Problem(Severity.INFO, "GarbageCollectionUnsafe", text, "/clean-up")
    if figures.uploads.unpurgeable:
        text = (
            f"the registry never purges {plural(figures.uploads.unpurgeable, 'unfinished upload')}"
        )
        yield Problem(Severity.WARNING, "UploadsAbandoned", text, section="uploads")
