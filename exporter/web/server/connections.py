"""What a slow client may do: limits, and which connection is closed if there are too many."""

import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from operator import itemgetter
from typing import Protocol

from exporter.support.logs import fields

_log = logging.getLogger(__name__)

_SAY_SECONDS = 60.0
_OTHER_FILES = 128
"""Files and directories that are open at the same time while the store is scanned and watched."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits for clients.

    Attributes:
        connections: how many may be open at the same time.
        request_seconds: time for a request to arrive completely.
        response_seconds: time for a client to read the whole answer.
        header_bytes: size of a request's head, and of an unexpected body.

    """

    connections: int
    request_seconds: float
    response_seconds: float
    header_bytes: int


def most_connections(wanted: int) -> int:
    """Return how many connections to allow: never so many that no file could be opened."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or wanted <= limit - _OTHER_FILES:
        return wanted
    most = max(limit - _OTHER_FILES, 1)
    _log.warning(
        "no more than %d connections at a time, as a process may open %d files (ulimit -n): "
        "raise that, or lower --web.max-connections",
        most,
        limit,
    )
    return most


class Claim(IntEnum):
    """How strong a connection's claim to its place is, weakest first."""

    NONE = 0
    """No complete request has come yet."""
    IDLE = 1
    """It has sent requests before."""
    ANSWERING = 2
    """A complete request has come, and its answer has not been read."""


class Connection(Protocol):
    """An open connection."""

    @property
    def claim(self) -> Claim:
        """How strong its claim is now."""

    def abort(self) -> None:
        """Close it immediately, without sending the rest."""


class ConnectionTable:
    """The open connections, oldest first.

    A new connection is always accepted: if all places are taken, the oldest one with the weakest
    claim is closed. So a client that opens many idle connections shuts nobody out.
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
        """Add a connection, closing another one if all places are taken."""
        if len(self._open) >= self._most:
            self.make_room(
                f"all {self._most} connections are in use: the oldest idle ones are closed; "
                "see --web.max-connections"
            )
        self._open[connection] = None

    def replace(self, connection: Connection, successor: Connection) -> None:
        """Replace one by its successor, which is closed if the connection was already closed."""
        if connection in self._open:
            del self._open[connection]
            self._open[successor] = None
        else:
            successor.abort()

    def leave(self, connection: Connection) -> None:
        """Record that one is closed."""
        self._open.pop(connection, None)

    def close(self, up_to: Claim) -> None:
        """Close those whose claim is at most ``up_to``."""
        for each in list(self._open):
            if each.claim <= up_to:
                each.abort()

    def make_room(self, reason: str, up_to: Claim = Claim.ANSWERING) -> None:
        """Close one whose claim is at most ``up_to``, if any; log the reason once a minute."""
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
