"""Walk over the blobs of a store, into a numbered table."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from exporter.domain.digests import BlobNumber, Digest
from exporter.domain.model import Inventory
from exporter.store.filesystem.readers.blob_reader import BlobReader, Prefix, PrefixBlobs, prefix_of
from exporter.store.filesystem.rescan.change_stamps import NO_STAMP
from exporter.store.filesystem.rescan.known_manifests import doubtful_manifests
from exporter.store.filesystem.rescan.scan_memory import PrefixStamp, Recollection
from exporter.store.filesystem.walk.blob_table import BlobTable
from exporter.store.filesystem.walk.workers import Workers


class BlobWalk:
    """Measures blobs; directories that have not changed keep what is known.

    Attributes:
        table: what was found.
        continues: whether the table has the numbers of the previous scan, and no blob is gone.

    """

    def __init__(self, reader: BlobReader, previous: Inventory, recollection: Recollection) -> None:
        """Walk with ``reader``; what cannot be read now is taken from ``previous``."""
        self._reader = reader
        self._previous = previous
        self._known = recollection.known
        self._places = recollection.places
        self._found: dict[Prefix, PrefixBlobs | PrefixStamp | None] = {}
        self._stamps: dict[Prefix, PrefixStamp | None] = {}
        self.table = BlobTable()
        self.continues = False

    def run(self, workers: Workers, report: Callable[[int, int], None]) -> None:
        """Walk; ``report`` is called with the number of directories done, and of all."""
        prefixes = self._reader.prefixes()
        scans = workers.map(self._read_prefix, prefixes, self._operations)
        for done, (prefix, found) in enumerate(scans, 1):
            self._found[prefix] = found
            report(done, len(prefixes))
        table = self._continued()
        self.continues = table is not None
        self.table = table or self._new_table()
        self._stamps = {prefix: _stamp_of(each) for prefix, each in self._found.items()}
        self._found.clear()  # its memory is needed for manifests now

    def to_be_known(self, inventory: Inventory) -> Mapping[Prefix, PrefixStamp]:
        """Return what the next scan need not read again while its stamps are unchanged."""
        doubtful: set[BlobNumber] = {*doubtful_manifests(inventory)}
        doubtful.update(part for parts in inventory.misfits.values() for part in parts)
        watched = {prefix_of(inventory.digests[number]) for number in doubtful}
        return {
            prefix: stamp
            for prefix, stamp in self._stamps.items()
            if stamp is not None and prefix not in watched
        }

    def _read_prefix(self, prefix: Prefix) -> PrefixBlobs | PrefixStamp | None:
        known = self._known.prefixes.get(prefix)
        if known is None:
            return self._reader.scan_prefix(prefix)
        places = self._places
        if known.stamp != NO_STAMP and (
            not (places.everywhere or prefix in places.prefixes)
            or self._reader.stamp(prefix) == known.stamp
        ):
            return known
        before = self._known.inventory

        def size_of(digest: Digest) -> int | None:
            number = before.digests.find(digest)
            if number is None or digest in known.young or before.sizes[number] < 0:
                return None
            return before.sizes[number]

        return self._reader.scan_prefix(prefix, size_of)

    def _operations(self, prefix: Prefix, found: PrefixBlobs | PrefixStamp | None) -> int:
        """Return the operations that a directory took: a listing or stat, a stat per blob."""
        if not isinstance(found, PrefixBlobs):
            return 1
        known = self._known.prefixes.get(prefix)
        measured: Iterable[Digest] = found.digests
        if known is not None:
            find = self._known.inventory.digests.find
            measured = [each for each in measured if find(each) is None or each in known.young]
        return 1 + len([*measured]) + len(found.unknown)

    def _continued(self) -> BlobTable | None:
        """Return a table that continues the previous scan; None if a blob is gone or different."""
        before = self._previous
        if not before.all_measured or not before.repositories:
            return None
        table = BlobTable.continuing(before)
        present = 0
        for blobs in self._found.values():
            if isinstance(blobs, PrefixStamp):
                present += blobs.blobs
                continue
            if blobs is None or blobs.unknown:
                return None
            present += len(blobs.digests)
            for digest, size in zip(blobs.digests, blobs.sizes, strict=True):
                number = before.digests.find(digest)
                if number is None:
                    table.set_size(digest, size)
                elif before.sizes[number] != size:
                    return None
        return table if len(table.digests) == present else None

    def _new_table(self) -> BlobTable:
        table = BlobTable()
        for prefix, found in self._found.items():
            if isinstance(found, PrefixBlobs):
                table.set_sizes(found.digests, found.sizes)
                self._keep_blobs(table, found.unknown)
            else:
                self._keep_blobs(table, self._previous_blobs.get(prefix, ()))
        table.digests.compact()
        return table

    @cached_property
    def _previous_blobs(self) -> dict[Prefix, list[Digest]]:
        """Digests of the previous scan by directory; computed only if it is needed."""
        by_prefix: dict[Prefix, list[Digest]] = {}
        for digest in self._previous.digests:
            by_prefix.setdefault(prefix_of(digest), []).append(digest)
        return by_prefix

    def _keep_blobs(self, table: BlobTable, digests: Iterable[Digest]) -> None:
        """Keep the sizes that the previous scan found; blobs never change theirs."""
        for digest in digests:
            number = self._previous.digests.find(digest)
            if number is not None and self._previous.sizes[number] >= 0:
                table.set_size(digest, self._previous.sizes[number])


def _stamp_of(blobs: PrefixBlobs | PrefixStamp | None) -> PrefixStamp | None:
    if isinstance(blobs, PrefixBlobs):
        if not blobs.is_plain:
            return None
        return PrefixStamp(blobs.stamp, len(blobs.digests), frozenset(blobs.young))
    return blobs
