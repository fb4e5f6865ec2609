"""Running the exporter: start the loops, serve, and stop everything in time."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from starlette.applications import Starlette

from exporter import __version__
from exporter.serve.loop import Loop
from exporter.store.port import Store
from exporter.support.logs import fields
from exporter.support.quantities import ListenAddress
from exporter.support.stop_signals import StopWish
from exporter.web.access.policy import Access
from exporter.web.server.connections import Bounds
from exporter.web.server.http_server import bind, serve_until

_log = logging.getLogger(__name__)

_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Service:
    """What is to run.

    Attributes:
        store: what is scanned.
        loops: the background loops, in the order in which they start.
        stop: set to end the loops.
        wake: ends the waiting of those loops that wait for something else than ``stop``.
        app: answers requests.
        listener: the socket that they come from.
        bounds: limits for clients.
        access: TLS and users.

    """

    store: Store
    loops: Sequence[Loop]
    stop: threading.Event
    wake: Callable[[], None]
    app: Starlette
    listener: socket.socket
    bounds: Bounds
    access: Access


def listen(address: ListenAddress) -> socket.socket:
    """Bind and listen, and log the address. Raises OutputError if it cannot be bound."""
    listener = bind(address)
    bound = replace(address, port=listener.getsockname()[1])
    _log.info("listening", extra=fields(address=bound, version=__version__))
    return listener


def run(service: Service, wish: StopWish) -> None:
    """Serve until ``wish`` comes; stop within a few seconds."""
    for loop in service.loops:
        loop.start()
    # in a thread of its own, because a mount that hangs would hold up the start
    warn = threading.Thread(target=_warn_of_rights, args=(service.store,), daemon=True)
    warn.start()
    try:
        access = service.access
        serve_until(wish.then, service.app, service.listener, service.bounds, access.context)
    finally:
        service.stop.set()
        service.access.close()
        service.wake()
        _stop(service.loops)


def _warn_of_rights(store: Store) -> None:
    for warning in store.excess_rights():
        _log.warning(warning)


def _stop(loops: Sequence[Loop]) -> None:
    """Wait for the loops to end; what hangs in a system call is left to the process's end."""
    deadline = time.monotonic() + _STOP_SECONDS
    loops_ended = _join(loops, deadline)
    # threads of the scan's pool outlive its loop, and would keep the interpreter from ending
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    others_ended = _join(others, deadline)
    _log.info("stopped")
    if not (loops_ended and others_ended):
        logging.shutdown()
        os._exit(0)


def _join(threads: Sequence[threading.Thread], deadline: float) -> bool:
    """Wait for threads until ``deadline`` (monotonic seconds); return whether all have ended."""
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)
