"""The port to a registry that is changed, over its HTTP API."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx

from exporter.domain.digests import parse_digest
from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    UntaggingUnsupportedError,
)
from exporter.domain.text import printable
from exporter.registry.http import Answer, RegistryEndpoint, RequestObserver, shown
from exporter.registry.password import with_password
from exporter.registry.port import RegistryEditor, ServedManifest
from exporter.registry.refusals import error_codes, is_absence, is_unsupported, refusal_of
from exporter.registry.schema_1 import SCHEMA_1_TYPES, signed
from exporter.registry.session import Pace, Request, Session, content_of, open_session
from exporter.registry.uploads import Uploads, push_scope
from exporter.store.format.layout import ALGORITHMS

_MANIFEST_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    *SCHEMA_1_TYPES,
)
_ACCEPT = {"Accept": ", ".join(_MANIFEST_TYPES)}
"""Of a type that is not accepted, a registry serves another form, or nothing."""

_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
"""Printable ASCII without spaces around it (RFC 9110, section 5.5)."""

_REDIRECTS = frozenset({httpx.codes.FOUND, httpx.codes.TEMPORARY_REDIRECT})


@contextmanager
def open_editor(
    endpoint: RegistryEndpoint, password_file: Path | None, observer: RequestObserver, pace: Pace
) -> Iterator[RegistryEditor]:
    """Yield an editor of the registry. Raises ApiUnavailableError."""
    with open_session(with_password(endpoint, password_file), observer, pace) as session:
        yield _Editor(session)


class _Editor:
    """Implements :class:`RegistryEditor`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._uploads = Uploads(session)

    def ping(self) -> None:
        """Return if the registry answers."""
        request = Request("GET", "ping", "/v2/", "")
        self._require(self._session.ask(request), request, httpx.codes.OK)

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of a manifest; None if the repository does not have it."""
        answer = self._read("HEAD", repository, reference)
        if answer is None:
            return None
        stated = _stated_digest(answer)
        if stated is not None:
            return stated
        served = self.manifest(repository, reference)  # a proxy has dropped the header
        return None if served is None else served.digest

    def manifest(self, repository: str, reference: str) -> ServedManifest | None:
        """Return a manifest; None if the repository does not have it."""
        answer = self._read("GET", repository, reference)
        if answer is None:
            return None
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        stated = reference if _is_supported(reference) else _stated_digest(answer)
        algorithm = "sha256" if stated is None else stated.partition(":")[0]
        digest = f"{algorithm}:{hashlib.new(algorithm, answer.body).hexdigest()}"
        if stated is not None and digest != stated:
            if media_type not in SCHEMA_1_TYPES:
                raise ApiUnavailableError(
                    f"{shown(answer.url)} served content with the digest {digest}; "
                    "verify the store, and check whether a proxy changes what it passes on"
                )
            digest = stated
        return ServedManifest(digest, media_type, answer.body)

    def put_manifest(
        self, repository: str, reference: str, content: bytes, media_type: str
    ) -> None:
        """Store a manifest under a tag or its digest."""
        if media_type in SCHEMA_1_TYPES:
            content, media_type = signed(content, time.time()), SCHEMA_1_TYPES[-1]
        if not _HEADER_VALUE.fullmatch(media_type):
            raise ContentRefusedError(
                f"its media type is {printable(media_type)[:100]}, which no registry can have "
                "accepted, and which cannot be sent; push the image again",
                "",
            )
        request = Request(
            "PUT",
            "manifest",
            _manifest_path(repository, reference),
            push_scope(repository),
            {"Content-Type": media_type},
            lambda: content_of(content),
        )
        self._require(self._session.ask(request), request, httpx.codes.CREATED)

    def delete_manifest(
        self, repository: str, digest: str, confirm: Callable[[], None] = lambda: None
    ) -> bool:
        """Delete a manifest and all tags of it; return whether the repository had it."""
        request = replace(_deletion(repository, digest), confirm=confirm)
        answer = self._session.ask(request)
        return not is_absence(answer) and self._require(answer, request, httpx.codes.ACCEPTED)

    def untag(self, repository: str, tag: str) -> bool:
        """Remove a tag and keep its manifest; return whether the tag was there."""
        request = _deletion(repository, tag)
        answer = self._session.ask(request)
        is_no_digest = any(code == "DIGEST_INVALID" for code, _ in error_codes(answer))
        if is_no_digest or is_unsupported(answer):
            raise UntaggingUnsupportedError(
                f"the registry cannot remove the tag {repository}:{tag} and keep its manifest: "
                "version 2 deletes only manifests, with all their tags"
            )
        return not is_absence(answer) and self._require(answer, request, httpx.codes.ACCEPTED)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether the repository serves a layer or configuration."""
        path = f"/v2/{repository}/blobs/{digest}"
        request = Request("HEAD", "blob", path, f"repository:{repository}:pull")
        answer = self._session.ask(request)
        if is_absence(answer):
            return False
        # from object storage a registry serves by a redirect, and only what is there
        return answer.status in _REDIRECTS or self._require(answer, request, httpx.codes.OK)

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Let the repository serve a blob of the repository ``source``."""
        answer = self._session.repeat(lambda: self._uploads.mount(repository, digest, source))
        return answer.status == httpx.codes.CREATED

    def put_blob(
        self, repository: str, digest: str, size: int, parts: Callable[[], Iterator[bytes]]
    ) -> None:
        """Upload a blob of ``size`` bytes; each call of ``parts`` begins at its first byte."""
        answer = self._session.repeat(lambda: self._uploads.put(repository, digest, size, parts))
        request = Request("PUT", "blob", "", push_scope(repository))
        self._require(answer, request, httpx.codes.CREATED)

    def _read(self, method: str, repository: str, reference: str) -> Answer | None:
        path, scope = _manifest_path(repository, reference), f"repository:{repository}:pull"
        request = Request(method, "manifest", path, scope, _ACCEPT)
        answer = self._session.ask(request)
        if is_absence(answer):
            return None
        self._require(answer, request, httpx.codes.OK)
        return answer

    def _require(self, answer: Answer, request: Request, status: int) -> bool:
        """Return True if the answer has the status, else raise what it means."""
        if answer.status != status:
            raise refusal_of(answer, request.method, self._session.login_refusal(request))
        return True


def _manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{repository}/manifests/{reference}"


def _deletion(repository: str, reference: str) -> Request:
    path = _manifest_path(repository, reference)
    return Request("DELETE", "manifest", path, f"repository:{repository}:delete")


def _stated_digest(answer: Answer) -> str | None:
    """Return the digest that the registry states; None without a usable one."""
    digest = str(answer.headers.get("docker-content-digest", ""))
    return digest if _is_supported(digest) else None


def _is_supported(text: str) -> bool:
    """Return whether a text is a digest that can be checked."""
    return parse_digest(text) is not None and text.partition(":")[0] in ALGORITHMS
