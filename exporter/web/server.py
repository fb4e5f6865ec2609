"""The HTTP server: binding an address, serving, stopping in time."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from exporter.errors import OutputError
from exporter.quantities import ListenAddress

_STOP_SECONDS = 2
_BACKLOG = 128


def bind(address: ListenAddress) -> socket.socket:
    """Bind and listen; an empty host means all interfaces, IPv4 and IPv6.

    Raises OutputError where that is not possible.
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
    # Accepted connections inherit it; asyncio sets it only where it made the socket itself. Without
    # it, head and body of an answer on a kept connection wait 40 ms for each other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, so that a stop that was asked for is no failure."""

    def __init__(self, config: uvicorn.Config, should_stop: Callable[[], bool]) -> None:
        super().__init__(config)
        self._should_stop = should_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing; the caller does."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Tell, ten times a second, whether to stop."""
        return self._should_stop() or await super().on_tick(counter)


def serve_until(app: Starlette, listener: socket.socket, should_stop: Callable[[], bool]) -> None:
    """Serve until ``should_stop`` says so; open connections get two seconds to finish."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        http="h11",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    _Server(config, should_stop).run(sockets=[listener])
