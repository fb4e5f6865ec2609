"""Take a census of the store's disk now and then, and publish it, in one job of a loop."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from exporter.analysis.analyst import Analyst
from exporter.domain.errors import ScanCancelledError
from exporter.serve.census_file import CensusFile
from exporter.serve.loop import Job
from exporter.serve.publisher import Publisher
from exporter.store.port import CensusControl, Store
from exporter.support.logs import fields
from exporter.support.thread_priority import lower_priority

_log = logging.getLogger(__name__)

MAX_OPS_PER_SECOND = 1000
"""A million files and directories take 17 minutes, and the disk is left to others meanwhile."""
_LOOK_SECONDS = 1.0
"""Time between two looks at whether the first scan is done."""
_LONGEST_WAIT_SECONDS = 3600.0
"""The clock may be set, or stand still while the host sleeps."""


@dataclass(frozen=True, slots=True)
class CensusPlan:
    """When a census is taken, and how fast.

    Attributes:
        interval: seconds between two.
        max_ops_per_second: limit on what it reads.

    """

    interval: float
    max_ops_per_second: int = MAX_OPS_PER_SECOND


class CensusTaker(Job):
    """Takes a census when one is due, and keeps it over a restart.

    It waits for the first scan: that the store is one, and readable, is certain then, and the
    first figures come sooner.
    """

    def __init__(
        self,
        store: Store,
        file: CensusFile,
        analyst: Analyst,
        publisher: Publisher,
        plan: CensusPlan,
        stop: threading.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take it until ``stop``; ``clock`` returns Unix seconds."""
        super().__init__(self.take_if_due)
        self._store = store
        self._file = file
        self._analyst = analyst
        self._publisher = publisher
        self._plan = plan
        self._stop = stop
        self._clock = clock
        self._last_at: float | None = None
        self._has_failed = False

    def prepare(self) -> None:
        """Lower this thread's priority, and publish the kept census."""
        lower_priority()
        census = self._file.load()
        if census is not None:
            self._last_at = census.taken_at
            self._publisher.update(lambda last: self._analyst.with_census(last, census))

    @property
    def due_in(self) -> float:
        """Seconds until the next census is due; 0 also if the last one is in the future."""
        age = -1.0 if self._last_at is None else self._clock() - self._last_at
        return 0.0 if age < 0 else max(self._plan.interval - age, 0.0)

    def take_if_due(self) -> None:
        """Take a census if one is due. Raises as :meth:`exporter.store.port.Store.census` does."""
        self._has_failed = False
        if self.due_in > 0 or not self._publisher.snapshot.scan.succeeded:
            return
        control = CensusControl(
            should_stop=self._stop.is_set, max_ops_per_second=self._plan.max_ops_per_second
        )
        census = self._store.census(control)
        self._last_at = self._clock()
        if census is None:
            return
        self._publisher.update(lambda last: self._analyst.with_census(last, census))
        self._file.save(census)
        details = fields(
            inodes=census.total.inodes,
            allocated_bytes=census.total.allocated_bytes,
            unread=census.unread,
            duration_seconds=census.duration_seconds,
        )
        _log.info("took a census of the disk", extra=details)

    def record_failure(self, error: Exception) -> None:
        """Remember it; the last census stays."""
        self._has_failed = not isinstance(error, ScanCancelledError)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait until the next census is due; after a failure, for ``seconds``."""
        if not self._has_failed:
            seconds = min(max(self.due_in, _LOOK_SECONDS), _LONGEST_WAIT_SECONDS)
        stop.wait(seconds)
