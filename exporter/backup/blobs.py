"""The blobs of a backup, to be read and hashed like those of a store."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.backup.directory import BLOBS, blob_path
from exporter.backup.safe_files import open_regular
from exporter.domain.digests import Digest, format_digest, parse_digest
from exporter.domain.errors import BackupUnusableError


class BackupBlobs:
    """Opens the blobs of the backup in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def open(self, digest: Digest) -> Iterator["BackupStream"]:
        """Open a blob. Raises FileNotFoundError if it is not there, OSError if unreadable."""
        try:
            descriptor = open_regular(blob_path(self._directory, format_digest(digest)))
        except BackupUnusableError as error:
            raise OSError(errno.EINVAL, str(error)) from error
        try:
            yield BackupStream(descriptor)
        finally:
            os.close(descriptor)

    def list(self) -> tuple[list[Digest], list[Path]]:
        """Return what is there, in the order of the digests, and files that are no blobs.

        Raises OSError.
        """
        digests, others = [], []
        for directory in sorted((self._directory / BLOBS).iterdir()):
            if directory.is_symlink() or not directory.is_dir():
                others.append(directory)
                continue
            for name in sorted(os.listdir(directory)):  # noqa: PTH208 - names are enough
                digest = parse_digest(f"{directory.name}:{name}")
                if digest is None:
                    others.append(directory / name)
                else:
                    digests.append(digest)
        return digests, others


class BackupStream:
    """An open blob; what was read of it leaves the page cache."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self.size = os.fstat(descriptor).st_size

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into ``buffer``; return how many, 0 at the end. Raises OSError."""
        read = os.readv(self._descriptor, [buffer])
        # at the end all of it, as the kernel keeps pages in units that may be larger than a read
        start = self._position if read else 0
        os.posix_fadvise(self._descriptor, start, read, os.POSIX_FADV_DONTNEED)
        self._position += read
        return read
