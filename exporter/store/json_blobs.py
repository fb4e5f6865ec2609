"""Read the small JSON blobs of a store: manifests, indexes, image configurations."""

from typing import TypeVar

import msgspec

from exporter.domain.digests import Digest
from exporter.store.format.manifests import MAX_MANIFEST_BYTES
from exporter.store.port import Blobs

_CHUNK_BYTES = 64 * 1024

_Kind = TypeVar("_Kind")


def read_json(
    blobs: Blobs, digest: Digest, kind: type[_Kind], most_bytes: int = MAX_MANIFEST_BYTES
) -> _Kind | None:
    """Read a JSON blob; None if it cannot be read, is too large, or is not JSON of that kind."""
    buffer = bytearray()
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    try:
        with blobs.open(digest) as stream:
            if stream.size > most_bytes:
                return None
            while len(buffer) <= most_bytes and (read := stream.readinto(chunk)):
                buffer += chunk[:read]
        return msgspec.json.decode(buffer, type=kind)
    except (OSError, ValueError, RecursionError):
        return None
