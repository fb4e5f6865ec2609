"""Saying that a scan does not get on: it waits for a disk or a mount that does not answer.

Nothing can interrupt such a wait, nor does anything fail: all that can be done is to say so.
"""

import logging

from exporter.domain.scan_progress import RunningScan
from exporter.support.logs import TroubleLog

_log = logging.getLogger(__name__)

CHECK_SECONDS = 15.0
WARN_SECONDS = 60.0
"""A directory of ten thousand blobs takes so long where each must come from a slow disk."""


class StallWarner:
    """Looks now and then whether the running scan gets on."""

    def __init__(self, location: str, running: RunningScan) -> None:
        self._location = location
        self._running = running
        self._trouble = TroubleLog(_log, f"the scan of {location} goes on")

    def check(self) -> None:
        """Look, and log that it stands still, or that it does no longer."""
        if self._running.still_seconds < WARN_SECONDS:
            self._trouble.end()
            return
        self._trouble.tell(
            f"the scan of {self._location} has read nothing more for {WARN_SECONDS:g} s; "
            "is a disk or a mount hanging? It goes on when that answers"
        )
