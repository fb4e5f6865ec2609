"""What a blob is, and its media type: from what references it, else from its content."""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from exporter.domain.digests import BlobNumber, Digest, format_digest
from exporter.domain.model import Inventory
from exporter.store.format.manifests import ATTESTATION, REFERENCE_TYPE
from exporter.store.json_blobs import read_json
from exporter.store.port import Blobs

_UNKNOWN = "unknown"
_IN_TOTO = "application/vnd.in-toto+json"
_INDEX_TYPES = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_TAR_MAGIC = 257, b"ustar"
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")
_HEAD_BYTES = 512


class BlobKind(enum.StrEnum):
    """What a blob is.

    ``attestation``: a manifest or blob with which a build tool says how an image was built.
    """

    MANIFEST = "manifest"
    INDEX = "index"
    CONFIGURATION = "configuration"
    LAYER = "layer"
    ATTESTATION = "attestation"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class BlobType:
    """What a blob is, and its media type; None if nothing that can be read states it."""

    kind: BlobKind
    media_type: str | None = None


class _Platform(msgspec.Struct):
    os: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str = ""
    media_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None

    def is_attestation(self) -> bool:
        """Return whether it describes what a build tool says about an image."""
        annotations = self.annotations or {}
        is_unknown = self.platform is not None and self.platform.os == _UNKNOWN
        return (
            is_unknown
            or annotations.get(REFERENCE_TYPE) == ATTESTATION
            or self.media_type == _IN_TOTO
        )


class _FsLayer(msgspec.Struct):
    blobSum: str = ""  # noqa: N815 - the field's name in schema 1


class _Document(msgspec.Struct, rename="camel"):
    media_type: str = ""
    schema_version: int = 0
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    fs_layers: list[_FsLayer] | None = None

    def is_index(self) -> bool:
        """Return whether it lists manifests, or says that it does."""
        return self.manifests is not None or self.media_type in _INDEX_TYPES

    def is_manifest(self) -> bool:
        """Return whether it is a manifest or an index."""
        parts = (self.config, self.layers, self.blobs, self.fs_layers)
        return self.is_index() or (
            self.schema_version > 0 and any(each is not None for each in parts)
        )

    def roles(self, digest: str) -> Iterator[BlobType]:
        """Yield what this manifest references a blob as."""
        for each in self.manifests or ():
            if each.digest == digest:
                kind = BlobKind.INDEX if each.media_type in _INDEX_TYPES else BlobKind.MANIFEST
                yield _type(each, kind)
        if self.config is not None and self.config.digest == digest:
            yield _type(self.config, BlobKind.CONFIGURATION)
        for each in self.layers or ():
            if each.digest == digest:
                yield _type(each, BlobKind.LAYER)
        if any(each.blobSum == digest for each in self.fs_layers or ()):
            yield BlobType(BlobKind.LAYER)
        for each in self.blobs or ():
            if each.digest == digest:
                yield _type(each, BlobKind.OTHER)


class _Configuration(msgspec.Struct):
    rootfs: dict[str, object]


def is_held(inventory: Inventory, number: BlobNumber) -> bool:
    """Return whether a repository holds a blob as a manifest, whether or not it is on disk."""
    return number in inventory.manifests or any(
        number == each.manifest
        for repository in inventory.repositories
        for each in repository.revisions
    )


def read_type(
    blobs: Blobs,
    inventory: Inventory,
    number: BlobNumber,
    parents: Iterable[BlobNumber],
    *,
    is_manifest: bool,
) -> BlobType:
    """Return what a blob is; ``parents`` are the manifests that reference it.

    ``is_manifest`` is whether a repository holds it as a manifest, whether or not it is on disk.
    """
    digest = inventory.digests[number]
    stated = _stated(blobs, inventory, digest, parents)
    if is_manifest:
        return _type_of_manifest(read_json(blobs, digest, _Document), stated)
    return stated or _by_content(blobs, digest)


def _stated(
    blobs: Blobs, inventory: Inventory, digest: Digest, parents: Iterable[BlobNumber]
) -> BlobType | None:
    """Return as what the first manifest that can be read references a blob."""
    text = format_digest(digest)
    for parent in parents:
        document = read_json(blobs, inventory.digests[parent], _Document)
        role = None if document is None else next(document.roles(text), None)
        if role is not None:
            return role
    return None


def _type_of_manifest(document: _Document | None, stated: BlobType | None) -> BlobType:
    if document is None:
        return stated or BlobType(BlobKind.MANIFEST)
    kind = BlobKind.INDEX if document.is_index() else BlobKind.MANIFEST
    if stated is not None and stated.kind is BlobKind.ATTESTATION:
        kind = stated.kind
    media_type = document.media_type or (None if stated is None else stated.media_type)
    return BlobType(kind, media_type)


def _by_content(blobs: Blobs, digest: Digest) -> BlobType:
    """Return what a blob that nothing references looks like."""
    document = read_json(blobs, digest, _Document)
    if document is not None and document.is_manifest():
        return _type_of_manifest(document, None)
    if read_json(blobs, digest, _Configuration) is not None:
        return BlobType(BlobKind.CONFIGURATION)
    head = _head(blobs, digest)
    offset, magic = _TAR_MAGIC
    is_archive = head.startswith(_COMPRESSED) or head[offset:].startswith(magic)
    return BlobType(BlobKind.LAYER if is_archive else BlobKind.OTHER)


def _head(blobs: Blobs, digest: Digest) -> bytes:
    buffer = memoryview(bytearray(_HEAD_BYTES))
    try:
        with blobs.open(digest) as stream:
            return bytes(buffer[: stream.readinto(buffer)])
    except OSError:
        return b""


def _type(descriptor: _Descriptor, kind: BlobKind) -> BlobType:
    if descriptor.is_attestation():
        kind = BlobKind.ATTESTATION
    return BlobType(kind, descriptor.media_type or None)
