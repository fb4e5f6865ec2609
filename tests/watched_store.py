"""A watched store, with the changes that the watcher notices."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.domain.model import Inventory
from exporter.store.filesystem.rescan.change_queue import Changes
from exporter.store.filesystem.rescan.scan_memory import Places
from exporter.store.filesystem.rescan.watcher import Watcher
from exporter.store.filesystem.scanner import scan_store


class Listener:
    """Remembers the reports of the watcher."""

    def __init__(self) -> None:
        self.watches = -1
        self.is_whole: bool | None = None
        self.overflows = 0

    def record_watches(self, watches: int, *, is_whole: bool) -> None:
        self.watches, self.is_whole = watches, is_whole

    def record_overflow(self) -> None:
        self.overflows += 1


class Watched:
    """A watched store, with the changes that the watcher notices."""

    def __init__(self, root: Path, max_watches: int = 1000) -> None:
        self.root = root
        self.listener = Listener()
        self.changes = Changes(quiet_seconds=0.05, longest_seconds=0.5)
        self.watcher = Watcher(root, self.changes, self.listener, max_watches)

    def follow(self, inventory: Inventory | None = None) -> Places:
        """Watch the present directories."""
        return self.watcher.follow(inventory or scan_store(self.root))

    def noticed(self) -> Places:
        """Return the changes that are noticed within a second."""
        self.changes.wait(1.0)
        return self.changes.take()


@contextmanager
def watched(root: Path, max_watches: int = 1000) -> Iterator[Watched]:
    each = Watched(root, max_watches)
    try:
        yield each
    finally:
        each.watcher.stop()
