"""What the collector frees after deletions in one repository, without a look at all the others.

Which blobs other repositories keep follows from how many reach each blob. Only those repositories
in which the collector may find something else are walked, once for an inventory.
"""

from array import array
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from exporter.analysis.collector_simulation import mark, overlooks
from exporter.analysis.reachability import RepositoryReach, reach_of
from exporter.domain.digests import BlobNumber
from exporter.domain.holders import BlobHolders
from exporter.domain.model import Inventory, Repository
from exporter.domain.snapshot import VERSION_2, Dialect, GcMode


def count_marks(
    inventory: Inventory, holders: BlobHolders, dialect: Dialect
) -> "array[int] | None":
    """Return in how many repositories the collector now marks each blob.

    None if that depends on the order in which it meets them, as in version 3 on a store that is
    not consistent.
    """
    irregular = {
        *holders.irregular,
        *_with_odd_manifests(inventory),
        *_overlooked(inventory, dialect),
    }
    if not irregular:
        return holders.counts
    if dialect != VERSION_2:
        return None
    counts = holders.counts[:]
    for repository in inventory.repositories:
        if repository.name in irregular:
            reach = reach_of(inventory.manifests, repository)
            for blob in reach.all:
                counts[blob] -= 1
            for blob in _marked(inventory, repository, reach, dialect):
                counts[blob] += 1
    return counts


def _with_odd_manifests(inventory: Inventory) -> Iterator[str]:
    """Yield the repositories that hold a manifest which not every collector follows."""
    odd = inventory.unreadable | inventory.unusual
    for repository in inventory.repositories if odd else ():
        if any(revision.manifest in odd for revision in repository.revisions):
            yield repository.name


def _overlooked(inventory: Inventory, dialect: Dialect) -> Iterator[str]:
    for repository in inventory.repositories if inventory.layout.walk_ends else ():
        if overlooks(repository.name, inventory, dialect):
            yield repository.name


class CollectorAfterInOne:
    """Simulates a run of the collector after deletions in one repository.

    Beyond what it frees without them, as :class:`CollectorAfter` does for the whole store.
    """

    def __init__(
        self,
        inventory: Inventory,
        repository: Repository,
        reach: RepositoryReach,
        marks: "array[int]",
        blockers: Mapping[str, str],
        dialect: Dialect,
    ) -> None:
        """Use ``marks`` of :func:`count_marks`; on ``blockers`` the collector aborts now."""
        self._blockers = blockers
        self._inventory = inventory
        self._repository = repository
        self._reach = reach
        self._marks = marks
        self._dialect = dialect

    @property
    def blockers(self) -> Mapping[str, str]:
        """What it aborts on, by path; then it frees nothing."""
        return self._blockers

    def freed(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        """Return the blobs that it frees; ``deleted`` are manifests of that repository."""
        if self._blockers:
            return set()
        before = self._marked({})
        return {blob for blob in before - self._marked(deleted) if self._marks[blob] == 1}

    def _marked(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        return _marked(self._inventory, self._repository, self._reach, self._dialect, deleted)


def _marked(
    inventory: Inventory,
    repository: Repository,
    reach: RepositoryReach,
    dialect: Dialect,
    deleted: Mapping[str, Collection[BlobNumber]] | None = None,
) -> set[BlobNumber]:
    alone = replace(inventory, repositories=(repository,))
    return mark(alone, [reach], dialect, GcMode.DEFAULT, deleted).blobs
