"""The path grammar of ``docker/registry/v2``: names and paths, without any I/O.

Source of the rules: distribution's ``registry/storage/paths.go`` for the directories, the
``reference`` package for the names of repositories and tags, ``registry/storage/purgeuploads.go``
for uploads.
"""

import re
from datetime import datetime

from exporter.domain.digests import (
    Digest,
    format_digest,
    is_sha256,
    parse_digest,
)
from exporter.domain.model import LAYERS, MANIFESTS

VERSION_PATH = ("docker", "registry", "v2")
"""Directories between the registry's root directory and the store proper."""

CACHE_STATE = "scheduler-state.json"
"""In the root directory of a pull-through cache, beside ``docker``."""

ROOT_EXTRAS = frozenset({"lost+found", CACHE_STATE})
"""May be beside ``docker``: a mount point's own directory, a pull-through cache's state."""

BLOBS = "blobs"
REPOSITORIES = "repositories"
DATA = "data"
LINK = "link"
UPLOADS = "_uploads"
REVISIONS = "revisions"
TAGS = "tags"
REPOSITORY_MARKS = frozenset({LAYERS, MANIFESTS, UPLOADS})
"""A directory that holds one of these is a repository."""

ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Digest algorithms that the registry knows (``opencontainers/go-digest``), and their digits."""

MAX_LINK_BYTES = 1024
"""Far above the 135 bytes of a sha512 link; a larger file is not a link."""

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_DOMAIN = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_ALGORITHM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_STORAGE_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MAX_REPOSITORY_NAME = 255


def is_repository_name(name: str) -> bool:
    """Return whether the registry serves ``name``: a path, or a path behind a domain.

    If it has several components, the first may be a domain, which has fewer rules.
    """
    domain, slash, path = name.partition("/")
    return len(name) <= _MAX_REPOSITORY_NAME and (
        is_repository_path(name) or bool(slash and is_domain(domain) and is_repository_path(path))
    )


def is_repository_path(name: str) -> bool:
    """Return whether ``name`` is a legal repository path with slashes, without a domain."""
    return len(name) <= _MAX_REPOSITORY_NAME and all(
        _COMPONENT.fullmatch(component) for component in name.split("/")
    )


def is_domain(name: str) -> bool:
    """Return whether ``name`` is a legal domain; no store can hold one with a port."""
    return _DOMAIN.fullmatch(name) is not None


def is_tag_name(name: str) -> bool:
    """Return whether ``name`` is a legal tag."""
    return _TAG.fullmatch(name) is not None


def is_storage_name(name: str) -> bool:
    """Return whether the registry's storage driver reads a path with ``name`` in it.

    It refuses a path with any other character (``PathRegexp`` in its ``storagedriver.go``).
    """
    return _STORAGE_NAME.fullmatch(name) is not None


def is_algorithm(name: str) -> bool:
    """Return whether ``name`` is a legal name of a digest algorithm."""
    return _ALGORITHM.fullmatch(name) is not None


def is_upload_id(name: str) -> bool:
    """Return whether the registry names an upload so, and purges it: a UUID."""
    return _UUID.fullmatch(name) is not None


def parse_link(content: bytes) -> Digest | None:
    """Read a link file's content; None if it is not exactly one digest.

    The registry compares nothing and trims nothing: a trailing newline makes the link invalid.
    """
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        return None
    digest = parse_digest(text)
    return digest if digest is not None and is_supported(digest) else None


def is_supported(digest: Digest) -> bool:
    """Return whether the registry knows the algorithm of a digest, and its length is right."""
    if is_sha256(digest):
        return True
    algorithm, _, hexadecimal = format_digest(digest).partition(":")
    return ALGORITHMS.get(algorithm) == len(hexadecimal)


def parse_started_at(content: bytes) -> float | None:
    """Read an upload's ``startedat`` (RFC 3339) as Unix seconds; None if it is not one."""
    match = _RFC3339.fullmatch(content.decode("ascii", "replace"))
    if match is None:
        return None
    moment, fraction, zone = match.groups()
    try:
        whole = datetime.fromisoformat(f"{moment}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    return whole.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)


def blob_data(digest: Digest) -> str:
    """Return the path of a blob below the version directory."""
    return f"{blob_directory(format_digest(digest))}/{DATA}"


def digest_of_data(path: str) -> Digest | None:
    """Return the digest that the registry's collector reads from the path of a ``data`` file.

    It reads only the last components (``digestFromPath``), so a copy of a blob's directory at any
    depth counts as that blob. None if it makes no sense of the path.
    """
    *start, hexadecimal, _ = ["", "", *path.split("/")]
    algorithm = start[-2] if start[-1] == hexadecimal[:2] else start[-1]
    digest = parse_digest(f"{algorithm}:{hexadecimal}")
    return digest if digest is not None and is_supported(digest) else None


def blob_directory(digest_text: str) -> str:
    """Return the directory of a blob below the version directory, from ``<algorithm>:<hex>``."""
    algorithm, _, hexadecimal = digest_text.partition(":")
    return f"{BLOBS}/{algorithm}/{hexadecimal[:2]}/{hexadecimal}"


def revision_link(repository: str, digest_text: str) -> str:
    """Return the path of the link to a manifest, below the version directory."""
    revisions = f"{REPOSITORIES}/{repository}/{MANIFESTS}/{REVISIONS}"
    return f"{revisions}/{digest_text.replace(':', '/')}/link"


def layer_link(repository: str, digest_text: str) -> str:
    """Return the path of the link to a layer or configuration, below the version directory."""
    return f"{REPOSITORIES}/{repository}/{LAYERS}/{digest_text.replace(':', '/')}/link"


def tag_directory(repository: str, tag: str) -> str:
    """Return the directory of a tag, below the version directory."""
    return f"{REPOSITORIES}/{repository}/{MANIFESTS}/{TAGS}/{tag}"
