"""Queue of places that may have changed, from the watcher to the loop that scans."""

import threading
import time

from exporter.store.filesystem.rescan.scan_memory import Places

QUIET_SECONDS = 0.5
"""Changes are handed over once none has come for this long: a push is many changes."""

LONGEST_SECONDS = 2.0
"""A change waits no longer than this, even if more keep coming."""


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
        """Record places."""
        with self._condition:
            self._places |= places
            self._last_at = time.monotonic()
            if self._first_at is None:
                self._first_at = self._last_at
                self._condition.notify_all()

    def take(self) -> Places:
        """Return and clear the collected places."""
        with self._condition:
            places, self._places, self._first_at = self._places, Places(), None
            return places

    def wait(self, seconds: float) -> None:
        """Wait until places should be looked at, for ``seconds`` at most.

        If changes never stop, they are handed over now and then.
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
