"""One repository: its figures, untagged manifests and uploads."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice

from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.reachability import RepositoryReach, reach_of, reachable_from
from exporter.domain.artifacts import ArtifactState
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import ABSENT, Inventory, Repository, Revision, Upload
from exporter.views.detail.listed import Listed, first
from exporter.views.detail.store_facts import StoreFacts, read_facts
from exporter.views.over_time.repository_growth import RepositoryGrowth, repository_growth
from exporter.views.over_time.series import Period
from exporter.views.repository_table import RepositoryRow, repository_row
from exporter.views.snapshot_view import SnapshotView
from exporter.views.tag_rows import RepositoryTags, repository_tags

_SUGGESTED = 10
_SIMILAR_LENGTH = 2
_COMPARED = 500


class ManifestKind(enum.StrEnum):
    """What a manifest is, as far as the scan knows."""

    IMAGE = "image"
    INDEX = "index"
    UNREADABLE = "unreadable"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class UntaggedManifest:
    """A manifest of a repository that none of its tags reaches.

    Attributes:
        digest: its digest.
        kind: what it is.
        artifact: of a signature or the like: whether its image is there; None of others.
        bytes: bytes on disk of everything that it reaches.
        linked_at: when it was pushed, Unix seconds; None if unknown.
        platforms: such as ``linux/amd64``; empty if that is unknown.

    """

    digest: str
    kind: ManifestKind
    artifact: ArtifactState | None
    bytes: int
    linked_at: float | None
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryDetail:
    """One repository, without its tags.

    Attributes:
        row: its figures, owner and uses.
        is_orphaned: whether the platform does not know its app; None if unknown.
        broken_tags: how many tags cannot be pulled.
        partial_tags: how many can be pulled for some platforms only.
        untagged: the largest of the manifests that no tag reaches.
        uploads: the oldest unfinished uploads.
        upload_bytes: of all of them.
        growth: how it has grown; None if no history is kept.

    """

    row: RepositoryRow
    is_orphaned: bool | None
    broken_tags: int
    partial_tags: int
    untagged: Listed[UntaggedManifest]
    uploads: Listed[Upload]
    upload_bytes: int
    growth: RepositoryGrowth | None


@dataclass(frozen=True, slots=True)
class _Untagged:
    number: BlobNumber
    manifest: UntaggedManifest


def repository_detail(
    view: SnapshotView,
    repository: Repository,
    period: Period = Period.MONTH,
    *,
    reads_platforms: bool = True,
) -> RepositoryDetail:
    """Return what is known of a repository. Raises NotReadYetError.

    ``period``: over which its growth is drawn. ``reads_platforms``: whether the store is asked for
    the platforms of untagged manifests.
    """
    uses, name = view.snapshot.uses, repository.name
    tags, untagged = _without_reading(view, repository)
    uploads = sorted(repository.uploads, key=lambda each: each.started_at)
    return RepositoryDetail(
        repository_row(view, view.figures[name]),
        None if uses is None else name in uses.orphaned_repositories,
        len(tags.broken),
        len(tags.partial),
        _with_platforms(view, untagged, is_read=reads_platforms),
        first(uploads),
        sum(each.size for each in uploads),
        repository_growth(view, name, period),
    )


def known_tags(view: SnapshotView, repository: Repository) -> RepositoryTags:
    """Return what is known of a repository's tags without reading. Raises NotReadYetError."""
    return _without_reading(view, repository)[0]


def similar_names(view: SnapshotView, name: str) -> Sequence[str]:
    """Return names of repositories that are like one that does not exist. Raises NotReadYetError.

    First those that contain it, else those that differ in a few letters.
    """
    wanted = name.lower().strip("/")
    names = [each.name for each in view.inventory.repositories]
    if not wanted:
        return ()
    found = list(islice((each for each in names if wanted in each), _SUGGESTED))
    if not found:
        last = wanted.rpartition("/")[2]
        found = list(
            islice((each for each in names if each.rpartition("/")[2] == last), _SUGGESTED)
        )
    # comparing letter by letter takes seconds for ten thousand names
    near = islice((each for each in names if _may_be_meant(wanted, each)), _COMPARED)
    return found or get_close_matches(wanted, list(near), n=_SUGGESTED)


def _may_be_meant(wanted: str, name: str) -> bool:
    is_as_long = abs(len(name) - len(wanted)) <= _SIMILAR_LENGTH
    return is_as_long and (name[:2] == wanted[:2] or name[-2:] == wanted[-2:])


def _without_reading(
    view: SnapshotView, repository: Repository
) -> tuple[RepositoryTags, Listed[_Untagged]]:
    def compute() -> tuple[RepositoryTags, Listed[_Untagged]]:
        inventory = view.inventory
        reach = reach_of(inventory.manifests, repository)
        integrity = view.snapshot.integrity
        tags = repository_tags(inventory, repository, reach, view.holders, integrity)
        untagged = sorted(
            _untagged(inventory, tags, reach),
            key=lambda each: (-each.manifest.bytes, each.manifest.digest),
        )
        return tags, first(untagged)

    return view.memo.get(("repository", repository.name), compute)


def _untagged(
    inventory: Inventory, tags: RepositoryTags, reach: RepositoryReach
) -> Iterator[_Untagged]:
    for revision in tags.repository.revisions:
        if revision.manifest not in reach.tagged:
            yield _Untagged(revision.manifest, _untagged_manifest(inventory, tags, revision))


def _untagged_manifest(
    inventory: Inventory, tags: RepositoryTags, revision: Revision
) -> UntaggedManifest:
    number, artifacts = revision.manifest, tags.artifacts.manifests
    artifact = None
    if number in artifacts:
        image = artifacts[number]
        artifact = ArtifactState.DETACHED if image is None else ArtifactState.ATTACHED
    return UntaggedManifest(
        format_digest(inventory.digests[number]),
        kind_of(inventory, number),
        artifact,
        bytes_on_disk(inventory, reachable_from(inventory.manifests, number)),
        revision.linked_at,
    )


def kind_of(inventory: Inventory, number: BlobNumber) -> ManifestKind:
    """Return what a manifest is."""
    if inventory.sizes[number] == ABSENT:
        return ManifestKind.MISSING
    if number in inventory.unreadable or number not in inventory.manifests:
        return ManifestKind.UNREADABLE
    return ManifestKind.INDEX if number in inventory.indexes else ManifestKind.IMAGE


def _with_platforms(
    view: SnapshotView, found: Listed[_Untagged], *, is_read: bool
) -> Listed[UntaggedManifest]:
    """Add the platforms, if the store is to be read."""
    facts = read_facts(view, [each.number for each in found.shown]) if is_read else StoreFacts()
    shown = (
        replace(each.manifest, platforms=facts.platforms.get(each.number, ()))
        for each in found.shown
    )
    return Listed(tuple(shown), found.total)
