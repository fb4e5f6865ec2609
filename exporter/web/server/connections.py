"""Which connections are open, and which one goes where there are too many."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import itemgetter
from typing import Protocol

from exporter.support.logs import fields

_log = logging.getLogger(__name__)

_SAY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much clients may take.

    Attributes:
        connections: open at the same time.
        request_seconds: from when a request may come until its head, or the rest of it, has.
        response_seconds: until the client has taken the whole answer.
        header_bytes: of a request's head, and of a body that nobody asked for.

    """

    connections: int
    request_seconds: float
    response_seconds: float
    header_bytes: int


class Claim(IntEnum):
    """How good a connection's claim to its place is, the least first."""

    NONE = 0
    """Nothing whole has come on it yet."""
    IDLE = 1
    """It has asked something before."""
    ANSWERING = 2
    """A whole request has come, and its answer is not yet taken."""


class Connection(Protocol):
    """One of them."""

    @property
    def claim(self) -> Claim:
        """How good its claim is now."""

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""


class ConnectionTable:
    """The open connections, the oldest first.

    A new one is always let in: where all places are taken, of those with the least claim the oldest
    goes. So whoever opens many and asks nothing shuts nobody out.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._open: dict[Connection, None] = {}
        self._closed = 0
        self._say_again_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection) -> None:
        """Take a new one in."""
        if len(self._open) >= self._most:
            self.make_room(
                f"all {self._most} connections are in use: the oldest idle ones are closed; "
                "see --web.max-connections"
            )
        self._open[connection] = None

    def replace(self, connection: Connection, successor: Connection) -> None:
        """Take note of what one has become; it is closed where that has been decided already."""
        if connection in self._open:
            del self._open[connection]
            self._open[successor] = None
        else:
            successor.abort()

    def leave(self, connection: Connection) -> None:
        """Take note that one is closed."""
        self._open.pop(connection, None)

    def close(self, up_to: Claim) -> None:
        """Close those whose claim is no better."""
        for each in list(self._open):
            if each.claim <= up_to:
                each.abort()

    def make_room(self, reason: str, up_to: Claim = Claim.ANSWERING) -> None:
        """Close one whose claim is no better, if there is any; the log tells why once a minute."""
        claims = ((each.claim, each) for each in self._open)
        worst = min((each for each in claims if each[0] <= up_to), key=itemgetter(0), default=None)
        if worst is not None:
            del self._open[worst[1]]
            worst[1].abort()
            self._closed += 1
        if self._clock() >= self._say_again_at:
            self._say_again_at = self._clock() + _SAY_SECONDS
            _log.warning(reason, extra=fields(closed=self._closed))
            self._closed = 0
