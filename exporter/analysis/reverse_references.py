"""Reverse references: which repositories and tags reach a blob."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import cached_property

from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import Inventory


def referencing(inventory: Inventory, wanted: AbstractSet[BlobNumber]) -> list[BlobNumber]:
    """Return the manifests that reference any of some blobs themselves: one pass over all."""
    is_apart = wanted.isdisjoint
    if len(wanted) == 1:  # twice as fast
        (number,) = wanted
        return [
            parent
            for parent, manifest in inventory.manifests.items()
            if number in manifest.blobs or number in manifest.children
        ]
    return [
        parent
        for parent, manifest in inventory.manifests.items()
        if not (is_apart(manifest.blobs) and (not manifest.children or is_apart(manifest.children)))
    ]


def referenced_as_blobs(inventory: Inventory) -> frozenset[BlobNumber]:
    """Return the manifests that another one references without listing them: hardly any."""
    manifests = inventory.manifests
    return frozenset(
        number
        for manifest in manifests.values()
        if not manifests.keys().isdisjoint(manifest.blobs)
        for number in manifest.blobs
        if number in manifests
    )


def manifests_reaching(
    inventory: Inventory,
    number: BlobNumber,
    parents: Iterable[BlobNumber],
    unlisted: AbstractSet[BlobNumber] | None = None,
) -> set[BlobNumber]:
    """Return a blob and all manifests that reach it; ``parents`` reference it themselves.

    With ``unlisted``, those of :func:`referenced_as_blobs`, only indexes are searched for the rest.
    """
    reaching, new = {number}, set(parents) - {number}
    while new:
        reaching |= new
        if unlisted is None or not unlisted.isdisjoint(new):
            new = set(referencing(inventory, new)) - reaching
        else:
            new = set(listing(inventory, new)) - reaching
    return reaching


def listing(inventory: Inventory, wanted: AbstractSet[BlobNumber]) -> list[BlobNumber]:
    """Return the indexes that list any of some manifests."""
    manifests = inventory.manifests
    return [each for each in inventory.indexes if not wanted.isdisjoint(manifests[each].children)]


class ReverseReferences:
    """Finds what reaches one blob after another; computes nothing before it is first asked."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def names(self, number: BlobNumber) -> Iterator[str]:
        """Yield the tags that reach a blob as ``repository:tag``, by repository.

        Repositories that reach it without a tag follow as ``repository@digest``, once for each of
        their manifests that reach the blob. The blob itself may be such a manifest.
        """
        reaching = self.reaching(number)
        tagged = set()
        for repository in self._inventory.repositories:
            for tag in repository.tags:
                if tag.target in reaching:
                    tagged.add(repository.name)
                    yield f"{repository.name}:{tag.name}"
        for repository in self._inventory.repositories:
            if repository.name not in tagged:
                yield from (
                    f"{repository.name}@{format_digest(self._inventory.digests[each.manifest])}"
                    for each in repository.revisions
                    if each.manifest in reaching
                )

    def reaching(self, number: BlobNumber) -> set[BlobNumber]:
        """Return a blob and all manifests that reach it."""
        reaching = {number}
        pending = [number]
        while pending:
            new = set(self._parents.get(pending.pop(), ())) - reaching
            reaching |= new
            pending += new
        return reaching

    @cached_property
    def _parents(self) -> dict[BlobNumber, list[BlobNumber]]:
        parents: dict[BlobNumber, list[BlobNumber]] = {}
        for number, manifest in self._inventory.manifests.items():
            for each in {*manifest.blobs, *manifest.children}:
                parents.setdefault(each, []).append(number)
        return parents
