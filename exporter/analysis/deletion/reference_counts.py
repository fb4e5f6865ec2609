"""What deletions free in a consistent store: the blobs of which they delete every reference.

There a blob stays as long as any repository holds a manifest that references it, or is that
manifest. So references can be counted, once for all deletions: these then cost only what they
delete, or what they leave, not what all repositories reach.
"""

from array import array
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Manifest


class ReferenceCounts:
    """For each blob, how often the manifests that repositories hold need it.

    A manifest needs itself, and counts once for each repository that holds it.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._counts = counts = array("i", bytes(4 * len(inventory.sizes)))
        self._held = 0
        for repository in inventory.repositories:
            numbers = {revision.manifest for revision in repository.revisions}
            self._held += len(numbers)
            for number in numbers:
                for blob in _needed(number, inventory.manifests.get(number)):
                    counts[blob] += 1

    def freed_by(self, deleted: Mapping[str, Collection[BlobNumber]]) -> Iterator[BlobNumber]:
        """Yield the blobs that deletions free; ``deleted`` are manifests, by repository."""
        counts, manifests = self._counts[:], self._inventory.manifests
        for numbers in deleted.values():
            for number in numbers:
                for blob in _needed(number, manifests.get(number)):
                    counts[blob] -= 1
                    if not counts[blob]:
                        yield blob

    def freed_bytes(self, deleted: Mapping[str, Collection[BlobNumber]]) -> Mapping[str, int]:
        """Return the bytes that deletions free, by the repository that needs them last.

        ``deleted`` are manifests that repositories hold, in the inventory's order.
        """
        if 2 * sum(map(len, deleted.values())) > self._held:
            return self._freed_around(deleted)
        counts, sizes = self._counts[:], self._inventory.sizes
        manifests = self._inventory.manifests
        freed = {}
        for name, numbers in deleted.items():
            total = 0
            for number in numbers:
                for blob in _needed(number, manifests.get(number)):
                    left = counts[blob] = counts[blob] - 1
                    if not left and sizes[blob] > 0:
                        total += sizes[blob]
            freed[name] = total
        return freed

    def _freed_around(self, deleted: Mapping[str, Collection[BlobNumber]]) -> Mapping[str, int]:
        """Return the same from what stays, where that is less."""
        inventory, last = self._inventory, self._last_holders
        sizes, manifests = inventory.sizes, inventory.manifests
        is_kept = bytearray(len(sizes))
        left = [0] * len(inventory.repositories)
        for repository in inventory.repositories:
            staying = {revision.manifest for revision in repository.revisions}
            staying.difference_update(deleted.get(repository.name, ()))
            for number in staying:
                for blob in _needed(number, manifests.get(number)):
                    if not is_kept[blob]:
                        is_kept[blob] = 1
                        if sizes[blob] > 0:
                            left[last[blob]] += sizes[blob]
        held = zip(inventory.repositories, self._held_bytes, left, strict=True)
        return {each.name: whole - stays for each, whole, stays in held if each.name in deleted}

    @cached_property
    def _last_holders(self) -> "array[int]":
        """The place of the last repository that needs each blob."""
        inventory = self._inventory
        last = array("I", bytes(4 * len(inventory.sizes)))
        for place, repository in enumerate(inventory.repositories):
            for revision in repository.revisions:
                number = revision.manifest
                for blob in _needed(number, inventory.manifests.get(number)):
                    last[blob] = place
        return last

    @cached_property
    def _held_bytes(self) -> list[int]:
        """The bytes of the blobs that each repository is the last to need."""
        whole = [0] * len(self._inventory.repositories)
        for place, count, size in zip(
            self._last_holders, self._counts, self._inventory.sizes, strict=True
        ):
            if count and size > 0:
                whole[place] += size
        return whole


def _needed(number: BlobNumber, manifest: Manifest | None) -> tuple[BlobNumber, ...]:
    return (number,) if manifest is None else (number, *manifest.children, *manifest.blobs)
