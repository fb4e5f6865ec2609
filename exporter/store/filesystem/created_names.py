"""Which entries were created in one directory, also if they are gone again: by inotify.

Only Linux has it, and only for what this host's processes do: on a network filesystem, what other
hosts do stays unseen. Without it, nothing is reported as created.
"""

import ctypes
import os
import struct
from collections.abc import Set as AbstractSet
from contextlib import suppress

_NONBLOCKING = os.O_NONBLOCK | os.O_CLOEXEC
_IN_CREATE, _IN_MOVED_TO = 0x100, 0x80
_EVENT = struct.Struct("iIII")  # inotify(7): watch, mask, cookie, length of the name
_BUFFER_BYTES = 64 * 1024


class CreatedNames:
    """Watches one directory at a time; close it at the end."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watched: tuple[int, int] | None = None
        self._queue: int | None = None

    def since_last_call(self, directory: int) -> AbstractSet[str]:
        """Return the names that were created in an open directory since the last call for it.

        Nothing if another directory was asked for in between, or if this is the first call.
        """
        status = os.fstat(directory)
        watched = status.st_dev, status.st_ino
        if watched == self._watched and self._queue is not None:
            return self._read(self._queue)
        self.close()
        with suppress(AttributeError):  # another system
            self._queue = self._watch(directory)
            self._watched = watched
        return frozenset()

    def close(self) -> None:
        """Stop watching."""
        if self._queue is not None:
            os.close(self._queue)
        self._queue = self._watched = None

    def _watch(self, directory: int) -> int | None:
        """Return the descriptor of a queue of events; None if the system has no more of them."""
        queue = int(self._libc.inotify_init1(_NONBLOCKING))
        if queue < 0:
            return None
        path = f"/proc/self/fd/{directory}".encode()
        if self._libc.inotify_add_watch(queue, path, _IN_CREATE | _IN_MOVED_TO) < 0:
            os.close(queue)
            return None
        return queue

    def _read(self, queue: int) -> AbstractSet[str]:
        found: set[str] = set()
        while True:
            try:
                events = os.read(queue, _BUFFER_BYTES)
            except BlockingIOError:
                return found
            place = 0
            while place < len(events):
                *_, length = _EVENT.unpack_from(events, place)
                place += _EVENT.size
                found.add(os.fsdecode(events[place : place + length].rstrip(b"\0")))
                place += length
