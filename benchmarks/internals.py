"""What knows the exporter's insides, with :mod:`benchmarks.restless`.

Everything else runs the exporter as its users do.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from exporter.domain.snapshot import Snapshot
from exporter.metrics.exposition import OPENMETRICS, Exposition
from exporter.metrics.metric import Subject
from exporter.serve.publisher import SnapshotBoard
from exporter.serve.refresh import StoreRefresher
from exporter.store.filesystem.rescan.change_queue import Changes
from exporter.store.filesystem.rescan.scan_memory import StoreMemory
from exporter.store.filesystem.rescan.watcher import Watcher

SETTLED_SECONDS = 0.2
"""What has been still for so long is relied on here; ``serve`` waits for 5 seconds."""

_EVENT_SECONDS = 5.0
_NEVER = 86400.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: wall time.
        cpu_seconds: processor time, all threads.

    """

    seconds: float
    cpu_seconds: float


class _Refresher(StoreRefresher):
    """Relies on what it has read sooner, so that rounds are not mostly waiting."""

    def __init__(
        self, root: Path, board: SnapshotBoard, watch: Callable[[Changes], Watcher] | None
    ) -> None:
        super().__init__(root, board, threading.Event(), interval=_NEVER, watch=watch)
        self._memory = StoreMemory(settled_seconds=SETTLED_SECONDS)

    def sweep_is_due(self) -> None:
        """Let the next refresh look everywhere."""
        self._sweep_at = 0.0


class _Unheard:
    """Takes in how watching goes, for nobody."""

    def tell(self, watches: int, *, is_whole: bool) -> None:
        pass

    def overflowed(self) -> None:
        pass


class Refreshing:
    """The store's loop of ``serve``, step by step: each scans, analyses, publishes and renders."""

    def __init__(self, root: Path, *, watch: bool = False) -> None:
        exposition = Exposition(Subject(Snapshot()))
        exposition.page(OPENMETRICS, gzip=True)  # from now on it renders what is published
        self._board = SnapshotBoard(exposition.publish)
        listener = _Unheard()
        watcher = partial(Watcher, root, listener=listener) if watch else None
        self._refresher = _Refresher(root, self._board, watcher)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._refresher.close()

    def sweep(self) -> Cost:
        """Look everywhere; the first time, read everything."""
        self._refresher.sweep_is_due()
        return self._refresh()

    @property
    def published(self) -> object:
        """What was read; the same object as long as nothing has changed."""
        return self._board.snapshot.store

    def settle(self) -> None:
        """Wait until what was written lately can be relied on, and take it in."""
        time.sleep(2 * SETTLED_SECONDS)
        self.sweep()

    def woken(self) -> Cost:
        """Wait for events, and look where they came from."""
        self._refresher.pause(_EVENT_SECONDS)
        return self._refresh()

    def _refresh(self) -> Cost:
        wall, processor = time.perf_counter(), time.process_time()
        self._refresher.refresh()
        return Cost(time.perf_counter() - wall, time.process_time() - processor)
