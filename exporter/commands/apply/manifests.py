"""Manifests of the store: what the scan knows of them, and what has to be read now."""

from collections.abc import Collection

from exporter.domain.digests import Digest
from exporter.domain.errors import ManifestUnreadableError
from exporter.domain.model import Inventory
from exporter.store.format.manifests import MAX_MANIFEST_BYTES, media_type_of, parse_manifest
from exporter.store.port import Blobs

_CHUNK_BYTES = 64 * 1024


class Manifests:
    """Manifests of a store that is open for reading; what a digest names never changes."""

    def __init__(self, inventory: Inventory, blobs: Blobs) -> None:
        self._inventory = inventory
        self._blobs = blobs
        self._lists: dict[Digest, Collection[Digest] | None] = {}

    def listed_by(self, digest: Digest) -> Collection[Digest] | None:
        """Return the manifests that a manifest lists; None if that cannot be read.

        A manifest that is not in the store lists nothing: it cannot be pulled.
        """
        if digest not in self._lists:
            children = self._listed_by(digest)
            if children is None:
                return None  # perhaps it is being written
            self._lists[digest] = children
        return self._lists[digest]

    def content(self, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest and its media type; None if it cannot be read or understood."""
        try:
            content = self._read(digest)
            return content, media_type_of(content)
        except (OSError, ManifestUnreadableError):
            return None

    def _listed_by(self, digest: Digest) -> Collection[Digest] | None:
        number = self._inventory.digests.find(digest)
        known = None if number is None else self._inventory.manifests.get(number)
        if known is not None:
            # a client may follow an entry whose media type the registry does not know
            unlisted = [each for each in known.blobs if each in self._inventory.manifests]
            return [self._inventory.digests[each] for each in (*known.children, *unlisted)]
        try:
            content = parse_manifest(self._read(digest))
            return [*content.children, *filter(self._is_manifest, content.blobs)]
        except FileNotFoundError:
            return ()
        except (OSError, ManifestUnreadableError):
            return None

    def _is_manifest(self, digest: Digest) -> bool:
        """Return whether the scan has found a manifest of that digest."""
        number = self._inventory.digests.find(digest)
        return number is not None and number in self._inventory.manifests

    def _read(self, digest: Digest) -> bytes:
        """Return a blob. Raises OSError, and ManifestUnreadableError if it is too large."""
        content = bytearray()
        chunk = memoryview(bytearray(_CHUNK_BYTES))
        with self._blobs.open(digest) as stream:
            while read := stream.readinto(chunk):
                content += chunk[:read]
                if len(content) > MAX_MANIFEST_BYTES:
                    raise ManifestUnreadableError("too large for a manifest")
        return bytes(content)
