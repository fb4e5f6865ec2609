"""The accounts of a store: which repositories have each blob, kept from one inventory to the next.

Most scans find little that is new. Figures of repositories that are as they were are taken over,
and of the blobs only those are accounted for anew that a changed repository gained or lost. What
comes out is what comes out of an account from nothing.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.analysis.reachability import NOTHING, Reaches, RepositoryReach, reach_of
from exporter.analysis.repository_figures import Account, draw_up, logical_bytes_of, targets_of
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository
from exporter.domain.snapshot import BlobState, BlobTotal, RepositoryFigures

_STATES = (BlobState.TAGGED, BlobState.UNTAGGED, BlobState.UNREFERENCED)
_TAGGED, _UNTAGGED, _UNREFERENCED = range(len(_STATES))
_SHARED = 0
"""Stands for a repository in sums over what several have; those of repositories begin at 1."""


class Ledger:
    """Keeps the accounts of one store, inventory after inventory.

    It keeps counts, not sets: those of what a repository reaches take more room than all the rest,
    and are made again for the few that change.

    Attributes:
        inventory: what they are of; None before the first one.
        accounts: one for each repository, in the inventory's order.

    """

    def __init__(self) -> None:
        self.inventory: Inventory | None = None
        self.accounts: tuple[Account, ...] = ()
        self._by_name: dict[str, Account] = {}
        self._reaches: Reaches | None = None
        self._clear()

    @classmethod
    def of(cls, inventory: Inventory) -> "Ledger":
        """Draw up the accounts of one inventory."""
        ledger = cls()
        ledger.follow(inventory)
        return ledger

    def follow(self, inventory: Inventory) -> None:
        """Go on to another inventory: by what is different, where blobs have kept their numbers.

        An inventory is never changed: the very same repository has the very same account.
        """
        before, self.inventory = self.inventory, None  # none is right until this is through
        self.release()
        if before is None or not (_goes_on(before, inventory) and self._update(before, inventory)):
            self._begin(inventory)
        self.accounts = tuple(self._by_name[each.name] for each in inventory.repositories)
        self.inventory = inventory

    @property
    def reaches(self) -> Reaches:
        """What each repository reaches, in the inventory's order; made when it is asked for."""
        if self._reaches is None and self.inventory is not None:
            manifests = self.inventory.manifests
            self._reaches = [reach_of(manifests, each) for each in self.inventory.repositories]
        return self._reaches or []

    def release(self) -> None:
        """Let go of what can be made again."""
        self._reaches = None

    @property
    def lost_below_indexes(self) -> BlobTotal:
        """Tagged blobs that version 2 frees when it deletes untagged manifests.

        No tag points to them or to what references them: only indexes list that.
        """
        return BlobTotal(*self._below)

    @property
    def blobs(self) -> Mapping[BlobState, BlobTotal]:
        """Blobs on disk by what reaches them; every state is there."""
        totals = zip(_STATES, self._blobs, self._bytes, strict=True)
        return {state: BlobTotal(blobs, size) for state, blobs, size in totals}

    @property
    def is_plain(self) -> bool:
        """Whether all repositories are in good order, where no manifest is odd."""
        return all(each.is_plain for each in self.accounts)

    @property
    def has_sound_links(self) -> bool:
        """Whether all tags lead somewhere, and the links hold all that they reach."""
        return all(each.is_sound for each in self.accounts)

    @property
    def shared_bytes(self) -> int:
        """Bytes of the blobs that two or more repositories reach."""
        return self._owned[_SHARED]

    @property
    def logical_bytes(self) -> int:
        """What all tags would take if nothing were shared between them."""
        return sum(each.logical_bytes for each in self.accounts)

    def repositories(self) -> Iterator[RepositoryFigures]:
        """Give the figures of each repository."""
        for each in self.accounts:
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

        Of each blob is kept how many repositories reach it, how many by a tag, how many by a tag
        that points to it or to what references it, and the numbers of the first, combined by
        exclusive or: where it is one, that is its number.
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
        """Go on by what is different; False where that cannot be told, and all is to begin anew.

        One change after the other: what repositories reach takes much room.
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
        """Tell whether repositories that are as they were reach any of some blobs."""
        holders = {number: self._holders[number] for number in numbers}
        for change in self._changes(before, inventory):
            for number in numbers & change.then.all if change.then else ():
                holders[number] -= 1
        return any(holders.values())

    def _changes(self, before: Inventory, inventory: Inventory) -> Iterator["_Change"]:
        names = set()
        for repository in inventory.repositories:
            names.add(repository.name)
            account = self._by_name.get(repository.name)
            if account is None or account.repository is not repository:
                then = None if account is None else reach_of(before.manifests, account.repository)
                now = reach_of(inventory.manifests, repository)
                yield _Change(account, then, repository, now)
        for name in sorted(self._by_name.keys() - names):
            account = self._by_name[name]
            yield _Change(account, reach_of(before.manifests, account.repository), None, None)

    def _follow(
        self, change: "_Change", before: Inventory, inventory: Inventory, reread: set[BlobNumber]
    ) -> None:
        old, repository, now = change.account, change.repository, change.now
        if repository is None or now is None:
            if old is not None:
                del self._by_name[old.repository.name]
                self._move(old.number, change.then, None)
            return
        targets = targets_of(repository)
        if old is not None and reread.isdisjoint(now.all_manifests):
            # what its other tags would take is as it was
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
        account = draw_up(number, inventory, repository, reach, self._total, logical)
        self._by_name[repository.name] = account

    def _move(self, number: int, then: RepositoryReach | None, now: RepositoryReach | None) -> None:
        """Note that a repository reaches ``now`` what it does, and no longer what it did."""
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
        """Add blobs to the totals as they are entered now, or with -1 take them away."""
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
    """A repository that is not as it was.

    Attributes:
        account: the one that it had; None where it is new.
        then: what it reached; None likewise.
        repository: as it is now; None where it is gone.
        now: what it reaches; None likewise.

    """

    account: Account | None
    then: RepositoryReach | None
    repository: Repository | None
    now: RepositoryReach | None

    def touched(self) -> set[BlobNumber]:
        """Give the blobs of which something is to be counted otherwise."""
        then, now = self.then or NOTHING, self.now or NOTHING
        return (then.all ^ now.all) | (then.tagged ^ now.tagged) | (then.direct ^ now.direct)


def _goes_on(before: Inventory, inventory: Inventory) -> bool:
    """Tell whether blobs have the numbers and sizes that they had."""
    return (
        inventory.digests.continues(before.digests)
        and inventory.sizes[: len(before.sizes)] == before.sizes
    )


def _altered(before: Inventory, inventory: Inventory) -> set[BlobNumber]:
    """Give the manifests that were read otherwise than before, or only once of both times."""
    then, now = before.manifests, inventory.manifests
    altered = {number for number, manifest in then.items() if now.get(number) != manifest}
    return altered | (now.keys() - then.keys())
