"""Places that may have changed, handed from whoever notices to the loop that looks."""

import threading
import time

from exporter.store.filesystem.rescan.scan_memory import Places

QUIET_SECONDS = 0.5
"""So long nothing more must come before what came is handed over: a push is many changes."""

LONGEST_SECONDS = 2.0
"""What has come waits no longer, however much more comes."""


class Changes:
    """Collects places; may be used from several threads."""

    def __init__(
        self, quiet_seconds: float = QUIET_SECONDS, longest_seconds: float = LONGEST_SECONDS
    ) -> None:
        self._quiet = quiet_seconds
        self._longest = longest_seconds
        self._condition = threading.Condition()
        self._places = Places()
        self._first_at: float | None = None
        self._last_at = 0.0
        self._is_closed = False

    def note(self, places: Places) -> None:
        """Take in places."""
        with self._condition:
            self._places |= places
            self._last_at = time.monotonic()
            if self._first_at is None:
                self._first_at = self._last_at
                self._condition.notify_all()

    def take(self) -> Places:
        """Give what came since the last time."""
        with self._condition:
            places, self._places, self._first_at = self._places, Places(), None
            return places

    def wait(self, seconds: float) -> None:
        """Wait until places should be looked at, at most so long.

        Changes that go on and on are handed over now and then.
        """
        end = time.monotonic() + seconds
        with self._condition:
            while not self._is_closed:
                due = end
                if self._first_at is not None:
                    quiet_at = self._last_at + self._quiet
                    due = min(end, quiet_at, self._first_at + self._longest)
                remaining = due - time.monotonic()
                if remaining <= 0:
                    return
                self._condition.wait(remaining)

    def close(self) -> None:
        """End all waiting, now and later."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()
