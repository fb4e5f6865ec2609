"""Where the content of manifests and blobs comes from: a backup, or the store's files."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from exporter.backup.reader import BackupReader
from exporter.domain.digests import Digest, parse_digest
from exporter.domain.errors import BackupUnusableError
from exporter.domain.text import printable
from exporter.store.format.layout import ALGORITHMS
from exporter.store.format.manifests import MAX_MANIFEST_BYTES
from exporter.store.port import Blobs

_PART_BYTES = 1024 * 1024


class ContentMissingError(Exception):
    """The content of a manifest or blob cannot be had; the message says why, after its name."""


class Contents(Protocol):
    """Content by digest."""

    def manifest(self, digest: str) -> bytes:
        """Return a manifest, which has the digest. Raises ContentMissingError."""

    def blob_size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes; None if it is not here."""

    def blob_parts(self, digest: str) -> Iterator[bytes]:
        """Yield a blob from its first byte, in parts. Raises ContentMissingError."""


class BackupContents:
    """The content that a backup holds."""

    def __init__(self, reader: BackupReader) -> None:
        self._reader = reader

    def manifest(self, digest: str) -> bytes:
        """Return a manifest."""
        try:
            return self._reader.content(digest)
        except BackupUnusableError as error:
            raise ContentMissingError(str(error)) from error

    def blob_size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes."""
        try:
            return self._reader.blob_size(digest)
        except BackupUnusableError:
            return None

    def blob_parts(self, digest: str) -> Iterator[bytes]:
        """Yield a blob in parts."""
        try:
            with self._reader.open_blob(digest) as file:
                while part := file.read(_PART_BYTES):
                    yield part
        except BackupUnusableError as error:
            raise ContentMissingError(str(error)) from error
        except OSError as error:
            raise _unreadable("the backup", error) from error


class StoreContents:
    """The content that the store's files still have: all of it until the collector has run."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def manifest(self, digest: str) -> bytes:
        """Return a manifest."""
        content = bytearray()
        for part in self.blob_parts(digest):
            content += part
            if len(content) > MAX_MANIFEST_BYTES:
                raise ContentMissingError("is too large to be a manifest")
        algorithm, _, hexadecimal = digest.partition(":")
        if hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() != hexadecimal:
            raise ContentMissingError("is damaged in the store: its content has another digest")
        return bytes(content)

    def blob_size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes."""
        try:
            with self._blobs.open(_packed(digest)) as stream:
                return stream.size
        except (OSError, ContentMissingError):
            return None

    def blob_parts(self, digest: str) -> Iterator[bytes]:
        """Yield a blob in parts."""
        buffer = memoryview(bytearray(_PART_BYTES))
        try:
            with self._blobs.open(_packed(digest)) as stream:
                while size := stream.readinto(buffer):
                    yield bytes(buffer[:size])
        except FileNotFoundError as error:
            raise ContentMissingError(
                "is not in the store any more: the collector has run, and there is no backup"
            ) from error
        except OSError as error:
            raise _unreadable("the store", error) from error


class FirstOf:
    """The content of several places, the best first."""

    def __init__(self, places: Sequence[Contents]) -> None:
        self._places = places

    def manifest(self, digest: str) -> bytes:
        """Return a manifest."""
        missing = ContentMissingError("is nowhere: there is no backup, and no store to read")
        for number, place in enumerate(self._places):
            try:
                return place.manifest(digest)
            except ContentMissingError as error:
                missing = missing if number else error
        raise missing

    def blob_size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes."""
        return next((size for size in self._sizes(digest) if size is not None), None)

    def blob_parts(self, digest: str) -> Iterator[bytes]:
        """Yield a blob in parts."""
        for place, size in zip(self._places, self._sizes(digest), strict=True):
            if size is not None:
                return place.blob_parts(digest)
        raise ContentMissingError("is nowhere")

    def _sizes(self, digest: str) -> Iterator[int | None]:
        return (place.blob_size(digest) for place in self._places)


def _packed(digest: str) -> Digest:
    packed = parse_digest(digest)
    if packed is None or digest.partition(":")[0] not in ALGORITHMS:
        raise ContentMissingError(f"{printable(digest[:100])} is not a digest")
    return packed


def _unreadable(place: str, error: OSError) -> ContentMissingError:
    return ContentMissingError(f"cannot be read from {place}: {error.strerror or error}")
