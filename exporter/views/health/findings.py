"""Findings: what could not be read, what cannot be pulled, unfinished uploads, stray files."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from exporter.domain.model import LEAVES_UNREAD, Strays
from exporter.domain.snapshot import GcMode
from exporter.views.health.problems import Problem, problems_of
from exporter.views.snapshot_view import SnapshotView

PAGE_ROWS = 50
"""Rows of one page of a kind."""

FIRST_ROWS = 10
"""Rows of each kind where all kinds are shown."""


class FindingKind(enum.StrEnum):
    """A kind of finding, in the order in which they are shown."""

    BROKEN_TAGS = "broken-tags"
    PARTIAL_TAGS = "partial-tags"
    MISSING_BLOBS = "missing-blobs"
    BLOCKERS = "blockers"
    ENDANGERED_TAGS = "endangered-tags"
    SCAN_ISSUES = "scan-issues"
    UPLOADS = "uploads"
    MISPLACED = "misplaced"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        place: where: a path below ``docker/registry/v2``, ``repository:tag``, or a digest.
        detail: what is wrong with it, and what to do if that differs from one to the next.
        repository: to link to; None if it is in none.
        digest: to link to; None if it has none.
        bytes: of an upload.
        at: when an upload began, Unix seconds.

    """

    place: str
    detail: str
    repository: str | None = None
    digest: str | None = None
    bytes: int | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """The findings of one kind.

    Attributes:
        kind: what kind.
        findings: those of this page.
        total: how many there are.
        pages: how many pages there are; at least 1.

    """

    kind: FindingKind
    findings: tuple[Finding, ...]
    total: int
    pages: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found.

    Attributes:
        problems: the same in short, with what concerns no single place.
        groups: one for each kind of which there are any, or the one that was asked for.
        strays: files that are not part of the layout.
        upload_bytes: of all unfinished uploads.
        is_complete: whether everything that was found could be read.

    """

    problems: tuple[Problem, ...]
    groups: tuple[FindingGroup, ...]
    strays: Strays
    upload_bytes: int
    is_complete: bool


def findings(view: SnapshotView, kind: FindingKind | None = None, page: int = 1) -> Findings:
    """Return the first findings of each kind, or one page of a kind. Raises NotReadYetError."""
    if kind is None:
        groups = [_group(view, each, 0, FIRST_ROWS) for each in FindingKind]
    else:
        groups = [_group(view, kind, (page - 1) * PAGE_ROWS, PAGE_ROWS)]
    figures = view.reading.figures
    return Findings(
        tuple(problems_of(view)),
        tuple(each for each in groups if each.total or kind is not None),
        figures.strays,
        figures.uploads.bytes,
        figures.complete,
    )


def _group(view: SnapshotView, kind: FindingKind, first: int, rows: int) -> FindingGroup:
    every = view.memo.get(("findings", kind), lambda: tuple(_FINDERS[kind](view)))
    pages = max(1, -(-len(every) // PAGE_ROWS))
    return FindingGroup(kind, every[first : first + rows], len(every), pages)


def _broken_tags(view: SnapshotView) -> Iterator[Finding]:
    for each in () if view.snapshot.integrity is None else view.snapshot.integrity.broken_tags:
        yield Finding(f"{each.repository}:{each.tag}", each.reason, each.repository)


def _partial_tags(view: SnapshotView) -> Iterator[Finding]:
    for each in () if view.snapshot.integrity is None else view.snapshot.integrity.partial_tags:
        lacks = f"lacks {', '.join(each.lacks)}: {each.reason}" if each.lacks else each.reason
        yield Finding(f"{each.repository}:{each.tag}", lacks, each.repository)


def _missing_blobs(view: SnapshotView) -> Iterator[Finding]:
    for each in () if view.snapshot.integrity is None else view.snapshot.integrity.missing_blobs:
        yield Finding(each, "referenced, and not on disk", digest=each)


def _blockers(view: SnapshotView) -> Iterator[Finding]:
    runs = view.reading.figures.collector
    for each in () if runs is None else runs[GcMode.DEFAULT].blockers:
        yield Finding(each.path, each.reason)


def _endangered_tags(view: SnapshotView) -> Iterator[Finding]:
    runs = view.reading.figures.collector
    for each in () if runs is None else runs[GcMode.DELETE_UNTAGGED].endangered:
        yield Finding(str(each), "could not be pulled after such a run", each.repository)


def _scan_issues(view: SnapshotView) -> Iterator[Finding]:
    unread_first = sorted(
        view.inventory.issues, key=lambda each: (each.cause not in LEAVES_UNREAD, each.path)
    )
    for each in unread_first:
        consequence = "" if each.cause in LEAVES_UNREAD else "; it was read all the same"
        yield Finding(each.path, f"{each.detail}{consequence}")


def _uploads(view: SnapshotView) -> Iterator[Finding]:
    uploads = [
        (upload.started_at, repository.name, upload)
        for repository in view.inventory.repositories
        for upload in repository.uploads
    ]
    for started_at, name, upload in sorted(uploads, key=lambda each: each[:2]):
        fate = "the registry purges it after a week, by default"
        if not upload.purgeable:
            fate = "the registry never purges it: it has no readable startedat"
        yield Finding(name, fate, name, bytes=upload.size, at=started_at)


def _misplaced(view: SnapshotView) -> Iterator[Finding]:
    layout = view.inventory.layout
    for each in layout.misplaced:
        yield Finding(each.path, "where the registry's collector trips over it")
    for path in layout.walk_ends:
        yield Finding(path, "version 2 of the registry overlooks whatever sorts after it there")


_FINDERS = {
    FindingKind.BROKEN_TAGS: _broken_tags,
    FindingKind.PARTIAL_TAGS: _partial_tags,
    FindingKind.MISSING_BLOBS: _missing_blobs,
    FindingKind.BLOCKERS: _blockers,
    FindingKind.ENDANGERED_TAGS: _endangered_tags,
    FindingKind.SCAN_ISSUES: _scan_issues,
    FindingKind.UPLOADS: _uploads,
    FindingKind.MISPLACED: _misplaced,
}
