"""One HTTP request to a registry: address, TLS, limits of time and size, and error messages.

Requests use httpx's transport directly. So there are no redirects, cookies, proxies or netrc files
to switch off: each could carry credentials to a host that nobody chose.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, cast

import httpx
import msgspec
from pydantic import SecretStr

from exporter import __version__
from exporter.domain.errors import ApiUnavailableError
from exporter.domain.text import printable
from exporter.registry.failures import reason_of, words_of

CONCURRENCY = 8
"""Maximum number of concurrent requests."""

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # so that no body exceeds its limit when it is decompressed
    "User-Agent": f"registry-storage-exporter/{__version__}",
}
READ_BODIES = frozenset(
    {
        httpx.codes.OK,
        httpx.codes.UNAUTHORIZED,
        httpx.codes.NOT_FOUND,
        httpx.codes.METHOD_NOT_ALLOWED,
    }
)
"""Statuses of answers whose body is read, unless a connection says otherwise."""

URL_SETTING = "--registry.url"
_SETTINGS = {"token": "the registry's auth.token.realm"}  # an address that the registry chooses
_MAX_SHOWN = 200
_MAX_PORT = 65_535

_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """Where the registry is and how to talk to it.

    Attributes:
        url: its address, without ``/v2/``; may have a path.
        username: for the registry, and for a token endpoint of the same origin only.
        password: belongs to the username.
        ca_file: trust only the certificates in this PEM file, instead of the system's.
        insecure_skip_verify: accept any certificate.
        timeout: seconds that one request may take, from connecting to the last byte.

    """

    url: str
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    insecure_skip_verify: bool = False
    timeout: float = 10.0


class RequestObserver(Protocol):
    """Observes every request."""

    def __call__(self, endpoint: str, code: str, seconds: float) -> None:
        """Record one request.

        ``endpoint`` is ``ping``, ``catalog``, ``tags``, ``token``, ``deletion`` or, of an editor,
        ``manifest`` or ``blob``; ``code`` is the HTTP status, or ``error`` if no complete answer
        came.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """A response from ``url``; the body of most errors is not read."""

    url: httpx.URL
    status: int
    headers: httpx.Headers = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Content:
    """What a request sends.

    Attributes:
        parts: its bytes.
        size: how many they are.
        seconds: time for the answer after the last part, beside that for one request.

    """

    parts: AsyncIterator[bytes]
    size: int
    seconds: float = 0.0


class Connection:
    """Sends requests over a transport, and reports each to an observer."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        observer: RequestObserver,
        *,
        seconds: float,
        max_body_bytes: int,
        read_bodies: frozenset[int] = READ_BODIES,
    ) -> None:
        self._transport = transport
        self._observer = observer
        self._seconds = seconds
        self._max_body_bytes = max_body_bytes
        self._read_bodies = read_bodies

    async def get(self, endpoint: str, url: httpx.URL, authorization: str | None) -> Answer:
        """Send one GET request; errors are those of :meth:`send`."""
        return await self.send("GET", endpoint, url, authorization)

    async def send(
        self,
        method: str,
        endpoint: str,
        url: httpx.URL,
        authorization: str | None,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
    ) -> Answer:
        """Send one request. Raises ApiUnavailableError if no complete answer comes in time.

        Content may take any time as long as it makes progress: the time for one request begins
        again with each of its parts.
        """
        started = time.monotonic()
        setting = _SETTINGS.get(endpoint, URL_SETTING)
        login = {"Authorization": authorization} if authorization else {}
        sent = {**_HEADERS, **(headers or {}), **login}
        try:
            answer = await self._fetch(method, url, sent, content, setting)
        except ApiUnavailableError:
            self._observer(endpoint, "error", time.monotonic() - started)
            raise
        self._observer(endpoint, str(answer.status), time.monotonic() - started)
        return answer

    async def _fetch(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        content: Content | None,
        setting: str,
    ) -> Answer:
        stage = _Stage()
        parts = None
        try:
            # httpx's own timeouts apply to each read: a slow server would never hit them.
            async with asyncio.timeout(self._seconds) as limit:
                if content is not None:
                    headers = {**headers, "Content-Length": str(content.size)}
                    parts = self._timed_parts(content, limit)
                request = httpx.Request(
                    method, url, headers=headers, content=parts, extensions={"trace": stage}
                )
                response = await self._transport.handle_async_request(request)
                try:
                    wanted = response.status_code in self._read_bodies
                    body = await self._read(url, response) if wanted else b""
                finally:
                    await response.aclose()
        except TimeoutError:
            raise ApiUnavailableError(
                f"{shown(url)} did not answer within {self._seconds:g} s; {stage.remedy}"
            ) from None
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise ApiUnavailableError(
                f"{shown(url)} did not answer: {reason_of(error, setting)}"
            ) from error
        return Answer(url, response.status_code, response.headers, body)

    async def _timed_parts(self, content: Content, limit: asyncio.Timeout) -> AsyncIterator[bytes]:
        """Yield the parts; a part is asked for when the one before it was sent."""
        clock = asyncio.get_running_loop().time
        async for part in content.parts:
            limit.reschedule(clock() + self._seconds)
            yield part
        limit.reschedule(clock() + self._seconds + content.seconds)

    async def _read(self, url: httpx.URL, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in cast("httpx.AsyncByteStream", response.stream):
            body += chunk
            if len(body) > self._max_body_bytes:
                raise ApiUnavailableError(
                    f"{shown(url)} answered more than {self._max_body_bytes} bytes; "
                    "check that --registry.url leads to the registry"
                )
        return bytes(body)


class _Stage:
    """Follows one request: its stage when it times out decides the advice."""

    def __init__(self) -> None:
        self.remedy = "check whether the registry hangs, or raise --registry.timeout"
        self._usual_remedy = self.remedy

    async def __call__(self, event: str, _: object) -> None:
        """Record an event of httpcore's trace extension."""
        if event == "connection.connect_tcp.started":
            self.remedy = (
                "there was no connection yet: check whether the name server answers "
                "(getent hosts), and whether a firewall is in between"
            )
        elif event == "connection.connect_tcp.complete":
            self.remedy = self._usual_remedy


def parse_address(text: str) -> httpx.URL | None:
    """Parse an absolute ``http`` or ``https`` address; None if it is not one."""
    try:
        url = httpx.URL(text)
        host = url.raw_host and url.host  # each rejects hosts that the other accepts
    except (httpx.InvalidURL, UnicodeError):
        return None
    possible = url.scheme in {"http", "https"} and host and (url.port or 0) <= _MAX_PORT
    return url if possible else None


def registry_address(endpoint: RegistryEndpoint) -> httpx.URL:
    """Return the registry's address without userinfo and query. Raises ApiUnavailableError."""
    url = parse_address(endpoint.url)
    if url is None:
        raise ApiUnavailableError(
            "--registry.url is not a usable address; "
            "write it like https://registry.example.com:5000"
        )
    return url.copy_with(userinfo=b"", query=None, fragment=None)


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Return whether scheme, host and port are the same (RFC 6454)."""
    return _origin(one) == _origin(other)


def _origin(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port  # httpx drops a scheme's default port


def shown(url: httpx.URL) -> str:
    """Return an address for messages: no userinfo, no query, nothing unprintable."""
    bare = url.copy_with(userinfo=b"", query=None, fragment=None)
    return printable(str(bare))[:_MAX_SHOWN]


def open_transport(endpoint: RegistryEndpoint) -> httpx.AsyncHTTPTransport:
    """Return a transport. Raises ApiUnavailableError if the CA file cannot be used."""
    if endpoint.insecure_skip_verify:
        context = trusting_context()
    else:
        try:
            context = ssl.create_default_context(cafile=endpoint.ca_file)
        except (OSError, ValueError) as error:
            raise ApiUnavailableError(
                f"the certificates in {printable(str(endpoint.ca_file))} cannot be read "
                f"({words_of(error)}); --registry.ca-file must name a PEM file"
            ) from error
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)


def trusting_context() -> ssl.SSLContext:
    """Return a context that accepts any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def decode_body(answer: Answer, shape: type[_Shape]) -> _Shape:
    """Parse a JSON body. Raises ApiUnavailableError if it does not have the shape."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiUnavailableError(
            f"{shown(answer.url)} did not answer with the JSON of a registry ({error}); "
            "check that --registry.url leads to the registry, not to another service"
        ) from error


def status_error(answer: Answer, forbidden: str) -> ApiUnavailableError:
    """Return the error for an answer other than 200; ``forbidden`` explains a 401 or 403."""
    match answer.status:
        case 401 | 403:
            reason = forbidden
        case 404:
            reason = "no registry is there; check host, port and path of --registry.url"
        case 429:
            reason = "it gets too many requests; raise --scan.interval"
        case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            reason = "the registry or a proxy in front of it fails; look at its log"
        case _ if target := redirect_target(answer):
            reason = (
                f"a redirect to {target}, which is not followed; "
                "give the registry's final address as --registry.url"
            )
        case _:
            reason = "a registry does not answer that; check scheme and port of --registry.url"
    return ApiUnavailableError(f"{shown(answer.url)} answered {answer.status}: {reason}")


def redirect_target(answer: Answer) -> str | None:
    """Return the target of a redirect, for messages; None if it is not a redirect."""
    location = answer.headers.get("location")
    if answer.status // 100 != 3 or location is None:  # noqa: PLR2004 - the class of redirects
        return None
    try:
        return shown(answer.url.join(location))
    except (httpx.InvalidURL, ValueError):
        return "an invalid address"
