"""Retention policies: which tags they keep, and what they would free."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.collector_fast_path import (
    is_orderly,
    kept_after_untagging,
)
from exporter.analysis.collector_simulation import Marks, mark
from exporter.analysis.deletion.choice import Chooser
from exporter.analysis.deletion.order import UNDATED, Dating, TagOrder
from exporter.analysis.deletion.reference_counts import ReferenceCounts
from exporter.analysis.deletion.untagged import untagged_manifests
from exporter.analysis.reachability import Reaches, referenced_by
from exporter.analysis.reverse_references import referenced_as_blobs
from exporter.domain.digests import BlobNumber
from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import Inventory
from exporter.domain.snapshot import Dialect, GcMode
from exporter.domain.uses import PolicyFigures, UseFigures


def policy_name(keep_last: int) -> str:
    """Return the name of the policy that keeps ``keep_last`` tags."""
    return f"keep-last-{keep_last}"


class CollectorAfter:
    """Simulates a run of the collector after deletions, beyond what it frees without them."""

    def __init__(self, inventory: Inventory, reaches: Reaches, dialect: Dialect) -> None:
        self._inventory = inventory
        self._reaches = reaches
        self._dialect = dialect
        self._before: Marks | None = None
        if not is_orderly(inventory, reaches):
            self._before = mark(inventory, reaches, dialect, GcMode.DEFAULT)

    @property
    def blockers(self) -> Mapping[str, str]:
        """What it aborts on, by path; then it frees nothing."""
        return {} if self._before is None else self._before.blockers

    def freed(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        """Return the blobs that it frees; ``deleted`` are manifests, by repository."""
        if self._before is None:
            return set(self._references.freed_by(deleted))
        if self._before.blockers:
            return set()
        after = mark(self._inventory, self._reaches, self._dialect, GcMode.DEFAULT, deleted)
        return self._before.blobs - after.blobs

    def freed_bytes(self, deleted: Mapping[str, Collection[BlobNumber]]) -> Mapping[str, int]:
        """Return the bytes that it frees, by the repository that is the last to need them.

        ``deleted`` are manifests that repositories hold, in the order of the inventory.
        """
        if self._before is None:
            return self._references.freed_bytes(deleted)
        freed, manifests = self.freed(deleted), self._inventory.manifests
        last: dict[BlobNumber, str] = {}
        for name, numbers in deleted.items():
            needed = referenced_by(manifests, numbers)[0].union(numbers)
            last.update(dict.fromkeys(freed & needed, name))
        total = dict.fromkeys(deleted, 0)
        for blob, name in last.items():
            total[name] += max(self._inventory.sizes[blob], 0)
        return total

    @property
    def is_orderly(self) -> bool:
        """Whether the store is consistent."""
        return self._before is None

    @cached_property
    def unlisted(self) -> AbstractSet[BlobNumber]:
        """The manifests that another one references without listing them; they stay."""
        return referenced_as_blobs(self._inventory)

    @cached_property
    def _references(self) -> ReferenceCounts:
        return ReferenceCounts(self._inventory)


def price_policies(
    inventory: Inventory,
    reaches: Reaches,
    collector: CollectorAfter,
    keep_last: Sequence[int],
    uses: UseFigures | None,
    sizes: BytesOnDisk,
    referenced_bytes: int | None = None,
    dating: Dating = UNDATED,
) -> Iterator[PolicyFigures]:
    """Yield what each policy would delete and free; ``keep_last`` are their numbers of tags.

    ``referenced_bytes`` are the bytes of all blobs that repositories reference; None if unknown.
    What a policy would free is unknown while something is unread that may change it; so is what it
    would delete where nothing orders the tags of a repository.
    """
    chooser = Chooser(inventory, reaches, uses)
    for keep in keep_last:
        order = TagOrder(inventory, dating)
        try:
            chosen = chooser.deletions(partial(order.keep_newest, keep=keep))
        except PlanRefusedError as error:
            yield PolicyFigures(policy_name(keep), None, None, refused=str(error))
            continue
        if order.tied:
            yield PolicyFigures(policy_name(keep), None, None, tuple(order.tied))
            continue
        freed: int | None
        if inventory.unread:
            freed = None
        elif (
            collector.is_orderly
            and referenced_bytes is not None
            and not any(each.artifacts for each in chosen.values())
        ):
            staying = {name: each.staying for name, each in chosen.items()}
            freed = referenced_bytes - sizes.of(kept_after_untagging(inventory, reaches, staying))
        else:
            deleted = {name: each.deleted() for name, each in chosen.items()}
            freed = sizes.of(collector.freed(deleted))
        yield PolicyFigures(policy_name(keep), sum(each.tags for each in chosen.values()), freed)


def price_untagged(
    inventory: Inventory,
    reaches: Reaches,
    collector: CollectorAfter,
    uses: UseFigures | None,
    sizes: BytesOnDisk,
) -> int | None:
    """Return what deleting all untagged manifests would free after a collector run.

    None while something is unread that may change it.
    """
    if inventory.unread:
        return None
    deleted = untagged_manifests(inventory, reaches, uses)
    return sizes.of(collector.freed(deleted)) if deleted else 0
