"""Per-repository figures that need no other repository."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from exporter.analysis.collector_fast_path import is_plain, names_over_untagged
from exporter.analysis.deletion.artifacts import names_artifacts
from exporter.analysis.integrity import has_sound_links
from exporter.analysis.reachability import RepositoryReach, reach_of, reachable_from
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository
from exporter.domain.snapshot import TagName

Measure = Callable[[Iterable[BlobNumber]], int]
"""Adds up the bytes of blobs."""


@dataclass(frozen=True, slots=True)
class RepositorySummary:
    """Figures of one repository that need no other repository.

    Attributes:
        number: identifies the repository in counts, from 1.
        repository: as in the inventory.
        untagged: how many revisions no tag of it reaches.
        referenced_bytes: bytes of everything that it reaches.
        logical_bytes: what its tags would take if nothing were shared between them.
        last_push_at: see :class:`exporter.domain.snapshot.RepositoryFigures`.
        over_untagged: tags of indexes that list a manifest without a tag of its own.
        is_plain: see :func:`exporter.analysis.collector_fast_path.is_plain`, if no manifest is odd.
        is_sound: whether every tag points to a manifest, and what it reaches is linked.
        names_artifacts: see :func:`exporter.analysis.deletion.artifacts.names_artifacts`.

    """

    number: int
    repository: Repository
    untagged: int
    referenced_bytes: int
    logical_bytes: int
    last_push_at: float | None
    over_untagged: tuple[TagName, ...]
    is_plain: bool
    is_sound: bool
    names_artifacts: bool


def summarize(
    number: int,
    inventory: Inventory,
    repository: Repository,
    reach: RepositoryReach,
    measure: Measure,
    logical_bytes: int,
) -> RepositorySummary:
    """Return the summary of a repository that reaches ``reach``."""
    return RepositorySummary(
        number=number,
        repository=repository,
        untagged=count_untagged(repository, reach),
        referenced_bytes=measure(reach.all),
        logical_bytes=logical_bytes,
        last_push_at=last_push_at(repository),
        over_untagged=tuple(names_over_untagged(inventory, repository, reach)),
        is_plain=is_plain(repository, reach, frozenset()),
        is_sound=has_sound_links(repository, reach) and not reach.has_lost_tags,
        names_artifacts=names_artifacts(repository),
    )


def count_untagged(repository: Repository, reach: RepositoryReach) -> int:
    """Count the revisions that no tag of the repository reaches."""
    return sum(revision.manifest not in reach.tagged for revision in repository.revisions)


def last_push_at(repository: Repository) -> float | None:
    """Return the time of the newest link, Unix seconds; None if there is no link."""
    times = [tag.updated_at for tag in repository.tags]
    times += [revision.linked_at for revision in repository.revisions]
    return max((time for time in times if time is not None), default=None)


def targets_of(repository: Repository) -> Counter[BlobNumber]:
    """Return the manifests that tags point to, each with the number of its tags."""
    return Counter(tag.target for tag in repository.tags if tag.target is not None)


def logical_bytes_of(
    inventory: Inventory, targets: Mapping[BlobNumber, int], measure: Measure
) -> int:
    """Add up the bytes that tags would take alone: all their blobs, each once within a tag.

    ``targets`` maps each target to the number of its tags.
    """
    manifests = inventory.manifests
    return sum(
        times * measure(reachable_from(manifests, target)) for target, times in targets.items()
    )


_UNTAGGED, _SHARED = -1, -2
"""Owners of bytes that are no numbers of blobs."""


@dataclass(frozen=True, slots=True)
class RepositoryParts:
    """What needs the bytes of one repository, wherever else they may be needed.

    Together the parts are all that it reaches: its referenced bytes.

    Attributes:
        tagged: by what tags point to, bytes of the blobs that nothing else in the repository
            needs; tags that point to the same need the same.
        untagged: bytes that only untagged manifests need.
        shared: bytes that several of these need.

    """

    tagged: Mapping[BlobNumber, int]
    untagged: int
    shared: int


def parts_of(inventory: Inventory, repository: Repository) -> RepositoryParts:
    """Return what needs the bytes of a repository."""
    manifests = inventory.manifests
    reach = reach_of(manifests, repository)
    # one number for each blob takes less room than the set of each target
    owners = dict.fromkeys(reach.untagged, _UNTAGGED)
    for target in reach.targets:
        for blob in reachable_from(manifests, target):
            owners[blob] = _SHARED if blob in owners else target
    totals: Counter[BlobNumber] = Counter(dict.fromkeys(reach.targets, 0))
    for blob, owner in owners.items():
        totals[owner] += max(inventory.sizes[blob], 0)
    untagged, shared = totals.pop(_UNTAGGED, 0), totals.pop(_SHARED, 0)
    return RepositoryParts(dict(totals), untagged, shared)
