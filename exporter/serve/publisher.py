"""The current snapshot, replaced by one reference swap and published each time."""

import threading
from collections.abc import Callable

from exporter.domain.snapshot import Snapshot


class Publisher:
    """Holds the current snapshot; any thread may replace it."""

    def __init__(self, publish: Callable[[Snapshot], None]) -> None:
        """Start with an empty snapshot; ``publish`` is called with each new one."""
        self._publish = publish
        self._lock = threading.Lock()
        self._snapshot = Snapshot()

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was published last."""
        return self._snapshot

    def update(self, change: Callable[[Snapshot], Snapshot]) -> None:
        """Publish what ``change`` makes of the current snapshot, unless that is the same one."""
        with self._lock:
            snapshot = change(self._snapshot)
            if snapshot is not self._snapshot:
                self._publish(snapshot)
                self._snapshot = snapshot
