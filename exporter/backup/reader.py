"""Read a backup."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from exporter.backup.directory import INDEX, blob_path, is_backup, layout_path, repositories_in
from exporter.backup.index import BackupEntry, decode_index
from exporter.backup.safe_files import open_regular, read_regular, refuse_links, size_of_regular
from exporter.domain.digests import parse_digest
from exporter.domain.errors import BackupUnusableError
from exporter.domain.text import printable
from exporter.store.format.layout import is_repository_name, is_supported
from exporter.store.format.manifests import MAX_MANIFEST_BYTES

_MOST_INDEX_BYTES = 1024**3
"""A repository of a million tags has an index of some 500 MB."""


class BackupReader:
    """The backup in one directory; for several threads."""

    def __init__(self, directory: Path) -> None:
        """Look whether it is one. Raises BackupUnusableError."""
        self.directory = directory
        try:
            with _reporting(directory):
                found = is_backup(directory)
        except FileNotFoundError:
            found = False
        if not found:
            raise BackupUnusableError(
                f"{printable(str(directory))} holds no backup; give the directory that a backup "
                "was written to"
            )

    def repositories(self) -> Sequence[str]:
        """Return the names of the repositories, sorted. Raises BackupUnusableError."""
        try:
            with _reporting(self.directory):
                return repositories_in(self.directory)
        except FileNotFoundError as error:
            raise BackupUnusableError(
                f"{printable(str(self.directory))} changes while it is read; leave it alone"
            ) from error

    def entries(self, repository: str) -> Sequence[BackupEntry]:
        """Return the manifests of a repository; none if it is not in the backup.

        Raises BackupUnusableError if they cannot be read, or if its index is lost.
        """
        found = self.entries_so_far(repository)
        layout = layout_path(self.directory, repository)
        if not found and is_repository_name(repository) and layout.is_dir():
            path = layout / INDEX
            if not path.exists():
                raise BackupUnusableError(
                    f"{printable(str(path))} is not there: it was lost, or the run that was to "
                    "write it was killed; make the backup again, or restore this file from a copy"
                )
        return found

    def entries_so_far(self, repository: str) -> Sequence[BackupEntry]:
        """Return what :meth:`entries` does; none if a run was killed before it listed them.

        Raises BackupUnusableError if they cannot be read.
        """
        if not is_repository_name(repository):
            return ()
        path = layout_path(self.directory, repository) / INDEX
        try:
            with _reporting(path):
                refuse_links(self.directory, path.parent)
                return decode_index(read_regular(path, _MOST_INDEX_BYTES))
        except FileNotFoundError:
            return ()
        except (ValueError, RecursionError) as error:
            raise BackupUnusableError(
                f"{printable(str(path))} is damaged: {printable(str(error))}; restore this "
                "file from a copy of the backup, or remove it and make the backup again: it then "
                "lists what the store has now"
            ) from error

    def content(self, digest: str) -> bytes:
        """Return a manifest.

        Raises BackupUnusableError if it is not in the backup, or differs from what was saved.
        """
        path = _path(self.directory, digest)
        try:
            with _reporting(path):
                content = read_regular(path, MAX_MANIFEST_BYTES)
        except FileNotFoundError as error:
            raise BackupUnusableError(
                f"{printable(str(path))} is missing; the backup has lost it"
            ) from error
        hashed = hashlib.new(digest.partition(":")[0], content, usedforsecurity=False).hexdigest()
        if hashed != digest.partition(":")[2]:
            raise BackupUnusableError(
                f"{printable(str(path))} is damaged: its content has another digest; remove the "
                "file, and make the backup again while the store has it"
            )
        return content

    def blob_size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes; None if it is not in the backup.

        Raises BackupUnusableError if that cannot be known.
        """
        path = _path(self.directory, digest)
        try:
            with _reporting(path):
                return size_of_regular(path)
        except FileNotFoundError:
            return None

    def open_blob(self, digest: str) -> BinaryIO:
        """Open a blob, unbuffered. Raises BackupUnusableError if it cannot be opened."""
        path = _path(self.directory, digest)
        try:
            with _reporting(path):
                return os.fdopen(open_regular(path), "rb", buffering=0)
        except FileNotFoundError as error:
            raise BackupUnusableError(
                f"{printable(str(path))} is missing; the backup was made without it"
            ) from error


def _path(directory: Path, digest: str) -> Path:
    """Return the file of a blob. Raises BackupUnusableError if ``digest`` is not one."""
    parsed = parse_digest(digest)
    if parsed is None or not is_supported(parsed):
        raise BackupUnusableError(f"{printable(digest[:200])} is not a digest")
    return blob_path(directory, digest)


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn an OSError into a BackupUnusableError about ``path``, unless nothing is there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BackupUnusableError(
            f"cannot read {printable(str(path))}: {error.strerror}; run as a user who may read "
            f"it (this is uid {os.geteuid()})"
        ) from error
