"""Which entries were created or written in one directory, also if they are gone: by inotify.

Only Linux has it, and only for what this host's processes do: on a network filesystem, what other
hosts do stays unseen. Without it, nothing is reported.
"""

import ctypes
import os
import struct
from collections.abc import Set as AbstractSet
from contextlib import suppress

_NONBLOCKING = os.O_NONBLOCK | os.O_CLOEXEC
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE = 0x2, 0x80, 0x100
_EVENT = struct.Struct("iIII")  # inotify(7): watch, mask, cookie, length of the name
_BUFFER_BYTES = 64 * 1024

CREATED = _IN_CREATE | _IN_MOVED_TO
WRITTEN = CREATED | _IN_MODIFY
"""Version 2 of the registry writes a link in place, version 3 renames a new file over it."""


class CreatedNames:
    """Watches one directory at a time for ``events``; close it at the end."""

    def __init__(self, events: int = CREATED) -> None:
        self._events = events
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._watched: tuple[int, int] | None = None
        self._queue: int | None = None
        self._watch = -1

    def since_last_call(self, directory: int) -> AbstractSet[str]:
        """Return the names that were created in an open directory since the last call for it.

        Nothing if another directory was asked for in between, or if this is the first call.
        """
        status = os.fstat(directory)
        watched = status.st_dev, status.st_ino
        if watched == self._watched and self._queue is not None:
            return self._read(self._queue)
        with suppress(AttributeError):  # another system
            self._change(directory)
            self._watched = watched
        return frozenset()

    def close(self) -> None:
        """Stop watching."""
        if self._queue is not None:
            os.close(self._queue)
        self._queue = self._watched = None
        self._watch = -1

    def _change(self, directory: int) -> None:
        """Watch a directory instead; close the queue if the system cannot watch more of them.

        The queue is kept: to close one takes the kernel up to some hundredths of a second.
        """
        if self._queue is None:
            queue = int(self._libc.inotify_init1(_NONBLOCKING))
            if queue < 0:
                return
            self._queue = queue
        if self._watch >= 0:
            self._libc.inotify_rm_watch(self._queue, self._watch)
            self._read(self._queue)
        path = f"/proc/self/fd/{directory}".encode()
        self._watch = int(self._libc.inotify_add_watch(self._queue, path, self._events))
        if self._watch < 0:
            self.close()

    def _read(self, queue: int) -> AbstractSet[str]:
        found: set[str] = set()
        while True:
            try:
                events = os.read(queue, _BUFFER_BYTES)
            except BlockingIOError:
                return found
            place = 0
            while place < len(events):
                watch, _, _, length = _EVENT.unpack_from(events, place)
                place += _EVENT.size
                if watch == self._watch:  # else of a directory that was watched before
                    found.add(os.fsdecode(events[place : place + length].rstrip(b"\0")))
                place += length
