"""Background loops: each runs one job again and again, whatever goes wrong."""

import logging
import threading
import time
from collections.abc import Callable

from exporter.domain.errors import ExporterError, ScanCancelledError
from exporter.support.logs import ProblemLog

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
_SHORTEST_PAUSE_SECONDS = 0.1


class Job:
    """What a loop does again and again; subclasses override what they need around it."""

    def __init__(self, action: Callable[[], None]) -> None:
        """Run ``action`` each time."""
        self._action = action

    def prepare(self) -> None:
        """Run once in the loop's thread, before the first time."""

    def run(self) -> None:
        """Do it once."""
        self._action()

    def record_failure(self, error: Exception) -> None:
        """Record that it failed."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait until it is time to do it again, for ``seconds`` at most."""
        stop.wait(seconds)

    def finish(self) -> None:
        """Run once in the loop's thread, when it ends."""


class Loop(threading.Thread):
    """Runs a job every ``interval`` seconds until it is stopped; nothing else ends it."""

    def __init__(self, name: str, job: Job, interval: float, stop: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._job = job
        self._interval = interval
        self._stop_event = stop
        self._problem = ProblemLog(_log, f"{name} works again")

    def run(self) -> None:
        """Loop; after a failure the next try comes sooner."""
        self._job.prepare()
        failure: Exception | None = None
        while not self._stop_event.is_set():
            started = time.monotonic()
            is_recording = failure is not None
            try:
                if failure is None:
                    self._job.run()
                    self._problem.end()
                else:
                    self._job.record_failure(failure)
                failure = None
            except Exception as error:  # noqa: BLE001 - the one place that outlives everything
                self._log_failure(error)
                failure = None if is_recording else error
            if failure is None:  # otherwise it is recorded first
                pause = min(self._interval, _RETRY_SECONDS) if is_recording else self._interval
                left = max(pause - (time.monotonic() - started), _SHORTEST_PAUSE_SECONDS)
                self._job.wait(left, self._stop_event)
        self._job.finish()

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, ScanCancelledError):
            _log.info("%s", error)
        elif isinstance(error, ExporterError):
            self._problem.record(f"{self.name} failed: {error}", logging.ERROR)
        else:
            message = f"{self.name} failed, which is a bug: {error!r}"
            self._problem.record(message, logging.ERROR, error)
