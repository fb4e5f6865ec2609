"""The state of each blob: tagged, untagged or unreferenced, and which repository owns it alone.

Kept from one inventory to the next. Most scans find few changes: repositories that have not changed
keep their figures, and only blobs that a changed repository gained or lost are counted again. The
result equals that of counting everything.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.analysis.collector_fast_path import has_oddities
from exporter.analysis.reachability import NOTHING, Reaches, RepositoryReach, reach_of
from exporter.analysis.repository_figures import (
    RepositorySummary,
    logical_bytes_of,
    summarize,
    targets_of,
)
from exporter.domain.digests import BlobNumber
from exporter.domain.holders import BlobHolders
from exporter.domain.model import Inventory, Repository
from exporter.domain.snapshot import BlobState, BlobTotal, RepositoryFigures

_STATES = (BlobState.TAGGED, BlobState.UNTAGGED, BlobState.UNREFERENCED)
_TAGGED, _UNTAGGED, _UNREFERENCED = range(len(_STATES))
_SHARED = 0
"""Key of the bytes that several repositories share; repositories are numbered from 1."""


class BlobStates:
    """Counts which repositories reach each blob, for one inventory of a store after another.

    It keeps counts, not sets: sets of what each repository reaches take more room than everything
    else, and are built again for the few repositories that change.

    Attributes:
        inventory: what is counted; None before the first one.
        summaries: one for each repository, in the inventory's order.

    """

    def __init__(self) -> None:
        self.inventory: Inventory | None = None
        self.summaries: tuple[RepositorySummary, ...] = ()
        self._by_name: dict[str, RepositorySummary] = {}
        self._reaches: Reaches | None = None
        self._clear()

    @classmethod
    def of(cls, inventory: Inventory) -> "BlobStates":
        """Count one inventory alone."""
        states = cls()
        states.follow(inventory)
        return states

    def follow(self, inventory: Inventory) -> None:
        """Count another inventory: only what differs, if blobs have kept their numbers.

        An inventory never changes: the same repository object has the same summary.
        """
        before, self.inventory = self.inventory, None  # invalid until this has finished
        self.release()
        if before is None or not (_goes_on(before, inventory) and self._update(before, inventory)):
            self._begin(inventory)
        self.summaries = tuple(self._by_name[each.name] for each in inventory.repositories)
        self.inventory = inventory

    @property
    def reaches(self) -> Reaches:
        """What each repository reaches, in the inventory's order; computed on first use."""
        if self._reaches is None and self.inventory is not None:
            manifests = self.inventory.manifests
            self._reaches = [reach_of(manifests, each) for each in self.inventory.repositories]
        return self._reaches or []

    def release(self) -> None:
        """Release what can be computed again."""
        self._reaches = None

    @property
    def lost_below_indexes(self) -> BlobTotal:
        """Tagged blobs that version 2 frees when it deletes untagged manifests.

        No tag points to them or to what references them: only indexes list that.
        """
        return BlobTotal(*self._below)

    @property
    def blobs(self) -> Mapping[BlobState, BlobTotal]:
        """Blobs on disk by state; every state is present."""
        totals = zip(_STATES, self._blobs, self._bytes, strict=True)
        return {state: BlobTotal(blobs, size) for state, blobs, size in totals}

    @property
    def holders(self) -> BlobHolders:
        """How many repositories reach each blob: a copy, which the next inventory leaves alone."""
        irregular = [each.repository.name for each in self.summaries if not each.is_plain]
        return BlobHolders(self._holders[:], tuple(sorted(irregular)))

    @property
    def is_plain(self) -> bool:
        """Whether all repositories are plain, apart from odd manifests."""
        return all(each.is_plain for each in self.summaries)

    @property
    def is_orderly(self) -> bool:
        """Whether the store is consistent, as the collector's fast path needs it."""
        return self.inventory is not None and self.is_plain and not has_oddities(self.inventory)

    @property
    def may_have_artifacts(self) -> bool:
        """Whether anything looks like an artifact."""
        has_subjects = self.inventory is not None and bool(self.inventory.with_subject)
        return has_subjects or any(each.names_artifacts for each in self.summaries)

    @property
    def has_sound_links(self) -> bool:
        """Whether every tag points to a manifest, and every manifest that it reaches is linked."""
        return all(each.is_sound for each in self.summaries)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the blobs that two or more repositories reach."""
        return self._owned[_SHARED]

    @property
    def logical_bytes(self) -> int:
        """What all tags would take if nothing were shared between them."""
        return sum(each.logical_bytes for each in self.summaries)

    def repositories(self) -> Iterator[RepositoryFigures]:
        """Yield the figures of each repository."""
        for each in self.summaries:
            yield RepositoryFigures(
                name=each.repository.name,
                tags=len(each.repository.tags),
                manifests=len(each.repository.revisions),
                untagged_manifests=each.untagged,
                referenced_bytes=each.referenced_bytes,
                exclusive_bytes=self._owned[each.number],
                last_push_at=each.last_push_at,
            )

    # from nothing

    def _clear(self) -> None:
        """Forget everything.

        For each blob: how many repositories reach it; how many reach it from a tag; how many have
        a tag that points to it or to a manifest that references it; and the exclusive or of the
        numbers of those that reach it. If one repository reaches it, that is its number.
        """
        self._by_name = {}
        self._last_number = _SHARED
        self._sizes = array("q")
        self._is_measured = False
        self._holders = array("i")
        self._taggers = array("i")
        self._pointers = array("i")
        self._owners = array("i")
        self._blobs = [0] * len(_STATES)
        self._bytes = [0] * len(_STATES)
        self._below = [0, 0]
        self._owned: Counter[int] = Counter()

    def _begin(self, inventory: Inventory) -> None:
        self._clear()
        self._make_room(inventory)
        for repository in inventory.repositories:
            reach = reach_of(inventory.manifests, repository)
            self._last_number += 1
            logical = logical_bytes_of(inventory, targets_of(repository), self._total)
            self._enter(self._last_number, inventory, repository, reach, logical)
            self._move(self._last_number, None, reach)
        self._count(range(len(self._sizes)), 1)

    def _make_room(self, inventory: Inventory) -> None:
        self._is_measured = inventory.all_measured
        self._sizes = inventory.sizes
        for counts in (self._holders, self._taggers, self._pointers, self._owners):
            counts.frombytes(bytes(counts.itemsize * (len(self._sizes) - len(counts))))

    def _total(self, blobs: Iterable[BlobNumber]) -> int:
        sizes = map(self._sizes.__getitem__, blobs)
        return sum(sizes if self._is_measured else (size for size in sizes if size > 0))

    # by difference

    def _update(self, before: Inventory, inventory: Inventory) -> bool:
        """Count what differs; return False if that is not possible and everything must be counted.

        One changed repository at a time: the sets of what it reaches take much room.
        """
        known = len(self._sizes)
        reread = {number for number in _altered(before, inventory) if number < known}
        if reread and self._are_held_besides(reread, before, inventory):
            return False
        self._make_room(inventory)
        self._count(range(known, len(self._sizes)), 1)
        for change in self._changes(before, inventory):
            touched = change.touched()
            self._count(touched, -1)
            self._follow(change, before, inventory, reread)
            self._count(touched, 1)
        return True

    def _are_held_besides(
        self, numbers: set[BlobNumber], before: Inventory, inventory: Inventory
    ) -> bool:
        """Return whether repositories that have not changed reach any of ``numbers``."""
        holders = {number: self._holders[number] for number in numbers}
        for change in self._changes(before, inventory):
            for number in numbers & change.then.all if change.then else ():
                holders[number] -= 1
        return any(holders.values())

    def _changes(self, before: Inventory, inventory: Inventory) -> Iterator["_Change"]:
        names = set()
        for repository in inventory.repositories:
            names.add(repository.name)
            summary = self._by_name.get(repository.name)
            if summary is None or summary.repository is not repository:
                then = None if summary is None else reach_of(before.manifests, summary.repository)
                now = reach_of(inventory.manifests, repository)
                yield _Change(summary, then, repository, now)
        for name in sorted(self._by_name.keys() - names):
            summary = self._by_name[name]
            yield _Change(summary, reach_of(before.manifests, summary.repository), None, None)

    def _follow(
        self, change: "_Change", before: Inventory, inventory: Inventory, reread: set[BlobNumber]
    ) -> None:
        old, repository, now = change.summary, change.repository, change.now
        if repository is None or now is None:
            if old is not None:
                del self._by_name[old.repository.name]
                self._move(old.number, change.then, None)
            return
        targets = targets_of(repository)
        if old is not None and reread.isdisjoint(now.all_manifests):
            # its other tags would still take the same
            gone = targets_of(old.repository)
            logical = old.logical_bytes
            logical += logical_bytes_of(inventory, targets - gone, self._total)
            logical -= logical_bytes_of(before, gone - targets, self._total)
        else:
            logical = logical_bytes_of(inventory, targets, self._total)
        if old is None:
            self._last_number += 1
        number = self._last_number if old is None else old.number
        self._enter(number, inventory, repository, now, logical)
        self._move(number, change.then, now)

    def _enter(
        self,
        number: int,
        inventory: Inventory,
        repository: Repository,
        reach: RepositoryReach,
        logical: int,
    ) -> None:
        summary = summarize(number, inventory, repository, reach, self._total, logical)
        self._by_name[repository.name] = summary

    def _move(self, number: int, then: RepositoryReach | None, now: RepositoryReach | None) -> None:
        """Record that a repository now reaches ``now``, and no longer ``then``."""
        before, after = then or NOTHING, now or NOTHING
        owners = self._owners
        for blob in before.all ^ after.all if then else after.all:
            owners[blob] ^= number
        for counts, lost, gained in (
            (self._holders, before.all, after.all),
            (self._taggers, before.tagged, after.tagged),
            (self._pointers, before.direct, after.direct),
        ):
            for blob in lost - gained if lost else ():
                counts[blob] -= 1
            for blob in gained - lost if lost else gained:
                counts[blob] += 1

    def _count(self, numbers: Iterable[BlobNumber], sign: int) -> None:
        """Add blobs to the totals with their current counts, or remove them (``sign`` -1)."""
        sizes, holders, taggers, owners = self._sizes, self._holders, self._taggers, self._owners
        pointers, owned, below = self._pointers, self._owned, self._below
        blobs, total = [0] * len(_STATES), [0] * len(_STATES)
        for number in numbers:
            size = sizes[number]
            if size < 0:
                continue
            held = holders[number]
            state = _UNREFERENCED
            if held:
                owned[owners[number] if held == 1 else _SHARED] += sign * size
                state = _UNTAGGED
                if taggers[number]:
                    state = _TAGGED
                    if not pointers[number]:
                        below[0] += sign
                        below[1] += sign * size
            blobs[state] += 1
            total[state] += size
        for state in range(len(_STATES)):
            self._blobs[state] += sign * blobs[state]
            self._bytes[state] += sign * total[state]


@dataclass(frozen=True, slots=True)
class _Change:
    """A repository that has changed.

    Attributes:
        summary: its summary before; None if it is new.
        then: what it reached before; None if it is new.
        repository: as it is now; None if it is gone.
        now: what it reaches now; None if it is gone.

    """

    summary: RepositorySummary | None
    then: RepositoryReach | None
    repository: Repository | None
    now: RepositoryReach | None

    def touched(self) -> set[BlobNumber]:
        """Return the blobs whose counts change."""
        then, now = self.then or NOTHING, self.now or NOTHING
        return (then.all ^ now.all) | (then.tagged ^ now.tagged) | (then.direct ^ now.direct)


def _goes_on(before: Inventory, inventory: Inventory) -> bool:
    """Return whether all blobs have kept their numbers and sizes."""
    return (
        inventory.digests.continues(before.digests)
        and inventory.sizes[: len(before.sizes)] == before.sizes
    )


def _altered(before: Inventory, inventory: Inventory) -> set[BlobNumber]:
    """Return the manifests that differ between two inventories, or are in one of them only."""
    then, now = before.manifests, inventory.manifests
    altered = {number for number, manifest in then.items() if now.get(number) != manifest}
    return altered | (now.keys() - then.keys())
