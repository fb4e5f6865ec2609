"""The blobs of one scan, numbered: digests and sizes side by side."""

from array import array
from collections.abc import Sequence

from exporter.domain.digests import Digest, DigestTable
from exporter.domain.model import ABSENT, Inventory


class BlobTable:
    """Numbers digests, and keeps a size for each."""

    __slots__ = ("digests", "sizes")

    def __init__(self) -> None:
        self.digests = DigestTable()
        self.sizes = array("q")

    @classmethod
    def continuing(cls, inventory: Inventory) -> "BlobTable":
        """Return a table that continues the numbers and sizes of another scan."""
        table = cls()
        table.digests = inventory.digests.copy()
        table.sizes = inventory.sizes[:]
        return table

    def set_size(self, digest: Digest, size: int) -> None:
        """Record the size of a blob, in bytes, ABSENT or UNKNOWN."""
        number = self.digests.intern(digest)
        self.make_room()
        self.sizes[number] = size

    def set_sizes(self, digests: Sequence[Digest], sizes: Sequence[int]) -> None:
        """Record the sizes of many blobs."""
        numbers = self.digests.intern_all(digests)
        self.make_room()
        for number, size in zip(numbers, sizes, strict=True):
            self.sizes[number] = size

    def make_room(self) -> None:
        """Set a size for every numbered digest: ABSENT until it is known."""
        missing = len(self.digests) - len(self.sizes)
        if missing:
            self.sizes.extend([ABSENT] * missing)
