"""Sums of the sizes of blobs on disk."""

from collections.abc import Iterable

from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory


class BytesOnDisk:
    """Adds up sizes of blobs repeatedly, in half the time of :func:`bytes_on_disk`."""

    def __init__(self, inventory: Inventory) -> None:
        self._sizes = inventory.sizes.tolist()
        if not inventory.all_measured:
            self._sizes = [max(size, 0) for size in self._sizes]

    def of(self, blobs: Iterable[BlobNumber]) -> int:
        """Add up the sizes of those of ``blobs`` that are on disk and could be measured."""
        return sum(map(self._sizes.__getitem__, blobs))


def bytes_on_disk(inventory: Inventory, blobs: Iterable[BlobNumber]) -> int:
    """Add up the sizes of those of ``blobs`` that are on disk and could be measured."""
    sizes = map(inventory.sizes.__getitem__, blobs)
    return sum(sizes if inventory.all_measured else (size for size in sizes if size > 0))
