"""Walk over the manifests of a store: those that revisions and tags name, and their children."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from exporter.domain.digests import BlobNumber, Digest
from exporter.domain.model import (
    ABSENT,
    USUAL_SCHEMA,
    Inventory,
    Manifest,
)
from exporter.store.filesystem.readers.blob_reader import BlobReader, ManifestBlob
from exporter.store.filesystem.rescan.known_manifests import doubtful_manifests, renumber
from exporter.store.filesystem.walk.blob_table import BlobTable
from exporter.store.filesystem.walk.workers import Workers
from exporter.store.format.manifests import ManifestContent

_BATCH = 64


class ManifestWalk:
    """Reads manifests into numbered tables.

    Attributes:
        manifests: what could be read.
        unreadable: blobs that should be manifests and cannot be understood.
        indexes: those of ``manifests`` that list others.
        unusual: see :attr:`exporter.domain.model.Inventory.unusual`.
        with_subject: see :attr:`exporter.domain.model.Inventory.with_subject`.
        senseless: see :attr:`exporter.domain.model.Inventory.senseless`.
        has_missing: whether a manifest that a revision or a tag names is not on disk.

    """

    def __init__(
        self,
        table: BlobTable,
        reader: BlobReader,
        workers: Workers,
        previous: Inventory,
        find_known: Callable[[BlobNumber], Manifest | None] = lambda _: None,
    ) -> None:
        """Walk into ``table``; manifests that ``find_known`` returns are not read.

        What cannot be read now is taken from ``previous``.
        """
        self._find_known = find_known
        self._table = table
        self._reader = reader
        self._workers = workers
        self._previous = previous
        self._doubtful: list[tuple[BlobNumber, BlobNumber, int]] = []
        self.manifests: dict[BlobNumber, Manifest] = {}
        self.unreadable: set[BlobNumber] = set()
        self.indexes: set[BlobNumber] = set()
        self.unusual: set[BlobNumber] = set()
        self.with_subject: set[BlobNumber] = set()
        self.senseless: set[BlobNumber] = set()
        self.has_missing = False

    def continue_from_previous(self, named: Mapping[BlobNumber, None]) -> dict[BlobNumber, None]:
        """Take what the previous scan read, which had the same numbers; return what to read.

        Everything that was named then still is, and ``named`` as well.
        """
        doubtful = doubtful_manifests(self._previous)
        self.manifests = dict(self._previous.manifests)
        for number in doubtful:
            self.manifests.pop(number, None)
        self.indexes = set(self._previous.indexes - doubtful)
        self.unusual = set(self._previous.unusual - doubtful)
        self.with_subject = set(self._previous.with_subject - doubtful)
        new = dict.fromkeys(number for number in named if number not in self.manifests)
        return new | dict.fromkeys(doubtful)

    def run(self, named: Mapping[BlobNumber, None], report: Callable[[int, int], None]) -> None:
        """Read every named manifest, and every manifest listed below.

        ``report`` is called with the number of manifests done, and of those known so far.
        """
        pending: Collection[BlobNumber] = named
        listed: set[BlobNumber] = set()
        while pending:
            self._table.make_room()
            new: list[BlobNumber] = []

            def note(children: Iterable[BlobNumber], new: list[BlobNumber] = new) -> None:
                for child in children:
                    if child not in named and child not in listed:
                        listed.add(child)
                        new.append(child)

            unknown = self._take_known(pending, note)
            done = len(named) + len(listed) - len(new) - len(unknown)
            if done:
                report(done, len(named) + len(listed))
            batches = list(_batches(unknown, _BATCH))
            for batch, blobs in self._workers.map(
                self._read_batch, batches, lambda batch, _: len(batch)
            ):
                for number, blob in zip(batch, blobs, strict=True):
                    note(self._take(number, blob, named=number in named))
                done += len(batch)
                report(done, len(named) + len(listed))
            pending = new

    def _take_known(
        self, numbers: Iterable[BlobNumber], note: Callable[[Iterable[BlobNumber]], None]
    ) -> "array[int]":
        """Keep known manifests, and ``note`` their children; return the others."""
        unknown = array("i")
        for number in numbers:
            manifest = self._find_known(number)
            if manifest is None:
                unknown.append(number)
            else:
                note(self._keep(number, manifest))
        return unknown

    def measure_late(self) -> None:
        """Measure blobs that a manifest references and that the scan of their directory missed."""
        table = self._table
        table.make_room()
        if ABSENT not in table.sizes:
            return
        absent = [number for number, size in enumerate(table.sizes) if size == ABSENT]
        for number, size in self._workers.map(self._measure, absent):
            table.sizes[number] = size

    def _measure(self, number: BlobNumber) -> int:
        return self._reader.measure(self._table.digests[number])

    def misfits(self) -> dict[BlobNumber, tuple[BlobNumber, ...]]:
        """Return the manifests that state a size which a blob does not have, with those blobs."""
        found: dict[BlobNumber, tuple[BlobNumber, ...]] = {}
        for manifest, part, stated in self._doubtful:
            size = self._table.sizes[part]
            if size >= 0 and size != stated:
                found[manifest] = (*found.get(manifest, ()), part)
        return found

    def _read_batch(self, numbers: Sequence[BlobNumber]) -> list[ManifestBlob | None]:
        return [self._read(self._table.digests[number], number) for number in numbers]

    def _read(self, digest: Digest, number: BlobNumber) -> ManifestBlob | None:
        # measured first: that excludes blobs behind a symbolic link
        if self._table.sizes[number] == ABSENT:
            size = self._reader.measure(digest)
            if size < 0:
                return None if size == ABSENT else ManifestBlob(None, None)
        return self._reader.read_manifest(digest)

    def _take(
        self, number: BlobNumber, blob: ManifestBlob | None, *, named: bool
    ) -> tuple[BlobNumber, ...]:
        """Keep one manifest; return its children."""
        if blob is None:
            self.has_missing |= named
            return ()
        if blob.size is not None:
            self._table.sizes[number] = blob.size
        if blob.is_damaged:
            self.unreadable.add(number)
        if blob.content is None:
            manifest = self._previous_manifest(number)
        else:
            manifest = self._manifest(blob.content)
            if blob.content.senseless is not None:
                self.senseless.add(number)
            self._compare_sizes(number, manifest, blob.content.sizes)
        return () if manifest is None else self._keep(number, manifest)

    def _keep(self, number: BlobNumber, manifest: Manifest) -> tuple[BlobNumber, ...]:
        self.manifests[number] = manifest
        if manifest.children:
            self.indexes.add(number)
        if manifest.schema != USUAL_SCHEMA or manifest.unmarked:
            self.unusual.add(number)
        if manifest.subject is not None:
            self.with_subject.add(number)
        return manifest.children

    def _manifest(self, content: ManifestContent) -> Manifest:
        intern = self._table.digests.intern_all
        return Manifest(
            schema=content.schema,
            children=intern(content.children),
            platforms=content.platforms,
            blobs=intern(content.blobs),
            foreign=intern(content.foreign),
            unmarked=intern(content.unmarked),
            subject=content.subject,
        )

    def _compare_sizes(
        self, number: BlobNumber, manifest: Manifest, stated_sizes: Sequence[int]
    ) -> None:
        """Record blobs whose size differs from the manifest's statement, or is not known yet."""
        sizes, known = self._table.sizes, len(self._table.sizes)
        parts = (*manifest.children, *manifest.blobs)
        if max(parts, default=0) < known and tuple([sizes[part] for part in parts]) == stated_sizes:
            return  # nearly always
        for part, stated in zip(parts, stated_sizes, strict=True):
            if stated >= 0 and (part >= known or sizes[part] != stated):
                self._doubtful.append((number, part, stated))

    def _previous_manifest(self, number: BlobNumber) -> Manifest | None:
        """Return what the previous scan read of a manifest that cannot be read now."""
        before = self._previous.digests.find(self._table.digests[number])
        manifest = None if before is None else self._previous.manifests.get(before)
        if manifest is None:
            return None
        return renumber(manifest, self._previous.digests, self._table.digests)


def _batches(items: Sequence[BlobNumber], size: int) -> Iterator[Sequence[BlobNumber]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
