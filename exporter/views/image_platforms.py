"""The platforms that an image is for, read from indexes and image configurations on demand."""

from collections.abc import Iterable, Mapping

import msgspec

from exporter.domain.digests import Digest, parse_digest
from exporter.store.json_blobs import read_json
from exporter.store.port import Blobs, Store

_UNKNOWN = "unknown"

Platforms = tuple[str, ...]
"""Names such as ``linux/amd64``, sorted."""


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class _Descriptor(msgspec.Struct):
    digest: str = ""
    platform: _Platform | None = None


class _Document(msgspec.Struct):
    config: _Descriptor | None = None
    manifests: list[_Descriptor] | None = None


def read_platforms(blobs: Blobs, manifest: Digest) -> tuple[str, ...]:
    """Return the platforms of an image or index, such as ``linux/amd64``, sorted.

    Empty if they cannot be read or are not stated. Attestations, which build tools add, have no
    platform.
    """
    document = read_json(blobs, manifest, _Document)
    if document is None:
        return ()
    if document.manifests is not None:
        found = (each.platform for each in document.manifests)
        names = {str(each) for each in found if each is not None and each.os != _UNKNOWN}
    else:
        config = None if document.config is None else parse_digest(document.config.digest)
        platform = None if config is None else read_json(blobs, config, _Platform)
        names = set() if platform is None else {str(platform)}
    return tuple(sorted(names - {""}))


def read_all_platforms(store: Store, manifests: Iterable[Digest]) -> Mapping[Digest, Platforms]:
    """Return the platforms of several images of a store. Raises StoreUnreadableError."""
    with store.open_blobs() as blobs:
        return {manifest: read_platforms(blobs, manifest) for manifest in set(manifests)}
