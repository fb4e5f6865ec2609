"""Copy blobs from a store into a backup, and hash them on the way."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from exporter.backup.directory import blob_path
from exporter.backup.files import DurableFiles
from exporter.domain.digests import Digest, format_digest
from exporter.store.format.layout import ALGORITHMS
from exporter.store.port import BlobSource

_CHUNK_BYTES = 1024 * 1024


class BlobNotCopiedError(Exception):
    """A blob cannot be saved; the message says why."""


class CopyStoppedError(Exception):
    """The copying was asked to stop."""


class BlobCopier:
    """Copies blobs of a store that is open for reading."""

    def __init__(
        self,
        blobs: BlobSource,
        directory: Path,
        files: DurableFiles,
        *,
        should_stop: Callable[[], bool],
        on_read: Callable[[int], None],
    ) -> None:
        """Prepare it; ``on_read`` is called with the number of bytes of each read."""
        self._blobs = blobs
        self._directory = directory
        self._files = files
        self._should_stop = should_stop
        self._on_read = on_read
        # the only buffer for content, however large a blob is
        self._chunk = memoryview(bytearray(_CHUNK_BYTES))

    def copy(self, digest: Digest, content: bytearray | None = None) -> int:
        """Copy one blob; return its size in bytes. ``content`` receives what was copied.

        Raises BlobNotCopiedError, CopyStoppedError, OutputError.
        """
        try:
            return self._copy(digest, content, self._on_read)
        except _WrongContentError:
            # once more: version 2 of the registry writes manifests in place, so this one may have
            # been half written
            return self._copy(digest, content, lambda _: None)

    def _copy(
        self, digest: Digest, content: bytearray | None, on_read: Callable[[int], None]
    ) -> int:
        text = format_digest(digest)
        algorithm, _, hexadecimal = text.partition(":")
        if algorithm not in ALGORITHMS:
            raise BlobNotCopiedError(f"cannot be checked: its algorithm is {algorithm}")
        hashed = hashlib.new(algorithm, usedforsecurity=False)
        if content is not None:
            content.clear()
        size = 0
        path = blob_path(self._directory, text)
        self._files.make_directory(path.parent, private=True)
        try:
            # errors of the file that is written come as OutputError: the others are the store's
            with self._blobs.open(digest) as stream, self._files.writing(path) as write:
                while read := stream.readinto(self._chunk):
                    piece = self._chunk[:read]
                    hashed.update(piece)
                    write(piece)
                    size += read
                    if content is not None:
                        content += piece
                    on_read(read)
                    if self._should_stop():
                        raise CopyStoppedError
                if hashed.hexdigest() != hexadecimal:
                    actual = f"{algorithm}:{hashed.hexdigest()}"
                    raise _WrongContentError(f"is corrupt: its {size:,} bytes hash to {actual}")
        except FileNotFoundError as error:
            raise BlobNotCopiedError("is not in the store") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise BlobNotCopiedError(f"cannot be read: {reason}") from error
        return size


class _WrongContentError(BlobNotCopiedError):
    """The content of a blob is not what its digest says."""
