"""The refreshes of ``serve``, run step by step in this process.

Knows the exporter's internals, as :mod:`benchmarks.restless` and :mod:`benchmarks.analysis` do. All
other modules run the exporter as its users do.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from exporter.analysis.analyst import Analyst
from exporter.analysis.kept_figures import FiguresCodec
from exporter.domain.snapshot import Snapshot
from exporter.metrics.exposition import OPENMETRICS, Exposition
from exporter.metrics.metric import Subject
from exporter.serve.publisher import Publisher
from exporter.serve.refresh import StoreRefresher
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.follower import FilesystemFollower

SETTLED_SECONDS = 0.2
"""Files unchanged for this long are trusted here; ``serve`` waits for 5 seconds."""

_EVENT_SECONDS = 5.0
_NEVER = 86400.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Time that a piece of work took.

    Attributes:
        seconds: wall time.
        cpu_seconds: processor time of all threads.

    """

    seconds: float
    cpu_seconds: float


class _Unheard:
    """Ignores reports about watching."""

    def record_watches(self, watches: int, *, is_whole: bool) -> None:
        pass

    def record_overflow(self) -> None:
        pass


class Refreshing:
    """The store's loop of ``serve``: each step scans, analyses, publishes and renders."""

    def __init__(self, root: Path, *, watch: bool = False) -> None:
        exposition = Exposition(Subject(Snapshot()))
        exposition.page(OPENMETRICS, gzip=True)  # from now on it renders what is published
        self._publisher = Publisher(exposition.publish)
        options = FollowOptions(
            interval=_NEVER,
            watching=_Unheard() if watch else None,
            settled_seconds=SETTLED_SECONDS,  # short, so that rounds are not mostly waiting
        )
        self._follower = FilesystemFollower(root, options, FiguresCodec(2))
        analyst, stop = Analyst(), threading.Event()
        self._refresher = StoreRefresher(self._follower, analyst, self._publisher, stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.close()

    def sweep(self) -> Cost:
        """Look everywhere; the first time, read everything."""
        self._follower.sweep_is_due()
        return self._refresh()

    @property
    def published(self) -> object:
        """The reading of the store; the same object as long as nothing has changed."""
        return self._publisher.snapshot.store

    def settle(self) -> None:
        """Wait until recently written files can be trusted, and read them."""
        time.sleep(2 * SETTLED_SECONDS)
        self.sweep()

    def woken(self) -> Cost:
        """Wait for events, and look where they came from."""
        self._follower.wait(_EVENT_SECONDS)
        return self._refresh()

    def _refresh(self) -> Cost:
        wall, processor = time.perf_counter(), time.process_time()
        self._refresher.refresh()
        return Cost(time.perf_counter() - wall, time.process_time() - processor)
