"""What keeping the last N tags of each repository frees, for every N at once.

In a consistent store each manifest goes up to some N, and stays from there on; a blob stays from
the smallest N at which any manifest stays that needs it. One pass over all tags finds that for
every blob. Equals :func:`exporter.analysis.deletion.retention.price_policies` for each N.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.deletion.artifacts import artifacts_of
from exporter.analysis.deletion.choice import Chooser, running_manifests
from exporter.analysis.deletion.order import (
    UNDATED,
    Dating,
    TagOrder,
    is_border_clear,
    newest_first,
)
from exporter.analysis.deletion.retention import CollectorAfter, price_policies
from exporter.analysis.reachability import ManifestReach, ManifestReaches, Reaches, with_listed
from exporter.domain.digests import BlobNumber
from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import Inventory, Repository
from exporter.domain.uses import Use, UseFigures

MOST = 50
"""The largest number of tags to keep that is priced."""

_NEVER = MOST + 2
"""Stands for the number of tags from which a blob stays that no repository references."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What keeping the last tags of each repository would do.

    Attributes:
        keep_last: how many tags are kept.
        tags: how many would go; None if nothing says which are the newest.
        frees_bytes: what a collector run would then free, beyond what it frees anyway; None if
            unknown.
        unordered: the repositories in which nothing says which tags are the newest.

    """

    keep_last: int
    tags: int | None
    frees_bytes: int | None
    unordered: tuple[str, ...] = ()


def retention_curve(
    inventory: Inventory,
    reaches: ManifestReaches,
    collector: CollectorAfter,
    uses: UseFigures | None,
    dating: Dating = UNDATED,
) -> tuple[CurvePoint, ...]:
    """Return the points from 1 to :data:`MOST`. The collector's store must be orderly.

    Raises PlanRefusedError if it is unknown which tags are the newest.
    """
    return _Curve(inventory, reaches, collector, uses, dating).points()


def some_points(
    inventory: Inventory,
    reaches: Reaches,
    collector: CollectorAfter,
    uses: UseFigures | None,
    keep_last: Sequence[int],
    dating: Dating = UNDATED,
) -> tuple[CurvePoint, ...]:
    """Return some points, each priced alone: of any store. Raises PlanRefusedError."""
    priced = tuple(
        price_policies(
            inventory, reaches, collector, keep_last, uses, BytesOnDisk(inventory), None, dating
        )
    )
    for each in priced:
        if each.refused is not None:
            raise PlanRefusedError(each.refused)
    return tuple(
        CurvePoint(keep, each.candidate_tags, each.reclaimable_bytes, each.unordered)
        for keep, each in zip(keep_last, priced, strict=True)
    )


class _Curve:
    """Finds the number of tags from which each tag and each blob stays; 0 if it always does."""

    def __init__(
        self,
        inventory: Inventory,
        reaches: ManifestReaches,
        collector: CollectorAfter,
        uses: UseFigures | None,
        dating: Dating,
    ) -> None:
        if not collector.is_orderly:
            raise ValueError("the store is not orderly")
        self._inventory = inventory
        self._reaches = reaches
        self._uses = uses
        self._chooser = Chooser(inventory, reaches, uses)
        self._orders = {keep: TagOrder(inventory, dating) for keep in range(1, MOST + 1)}
        self._blobs = bytearray([_NEVER]) * len(inventory.sizes)
        self._tags = [0] * (MOST + 2)  # how many stay from each number on

    def points(self) -> tuple[CurvePoint, ...]:
        for repository, reach in zip(self._inventory.repositories, self._reaches, strict=True):
            if artifacts_of(self._inventory, repository, reach):
                manifests = self._manifests_with_artifacts(repository, reach)
            else:
                manifests = self._manifests(repository)
            self._enter(repository, manifests)
        tags, total = sum(self._tags[1:]), self._bytes_by_number()
        frees = sum(total[1 : MOST + 2])
        points = []
        for keep in range(1, MOST + 1):
            tags -= self._tags[keep]
            frees -= total[keep]
            tied = tuple(self._orders[keep].tied)
            known = None if self._inventory.unread else frees
            points.append(
                CurvePoint(keep, None, None, tied) if tied else CurvePoint(keep, tags, known)
            )
        return tuple(points)

    def _bytes_by_number(self) -> Sequence[int]:
        total = [0] * (_NEVER + 1)
        for number, size in zip(self._blobs, self._inventory.sizes, strict=True):
            if size > 0:
                total[number] += size
        return total

    def _enter(self, repository: Repository, manifests: Mapping[BlobNumber, int]) -> None:
        blobs, known = self._blobs, self._inventory.manifests
        for revision in repository.revisions:
            number = revision.manifest
            stays = manifests.get(number, 0)
            manifest = known.get(number)
            parts = () if manifest is None else (*manifest.children, *manifest.blobs)
            for blob in (number, *parts):
                blobs[blob] = min(blobs[blob], stays)

    def _manifests(self, repository: Repository) -> Mapping[BlobNumber, int]:
        """Return from which number on the manifests stay that tags point to."""
        names = self._names(repository)
        for number in names.values():
            self._tags[number] += 1
        targets: dict[BlobNumber, int] = {}
        for tag in repository.tags:
            if tag.target is not None:
                number = names[tag.name]
                targets[tag.target] = min(number, targets.get(tag.target, number))
        indexes = self._inventory.indexes
        for index in indexes.intersection(targets):
            for listed in with_listed(self._inventory, (index,)).intersection(targets):
                targets[listed] = min(targets[listed], targets[index])
        for running in with_listed(self._inventory, running_manifests(self._uses, repository.name)):
            targets[running] = 0
        return targets

    def _names(self, repository: Repository) -> Mapping[str, int]:
        """Return from which number on each tag stays."""
        tags = newest_first(self._orders[1].dated(repository))
        names: dict[str, int] = {}
        start = 0  # of the tags whose order is not clear
        for keep in range(1, min(MOST, len(tags) - 1) + 1):
            staying = tags[:keep]
            if is_border_clear(tags, keep):
                names.update((tag.name, keep) for tag in staying[start:] if tag.name not in names)
                start = keep
                continue
            _, kept = self._orders[keep].keep_newest(repository, keep)
            names.update((tag.name, keep) for tag in kept[start:] if tag.name not in names)
        last = min(len(tags), MOST + 1)
        names.update((tag.name, last) for tag in tags if tag.name not in names)
        if self._uses is not None:
            running = self._uses.repositories[repository.name].with_use(Use.RUNNING)
            names.update((tag.name, 0) for tag in tags if tag.name in running)
        return names

    def _manifests_with_artifacts(
        self, repository: Repository, reach: ManifestReach
    ) -> Mapping[BlobNumber, int]:
        """Return the same where artifacts go with their images: from number to number."""
        manifests: dict[BlobNumber, int] = {}
        before = 0
        for keep, tags, deleted in reversed(list(self._deletions(repository, reach))):
            self._tags[keep + 1] += tags - before
            before = tags
            for number in deleted:
                manifests.setdefault(number, keep + 1)
        return manifests

    def _deletions(
        self, repository: Repository, reach: ManifestReach
    ) -> Iterator[tuple[int, int, AbstractSet[BlobNumber]]]:
        for keep in range(1, min(MOST, len(repository.tags)) + 1):
            choice = partial(self._orders[keep].keep_newest, keep=keep)
            deletion = self._chooser.deletion_in(repository, reach, choice)
            if deletion is None:
                return
            yield keep, deletion.tags, deletion.deleted()
