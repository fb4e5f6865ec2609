"""Write a registry's store, file by file as distribution 2.8.2 leaves it.

Shares no code with the exporter, so that tests can compare the two. Knows the layout and the
manifests of Docker and OCI. Does not know HTTP, and forbids nothing: a store may be broken on
purpose. The same calls always produce the same digests.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

Json = Mapping[str, object]
Media = Literal["docker", "oci"]
Part = bytes | str | Json
"""A layer or config: its content, the digest of a blob in the store, or a whole descriptor."""


@dataclass(frozen=True, slots=True)
class _MediaTypes:
    """Media types of one family of formats; layers are plain tar archives."""

    manifest: str
    index: str
    config: str
    layer: str


_MEDIA: Mapping[Media, _MediaTypes] = {
    "docker": _MediaTypes(
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
    "oci": _MediaTypes(
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar",
    ),
}

_DIGEST = re.compile(r"[a-z0-9]+:[0-9a-f]{64,}")

# Marshalled state of Go's sha256 before the first byte: the registry keeps it with each upload.
_HASH_STATE_AT_START = (
    b"sha\x03"
    + bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
    + bytes(64 + 8)
)


def noise(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that do not compress; the same seed returns the same bytes."""
    return hashlib.shake_128(seed.encode()).digest(size)


def encode(content: Json) -> bytes:
    """Encode as compact JSON, with the keys in the given order."""
    return json.dumps(content, separators=(",", ":")).encode()


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest ``<algorithm>:<hex>`` of a content."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


class StoreBuilder:
    """Writes into the store below one root directory.

    ``at``, in Unix seconds, becomes the modification time of the links that a method writes and of
    the blobs that it adds. Existing blobs are left alone, as the registry does.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.version_path = root / "docker" / "registry" / "v2"

    def blob(
        self,
        content: bytes,
        repository: str | None = None,
        *,
        at: float | None = None,
        algorithm: str = "sha256",
    ) -> str:
        """Store a blob, linked in ``repository`` if there is one, and return its digest."""
        digest = digest_of(content, algorithm)
        path = self.blob_path(digest)
        if not path.exists():
            _write(path, content, at)
        if repository is not None:
            self.link_blob(repository, digest, at=at)
        return digest

    def unlinked_blob(self, content: bytes, *, at: float | None = None) -> str:
        """Store a blob that nothing links or references: garbage. Return its digest."""
        return self.blob(content, at=at)

    def image(
        self,
        repository: str,
        tag: str | None,
        layers: Sequence[Part] | None = None,
        config: Part | None = None,
        media: Media = "docker",
        at: float | None = None,
        *,
        platform: str = "linux/amd64",
    ) -> str:
        """Push an image and return the digest of its manifest.

        Without ``layers`` it has one layer of 256 bytes, made from repository and tag. Without
        ``config`` it has a runnable one that names platform and layers.
        """
        types = _MEDIA[media]
        if layers is None:
            layers = [noise(f"{repository}:{tag}", 256)]
        descriptors = [self._part(layer, types.layer, at) for layer in layers]
        if config is None:
            config = encode(_config(platform, [str(layer["digest"]) for layer in descriptors]))
        content = {
            "schemaVersion": 2,
            "mediaType": types.manifest,
            "config": self._part(config, types.config, at),
            "layers": descriptors,
        }
        return self.manifest(repository, content, tag, at=at)

    def index(
        self,
        repository: str,
        tag: str | None,
        children: Sequence[str | Json],
        media: Media = "oci",
        at: float | None = None,
    ) -> str:
        """Push an index, or manifest list, and return its digest.

        Children are digests of manifests or indexes in the store. Those that need annotations, or
        are missing, are whole descriptors, such as :meth:`descriptor` returns.
        """
        content = {
            "schemaVersion": 2,
            "mediaType": _MEDIA[media].index,
            "manifests": [
                self.descriptor(child) if isinstance(child, str) else child for child in children
            ],
        }
        return self.manifest(repository, content, tag, at=at)

    def manifest(
        self,
        repository: str,
        content: bytes | Json,
        tag: str | None = None,
        *,
        at: float | None = None,
        algorithm: str = "sha256",
    ) -> str:
        """Push a manifest of any kind, sound or not, and return its digest.

        Its config and layers are linked in the repository if the store has them.
        """
        body = content if isinstance(content, bytes) else encode(content)
        digest = self.blob(body, at=at, algorithm=algorithm)
        for part in _parts(body):
            if self.blob_path(part).exists():
                self.link_blob(repository, part, at=at)
        _write(self.revision_link(repository, digest), digest.encode(), at)
        if tag is not None:
            self.tag(repository, tag, digest, at=at)
        return digest

    def descriptor(self, digest: str, **fields: object) -> dict[str, object]:
        """Describe a stored manifest as an index does; ``fields`` are added, or replace.

        The platform is that of the image's config if that can be read.
        """
        content = self._json(digest)
        described: dict[str, object] = {
            "mediaType": content.get("mediaType", _MEDIA["oci"].manifest),
            "digest": digest,
            "size": self.blob_path(digest).stat().st_size,
        }
        config = content.get("config")
        if isinstance(config, dict):
            image = self._json(str(config.get("digest")))
            platform = {key: image[key] for key in ("architecture", "os") if key in image}
            if platform:
                described["platform"] = platform
        return described | fields

    def tag(self, repository: str, tag: str, digest: str, at: float | None = None) -> None:
        """Point a tag to a manifest; an existing link is rewritten in place."""
        _write(self.tag_link(repository, tag), digest.encode(), at)
        index = self.repository_path(repository) / "_manifests" / "tags" / tag / "index"
        _write(index / digest.replace(":", "/") / "link", digest.encode(), at)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag alone, as ``DELETE /v2/<name>/manifests/<tag>`` of version 3 does."""
        shutil.rmtree(self.tag_link(repository, tag).parents[1])

    def delete_revision(self, repository: str, digest: str) -> None:
        """Delete a manifest as the HTTP API does.

        Its link and every tag that points to it are deleted; the revision's directory stays.
        """
        self.revision_link(repository, digest).unlink()
        tags = self.repository_path(repository) / "_manifests" / "tags"
        for link in list(tags.glob("*/current/link")):
            if link.read_text() == digest:
                shutil.rmtree(link.parents[1])

    def upload(
        self,
        repository: str,
        data: bytes,
        started_at: float | None,
        upload_id: str | None = None,
        *,
        at: float | None = None,
    ) -> Path:
        """Leave an upload unfinished and return its directory.

        Without ``started_at`` the registry can never purge it. ``at`` dates all its files and
        directories; it falls back to ``started_at``.
        """
        uploads = self.repository_path(repository) / "_uploads"
        if upload_id is None:
            number = sum(1 for _ in uploads.iterdir()) if uploads.exists() else 0
            upload_id = str(uuid.UUID(bytes=noise(f"{repository}/{number}", 16), version=4))
        directory = uploads / upload_id
        _write(directory / "data", data)
        _write(directory / "hashstates" / "sha256" / "0", _HASH_STATE_AT_START)
        if started_at is not None:
            moment = datetime.fromtimestamp(int(started_at), UTC)
            _write(directory / "startedat", f"{moment:%Y-%m-%dT%H:%M:%SZ}".encode())
        at = started_at if at is None else at
        if at is not None:
            for path in (*directory.rglob("*"), directory):
                os.utime(path, (at, at))
        return directory

    def stray(self, path: str, content: bytes = b"", *, at: float | None = None) -> Path:
        """Put a file anywhere below the root directory and return its path."""
        _write(self.root / path, content, at)
        return self.root / path

    def link_blob(self, repository: str, digest: str, *, at: float | None = None) -> None:
        """Link a layer or config in a repository, as finishing its upload does."""
        _write(self.layer_link(repository, digest), digest.encode(), at)
        (self.repository_path(repository) / "_uploads").mkdir(exist_ok=True)

    def blob_path(self, digest: str) -> Path:
        """Return the path of a blob's content."""
        algorithm, _, hexadecimal = digest.partition(":")
        return self.version_path / "blobs" / algorithm / hexadecimal[:2] / hexadecimal / "data"

    def repository_path(self, repository: str) -> Path:
        """Return the directory of a repository."""
        return self.version_path / "repositories" / repository

    def layer_link(self, repository: str, digest: str) -> Path:
        """Return the path of the link to a layer or config."""
        return self.repository_path(repository) / "_layers" / digest.replace(":", "/") / "link"

    def revision_link(self, repository: str, digest: str) -> Path:
        """Return the path of the link to a manifest."""
        revisions = self.repository_path(repository) / "_manifests" / "revisions"
        return revisions / digest.replace(":", "/") / "link"

    def tag_link(self, repository: str, tag: str) -> Path:
        """Return the path of the link to the manifest that a tag points to now."""
        return self.repository_path(repository) / "_manifests" / "tags" / tag / "current" / "link"

    def _part(self, part: Part, media_type: str, at: float | None) -> Json:
        if isinstance(part, Mapping):
            return part
        digest = part if isinstance(part, str) else self.blob(part, at=at)
        size = self.blob_path(digest).stat().st_size
        return {"mediaType": media_type, "size": size, "digest": digest}

    def _json(self, digest: str) -> dict[str, object]:
        try:
            return _object(self.blob_path(digest).read_bytes())
        except OSError:
            return {}


def _config(platform: str, diff_ids: Sequence[str]) -> Json:
    system, _, architecture = platform.partition("/")
    return {
        "created": "2026-01-01T00:00:00Z",
        "architecture": architecture,
        "os": system,
        "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "COPY"} for _ in diff_ids],
    }


def _parts(body: bytes) -> Iterable[str]:
    content = _object(body)
    entries = [content.get("config")]
    for key in ("layers", "blobs", "fsLayers"):
        listed = content.get(key)
        entries += listed if isinstance(listed, list) else []
    for entry in entries:
        if isinstance(entry, dict):
            digest = entry.get("digest", entry.get("blobSum"))
            if isinstance(digest, str) and _DIGEST.fullmatch(digest):
                yield digest


def _object(body: bytes) -> dict[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: bytes, at: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if at is not None:
        os.utime(path, (at, at))
