"""Record what is published in the history, in one job of a loop of its own."""

import logging
import threading
import time
from collections.abc import Callable

from exporter.domain.errors import HistoryUnusableError
from exporter.domain.text import printable
from exporter.history.points import store_point_of
from exporter.history.recorder import HistoryFile
from exporter.serve.loop import Job
from exporter.serve.publisher import Publisher
from exporter.store.port import Store
from exporter.support.logs import ProblemLog
from exporter.support.thread_priority import lower_priority

_log = logging.getLogger(__name__)

RECORD_SECONDS = 60.0
"""As often as Prometheus usually scrapes: the estimate of when the disk is full needs that."""
_LOOK_SECONDS = 1.0
"""Time between two looks at whether the first scan is done."""


class HistoryRecorder(Job):
    """Records the published snapshot once a minute, and before the end."""

    def __init__(
        self,
        file: HistoryFile,
        store: Store,
        publisher: Publisher,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Record in ``file`` what ``publisher`` has; ``clock`` returns Unix seconds."""
        super().__init__(self.record)
        self._file = file
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._name = f"the history {printable(str(file.path))}"
        self._problem = ProblemLog(_log, f"{self._name} can be written again")
        self._has_begun = False

    def prepare(self) -> None:
        """Lower this thread's priority: threads that answer requests come first."""
        lower_priority()

    def record(self) -> None:
        """Record what is published now; a failure is logged."""
        snapshot = self._publisher.snapshot
        point = store_point_of(snapshot, self._clock())
        if point is None or snapshot.store is None or self._store.holds(self._file.path):
            return  # the log says at the start that the place of the cache is in the store
        self._has_begun = True
        try:
            self._file.record(point, snapshot.store.figures.repositories)
        except HistoryUnusableError as error:
            self._problem.record(f"{self._name} is not kept: {error}")
        else:
            self._problem.end()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait until it is time to record again."""
        stop.wait(seconds if self._has_begun else _LOOK_SECONDS)

    def finish(self) -> None:
        """Record what is new since the last time."""
        self.record()
        self._file.close()
