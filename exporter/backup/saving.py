"""Save blobs and manifests, each once, and record what cannot be saved."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from exporter.backup.copying import BlobCopier, BlobNotCopiedError
from exporter.backup.directory import blob_path
from exporter.backup.files import DurableFiles
from exporter.backup.safe_files import read_regular, size_of_regular
from exporter.backup.selection import BackupFault
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.errors import BackupUnusableError, ManifestUnreadableError, OutputError
from exporter.domain.model import Inventory
from exporter.domain.text import printable
from exporter.store.format.layout import ALGORITHMS
from exporter.store.format.manifests import MAX_MANIFEST_BYTES, media_type_of

_MOST_HASHED_BYTES = 4 * 1024 * 1024
"""All manifests that a registry takes are smaller, and nearly all configurations."""


@dataclass(slots=True)
class Saved:
    """What a run has saved, or found saved.

    Attributes:
        sizes: bytes of each blob and manifest.
        media_types: of each manifest.
        faults: why others cannot be saved.
        copied_blobs: how many files were copied.
        copied_bytes: their sizes added up.
        tags: how many tags are in an index.

    """

    sizes: dict[BlobNumber, int] = field(default_factory=dict)
    media_types: dict[BlobNumber, str] = field(default_factory=dict)
    faults: dict[BlobNumber, BackupFault] = field(default_factory=dict)
    copied_blobs: int = 0
    copied_bytes: int = 0
    tags: int = 0


def size_in_backup(directory: Path, inventory: Inventory, number: BlobNumber) -> int | None:
    """Return the size of a blob in a backup; None if it is not there.

    A blob gets its name when it is whole. A file of another size than the store's blob was damaged
    later: it counts as not there, and is replaced.
    """
    path = blob_path(directory, format_digest(inventory.digests[number]))
    try:
        size = size_of_regular(path)
    except (OSError, BackupUnusableError):
        return None
    expected = inventory.sizes[number]
    return size if expected < 0 or size == expected else None


class Saver:
    """Saves blobs and manifests in one backup."""

    def __init__(
        self,
        inventory: Inventory,
        directory: Path,
        copier: BlobCopier,
        files: DurableFiles,
        saved: Saved,
    ) -> None:
        """Save by ``copier``, through ``files``; record it in ``saved``."""
        self._inventory = inventory
        self._directory = directory
        self._copier = copier
        self._files = files
        self._saved = saved

    def save(
        self, number: BlobNumber, repository: str, content: bytearray | None = None
    ) -> int | None:
        """Copy a blob unless it is there; return its size, or None if that is not possible.

        A small one that is there is hashed, and copied again if it is damaged. ``content`` receives
        what was copied.
        """
        saved = self._saved
        if number in saved.faults:
            return None
        size, is_damaged = saved.sizes.get(number), False
        if size is None:
            size = size_in_backup(self._directory, self._inventory, number)
            if size is not None and size <= _MOST_HASHED_BYTES and not self._is_sound(number):
                size, is_damaged = None, True
        if size is None:
            try:
                size = self._copier.copy(self._inventory.digests[number], content)
            except BlobNotCopiedError as error:
                reason = f"is damaged in the backup, and {error}" if is_damaged else str(error)
                self._fail(number, repository, reason)
                return None
            saved.copied_blobs += 1
            saved.copied_bytes += size
        saved.sizes[number] = size
        return size

    def save_manifest(self, number: BlobNumber, repository: str, known: str | None) -> str | None:
        """Save a manifest; return its media type, or None if it cannot be saved as a manifest.

        ``known`` is its media type in the index of an earlier run.
        """
        content = bytearray()
        if self.save(number, repository, content) is None:
            return None
        media_type = known or self._saved.media_types.get(number)
        try:
            if media_type is None:
                media_type = media_type_of(bytes(content) or self._read(number))
        except ManifestUnreadableError as error:
            self._fail(number, repository, f"cannot be understood as a manifest: {error}")
            return None
        if number in self._inventory.unreadable:
            # what it references is unknown: it would be saved without its blobs
            self._fail(number, repository, "could not be read as a manifest by the scan")
            return None
        self._saved.media_types[number] = media_type
        return media_type

    def _is_sound(self, number: BlobNumber) -> bool:
        """Return whether a small file of the backup has the digest that it is named after."""
        digest = format_digest(self._inventory.digests[number])
        algorithm, _, hexadecimal = digest.partition(":")
        try:
            content = read_regular(blob_path(self._directory, digest), _MOST_HASHED_BYTES)
        except (OSError, BackupUnusableError):
            return False
        return (
            algorithm in ALGORITHMS
            and hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == hexadecimal
        )

    def _read(self, number: BlobNumber) -> bytes:
        """Read a manifest that is in the backup. Raises OutputError."""
        self._files.finish()  # it may have been copied a moment ago, as a blob
        path = blob_path(self._directory, format_digest(self._inventory.digests[number]))
        try:
            return read_regular(path, MAX_MANIFEST_BYTES)
        except OSError as error:
            raise OutputError(
                f"cannot read {printable(str(path))}: {error.strerror}; is the backup's "
                "filesystem all right?"
            ) from error

    def _fail(self, number: BlobNumber, repository: str, reason: str) -> None:
        digest = format_digest(self._inventory.digests[number])
        self._saved.faults[number] = BackupFault(repository, digest, reason)
