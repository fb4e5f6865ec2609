"""Manifests that need not be read again: the same digest means the same content."""

from collections.abc import Sequence

import msgspec

from exporter.domain.digests import (
    BlobNumber,
    DigestTable,
    parse_digest,
)
from exporter.domain.model import Inventory, Manifest
from exporter.store.filesystem.walk.blob_table import BlobTable
from exporter.store.format.layout import BLOBS, DATA


class KnownManifests:
    """The manifests that the previous scan read, in the numbers of this scan."""

    def __init__(self, previous: Inventory, table: BlobTable, *, same_numbers: bool) -> None:
        """Use ``previous``; ``same_numbers``: ``table`` continues its numbers and sizes."""
        self._previous = previous
        self._table = table
        self._same_numbers = same_numbers
        self._doubtful = doubtful_manifests(previous)

    def find(self, number: BlobNumber) -> Manifest | None:
        """Return a manifest as it was read; None if it must be read."""
        if self._table.sizes[number] < 0:
            return None
        before: BlobNumber | None = number
        if not self._same_numbers:
            before = self._previous.digests.find(self._table.digests[number])
        if before is None or before in self._doubtful:
            return None
        manifest = self._previous.manifests.get(before)
        if manifest is None or self._same_numbers:
            return manifest
        return self._renumbered(manifest)

    def _renumbered(self, manifest: Manifest) -> Manifest | None:
        """Return it in this scan's numbers; None if something it references has changed size.

        The sizes that a manifest states are compared only when it is read.
        """
        renumbered = renumber(manifest, self._previous.digests, self._table.digests)
        self._table.make_room()
        before = (*manifest.children, *manifest.blobs)
        after = (*renumbered.children, *renumbered.blobs)
        sizes, known = self._table.sizes, self._previous.sizes
        if all(0 <= known[old] == sizes[new] for old, new in zip(before, after, strict=True)):
            return renumbered
        return None


def renumber(manifest: Manifest, before: DigestTable, now: DigestTable) -> Manifest:
    """Return a manifest with the numbers of another table."""

    def renumbered(numbers: Sequence[BlobNumber]) -> tuple[BlobNumber, ...]:
        return tuple(now.intern(before[number]) for number in numbers)

    return msgspec.structs.replace(
        manifest,
        children=renumbered(manifest.children),
        blobs=renumbered(manifest.blobs),
        foreign=renumbered(manifest.foreign),
        unmarked=renumbered(manifest.unmarked),
    )


def doubtful_manifests(inventory: Inventory) -> frozenset[BlobNumber]:
    """Return the manifests with issues, which are read in each scan to report them again."""
    doubtful = {*inventory.unreadable, *inventory.senseless, *inventory.misfits}
    for issue in inventory.issues:
        kind, *parts = issue.path.split("/")
        if kind == BLOBS and parts[-1] == DATA and len(parts) == 4:  # noqa: PLR2004 - alg/xx/hex/data
            digest = parse_digest(f"{parts[0]}:{parts[2]}")
            number = None if digest is None else inventory.digests.find(digest)
            if number is not None:
                doubtful.add(number)
    return frozenset(doubtful)
