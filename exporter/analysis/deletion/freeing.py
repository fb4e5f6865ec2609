"""The cheapest safe deletions that free so many bytes: the least needed first, then the oldest."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.deletion.freeable import (
    Candidate,
    Freeable,
    Kind,
    Needs,
    Reason,
    freeable_of,
)
from exporter.analysis.deletion.plan import Deletion, price
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import Reaches, reached_by_many
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory


@dataclass(frozen=True, slots=True)
class Step:
    """Deletions of one kind, in their order."""

    kind: Kind
    deletions: tuple[Deletion, ...]

    @property
    def freed_bytes(self) -> int:
        """What a collector run then frees beyond the steps before."""
        return sum(each.freed_bytes for each in self.deletions)


@dataclass(frozen=True, slots=True)
class Freeing:
    """How to free so many bytes.

    Attributes:
        wanted_bytes: how many.
        alone_bytes: what a collector run frees without any deletion.
        steps: what to delete, the least needed first; no more than necessary.
        needed: if it is not enough, what the tags that stay need, by the reason; a blob counts for
            the first of them.

    """

    wanted_bytes: int
    alone_bytes: int
    steps: tuple[Step, ...]
    needed: Mapping[Reason, int] = field(default_factory=dict)

    @property
    def deletions(self) -> tuple[Deletion, ...]:
        """All deletions, in their order."""
        return tuple(each for step in self.steps for each in step.deletions)

    @property
    def freed_bytes(self) -> int:
        """What a collector run frees after all deletions."""
        return self.alone_bytes + sum(step.freed_bytes for step in self.steps)

    @property
    def missing_bytes(self) -> int:
        """How much is missing; 0 if it is enough."""
        return max(self.wanted_bytes - self.freed_bytes, 0)


def plan_freeing(
    inventory: Inventory,
    reaches: Reaches,
    collector: CollectorAfter,
    needs: Needs,
    wanted_bytes: int,
    alone_bytes: int,
) -> Freeing:
    """Return what to delete so that a collector run frees so many bytes, or all that is safe.

    ``alone_bytes`` is what a collector run frees without any deletion.
    """
    if alone_bytes >= wanted_bytes:
        return Freeing(wanted_bytes, alone_bytes, ())
    found = list(freeable_of(inventory, reaches, needs))
    candidates = sorted(
        (candidate for each in found for candidate in each.candidates),
        key=lambda candidate: candidate.place,
    )
    deletions = _priced(inventory, collector, candidates)
    # the last line that needs a blob frees it, so the sum of the first lines is what they free
    count = _enough(candidates, deletions, wanted_bytes - alone_bytes)
    freeing = Freeing(
        wanted_bytes, alone_bytes, tuple(_steps(candidates[:count], deletions[:count]))
    )
    if not freeing.missing_bytes:
        return freeing
    return Freeing(wanted_bytes, alone_bytes, freeing.steps, _needed(inventory, found))


def _priced(
    inventory: Inventory, collector: CollectorAfter, candidates: Sequence[Candidate]
) -> Sequence[Deletion]:
    deleted: dict[str, set[BlobNumber]] = {}
    for each in candidates:
        deleted.setdefault(each.place.repository, set()).add(each.manifest)
    lines = [(each.place.repository, each.manifest, each.tags) for each in candidates]
    return list(price(inventory, lines, collector.freed(deleted) if lines else set()))


def _enough(
    candidates: Sequence[Candidate], deletions: Sequence[Deletion], wanted_bytes: int
) -> int:
    """Return how many deletions free enough: an image goes with its platforms and artifacts."""
    freed = count = 0
    for _, together in groupby(zip(candidates, deletions, strict=True), lambda each: each[0].place):
        for _, deletion in together:
            freed += deletion.freed_bytes
            count += 1
        if freed >= wanted_bytes:
            break
    return count


def _steps(candidates: Sequence[Candidate], deletions: Sequence[Deletion]) -> Iterator[Step]:
    pairs = zip(candidates, deletions, strict=True)
    for kind, together in groupby(pairs, lambda each: each[0].place.kind):
        yield Step(kind, tuple(deletion for _, deletion in together))


def _needed(inventory: Inventory, found: Sequence[Freeable]) -> Mapping[Reason, int]:
    sizes = BytesOnDisk(inventory)
    needed = {}
    seen: set[BlobNumber] = set()
    before = 0
    for reason in Reason:
        roots = set[BlobNumber]().union(*[each.staying[reason] for each in found])
        seen |= reached_by_many(inventory.manifests, roots)
        total = sizes.of(seen)
        needed[reason] = total - before
        before = total
    return needed
