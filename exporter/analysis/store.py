"""From an inventory to the figures of a store."""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from exporter.analysis.forecast import forecast
from exporter.analysis.garbage import Dialect
from exporter.analysis.integrity import PullCheck
from exporter.analysis.orderly import Reaches
from exporter.analysis.reachability import RepositoryReach, reach_of, reachable
from exporter.analysis.repositories import Ownership, count_untagged, last_push_at, total_bytes
from exporter.digests import BlobNumber
from exporter.model import (
    Inventory,
    IssueCause,
    Manifest,
    Repository,
    Upload,
)
from exporter.snapshot import (
    BlobState,
    BlobTotal,
    CollectorRun,
    GcMode,
    Integrity,
    RepositoryFigures,
    StoreFigures,
    UploadFigures,
)

_STATES = (BlobState.UNREFERENCED, BlobState.UNTAGGED, BlobState.TAGGED)
_UNREFERENCED, _UNTAGGED, _TAGGED = range(len(_STATES))


def reaches_of(inventory: Inventory) -> Reaches:
    """Tell what each repository reaches, in the inventory's order."""
    return [reach_of(inventory.manifests, each) for each in inventory.repositories]


def analyse(
    inventory: Inventory, dialect: Dialect = 2, reaches: Reaches | None = None
) -> StoreFigures:
    """Draw all figures from one inventory; ``dialect`` is that of the registry's collector.

    ``reaches`` are those of the inventory, where they are known.
    """
    present = array("q", [max(size, 0) for size in inventory.sizes])
    states = bytearray(len(present))
    ownership = Ownership(len(present))
    measured: list[tuple[Repository, int, int]] = []
    reaches = reaches or reaches_of(inventory)
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        ownership.add(reach)
        _mark(states, reach)
        referenced = total_bytes(reach.all, present)
        measured.append((repository, count_untagged(repository, reach), referenced))
    blobs = by_reach = count_by_state(states, inventory.sizes)
    if not inventory.references_known:
        # somebody deletes data on the word "unreferenced"
        states = states.replace(bytes([_UNREFERENCED]), bytes([_UNTAGGED]))
        blobs = count_by_state(states, inventory.sizes)
    exclusive_bytes, shared_bytes = ownership.split(present)
    repositories = [
        _describe(repository, untagged, referenced, exclusive)
        for (repository, untagged, referenced), exclusive in zip(
            measured, exclusive_bytes, strict=True
        )
    ]
    issues = Counter(issue.cause for issue in inventory.issues)
    integrity, collector = foretell(inventory, reaches, dialect, by_reach, ownership)
    return StoreFigures(
        blobs=blobs,
        logical_bytes=_logical_bytes(inventory.manifests, inventory.repositories, present),
        shared_bytes=shared_bytes,
        repositories=tuple(
            sorted(repositories, key=lambda each: (-each.referenced_bytes, each.name))
        ),
        uploads=count_uploads(
            upload for repository in inventory.repositories for upload in repository.uploads
        ),
        strays=inventory.strays,
        issues={cause: issues[cause] for cause in IssueCause},
        complete=inventory.complete,
        integrity=integrity,
        collector=collector,
    )


def foretell(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    blobs: Mapping[BlobState, BlobTotal],
    ownership: Ownership,
) -> tuple[Integrity | None, Mapping[GcMode, CollectorRun] | None]:
    """Tell what is not whole, and what the registry's collector would do.

    ``blobs`` are the totals by state, ``ownership`` tells which blobs repositories share.
    """
    check = PullCheck(inventory)
    broken = (
        tag
        for repository, reach in zip(inventory.repositories, reaches, strict=True)
        for tag in check.broken_tags(repository, reach)
    )
    integrity = None
    if not inventory.is_cache:
        integrity = Integrity(check.missing_blobs(), tuple(broken))
    return integrity, forecast(inventory, reaches, check, dialect, blobs, ownership)


def _mark(states: bytearray, reach: RepositoryReach) -> None:
    for number in reach.all:
        if states[number] == _UNREFERENCED:
            states[number] = _UNTAGGED
    for number in reach.tagged:
        states[number] = _TAGGED


def _describe(
    repository: Repository, untagged: int, referenced: int, exclusive: int
) -> RepositoryFigures:
    return RepositoryFigures(
        name=repository.name,
        tags=len(repository.tags),
        manifests=len(repository.revisions),
        untagged_manifests=untagged,
        referenced_bytes=referenced,
        exclusive_bytes=exclusive,
        last_push_at=last_push_at(repository),
    )


def count_by_state(states: bytearray, sizes: Sequence[int]) -> Mapping[BlobState, BlobTotal]:
    """Add up the blobs that are on disk, state by state; every state is there."""
    blobs = [0] * len(_STATES)
    total = [0] * len(_STATES)
    for state, size in zip(states, sizes, strict=True):
        if size >= 0:
            blobs[state] += 1
            total[state] += size
    return {
        state: BlobTotal(blobs[index], total[index])
        for index, state in reversed(list(enumerate(_STATES)))
    }


def _logical_bytes(
    manifests: Mapping[BlobNumber, Manifest],
    repositories: Iterable[Repository],
    sizes: Sequence[int],
) -> int:
    """Add up what each tag would take alone: all its blobs, each once within the tag."""
    tags = Counter(
        tag.target
        for repository in repositories
        for tag in repository.tags
        if tag.target is not None
    )
    return sum(
        times * total_bytes(reachable(manifests, (target,)), sizes)
        for target, times in tags.items()
    )


def count_uploads(uploads: Iterable[Upload]) -> UploadFigures:
    """Add up unfinished uploads."""
    uploads = list(uploads)
    return UploadFigures(
        uploads=len(uploads),
        bytes=sum(upload.size for upload in uploads),
        unpurgeable=sum(not upload.purgeable for upload in uploads),
        oldest_start_at=min((upload.started_at for upload in uploads), default=None),
    )
