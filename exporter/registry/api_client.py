"""Ask a registry's HTTP API which repositories and tags it has.

Knows the ping, the catalog and the tag lists with their paging; ``auth`` knows how to log in,
``http`` how to send one request. Every failure becomes an ApiUnavailableError: the answer is
complete, or there is none.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import msgspec

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.model import ApiView
from exporter.domain.text import printable
from exporter.registry.auth import LOGIN_OPTIONS, Authenticator, Login
from exporter.registry.http import (
    CONCURRENCY,
    Answer,
    Connection,
    RegistryEndpoint,
    RequestObserver,
    decode_body,
    open_transport,
    registry_address,
    same_origin,
    shown,
    status_error,
)
from exporter.store.format.layout import is_repository_name, is_tag_name

__all__ = [
    "Limits",
    "RegistryEndpoint",
    "RequestObserver",
    "poll",
    "read_api",
]

_log = logging.getLogger(__name__)

_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_RELATION = re.compile(r';\s*+rel\s*+=\s*+"?([^";,]*)', re.IGNORECASE)
_MAX_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that no working registry exceeds.

    Attributes:
        body_bytes: size of one body.
        pages: pages of one list.
        names: names in one list.
        seconds: time for all requests together.

    """

    body_bytes: int = 32 * 2**20
    pages: int = 1_000
    names: int = 1_000_000
    seconds: float = 300.0


_LIMITS = Limits()


class _Catalog(msgspec.Struct):
    names: list[str] | None = msgspec.field(name="repositories")


class _TagList(msgspec.Struct):
    names: list[str] | None = msgspec.field(name="tags")


@dataclass(slots=True)
class _Resource:
    """What is requested, on one page or several, and the token that it needed."""

    endpoint: str
    path: str
    url: httpx.URL
    scope: str | None = None
    token: Login | None = None


def poll(endpoint: RegistryEndpoint, observer: RequestObserver) -> ApiView:
    """Read the API like :func:`read_api`, from synchronous code."""
    return asyncio.run(read_api(endpoint, observer))


async def read_api(
    endpoint: RegistryEndpoint,
    observer: RequestObserver,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    limits: Limits = _LIMITS,
) -> ApiView:
    """Ask for every repository in the catalog and for all of their tags.

    Raises ApiUnavailableError if the answer would be incomplete. Closes ``transport``.
    """
    base = registry_address(endpoint)
    async with transport or open_transport(endpoint) as opened:
        connection = Connection(
            opened, observer, seconds=endpoint.timeout, max_body_bytes=limits.body_bytes
        )
        reader = _Reader(base, connection, Authenticator(endpoint, base, connection), limits)
        try:
            async with asyncio.timeout(limits.seconds):
                return await reader.read()
        except TimeoutError:
            raise ApiUnavailableError(
                f"reading all tags from {shown(base)} took more than {limits.seconds:g} s; "
                "the registry is too slow, look at its load and its storage"
            ) from None


class _Reader:
    """One reading of the whole API."""

    def __init__(
        self,
        base: httpx.URL,
        connection: Connection,
        authenticator: Authenticator,
        limits: Limits,
    ) -> None:
        self._base = base
        self._connection = connection
        self._authenticator = authenticator
        self._limits = limits

    async def read(self) -> ApiView:
        ping = self._resource("ping", "/v2/", None)
        self._require_ok(ping, await self._ask(ping, ping.url))
        catalog = self._resource("catalog", "/v2/_catalog", "registry:catalog:*")
        return ApiView(tags=await self._tags(await self._names(catalog)))

    def _resource(self, endpoint: str, path: str, scope: str | None) -> _Resource:
        prefix = self._base.raw_path.rstrip(b"/")
        url = self._base.copy_with(raw_path=prefix + path.encode("ascii"))
        return _Resource(endpoint, path, url, scope)

    async def _tags(self, repositories: frozenset[str]) -> dict[str, frozenset[str]]:
        tags: dict[str, frozenset[str]] = {}
        waiting = iter(sorted(repositories))

        async def work() -> None:
            for name in waiting:
                listing = self._resource("tags", f"/v2/{name}/tags/list", f"repository:{name}:pull")
                tags[name] = await self._names(listing)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(CONCURRENCY):
                    workers.create_task(work())
        except ExceptionGroup as failures:
            known, unknown = failures.split(ApiUnavailableError)
            if known is None or unknown is not None:
                raise
            raise known.exceptions[0] from None
        return tags

    async def _names(self, resource: _Resource) -> frozenset[str]:
        names: set[str] = set()
        count = 0
        seen: set[httpx.URL] = set()
        page: httpx.URL | None = resource.url
        while page is not None:
            if page in seen or len(seen) >= self._limits.pages:
                raise _senseless(resource.url, "has endless pages")
            seen.add(page)
            answer = await self._ask(resource, page)
            if answer.status == httpx.codes.NOT_FOUND and resource.endpoint == "tags":
                return frozenset()  # nothing was ever pushed, or it was just deleted
            self._require_ok(resource, answer)
            found = _read_names(resource, answer)
            count += len(found)
            if count > self._limits.names:
                raise _senseless(resource.url, f"lists more than {self._limits.names} names")
            names.update(found)
            page = _next_page(resource, answer)
        return frozenset(names)

    async def _ask(self, resource: _Resource, url: httpx.URL) -> Answer:
        """Send one request; after a 401 log in, also if a token has expired, and send it again."""
        sent = resource.token or self._authenticator.basic
        answer = await self._connection.get(resource.endpoint, url, sent.header if sent else None)
        if answer.status != httpx.codes.UNAUTHORIZED:
            return answer
        login = await self._authenticator.log_in(answer, resource.scope, sent)
        resource.token = login
        return await self._connection.get(resource.endpoint, url, login.header)

    def _require_ok(self, resource: _Resource, answer: Answer) -> None:
        if answer.status == httpx.codes.OK:
            return
        login = resource.token or self._authenticator.basic
        forbidden = login.refusal if login else f"set {LOGIN_OPTIONS} if it wants a login"
        raise status_error(answer, forbidden)


def _read_names(resource: _Resource, answer: Answer) -> list[str]:
    shape: type[_Catalog | _TagList]
    is_legal: Callable[[str], bool]
    if resource.endpoint == "catalog":
        shape, is_legal = _Catalog, is_repository_name
    else:
        shape, is_legal = _TagList, is_tag_name
    names = decode_body(answer, shape).names or []  # Go encodes a nil slice as null
    legal = [name for name in names if is_legal(name)]
    if len(legal) < len(names):
        # the registry lists whatever is in its directories; one illegal name must not hide the rest
        text = printable(next(name for name in names if not is_legal(name)))[:_MAX_SHOWN]
        if not legal and resource.endpoint == "catalog":
            raise _senseless(answer.url, f"lists the name '{text}', which is not legal")
        _log.debug("%s lists the name '%s', which is not legal", shown(answer.url), text)
    return legal


def _next_page(resource: _Resource, answer: Answer) -> httpx.URL | None:
    target = _next_link(answer.headers.get_list("link"))
    if target is None:
        return None
    try:
        url = answer.url.join(target)
        # Behind a proxy that strips a path, the registry's links lack it: only their query is used.
        page = resource.url.copy_with(query=url.query)
        is_own = same_origin(url, resource.url)
    except (httpx.InvalidURL, ValueError):
        raise _senseless(answer.url, "names a next page that is not an address") from None
    if not is_own:
        raise ApiUnavailableError(
            f"{shown(answer.url)} names {shown(url)} as its next page, another origin, which is "
            "not followed; let the proxy before the registry pass on Host and X-Forwarded-Proto"
        )
    if not url.path.endswith(resource.path):
        raise _senseless(answer.url, f"names {shown(url)} as its next page")
    return page


def _next_link(headers: list[str]) -> str | None:
    """Find the target of ``rel="next"`` (RFC 8288)."""
    for header in headers:
        for target, parameters in _LINK.findall(header):
            relation = _RELATION.search(parameters)
            if relation and "next" in relation[1].lower().split():
                return str(target)
    return None


def _senseless(url: httpx.URL, problem: str) -> ApiUnavailableError:
    return ApiUnavailableError(
        f"{shown(url)} {problem}; check that --registry.url leads to the registry itself"
    )
