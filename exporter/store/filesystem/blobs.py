"""Read whole blobs of a store in a directory, without filling the page cache."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from exporter.domain.digests import Digest, format_digest
from exporter.store.filesystem.readers.safe_files import GONE, open_directory, open_file
from exporter.store.format.layout import DATA, blob_directory


class FilesystemBlobs:
    """The blobs of the store whose version directory is open as ``store``."""

    def __init__(self, store: int) -> None:
        self._store = store

    @contextmanager
    def open(self, digest: Digest) -> Iterator["FileStream"]:
        """Open a blob directory by directory, so that no symbolic link is followed anywhere.

        Raises FileNotFoundError if it is not there, OSError if it cannot be opened.
        """
        with ExitStack() as opened:
            directory = self._store
            try:
                for name in blob_directory(format_digest(digest)).split("/"):
                    directory = opened.enter_context(open_directory(name, directory))
                descriptor, status = opened.enter_context(open_file(DATA, directory))
            except GONE as error:
                raise FileNotFoundError(error.errno, error.strerror) from error
            yield FileStream(descriptor, status.st_size)


class FileStream:
    """An open blob; what was read of it leaves the page cache.

    A blob is read once in a long time. Left in the page cache, a store of many gigabytes would push
    out what the other programs of the host need there.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self.size = size

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into ``buffer``; return how many, 0 at the end. Raises OSError."""
        read = os.readv(self._descriptor, [buffer])
        # piece by piece, as a blob may be larger than the memory; in the end as a whole, as the
        # kernel keeps pages in units that may be larger than a piece
        start = self._position if read else 0
        os.posix_fadvise(self._descriptor, start, read, os.POSIX_FADV_DONTNEED)
        self._position += read
        return read
