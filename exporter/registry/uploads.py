"""Upload a blob, or let a repository serve one that another repository has.

Source of the flow: the OCI distribution specification, *Pushing blobs*.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlencode

import httpx

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.http import Answer, Content
from exporter.registry.session import Request, Session

_CHECKED_PER_SECOND = 20 * 1024 * 1024
"""After the last byte a registry may read the blob again, and a proxy may pass it on only then.
So the answer may take a second for each 20 MiB, beside the time for one request."""


_WORTH_CANCELLING = 16 * 1024 * 1024
"""Bytes from which a failed upload is cancelled.

The registry (2.8.2, 3.0.0) then removes its content, and leaves a directory that it never purges.
Uploads that are not cancelled it purges after a week.
"""


class Uploads:
    """Uploads to one registry; each may be an attempt of several."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def put(
        self, repository: str, digest: str, size: int, parts: Callable[[], Iterator[bytes]]
    ) -> Answer:
        """Upload a blob; return the last answer, 201 if it is there now."""
        answer = await self._session.send(_begin(repository))
        if answer.status != httpx.codes.ACCEPTED:
            return answer
        place = _upload_path(answer, repository)

        def content() -> Content:
            return Content(_in_turn(parts), size, size / _CHECKED_PER_SECOND)

        separator = "&" if "?" in place else "?"
        request = Request(
            "PUT",
            "blob",
            f"{place}{separator}{urlencode({'digest': digest})}",
            push_scope(repository),
            {"Content-Type": "application/octet-stream"},
            content,
        )
        is_done = False
        try:
            answer = await self._session.send(request)
            is_done = answer.status == httpx.codes.CREATED
        finally:
            if not is_done and size >= _WORTH_CANCELLING:
                await self._cancel(repository, place)
        return answer

    async def mount(self, repository: str, digest: str, source: str) -> Answer:
        """Ask for a blob of another repository; return the answer, 201 if it is there now.

        After any other answer the registry may have begun an upload, which it purges after a week.
        """
        return await self._session.send(_begin(repository, {"mount": digest, "from": source}))

    async def _cancel(self, repository: str, place: str) -> None:
        """Remove the content of an unfinished upload, if the registry lets us."""
        try:
            request = Request("DELETE", "blob", place, f"repository:{repository}:delete")
            await self._session.send(request)
        except ApiUnavailableError:
            return


def push_scope(repository: str) -> str:
    """Return what a token must allow to put something into a repository."""
    return f"repository:{repository}:pull,push"


def _begin(repository: str, parameters: dict[str, str] | None = None) -> Request:
    path, scope = f"/v2/{repository}/blobs/uploads/", push_scope(repository)
    if parameters is not None:
        path += f"?{urlencode(parameters)}"
        scope += f" repository:{parameters['from']}:pull"
    return Request("POST", "blob", path, scope)


def _upload_path(answer: Answer, repository: str) -> str:
    """Return path and query of an upload, below the registry's address.

    Behind a proxy that strips a path or ends TLS, the registry names another address: of that
    only the end counts, so that nothing is ever sent elsewhere. Raises ApiUnavailableError.
    """
    beginning = f"/v2/{repository}/blobs/uploads/"
    try:
        location = answer.url.join(answer.headers.get("location", ""))
    except (httpx.InvalidURL, ValueError):
        location = answer.url
    path, _, query = location.raw_path.decode("ascii").partition("?")
    _, found, name = path.partition(beginning)
    if not found or not name or "/" in name:
        raise ApiUnavailableError(
            f"the registry names no place for an upload to {repository}; "
            "check that --registry.url leads to the registry itself"
        )
    return beginning + name + (f"?{query}" if query else "")


async def _in_turn(parts: Callable[[], Iterator[bytes]]) -> AsyncIterator[bytes]:
    for part in parts():
        yield part
