"""Parse a manifest: from its bytes to what it references.

Understands Docker image manifests (schema 1 and 2) and lists, OCI manifests, indexes and
artifacts, with or without a ``mediaType``. References are read from the fields that a manifest has,
not from the type that it claims: one reference too many keeps a blob, one too few makes a live blob
look like garbage. A ``subject`` is not a reference, because the registry's collector follows none:
it is what an artifact, such as a signature, belongs to.
"""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from exporter.domain.digests import Digest, parse_digest
from exporter.domain.errors import ManifestUnreadableError
from exporter.domain.model import NO_PLATFORM

MAX_MANIFEST_BYTES = 16 * 1024 * 1024
"""Above this a blob is not read as a manifest. The registry accepts 4 MiB on a push
(``maxManifestBodySize`` in its manifest handler); the rest is for what other tools wrote."""

_OCI_IMAGE_MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX_MEDIA_TYPE = "application/vnd.oci.image.index.v1+json"
_SCHEMA_1_MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v1+prettyjws"
_IMAGE_MEDIA_TYPES = frozenset(
    {"application/vnd.docker.distribution.manifest.v2+json", _OCI_IMAGE_MEDIA_TYPE}
)
_INDEX_MEDIA_TYPES = frozenset(
    {"application/vnd.docker.distribution.manifest.list.v2+json", _OCI_INDEX_MEDIA_TYPE}
)
_KNOWN_MEDIA_TYPES = _IMAGE_MEDIA_TYPES | _INDEX_MEDIA_TYPES | {""}
_MANIFEST_MEDIA_TYPES = _KNOWN_MEDIA_TYPES | {
    "application/vnd.docker.distribution.manifest.v1+json",
    _SCHEMA_1_MEDIA_TYPE,
    "application/vnd.oci.artifact.manifest.v1+json",
}
REFERENCE_TYPE = "vnd.docker.reference.type"
ATTESTATION = "attestation-manifest"
_PLATFORM_PART = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Names of systems, architectures and variants; anything else is not shown to people."""
_SCHEMA_2 = 2
_NOT_SAID = -1


class ManifestContent(NamedTuple):
    """The references of one manifest.

    Attributes:
        schema: 2 or 1, as the registry reads it; 0 if it refuses the manifest
            (``manifestStore.Get`` in its ``registry/storage/manifeststore.go``).
        children: manifests that an index lists.
        platforms: of each of ``children``, see :attr:`exporter.domain.model.Manifest.platforms`.
        blobs: configuration, layers, and entries of an index that are not manifests (build
            caches).
        sizes: bytes that the manifest states for ``children`` and then ``blobs``; -1 if none.
        foreign: those of ``blobs`` that come with download URLs.
        unmarked: references in fields that the registry does not read in this type of manifest.
        senseless: the first reference that is not a digest, left out above; None if all are.
        subject: the manifest that this one is an artifact of; None if it names none.

    """

    schema: int
    children: tuple[Digest, ...]
    platforms: tuple[str, ...]
    blobs: tuple[Digest, ...]
    sizes: tuple[int, ...]
    foreign: tuple[Digest, ...]
    unmarked: tuple[Digest, ...]
    senseless: str | None = None
    subject: Digest | None = None


class _Descriptor(msgspec.Struct, rename="camel", gc=False):
    digest: str
    media_type: str = ""
    size: int = _NOT_SAID
    urls: list[str] | None = None
    platform: object = None
    annotations: object = None


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _FsLayer(msgspec.Struct, gc=False):
    blobSum: str  # noqa: N815 - the field's name in schema 1


class _Document(msgspec.Struct, rename="camel", gc=False):
    schema_version: int = 0
    media_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    blobs: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    fs_layers: list[_FsLayer] | None = None
    subject: Any = None  # no version of the registry refuses a manifest because of it

    def count_references(self) -> int:
        count = len(self.layers or ()) + len(self.blobs or ()) + len(self.manifests or ())
        count += len(self.fs_layers or ()) + (self.config is not None)
        return count + (self.subject is not None)

    def is_manifest(self) -> bool:
        if self.config is not None or self.layers is not None or self.manifests is not None:
            return True
        is_empty_index = self.media_type in _INDEX_MEDIA_TYPES and self.schema() == _SCHEMA_2
        return is_empty_index or self.blobs is not None or self.fs_layers is not None

    def schema(self) -> int:
        """Return the schema that the registry reads; 0 if it refuses the manifest."""
        if self.schema_version == 1:
            return 1
        known = self.schema_version == _SCHEMA_2 and self.media_type in _KNOWN_MEDIA_TYPES
        return _SCHEMA_2 if known else 0

    def is_index(self) -> bool:
        """Return whether the registry regards it as an index, by type or by content."""
        by_content = not self.media_type and self.manifests is not None
        return self.media_type in _INDEX_MEDIA_TYPES or by_content

    def is_plain(self) -> bool:
        """Return whether it has only fields that the registry reads in a manifest of its type."""
        if self.schema_version == 1 or self.blobs is not None or self.fs_layers is not None:
            return False
        if self.is_index():
            return self.config is None and self.layers is None
        return self.manifests is None

    def marked(self) -> set[str]:
        """Return the digests in the fields that the registry reads in a manifest of this type."""
        if self.schema_version == 1:
            return {layer.blobSum for layer in self.fs_layers or ()}
        if self.is_index():
            return {descriptor.digest for descriptor in self.manifests or ()}
        digests = {descriptor.digest for descriptor in self.layers or ()}
        return digests | ({self.config.digest} if self.config is not None else set())


_decode = msgspec.json.Decoder(_Document).decode
_FIELDS = {
    name.lower(): name
    for struct in (_Document, _Descriptor, _Platform, _FsLayer)
    for name in (field.encode_name for field in msgspec.structs.fields(struct))
} | {REFERENCE_TYPE: REFERENCE_TYPE}
_LISTS = frozenset({"layers", "blobs", "manifests", "fsLayers", "urls"})


def parse_manifest(content: bytes) -> ManifestContent:
    """Return what the manifest ``content`` references.

    Raises ManifestUnreadableError if it is not JSON, not a manifest, or nested beyond what the
    parser allows.
    """
    return _content(_document_of(content))


def media_type_of(content: bytes) -> str:
    """Return the media type under which a registry returns the manifest, and takes it again.

    If the manifest states none, the registry decides as ``manifestStore.Get`` does in its
    ``registry/storage/manifeststore.go``; it returns schema 1 with its signatures.

    Raises ManifestUnreadableError as :func:`parse_manifest` does.
    """
    document = _document_of(content)
    if document.schema_version == 1:
        return _SCHEMA_1_MEDIA_TYPE
    if document.media_type:
        return document.media_type
    return _OCI_INDEX_MEDIA_TYPE if document.is_index() else _OCI_IMAGE_MEDIA_TYPE


def _document_of(content: bytes) -> _Document:
    try:
        document = _decode(content)
        # There are digests in fields that were not read: an annotation, or a field spelt in
        # another case, which Go's JSON decoder reads as the field. All algorithms of the
        # registry begin with sha; an escape could hide one.
        suspicious = content.count(b"sha") > document.count_references() or b"\\" in content
        suspicious |= document.schema_version == 0  # or schemaVersion is spelt in another case
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document, suspicious = None, True
    if suspicious:
        document = _decode_as_go(content)
    if document is None or not document.is_manifest():
        raise ManifestUnreadableError("JSON, but neither a manifest nor an index")
    return document


def _content(document: _Document) -> ManifestContent:
    children: list[_Descriptor] = []
    stored = [_Descriptor(layer.blobSum) for layer in document.fs_layers or ()]
    if document.config is not None:
        stored.append(document.config)
    for descriptor in document.manifests or ():
        is_child = descriptor.media_type in _MANIFEST_MEDIA_TYPES
        (children if is_child else stored).append(descriptor)
    own = (document.layers or []) + (document.blobs or [])
    stored += own
    senseless = None
    digests = [parse_digest(each.digest) for each in children + stored]
    if None in digests:
        senseless = (children + stored)[digests.index(None)].digest
        children, stored, own = (
            [each for each in group if parse_digest(each.digest) is not None]
            for group in (children, stored, own)
        )
    found = [digest for digest in digests if digest is not None]
    return ManifestContent(
        schema=document.schema(),
        children=tuple(found[: len(children)]),
        platforms=_platforms(children),
        blobs=tuple(found[len(children) :]),
        sizes=tuple([each.size for each in children + stored]),
        foreign=tuple([found[place - len(own)] for place, each in enumerate(own) if each.urls]),
        unmarked=() if document.is_plain() else _unmarked(found, document.marked()),
        senseless=senseless,
        subject=_subject(document.subject),
    )


def _platforms(children: Sequence[_Descriptor]) -> tuple[str, ...]:
    """Return the platform of each child; nothing if none is stated."""
    names = tuple([_platform(child) for child in children])
    return names if any(names) else ()


def _platform(descriptor: _Descriptor) -> str:
    annotations = descriptor.annotations
    if isinstance(annotations, dict) and annotations.get(REFERENCE_TYPE) == ATTESTATION:
        return NO_PLATFORM
    stated = descriptor.platform
    if not isinstance(stated, dict):
        return ""
    stated_parts = (stated.get("os"), stated.get("architecture"), stated.get("variant"))
    parts = [part for part in stated_parts if part]
    if not all(isinstance(part, str) and _PLATFORM_PART.fullmatch(part) for part in parts):
        return ""
    return sys.intern("/".join(parts))  # a store has few platforms and many indexes


def _subject(descriptor: Any) -> Digest | None:  # noqa: ANN401 - of any JSON
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    return parse_digest(digest) if isinstance(digest, str) else None


def _unmarked(digests: Sequence[Digest], marked: set[str]) -> tuple[Digest, ...]:
    """Return the digests that the registry does not read."""
    known = {parse_digest(text) for text in marked}
    return tuple(each for each in digests if each not in known)


def _decode_as_go(content: bytes) -> _Document:
    """Decode as leniently as the registry does: any case of a field's name, broken UTF-8."""
    try:
        raw = json.loads(content.decode("utf-8", "replace"), object_pairs_hook=_fill_as_go)
        return msgspec.convert(raw, _Document)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ManifestUnreadableError(f"not a manifest: {str(error)[:200]}") from error


def _fill_as_go(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object as Go's decoder fills a struct: the last field of a name counts.

    A null empties a list, and leaves anything else unchanged (``json.Unmarshal``). Fields that are
    not read are left out: their names may be half a character.
    """
    filled: dict[str, Any] = {}
    for spelt, value in pairs:
        name = _FIELDS.get(spelt.lower())
        if name is not None and (value is not None or name in _LISTS):
            filled[name] = value
    return filled
