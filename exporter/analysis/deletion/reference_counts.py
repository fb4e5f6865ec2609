"""What deletions free in a consistent store: the blobs of which they delete every reference.

There a blob stays as long as any repository holds a manifest that references it, or is that
manifest. So references can be counted, once for all deletions: these then cost only what they
delete, not what all repositories reach.
"""

from array import array
from collections.abc import Collection, Iterator, Mapping

from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Manifest


class ReferenceCounts:
    """For each blob, how often the manifests that repositories hold need it.

    A manifest needs itself, and counts once for each repository that holds it.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._counts = counts = array("i", bytes(4 * len(inventory.sizes)))
        manifests = inventory.manifests
        for repository in inventory.repositories:
            for number in {revision.manifest for revision in repository.revisions}:
                for blob in _needed(number, manifests.get(number)):
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
        manifests = self._inventory.manifests
        for name, numbers in deleted.items():
            total = 0
            for number in numbers:
                for blob in _needed(number, manifests.get(number)):
                    left = counts[blob] = counts[blob] - 1
                    if not left and sizes[blob] > 0:
                        total += sizes[blob]
            yield name, total


def _needed(number: BlobNumber, manifest: Manifest | None) -> tuple[BlobNumber, ...]:
    return (number,) if manifest is None else (number, *manifest.children, *manifest.blobs)
