"""The HTTP server: bind an address, serve, and stop in time."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn
from starlette.applications import Starlette

from exporter.domain.errors import OutputError
from exporter.support.quantities import ListenAddress
from exporter.web.server.acceptor import Acceptor
from exporter.web.server.connections import Bounds, Claim, ConnectionTable
from exporter.web.server.protocol import BoundedProtocol

_STOP_SECONDS = 2.0
_STOP_POLL_SECONDS = 0.02
_BACKLOG = 128

StopListener = Callable[[Callable[[], object]], None]
Context = Callable[[], ssl.SSLContext | None]


def bind(address: ListenAddress) -> socket.socket:
    """Bind and listen; an empty host means all interfaces, IPv4 and IPv6.

    Raises OutputError if that is not possible.
    """
    dual = not address.host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual or ":" in address.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (address.host, address.port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual
        )
    except OSError as error:
        raise OutputError(
            f"cannot listen on {address}: {os.strerror(error.errno or 0)}; "
            "choose another address with --web.listen-address"
        ) from error
    # Accepted connections inherit it; asyncio sets it only on sockets that it creates. Without it,
    # head and body of an answer on a kept connection wait 40 ms for each other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    """Accepts connections within bounds, and leaves the process's signals alone.

    A requested stop is then not a failure.
    """

    def __init__(
        self, config: uvicorn.Config, when_to_stop: StopListener, bounds: Bounds, context: Context
    ) -> None:
        super().__init__(config)
        self._when_to_stop = when_to_stop
        self._table = ConnectionTable(bounds.connections)
        make_protocol = partial(BoundedProtocol, config, self.server_state, bounds, self._table)
        self._acceptor = Acceptor(make_protocol, context, bounds, self._table)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing: the caller handles signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting."""
        if not sockets:
            raise ValueError("there is no socket to accept from")
        (listener,) = sockets
        listener.setblocking(False)  # noqa: FBT003 - the library's
        self._accepting = asyncio.create_task(self._acceptor.accept_from(listener))
        self.started = True

    async def main_loop(self) -> None:
        """Wait until it is time to stop, without waking up before.

        Uvicorn's own loop wakes up ten times a second: about twenty times the cost of watching.
        """
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has already ended
                loop.call_soon_threadsafe(stop.set)

        self._when_to_stop(wake)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, self._accepting}, return_when=asyncio.FIRST_COMPLETED)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, and let answers finish if they do not take long."""
        self._accepting.cancel()
        with suppress(asyncio.CancelledError):
            await self._accepting
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        self._table.close(Claim.IDLE)
        deadline = asyncio.get_running_loop().time() + _STOP_SECONDS
        while (  # noqa: ASYNC110 - it is over soon
            len(self._table) and asyncio.get_running_loop().time() < deadline
        ):
            await asyncio.sleep(_STOP_POLL_SECONDS)
        self._table.close(Claim.ANSWERING)
        await asyncio.sleep(_STOP_POLL_SECONDS)  # until the sockets are closed


def serve_until(
    when_to_stop: StopListener,
    app: Starlette,
    listener: socket.socket,
    bounds: Bounds,
    context: Context = lambda: None,
) -> None:
    """Serve until it is time to stop; open connections get two seconds to finish.

    ``when_to_stop`` receives a function to call then, from any thread; ``context`` returns the
    context of the next TLS handshake, None if connections are plain.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        server_header=False,
        date_header=False,  # updated by Uvicorn's loop, which does not run; the pages add it
        proxy_headers=False,
        h11_max_incomplete_event_size=bounds.header_bytes,
    )
    _Server(config, when_to_stop, bounds, context).run(sockets=[listener])
