"""What repositories reach, computed when it is needed and not kept: for a few of many, or once."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Generic, TypeVar, overload

from exporter.analysis.reachability import (
    ManifestReaches,
    Reaches,
    reach_of,
    with_listed,
)
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository

Reach = TypeVar("Reach")


def lazy_reaches(inventory: Inventory) -> Reaches:
    """Return what each repository reaches, in the inventory's order."""
    return _OnDemand(inventory, lambda each: reach_of(inventory.manifests, each))


def lazy_manifest_reaches(inventory: Inventory) -> ManifestReaches:
    """Return the manifests that each repository reaches, in the inventory's order."""
    return _OnDemand(inventory, lambda each: _LazyReach(inventory, each))


class _OnDemand(Sequence[Reach], Generic[Reach]):
    """Computes an item whenever it is asked for."""

    def __init__(self, inventory: Inventory, compute: Callable[[Repository], Reach]) -> None:
        self._repositories = inventory.repositories
        self._compute = compute

    def __len__(self) -> int:
        return len(self._repositories)

    @overload
    def __getitem__(self, place: int) -> Reach: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Reach]: ...

    def __getitem__(self, place: int | slice) -> Reach | Sequence[Reach]:
        if isinstance(place, slice):
            return [self._compute(each) for each in self._repositories[place]]
        return self._compute(self._repositories[place])


class _LazyReach:
    """The manifests that one repository reaches."""

    def __init__(self, inventory: Inventory, repository: Repository) -> None:
        self._inventory = inventory
        self._repository = repository

    @cached_property
    def targets(self) -> set[BlobNumber]:
        return {tag.target for tag in self._repository.tags if tag.target is not None}

    @property
    def has_lost_tags(self) -> bool:
        return any(tag.target is None for tag in self._repository.tags)

    @cached_property
    def held(self) -> set[BlobNumber]:
        return {revision.manifest for revision in self._repository.revisions}

    @cached_property
    def tagged_manifests(self) -> set[BlobNumber]:
        return with_listed(self._inventory, self.targets)
