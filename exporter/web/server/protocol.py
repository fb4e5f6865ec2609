"""HTTP/1.1 with one client: Uvicorn's protocol with limits of time and memory."""

import asyncio
import logging
from enum import Enum, auto

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web.server.connections import Bounds, Claim, Connection, ConnectionTable

# Uvicorn warns about each malformed request: strangers must not fill the log.
_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)

_WRITE_BUFFER_BYTES = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 50\r\nConnection: close\r\n\r\n"
    b"the request's head is too large; send less of it.\n"
)


class _Phase(Enum):
    """What the connection waits for, with its own deadline."""

    REQUEST = auto()
    ANSWER = auto()
    NOTHING = auto()


class BoundedProtocol(H11Protocol):
    """One connection; it is closed if its client takes more time or memory than allowed.

    There is one deadline at a time: for a request's head, or for the rest of a request that was
    already answered; then for the answer, until the client has read all of it. Between requests
    Uvicorn's keep-alive timeout applies. Sending slowly, byte by byte, gets no extra time.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        bounds: Bounds,
        table: ConnectionTable,
        pending: Connection,
    ) -> None:
        """Prepare it; ``pending`` is its entry in ``table`` until the connection is made."""
        super().__init__(config, server_state, {})
        self.logger = _log
        self._bounds = bounds
        self._table = table
        self._pending = pending
        self._phase = _Phase.NOTHING
        self._answered: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._unasked_bytes = 0

    @property
    def claim(self) -> Claim:
        """How strong its claim to its place is now."""
        if self._is_busy or self.transport.get_write_buffer_size() > 0:
            return Claim.ANSWERING
        return Claim.NONE if self._answered is None else Claim.IDLE

    def abort(self) -> None:
        """Close it immediately, without sending the rest."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(_WRITE_BUFFER_BYTES)
        self._enter(_Phase.REQUEST)
        self._table.replace(self._pending, self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the table."""
        self._table.leave(self)
        self._enter(_Phase.NOTHING)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process received data, unless it is too much."""
        if self._is_head_too_large(data):
            self.transport.write(_TOO_LARGE)
            self.transport.close()
            return
        if self._has_unasked_body:
            self._unasked_bytes += len(data)
            if self._unasked_bytes > self._bounds.header_bytes:
                self.abort()
                return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Continue with the next request, if the client has already sent it."""
        super().on_response_complete()
        self._unasked_bytes = 0
        self._look(is_request_expected=self._has_unasked_body)

    def send_400_response(self, msg: str) -> None:
        """Answer a malformed request, unless another one is being answered."""
        if self.conn.our_state is h11.IDLE:
            super().send_400_response(msg)
            return
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.abort()

    @property
    def _is_busy(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    @property
    def _has_unasked_body(self) -> bool:
        """Whether the rest of an answered request is still coming."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            cycle is not None and cycle.response_complete and self.conn.their_state is h11.SEND_BODY
        )

    def _is_head_too_large(self, data: bytes) -> bool:
        most = self._bounds.header_bytes
        if self.conn.their_state is not h11.IDLE:
            return False
        buffered, _ = self.conn.trailing_data
        return len(buffered) + len(data) > most and _HEAD_END not in (buffered + data)[:most]

    def _look(self, *, is_request_expected: bool = True) -> None:
        """Update the phase."""
        if self._is_busy:
            if self._phase is not _Phase.ANSWER or self._answered is not self.cycle:
                self._answered = self.cycle
                self._enter(_Phase.ANSWER)
        elif is_request_expected:
            if self._phase is not _Phase.REQUEST:
                self._enter(_Phase.REQUEST)
        elif not self.transport.get_write_buffer_size():
            self._enter(_Phase.NOTHING)

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if phase is _Phase.REQUEST:
            self._timer = self.loop.call_later(self._bounds.request_seconds, self.abort)
        elif phase is _Phase.ANSWER:
            self._timer = self.loop.call_later(self._bounds.response_seconds, self._end_answer)

    def _end_answer(self) -> None:
        if self.claim is Claim.ANSWERING:
            self.abort()
        else:  # the client read the rest after it was written
            self._enter(_Phase.NOTHING)
