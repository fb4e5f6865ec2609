"""A scan has stalled waiting for a disk or mount: log it.

Nothing can interrupt such a wait, and nothing fails: logging is all that can be done.
"""

import logging

from exporter.domain.scan_progress import RunningScan
from exporter.support.logs import ProblemLog

_log = logging.getLogger(__name__)

CHECK_SECONDS = 15.0
WARN_SECONDS = 60.0
"""Reading a directory of ten thousand blobs from a slow disk takes this long."""


class StallWarner:
    """Checks now and then whether the running scan makes progress."""

    def __init__(self, location: str, running: RunningScan) -> None:
        self._location = location
        self._running = running
        self._problem = ProblemLog(_log, f"the scan of {location} makes progress again")

    def check(self) -> None:
        """Check, and log that it has stalled, or that it makes progress again."""
        if self._running.still_seconds < WARN_SECONDS:
            self._problem.end()
            return
        self._problem.record(
            f"the scan of {self._location} has read nothing more for {WARN_SECONDS:g} s; "
            "is a disk or a mount hanging? It continues when that answers"
        )
