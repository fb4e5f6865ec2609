"""Accept connections, and run TLS handshakes, within bounds."""

import asyncio
import errno
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from functools import partial

from exporter.domain.errors import remedy_for
from exporter.web.server.connections import Bounds, Claim, Connection, ConnectionTable

_log = logging.getLogger(__name__)

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_OURS = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}
_RETRY_SECONDS = 0.1
_Begin = Callable[[socket.socket, Connection], Awaitable[None]]
_TLS_SHUTDOWN_SECONDS = 1.0

TLS_BUFFER_BYTES = 16 * 1024
"""Of each TLS connection: the default of 256 KiB is for those that receive much."""
sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES


class Acceptor:
    """Accepts connections until it is cancelled."""

    def __init__(
        self,
        make_protocol: Callable[[Connection], asyncio.Protocol],
        context: Callable[[], ssl.SSLContext | None],
        bounds: Bounds,
        table: ConnectionTable,
    ) -> None:
        """Prepare it.

        ``make_protocol`` receives the entry of the connection in ``table``, which its protocol
        replaces; ``context`` returns the context of the next handshake, None without TLS.
        """
        self._make_protocol = make_protocol
        self._context = context
        self._bounds = bounds
        self._table = table

    async def accept_from(self, listener: socket.socket) -> None:
        """Accept connections from a non-blocking listening socket."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connected, _ = await loop.sock_accept(listener)
            except OSError as error:
                if error.errno in _OURS:
                    raise
                if error.errno in _EXHAUSTED:
                    remedy = remedy_for(error, "free some memory")
                    reason = f"no connection can be accepted: {error.strerror}; {remedy}"
                    self._table.make_room(reason, Claim.NONE)
                    await asyncio.sleep(_RETRY_SECONDS)
                continue  # otherwise that connection has already failed
            _Pending(connected, self._table).start(self._begin)

    async def _begin(self, connected: socket.socket, pending: Connection) -> None:
        """Hand a connection over to its protocol, after its TLS handshake if there is one."""
        loop = asyncio.get_running_loop()
        make_protocol = partial(self._make_protocol, pending)
        context = self._context()
        try:
            if context is None:
                await loop.connect_accepted_socket(make_protocol, connected)
            else:
                await loop.connect_accepted_socket(
                    make_protocol,
                    connected,
                    ssl=context,
                    ssl_handshake_timeout=self._bounds.request_seconds,
                    ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
                )
        except OSError as error:  # a handshake failed or took too long, which is the client's fault
            _log.debug("no connection: %s", error)


class _Pending:
    """An accepted connection without a protocol, because its handshake is not finished."""

    claim = Claim.NONE

    def __init__(self, connected: socket.socket, table: ConnectionTable) -> None:
        self._connected = connected
        self._table = table
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False

    def start(self, begin: _Begin) -> None:
        """Start it, and keep it in the table until it is finished."""
        self._table.enter(self)
        self._task = asyncio.get_running_loop().create_task(self._run(begin))
        self._task.add_done_callback(self._end)

    def abort(self) -> None:
        """Close it immediately."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self, begin: _Begin) -> None:
        self._has_begun = True  # from here on a transport closes the socket
        await begin(self._connected, self)

    def _end(self, _: "asyncio.Task[None]") -> None:
        self._table.leave(self)
        if not self._has_begun:
            self._connected.close()
