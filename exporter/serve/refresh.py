"""Refreshing the store's figures: scan, analyse, publish, in one job of a loop."""

import logging
import os
import threading
import time
from dataclasses import replace

from exporter.analysis.analyst import Analysis, Analyst
from exporter.domain.errors import ScanCancelledError
from exporter.domain.model import LEAVES_UNREAD, Inventory, IssueCause, ScanIssue
from exporter.domain.scan_progress import ProgressListener, RunningScan, ScanProgress
from exporter.domain.snapshot import ScanStatus, StoreFigures, StoreReading
from exporter.domain.text import printable
from exporter.serve.loop import Job
from exporter.serve.publisher import Publisher
from exporter.store.port import Follower, ScanControl
from exporter.support.logs import fields
from exporter.support.thread_priority import lower_priority

_log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 10.0
_ISSUES_LOGGED = 20


class StoreRefresher(Job):
    """Scans the store and publishes the figures.

    If nothing has changed since the last scan, nothing is analysed again. Scans never overlap: one
    thread runs them all.
    """

    def __init__(
        self,
        follower: Follower[StoreFigures],
        analyst: Analyst,
        publisher: Publisher,
        stop: threading.Event,
        running: RunningScan | None = None,
    ) -> None:
        """Scan with ``follower`` until ``stop``; ``running`` holds the progress for others."""
        super().__init__(self.refresh)
        self._follower = follower
        self._analyst = analyst
        self._publisher = publisher
        self._stop = stop
        self._running = running or RunningScan()
        self._analysis: Analysis | None = None

    def prepare(self) -> None:
        """Lower this thread's priority: threads that answer requests come first."""
        lower_priority()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait until the next scan is due, for ``seconds`` at most."""
        del stop  # the follower is closed as well
        self._follower.wait(seconds)

    def finish(self) -> None:
        """Keep what is known over the restart."""
        self._follower.finish()

    def refresh(self) -> None:
        """Run one scan. Raises as :meth:`exporter.store.port.Store.scan` does."""
        self._running.begin()
        try:
            self._scan()
        finally:
            self._running.end()

    def _scan(self) -> None:
        began_at, started = time.time(), time.monotonic()
        control = ScanControl(_ProgressLog(self._running.record), self._stop.is_set)
        scan = self._follower.scan(control)
        before, known = self._publisher.snapshot, self._analysis
        analysis = known
        if analysis is None or scan.inventory is not analysis.store.inventory:
            analysis = self._analyst.analyse(scan.inventory, before.platform, scan.kept)
        duration = time.monotonic() - started
        status = ScanStatus(
            scans=before.scan.scans + 1,
            failures=before.scan.failures,
            succeeded=True,
            duration_seconds=duration,
            last_success_at=time.time(),
            began_at=began_at,
        )
        self._running.end()  # before it is published: what is ready is not under way
        self._publisher.update(lambda last: self._analyst.with_scan(last, analysis, status))
        self._analysis = analysis
        old = None if known is None else known.store.inventory
        level = logging.INFO if scan.looked_everywhere else logging.DEBUG
        _log_scan(analysis.store, old, duration, level)
        self._follower.accept(analysis.store.figures)

    def record_failure(self, error: Exception) -> None:
        """Publish that a scan failed; what is known stays."""
        if isinstance(error, ScanCancelledError):
            return
        before = self._publisher.snapshot.scan
        status = replace(
            before,
            scans=before.scans + 1,
            failures=before.failures + 1,
            succeeded=False,
            failure=printable(str(error)),
        )
        self._publisher.update(lambda last: replace(last, scan=status))


class _ProgressLog:
    """Passes the progress of a scan on, and logs it every few seconds."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener
        self._due = time.monotonic() + _PROGRESS_SECONDS

    def __call__(self, progress: ScanProgress) -> None:
        self._listener(progress)
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _PROGRESS_SECONDS
            details = fields(
                ratio=progress.ratio,
                stage=progress.stage,
                done=progress.done,
                total=progress.total,
            )
            _log.info("scanning the store", extra=details)


def _log_scan(reading: StoreReading, known: Inventory | None, duration: float, level: int) -> None:
    figures = reading.figures
    details = fields(
        blobs=sum(total.blobs for total in figures.blobs.values()),
        bytes=figures.total_bytes,
        repositories=len(figures.repositories),
        issues=len(reading.inventory.issues),
        complete=figures.complete,
        duration_seconds=duration,
    )
    _log.log(level, "scanned the store", extra=details)
    old = set(known.issues) if known else set()
    _log_issues([issue for issue in reading.inventory.issues if issue not in old])


def _log_issues(new: list[ScanIssue]) -> None:
    for issue in new[:_ISSUES_LOGGED]:
        is_closed = issue.cause is IssueCause.PERMISSION
        advice = {"fix": f"let uid {os.geteuid()} read it"} if is_closed else {}
        details = fields(cause=issue.cause, path=issue.path, detail=issue.detail, **advice)
        if issue.cause in LEAVES_UNREAD:
            _log.warning("cannot read a part of the store", extra=details)
        else:
            _log.warning("a part of the store is not as the registry makes it", extra=details)
    if len(new) > _ISSUES_LOGGED:
        _log.warning("and %d more parts; see the report", len(new) - _ISSUES_LOGGED)
