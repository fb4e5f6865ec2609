"""An HTTP server for behaviour that no real registry shows, and helpers that query it."""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.api_client import (
    Limits,
    RegistryEndpoint,
    RequestObserver,
    read_api,
)
from tests.servers import PASSWORD, USERNAME

BASIC = f"Basic {base64.b64encode(f'{USERNAME}:{PASSWORD}'.encode()).decode()}"
TIMEOUT = 0.3
PATIENCE = 30.0  # far above TIMEOUT, far below the duration of a hang


class Requests:
    """An observer that records requests."""

    def __init__(self) -> None:
        self.codes: list[tuple[str, str]] = []
        self.seconds: list[float] = []

    def __call__(self, endpoint: str, code: str, seconds: float) -> None:
        self.codes.append((endpoint, code))
        self.seconds.append(seconds)


def ignore(endpoint: str, code: str, seconds: float) -> None:
    """Ignore a request."""


def endpoint_of(url: str, *, login: bool = True, timeout: float = 10.0) -> RegistryEndpoint:
    """Return an endpoint, with the login of the ``registry`` fixture unless ``login`` is false."""
    if not login:
        return RegistryEndpoint(url, timeout=timeout)
    return RegistryEndpoint(url, USERNAME, SecretStr(PASSWORD), timeout=timeout)


def failure(
    endpoint: RegistryEndpoint,
    observer: RequestObserver = ignore,
    limits: Limits | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> str:
    """Read the API, which must fail; check that the message has no secret, and return it."""
    with pytest.raises(ApiUnavailableError) as caught:
        asyncio.run(read_api(endpoint, observer, limits=limits or Limits(), transport=transport))
    message = str(caught.value)
    assert PASSWORD not in message
    assert BASIC not in message
    assert "hidden" not in message
    return message


@dataclass(frozen=True)
class Request:
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    method: str = "GET"
    target: str = ""
    body: bytes = b""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass(frozen=True)
class Reply:
    """An answer; a body in pieces is sent piece by piece, until the client has disconnected."""

    body: bytes | Iterable[bytes] = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Route = Reply | Callable[[Request], Reply]


class FakeServer:
    """An HTTP server on loopback that answers by path, and records the requests."""

    def __init__(self, routes: Mapping[str, Route], tls: ssl.SSLContext | None = None) -> None:
        self.routes = dict(routes)
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Request) -> Reply:
        """Return the answer to a request."""
        route = self.routes.get(request.path, Reply(status=404))
        return route if isinstance(route, Reply) else route(request)

    def asked(self, path: str) -> list[Request]:
        """List the requests for one path."""
        return [request for request in self.requests if request.path == path]

    def hang(self, _: Request) -> Reply:
        """Answer only when the context ends."""
        self.ended.wait(60)
        return Reply()

    def drip(self, _: Request) -> Reply:
        """Answer one byte at a time until the context ends."""
        return Reply(self._drops())

    def _drops(self) -> Iterator[bytes]:
        while not self.ended.wait(TIMEOUT / 20):
            yield b" "


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    fake: FakeServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect: tests do that on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def do_DELETE(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        fake = cast("_Listener", self.server).fake
        address = urlsplit(self.path)
        request = Request(
            address.path,
            parse_qs(address.query),
            dict(self.headers.items()),
            self.command,
            self.path,
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        fake.requests.append(request)
        reply = fake.answer(request)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
            return
        self.send_header("Connection", "close")
        self.end_headers()
        for piece in reply.body:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


def catalog(*names: str, link: str | None = None) -> Reply:
    return _listing("repositories", names, link)


def tag_list(*names: str, link: str | None = None) -> Reply:
    return _listing("tags", names, link)


def _listing(key: str, names: tuple[str, ...], link: str | None) -> Reply:
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    return Reply(json.dumps({key: names}).encode(), headers=headers)


def routes_of(**tags: Iterable[str]) -> dict[str, Route]:
    """Return the routes of a registry with these repositories, with all tags on one page."""
    lists = {f"/v2/{name}/tags/list": tag_list(*names) for name, names in tags.items()}
    return {"/v2/": Reply(), "/v2/_catalog": catalog(*tags), **lists}


def with_routes(**replaced: Route) -> dict[str, Route]:
    """Return the routes of a registry with one repository ``app``, some of them replaced."""
    paths = {"ping": "/v2/", "catalog": "/v2/_catalog", "tags": "/v2/app/tags/list"}
    return routes_of(app=["1"]) | {paths[name]: route for name, route in replaced.items()}


def paged(pages: Mapping[str, Reply], first: Reply) -> Route:
    """Return a route that answers with the page that the query's ``last`` names."""
    return lambda request: pages[request.query["last"][0]] if request.query else first
