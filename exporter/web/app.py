"""The web application: the pages, and what each answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.domain.scan_progress import ScanProgress
from exporter.metrics.exposition import Exposition, accepts_gzip, choose_format
from exporter.web.api.routes import ROOT, Api
from exporter.web.explorer.links import Links
from exporter.web.explorer.routes import Answer, Explorer
from exporter.web.landing import landing_page

_SLICE_BYTES = 64 * 1024
_PAGES_AT_A_TURN = 4
_STALLED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the pages are.

    Attributes:
        prefix: what comes before the path of each page here: empty, or a path without a slash at
            its end.
        links: writes the addresses as clients know them, which a reverse proxy may have changed.

    """

    prefix: str = ""
    links: Links = field(default_factory=Links)


NO_PREFIX = Addresses()
"""Each page at its own path."""


def create_app(
    exposition: Exposition,
    *,
    is_working: Callable[[], bool],
    read_progress: Callable[[], ScanProgress | None] = lambda: None,
    guards: Sequence[Middleware] = (),
    read_stall: Callable[[], float] = lambda: 0.0,
    explorer: tuple[Explorer, Api] | None = None,
    addresses: Addresses = Addresses(),
) -> Starlette:
    """Return the application.

    ``is_working`` returns whether the background loops are alive, ``read_progress`` the progress
    of the running full scan, ``read_stall`` the seconds since a scan last made progress.
    ``guards`` are applied to all pages. ``explorer`` answers for the pages for people and
    programs, if they are switched on.
    """
    turns = _Turns(_PAGES_AT_A_TURN)

    async def metrics(request: Request) -> Response:
        await turns.wait()
        page_format = choose_format(request.headers.get("accept", ""))
        gzip = accepts_gzip(request.headers.get("accept-encoding", ""))
        headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
        if gzip:
            headers["Content-Encoding"] = "gzip"
        return _PageInPieces(
            exposition.pieces(page_format, gzip=gzip), headers, page_format.content_type
        )

    def healthy(_: Request) -> Response:
        if is_working():
            return PlainTextResponse("healthy\n")
        return PlainTextResponse("a background loop has ended; restart the exporter\n", 503)

    def ready(_: Request) -> Response:
        snapshot = exposition.snapshot
        if snapshot.store is not None:
            return PlainTextResponse("ready\n")
        progress = read_progress()
        reason = snapshot.scan.failure or "the first scan is not done yet"
        if progress is not None:
            reason += f" ({progress})"
        seconds = read_stall()
        if seconds >= _STALLED_SECONDS:
            reason += (
                f"; it has read nothing more for {seconds:.0f} s: is the store's mount hanging?"
            )
        return PlainTextResponse(f"not ready: {reason}\n", 503)

    pages: list[tuple[str, Answer]] = [
        ("/metrics", metrics),
        ("/-/healthy", _answer_inline(healthy)),
        ("/-/ready", _answer_inline(ready)),
    ]
    app = Starlette(
        routes=_routes([*pages, *_pages_of(explorer, addresses.links)], addresses),
        middleware=[Middleware(_Dated), *guards],
        exception_handlers=_handlers(explorer, addresses),
    )
    app.router.redirect_slashes = False  # /metrics/ is not a page
    return app


def _pages_of(explorer: tuple[Explorer, Api] | None, links: Links) -> list[tuple[str, Answer]]:
    if explorer is None:
        return [("/", _answer_inline(lambda _: HTMLResponse(landing_page(links))))]
    pages, api = explorer
    return [*api.pages(), *pages.pages()]


def _handlers(
    explorer: tuple[Explorer, Api] | None, addresses: Addresses
) -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    if explorer is None:
        return {}
    pages, api = explorer

    async def not_found(request: Request, error: Exception) -> Response:
        # no route can stand for all addresses below one: none fits a line break
        is_api = request.scope["path"].startswith(f"{addresses.prefix}{ROOT}/")
        return await (api if is_api else pages).not_found(request, error)

    return {404: not_found}


def _routes(pages: Sequence[tuple[str, Answer]], addresses: Addresses) -> list[Route]:
    routes = [Route(f"{addresses.prefix}{path}", answer) for path, answer in pages]
    if addresses.prefix:
        to_root = _answer_inline(lambda _: RedirectResponse(addresses.links.to("/"), 302))
        routes += [Route(path, to_root) for path in ("/", addresses.prefix)]
    return routes


def _answer_inline(handler: Callable[[Request], Response]) -> Answer:
    """Answer on the event loop: everything is in memory, and a thread would only have to wait."""

    async def endpoint(request: Request) -> Response:
        return handler(request)

    return endpoint


class _Turns:
    """Limits how many scrapes start in each turn of the event loop, so that others get a turn.

    Two hundred concurrent scrapers would otherwise keep it busy for half a second.
    """

    def __init__(self, at_a_turn: int) -> None:
        self._free = asyncio.Semaphore(at_a_turn)

    async def wait(self) -> None:
        """Wait for a turn."""
        await self._free.acquire()
        asyncio.get_running_loop().call_soon(self._free.release)


class _PageInPieces(Response):
    """Sends a large page in slices as its client reads it, so that no client needs a copy."""

    def __init__(self, pieces: Sequence[bytes], headers: dict[str, str], media_type: str) -> None:
        self._pieces = pieces
        length = str(sum(map(len, pieces)))
        super().__init__(headers={**headers, "Content-Length": length}, media_type=media_type)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        status, headers = self.status_code, self.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for body in _slices(self._pieces):
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _slices(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Yield slices of the joined pieces; all but the last have the same length."""
    joined, length = [], 0
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            part, rest = rest[: _SLICE_BYTES - length], rest[_SLICE_BYTES - length :]
            joined.append(part)
            length += len(part)
            if length == _SLICE_BYTES:
                yield b"".join(joined)
                joined, length = [], 0
    yield b"".join(joined)


class _Dated:
    """Adds the date to each answer, as RFC 9110 (6.6.1) requires of a server with a clock."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Date"] = formatdate(usegmt=True)
            await send(message)

        await self._app(scope, receive, send_dated)
