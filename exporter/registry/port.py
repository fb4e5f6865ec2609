"""The port to a registry that is changed: read, put and delete manifests, put blobs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest as the registry serves it.

    Attributes:
        digest: as text.
        media_type: the type that the registry states.
        content: its bytes, which have the digest; those of schema 1 are signed again by the
            registry whenever it serves them, and have another.

    """

    digest: str
    media_type: str
    content: bytes


class RegistryEditor(Protocol):
    """Reads and changes one registry through its HTTP API; for one thread.

    A request is repeated after a passing failure, and waits for the rate limit. Digests are text
    such as ``sha256:...``; a reference is a tag or a digest.

    Every method raises ApiUnavailableError if the registry gave no useful answer to any attempt,
    and its subclass RegistryRefusesError if it refuses the login or this kind of request: then
    nothing more should be tried.
    """

    def ping(self) -> None:
        """Return if the registry answers, whatever it has."""

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of a manifest; None if the repository does not have it."""

    def manifest(self, repository: str, reference: str) -> ServedManifest | None:
        """Return a manifest; None if the repository does not have it."""

    def put_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str
    ) -> None:
        """Store a manifest under a tag or its digest.

        Raises ContentRefusedError.
        """

    def delete_manifest(
        self, repository: str, digest: str, confirm: Callable[[], None] = ...
    ) -> bool:
        """Delete a manifest and all tags of it; return whether the repository had it.

        False may also mean that an attempt without an answer has deleted it. ``confirm`` is called
        right before each attempt is sent, after any waiting: what it raises ends the deletion.
        """

    def untag(self, repository: str, tag: str) -> bool:
        """Remove a tag and keep its manifest; return whether the tag was there.

        Raises UntaggingUnsupportedError on version 2 of the registry.
        """

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the repository serves a layer or configuration."""

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Let the repository serve a blob of the repository ``source``.

        Return False if the registry does not do that, for example because ``source`` lacks it.
        """

    def put_blob(
        self, repository: str, digest: str, size: int, parts: Callable[[], Iterator[bytes]]
    ) -> None:
        """Upload a blob of ``size`` bytes; each call of ``parts`` begins at its first byte.

        Raises ContentRefusedError, and whatever ``parts`` raises.
        """
