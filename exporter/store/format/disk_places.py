"""Which kind of :class:`~exporter.domain.census.DiskKind` a path below the store is."""

import enum
import re
from collections.abc import Callable, Mapping

from exporter.domain.census import DiskKind
from exporter.domain.model import LAYERS, MANIFESTS
from exporter.store.format.layout import (
    ALGORITHMS,
    BLOBS,
    DATA,
    REPOSITORIES,
    REVISIONS,
    TAGS,
    UPLOADS,
    is_algorithm,
    is_domain,
    is_repository_path,
    is_tag_name,
    is_upload_id,
)

_HEXADECIMAL = re.compile("|".join(f"[0-9a-f]{{{length}}}" for length in ALGORITHMS.values()))
_PREFIX = re.compile(r"[0-9a-f]{2}")
_LINK = "link"


class Place(enum.Enum):
    """What a directory is for."""

    STRAY = enum.auto()
    VERSION = enum.auto()
    BLOBS = enum.auto()
    BLOB_ALGORITHM = enum.auto()
    BLOB_PREFIX = enum.auto()
    BLOB = enum.auto()
    REPOSITORIES = enum.auto()
    REPOSITORY = enum.auto()
    LAYERS = enum.auto()
    LAYER_ALGORITHM = enum.auto()
    LAYER = enum.auto()
    MANIFESTS = enum.auto()
    REVISIONS = enum.auto()
    REVISION_ALGORITHM = enum.auto()
    REVISION = enum.auto()
    TAGS = enum.auto()
    TAG = enum.auto()
    CURRENT = enum.auto()
    HISTORY = enum.auto()
    HISTORY_ALGORITHM = enum.auto()
    HISTORY_ENTRY = enum.auto()
    UPLOADS = enum.auto()
    UPLOAD = enum.auto()


def _is_digest(name: str) -> bool:
    return _HEXADECIMAL.fullmatch(name) is not None


def _is_prefix(name: str) -> bool:
    return _PREFIX.fullmatch(name) is not None


def _is_name_start(name: str) -> bool:
    return is_repository_path(name) or is_domain(name)


Rule = tuple[str | Callable[[str], bool], Place]
"""A directory's name, or a test of it, and what such a directory is for."""

_BELOW: Mapping[Place, tuple[Rule, ...]] = {
    Place.VERSION: ((BLOBS, Place.BLOBS), (REPOSITORIES, Place.REPOSITORIES)),
    Place.BLOBS: ((is_algorithm, Place.BLOB_ALGORITHM),),
    Place.BLOB_ALGORITHM: ((_is_prefix, Place.BLOB_PREFIX),),
    Place.BLOB_PREFIX: ((_is_digest, Place.BLOB),),
    Place.REPOSITORIES: ((_is_name_start, Place.REPOSITORY),),
    Place.REPOSITORY: (
        (LAYERS, Place.LAYERS),
        (MANIFESTS, Place.MANIFESTS),
        (UPLOADS, Place.UPLOADS),
        (is_repository_path, Place.REPOSITORY),
    ),
    Place.LAYERS: ((is_algorithm, Place.LAYER_ALGORITHM),),
    Place.LAYER_ALGORITHM: ((_is_digest, Place.LAYER),),
    Place.MANIFESTS: ((REVISIONS, Place.REVISIONS), (TAGS, Place.TAGS)),
    Place.REVISIONS: ((is_algorithm, Place.REVISION_ALGORITHM),),
    Place.REVISION_ALGORITHM: ((_is_digest, Place.REVISION),),
    Place.TAGS: ((is_tag_name, Place.TAG),),
    Place.TAG: (("current", Place.CURRENT), ("index", Place.HISTORY)),
    Place.HISTORY: ((is_algorithm, Place.HISTORY_ALGORITHM),),
    Place.HISTORY_ALGORITHM: ((_is_digest, Place.HISTORY_ENTRY),),
    Place.UPLOADS: ((is_upload_id, Place.UPLOAD),),
    Place.UPLOAD: ((lambda _: True, Place.UPLOAD),),
}
_FILES: Mapping[Place, tuple[str, DiskKind]] = {
    Place.BLOB: (DATA, DiskKind.BLOBS),
    Place.LAYER: (_LINK, DiskKind.LAYER_LINKS),
    Place.REVISION: (_LINK, DiskKind.MANIFEST_LINKS),
    Place.CURRENT: (_LINK, DiskKind.TAG_LINKS),
    Place.HISTORY_ENTRY: (_LINK, DiskKind.TAG_HISTORY),
}


def place_below(place: Place, name: str) -> Place:
    """Return what the directory ``name`` in a directory of ``place`` is for."""
    for rule, below in _BELOW.get(place, ()):
        if name == rule if isinstance(rule, str) else rule(name):
            return below
    return Place.STRAY


def kind_of_directory(place: Place) -> DiskKind:
    """Return the kind of a directory."""
    return DiskKind.STRAY if place is Place.STRAY else DiskKind.DIRECTORIES


def kind_of_file(place: Place, name: str) -> DiskKind:
    """Return the kind of the regular file ``name`` in a directory of ``place``."""
    if place is Place.UPLOAD:
        return DiskKind.UPLOADS
    expected, kind = _FILES.get(place, ("", DiskKind.STRAY))
    return kind if name == expected else DiskKind.STRAY
