"""Which platforms an image is for: read on demand, from indexes and from images' configurations."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from exporter.domain.digests import (
    Digest,
    format_digest,
    parse_digest,
)
from exporter.store.filesystem.readers.safe_files import read_file
from exporter.store.format.layout import DATA, blob_directory
from exporter.store.format.manifests import MAX_MANIFEST_BYTES

_UNKNOWN = "unknown"


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


def read_platforms(store: int, manifest: Digest) -> tuple[str, ...]:
    """Give the platforms of an image or index, such as ``linux/amd64``, sorted.

    ``store`` is the descriptor of the version directory. What cannot be read or does not say gives
    none; the attestations that build tools add are of no platform.
    """
    document = _read(store, format_digest(manifest), _Document)
    if document is None:
        return ()
    if document.manifests is not None:
        found = (each.platform for each in document.manifests)
        names = {str(each) for each in found if each is not None and each.os != _UNKNOWN}
    else:
        config = None if document.config is None else document.config.digest
        platform = None if config is None else _read(store, config, _Platform)
        names = set() if platform is None else {str(platform)}
    return tuple(sorted(names - {""}))


def read_all_platforms(store: int, manifests: Iterable[Digest]) -> Mapping[Digest, tuple[str, ...]]:
    """Give the platforms of several images."""
    return {manifest: read_platforms(store, manifest) for manifest in set(manifests)}


def _read(store: int, digest_text: str, kind: type[Any]) -> Any:  # noqa: ANN401 - of that type
    """Read a JSON blob; None where it cannot be read or is none."""
    if parse_digest(digest_text) is None:  # it may be a path out of the store
        return None
    path = os.path.join(blob_directory(digest_text), DATA)
    try:
        content, _ = read_file(path, store, MAX_MANIFEST_BYTES)
        return msgspec.json.decode(content, type=kind)
    except (OSError, ValueError, RecursionError):
        return None
