"""What deletions free in a consistent store: the blobs of which they delete every reference.

There a blob stays as long as any repository holds a manifest that references it, or is that
manifest. So references can be counted, once for all deletions: these then cost only what they
delete, not what all repositories reach.
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
        for number in self._held():
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

    def freed_bytes(
        self, deleted: Mapping[str, Collection[BlobNumber]]
    ) -> Iterator[tuple[str, int]]:
        """Yield the bytes that deletions free, by the repository that needs them last.

        ``deleted`` are in the order in which they are deleted.
        """
        counts, sizes = self._counts[:], self._inventory.sizes
        own_bytes, starts, shared = self._parts.own_bytes, self._parts.starts, self._parts.shared
        for name, numbers in deleted.items():
            total = 0
            for number in numbers:
                total += own_bytes[number]
                start = starts[number]
                for blob in shared[start + 1 : start + 1 + shared[start]]:
                    left = counts[blob] = counts[blob] - 1
                    if not left and sizes[blob] > 0:
                        total += sizes[blob]
            yield name, total

    @cached_property
    def _parts(self) -> "_Parts":
        inventory, counts = self._inventory, self._counts
        sizes = inventory.sizes
        parts = _Parts(array("q", bytes(8 * len(sizes))), array("I", bytes(4 * len(sizes))))
        for number in self._held():
            if parts.own_bytes[number] or parts.starts[number]:
                continue  # another repository holds it, too
            needed = _needed(number, inventory.manifests.get(number))
            shared = [blob for blob in needed if counts[blob] > 1]
            own = [sizes[blob] for blob in needed if counts[blob] == 1]
            parts.own_bytes[number] = sum([size for size in own if size > 0])
            if shared:
                parts.starts[number] = len(parts.shared)
                parts.shared.append(len(shared))
                parts.shared.extend(shared)
        return parts

    def _held(self) -> Iterator[BlobNumber]:
        """Yield the manifests of each repository."""
        for repository in self._inventory.repositories:
            yield from {revision.manifest for revision in repository.revisions}


class _Parts:
    """What each manifest needs alone, and what others need, too.

    Most blobs are a single manifest's: their bytes can be added up once. Arrays, because a store
    may have a million blobs.

    Attributes:
        own_bytes: on disk, of what a manifest alone needs, by its number.
        starts: where its part of ``shared`` starts, by its number.
        shared: for each manifest, how many blobs it shares, then those blobs; begins with a part
            that is empty, for manifests that share nothing.

    """

    __slots__ = ("own_bytes", "shared", "starts")

    def __init__(self, own_bytes: "array[int]", starts: "array[int]") -> None:
        self.own_bytes = own_bytes
        self.starts = starts
        self.shared = array("I", (0,))


def _needed(number: BlobNumber, manifest: Manifest | None) -> tuple[BlobNumber, ...]:
    return (number,) if manifest is None else (number, *manifest.children, *manifest.blobs)
