"""The accounts of a store: which repositories have each blob, kept from one inventory to the next.

Most scans find little that is new. Figures of repositories that are as they were are taken over,
and of the blobs only those are accounted for anew that a changed repository gained or lost. What
comes out is what comes out of an account from nothing.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.analysis.orderly import Reaches, names_over_untagged
from exporter.analysis.reachability import RepositoryReach, reach_of, reachable
from exporter.analysis.repositories import count_untagged, last_push_at
from exporter.digests import BlobNumber
from exporter.model import Inventory, Repository
from exporter.snapshot import BlobState, BlobTotal, RepositoryFigures, TagName

_STATES = (BlobState.TAGGED, BlobState.UNTAGGED, BlobState.UNREFERENCED)
_TAGGED, _UNTAGGED, _UNREFERENCED = range(len(_STATES))
_SHARED = 0
"""Stands for a repository in sums over what several have; those of repositories begin at 1."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is told of one repository without looking at others.

    Attributes:
        number: stands for the repository, from 1.
        repository: as the inventory has it.
        reach: what it reaches.
        untagged: revisions that no tag of it reaches.
        referenced_bytes: of all that it reaches.
        logical_bytes: what its tags would take if nothing were shared between them.
        last_push_at: see :class:`exporter.snapshot.RepositoryFigures`.
        over_untagged: tags of indexes of which a part has no tag of its own.

    """

    number: int
    repository: Repository
    reach: RepositoryReach
    untagged: int
    referenced_bytes: int
    logical_bytes: int
    last_push_at: float | None
    over_untagged: tuple[TagName, ...]


class Ledger:
    """Keeps the accounts of one store, inventory after inventory.

    Attributes:
        inventory: what they are of; None before the first one.
        accounts: one for each repository, in the inventory's order.

    """

    def __init__(self) -> None:
        self.inventory: Inventory | None = None
        self.accounts: tuple[Account, ...] = ()
        self._by_name: dict[str, Account] = {}
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
        if before is not None and _goes_on(before, inventory):
            self._update(before, inventory)
        else:
            self._begin(inventory)
        self.accounts = tuple(self._by_name[each.name] for each in inventory.repositories)
        self.inventory = inventory

    @property
    def reaches(self) -> Reaches:
        """What each repository reaches, in the inventory's order."""
        return [each.reach for each in self.accounts]

    @property
    def blobs(self) -> Mapping[BlobState, BlobTotal]:
        """Blobs on disk by what reaches them; every state is there."""
        totals = zip(_STATES, self._blobs, self._bytes, strict=True)
        return {state: BlobTotal(blobs, size) for state, blobs, size in totals}

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

    def shared(self, blobs: Iterable[BlobNumber]) -> set[BlobNumber]:
        """Give those of ``blobs`` that several repositories reach."""
        holders = self._holders
        return {number for number in blobs if holders[number] > 1}

    # from nothing

    def _clear(self) -> None:
        """Forget everything.

        Of each blob is kept how many repositories reach it, how many by a tag, and the numbers of
        the former, combined by exclusive or: where it is one, that is its number.
        """
        self._by_name = {}
        self._last_number = _SHARED
        self._sizes = array("q")
        self._is_measured = False
        self._holders = array("i")
        self._taggers = array("i")
        self._owners = array("i")
        self._blobs = [0] * len(_STATES)
        self._bytes = [0] * len(_STATES)
        self._owned: Counter[int] = Counter()

    def _begin(self, inventory: Inventory) -> None:
        self._clear()
        self._make_room(inventory)
        for repository in inventory.repositories:
            account = self._account(inventory, repository)
            self._enter(account.number, account.reach.all, account.reach.tagged, 1)
            self._by_name[repository.name] = account
        self._count(range(len(self._sizes)), 1)

    def _make_room(self, inventory: Inventory) -> None:
        self._is_measured = inventory.all_measured
        new = inventory.sizes[len(self._sizes) :]
        self._sizes.extend(new)
        for each in (self._holders, self._taggers, self._owners):
            each.extend([0] * len(new))

    def _account(self, inventory: Inventory, repository: Repository) -> Account:
        known = self._by_name.get(repository.name)
        if known is None:
            self._last_number += 1
        reach = reach_of(inventory.manifests, repository)
        return Account(
            number=self._last_number if known is None else known.number,
            repository=repository,
            reach=reach,
            untagged=count_untagged(repository, reach),
            referenced_bytes=self._total(reach.all),
            logical_bytes=self._logical_bytes(inventory, repository),
            last_push_at=last_push_at(repository),
            over_untagged=tuple(names_over_untagged(inventory, repository, reach)),
        )

    def _logical_bytes(self, inventory: Inventory, repository: Repository) -> int:
        """Add up what each tag would take alone: all its blobs, each once within the tag."""
        manifests = inventory.manifests
        total = 0
        for target, times in Counter(tag.target for tag in repository.tags).items():
            if target is None:
                continue
            manifest = manifests.get(target)
            if manifest is not None and not manifest.children:  # as most are, and much faster
                total += times * self._total({target, *manifest.blobs})
            else:
                total += times * self._total(reachable(manifests, (target,)))
        return total

    def _total(self, blobs: Iterable[BlobNumber]) -> int:
        sizes = map(self._sizes.__getitem__, blobs)
        return sum(sizes if self._is_measured else (size for size in sizes if size > 0))

    # by difference

    def _update(self, before: Inventory, inventory: Inventory) -> None:
        known = len(self._sizes)
        self._make_room(inventory)
        altered = _altered(before, inventory)
        pending: list[tuple[Account | None, Account | None]] = []
        names = set()
        for repository in inventory.repositories:
            names.add(repository.name)
            account = self._by_name.get(repository.name)
            if account is None or account.repository is not repository:
                is_same = False
            else:
                is_same = altered.isdisjoint(account.reach.all_manifests)
            if not is_same:
                pending.append((account, self._account(inventory, repository)))
        pending += [(self._by_name[name], None) for name in self._by_name.keys() - names]
        moves = [_Move.between(old, new) for old, new in pending]
        touched = set[BlobNumber]().union(*[each.touched for each in moves])
        self._count((number for number in touched if number < known), -1)
        for move in moves:
            self._enter(move.number, move.left, move.untagged, -1)
            self._enter(move.number, move.joined, move.tagged, 1)
        touched.update(range(known, len(self._sizes)))
        self._count(touched, 1)
        for old, new in pending:
            if new is not None:
                self._by_name[new.repository.name] = new
            elif old is not None:
                del self._by_name[old.repository.name]

    def _enter(
        self, number: int, blobs: Iterable[BlobNumber], tagged: Iterable[BlobNumber], sign: int
    ) -> None:
        """Note that a repository reaches blobs, and those by a tag; or with -1 no longer."""
        holders, owners, taggers = self._holders, self._owners, self._taggers
        for blob in blobs:
            holders[blob] += sign
            owners[blob] ^= number
        for blob in tagged:
            taggers[blob] += sign

    def _count(self, numbers: Iterable[BlobNumber], sign: int) -> None:
        """Add blobs to the totals as they are entered now, or with -1 take them away."""
        sizes, holders, taggers, owners = self._sizes, self._holders, self._taggers, self._owners
        blobs, total, owned = [0] * len(_STATES), [0] * len(_STATES), self._owned
        for number in numbers:
            size = sizes[number]
            if size < 0:
                continue
            held = holders[number]
            state = _UNREFERENCED
            if held:
                state = _TAGGED if taggers[number] else _UNTAGGED
                owned[owners[number] if held == 1 else _SHARED] += sign * size
            blobs[state] += 1
            total[state] += size
        for state in range(len(_STATES)):
            self._blobs[state] += sign * blobs[state]
            self._bytes[state] += sign * total[state]


@dataclass(frozen=True, slots=True)
class _Move:
    """What one repository gained and lost.

    Attributes:
        number: of its account.
        left: blobs that it reaches no longer.
        joined: those that it reaches now.
        untagged: those that none of its tags reaches any longer.
        tagged: those that one does now.

    """

    number: int
    left: set[BlobNumber]
    joined: set[BlobNumber]
    untagged: set[BlobNumber]
    tagged: set[BlobNumber]

    @classmethod
    def between(cls, old: Account | None, new: Account | None) -> "_Move":
        nothing: set[BlobNumber] = set()
        left, untagged = (nothing, nothing) if old is None else (old.reach.all, old.reach.tagged)
        joined, tagged = (nothing, nothing) if new is None else (new.reach.all, new.reach.tagged)
        account = new or old
        return cls(
            number=_SHARED if account is None else account.number,
            left=left - joined,
            joined=joined - left,
            untagged=untagged - tagged,
            tagged=tagged - untagged,
        )

    @property
    def touched(self) -> set[BlobNumber]:
        """All of them."""
        return self.left | self.joined | self.untagged | self.tagged


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
