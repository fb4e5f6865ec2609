"""The blobs of a backup, to be read and hashed like those of a store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.backup.directory import BLOBS, blob_path
from exporter.domain.digests import Digest, format_digest, parse_digest


class BackupBlobs:
    """Opens the blobs of the backup in one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def open(self, digest: Digest) -> Iterator["BackupStream"]:
        """Open a blob. Raises FileNotFoundError if it is not there, OSError if unreadable."""
        descriptor = os.open(
            blob_path(self._directory, format_digest(digest)), os.O_RDONLY | os.O_CLOEXEC
        )
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
            if not directory.is_dir():
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
