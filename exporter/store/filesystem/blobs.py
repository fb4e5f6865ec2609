"""Read whole blobs of a store in a directory, without filling the page cache."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from exporter.domain.digests import Digest, format_digest
from exporter.store.filesystem.leftovers import find_leftovers
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    open_directory,
    open_file,
    read_file,
)
from exporter.store.format.layout import (
    DATA,
    MAX_LINK_BYTES,
    blob_directory,
    layer_link,
    parse_link,
)
from exporter.store.port import Leftover, WrongLink


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
            try:
                directory = self._descend(blob_directory(format_digest(digest)), opened)
                descriptor, status = opened.enter_context(open_file(DATA, directory))
            except GONE as error:
                raise FileNotFoundError(error.errno, error.strerror) from error
            yield FileStream(descriptor, status.st_size)

    def is_layer_of(self, repository: str, digest: Digest) -> bool:
        """Return whether a repository has a sound link to a blob as a layer or configuration."""
        path, _, name = layer_link(repository, format_digest(digest)).rpartition("/")
        with ExitStack() as opened:
            try:
                directory = self._descend(path, opened)
                content, _ = read_file(name, directory, MAX_LINK_BYTES)
            except OSError:
                return False
        return parse_link(content) == digest

    def _descend(self, path: str, opened: ExitStack) -> int:
        """Open a directory of the store, step by step. Raises OSError."""
        directory = self._store
        for name in path.split("/"):
            directory = opened.enter_context(open_directory(name, directory))
        return directory

    def leftovers(
        self, repositories: Iterable[str], digests: Iterable[Digest] | None
    ) -> Iterator[Leftover | WrongLink | None]:
        """Yield what is beside links and blobs; see the port."""
        return find_leftovers(self._store, repositories, digests)


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
