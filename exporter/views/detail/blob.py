"""One blob: what it is, who needs it, and what its being there costs."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.analysis.reverse_references import manifests_reaching, referencing
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.errors import NotReadInTimeError, StoreUnreadableError
from exporter.domain.model import Inventory
from exporter.domain.snapshot import BlobState, GcMode
from exporter.domain.text import readable
from exporter.views.app_uses import AppNeed
from exporter.views.blob_answer import (
    MISSING,
    NeedingManifest,
    NeedingTag,
    RepositoryNeed,
    first_manifests,
    first_tags,
    needs_of,
    size_of,
    state_of,
)
from exporter.views.blob_kind import BlobType, read_type
from exporter.views.detail.listed import Listed, first
from exporter.views.snapshot_view import SnapshotView

_PARENTS_READ = 4
_MOST_TEXT = 120


class Cost(enum.StrEnum):
    """What it takes to free a blob.

    ``missing``: it is not on disk. ``unknown``: something is unread that may need it. ``garbage``:
    the next collector run frees it. ``untagged``: only manifests without a tag need it.
    ``exclusive``: one repository needs it. ``shared``: several do.
    """

    MISSING = "missing"
    UNKNOWN = "unknown"
    GARBAGE = "garbage"
    UNTAGGED = "untagged"
    EXCLUSIVE = "exclusive"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class BlobDetail:
    """One blob.

    Attributes:
        digest: its digest.
        type: what it is; None if that was not read in time.
        unread: why it was not; None if it was.
        bytes: on disk; None if it is not there or its size is unknown.
        state: a :class:`BlobState`, or ``missing``; None if it is unknown.
        cost: what it takes to free it.
        blocked: what the collector aborts on before it frees anything; None if on nothing.
        is_manifest: whether it is a manifest or index, and has a page as an image.
        repositories: those that need it.
        manifests: those that need it.
        tags: those that need it.
        apps: those that need it; None while it is unknown which images apps use.

    """

    digest: str
    type: BlobType | None
    unread: str | None
    bytes: int | None
    state: str | None
    cost: Cost
    blocked: str | None
    is_manifest: bool
    repositories: Listed[str]
    manifests: Listed[NeedingManifest]
    tags: Listed[NeedingTag]
    apps: Listed[AppNeed] | None


@dataclass(frozen=True, slots=True)
class _Needs:
    """Who needs a blob: what is kept of it while the snapshot is current."""

    parents: Sequence[BlobNumber]
    state: str | None
    is_held: bool
    is_manifest: bool
    repositories: Listed[str]
    manifests: Listed[NeedingManifest]
    tags: Listed[NeedingTag]
    apps: Listed[AppNeed] | None


def blob_detail(view: SnapshotView, number: BlobNumber) -> BlobDetail:
    """Return what is known of a blob. Raises NotReadYetError."""
    inventory = view.inventory
    needs = view.memo.get(("blob", number), lambda: _needs(view, number))
    kind, unread = _read_type(view, number, needs)
    return BlobDetail(
        digest=format_digest(inventory.digests[number]),
        type=kind,
        unread=unread,
        bytes=size_of(inventory, number),
        state=needs.state,
        cost=_cost(needs),
        blocked=_blocked(view),
        is_manifest=needs.is_manifest,
        repositories=needs.repositories,
        manifests=needs.manifests,
        tags=needs.tags,
        apps=needs.apps,
    )


def _needs(view: SnapshotView, number: BlobNumber) -> _Needs:
    inventory, apps = view.inventory, view.apps
    parents = referencing(inventory, {number})
    reaching = manifests_reaching(inventory, number, parents, view.unlisted)
    needs = needs_of(inventory, reaching, view.holders.counts[number])
    is_held = number in inventory.manifests or any(number in each.manifests for each in needs)
    return _Needs(
        parents=parents[:_PARENTS_READ],
        state=state_of(inventory, number, needs),
        is_held=is_held,
        is_manifest=is_held or _is_named(inventory, number, parents, needs),
        repositories=first([each.repository.name for each in needs]),
        manifests=first_manifests(inventory, reaching - {number}, needs),
        tags=first_tags(inventory, needs, view.snapshot.uses),
        apps=None
        if apps is None
        else first(apps.needing(reaching, (each.repository for each in needs))),
    )


def _is_named(
    inventory: Inventory,
    number: BlobNumber,
    parents: Sequence[BlobNumber],
    needs: Sequence[RepositoryNeed],
) -> bool:
    """Return whether an index lists a blob as a manifest, or a tag points to it."""
    return (
        number in inventory.unreadable
        or any(number in inventory.manifests[each].children for each in parents)
        or any(tag.target == number for need in needs for tag in need.tags)
    )


def _cost(needs: _Needs) -> Cost:
    if needs.state == MISSING:
        return Cost.MISSING
    if needs.state is None:
        return Cost.UNKNOWN
    if needs.state == BlobState.UNREFERENCED:
        return Cost.GARBAGE
    if needs.state == BlobState.UNTAGGED:
        return Cost.UNTAGGED
    return Cost.EXCLUSIVE if needs.repositories.total == 1 else Cost.SHARED


def _blocked(view: SnapshotView) -> str | None:
    runs = view.reading.figures.collector
    blockers = () if runs is None else runs[GcMode.DEFAULT].blockers
    return f"{blockers[0].path}: {blockers[0].reason}" if blockers else None


def _read_type(
    view: SnapshotView, number: BlobNumber, needs: _Needs
) -> tuple[BlobType | None, str | None]:
    """Return what a blob is, and why that is not known."""
    options, inventory = view.options, view.inventory

    def read() -> BlobType:
        with options.store.open_blobs() as blobs:
            found = read_type(blobs, inventory, number, needs.parents, is_manifest=needs.is_held)
        return replace(found, media_type=readable(found.media_type or "", _MOST_TEXT) or None)

    try:
        return options.reader.read(read), None
    except (NotReadInTimeError, StoreUnreadableError) as error:
        return None, str(error)
