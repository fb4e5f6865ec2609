"""The loops that keep the snapshot fresh: read a source, analyse, publish. They never die.

Each source has a loop and a rhythm of its own, so that a registry that hangs delays no scan, and a
long scan does not hide a filesystem that fills up.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.analysis.analyst import (
    AnalysisOptions,
    Analyst,
    Conclusions,
    analyse_all,
)
from exporter.domain.errors import ExporterError, ScanCancelledError
from exporter.domain.model import Inventory, IssueCause
from exporter.domain.scan_progress import ProgressListener, RunningScan, ScanProgress
from exporter.domain.snapshot import CaproverStatus, ScanStatus, StoreReading
from exporter.domain.text import printable
from exporter.serve.publisher import SnapshotBoard
from exporter.store.filesystem.rescan.change_queue import Changes
from exporter.store.filesystem.rescan.scan_memory import EVERYWHERE, Places, StoreMemory
from exporter.store.filesystem.rescan.watcher import Watcher
from exporter.store.filesystem.scanner import scan_store
from exporter.support.logs import TroubleLog, fields

if TYPE_CHECKING:
    from exporter.store.filesystem.cache.keeper import CacheKeeper

_log = logging.getLogger(__name__)

FILESYSTEM_INTERVAL_SECONDS = 15.0
_RETRY_SECONDS = 30.0
_PROGRESS_SECONDS = 10.0
_SHORTEST_PAUSE_SECONDS = 0.1
_SWEEP_LEEWAY = 0.05
_ISSUES_LOGGED = 20


def read_store(
    root: Path,
    *,
    options: AnalysisOptions | None = None,
    caprover: CaproverStatus | None = None,
    on_progress: ProgressListener = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    max_ops_per_second: int | None = None,
) -> tuple[StoreReading, Conclusions]:
    """Scan the store once and draw all figures. Raises as :func:`scan_store` does."""
    inventory = scan_store(
        root,
        on_progress=on_progress,
        should_stop=should_stop,
        max_ops_per_second=max_ops_per_second,
    )
    return analyse_all(inventory, caprover, options or AnalysisOptions())


class StoreRefresher:
    """Scans the store and posts the result.

    What a scan knows is kept for the next one, which reads only what has changed. Where nothing
    has, nothing is analysed again. Scans never overlap: one thread does them all.
    """

    def __init__(
        self,
        root: Path,
        board: SnapshotBoard,
        stop: threading.Event,
        interval: float = 300.0,
        watch: Callable[[Changes], Watcher] | None = None,
        keeper: "CacheKeeper | None" = None,
        running: RunningScan | None = None,
        max_ops_per_second: int | None = None,
    ) -> None:
        """Begin; everything is looked at every ``interval`` seconds.

        Places where the watcher that ``watch`` makes noticed something are looked at meanwhile.
        ``keeper`` keeps what is known over a restart, ``running`` is told how far a scan is.
        """
        self._root = root
        self._board = board
        self._stop = stop
        self._interval = interval
        self._changes = Changes()
        self._watcher = None if watch is None else watch(self._changes)
        self._keeper = keeper
        self._running = running or RunningScan()
        self._max_ops_per_second = max_ops_per_second
        self._memory = StoreMemory()
        self._analyst = Analyst(board.options)
        self._conclusions: Conclusions | None = None
        self._sweep_at = 0.0
        self._has_failed = False

    def pause(self, seconds: float) -> None:
        """Wait until the next scan is due, at most so long."""
        if self._has_failed:
            self._stop.wait(seconds)
        else:
            self._changes.wait(min(seconds, self._sweep_at - time.monotonic()))

    def close(self) -> None:
        """End all waiting."""
        self._changes.close()
        if self._watcher is not None:
            self._watcher.stop()

    def finish(self) -> None:
        """Keep what is known, when no scan comes any more."""
        if self._keeper is not None:
            self._keeper.finish()

    def refresh(self) -> None:
        """Do one scan. Raises as :func:`~exporter.store.filesystem.scanner.scan_store` does."""
        started = time.monotonic()
        places = self._changes.take()
        if self._has_failed or places.everywhere or started >= self._sweep_at - _SWEEP_LEEWAY:
            places = EVERYWHERE
            self._sweep_at = started + self._interval
        self._has_failed = True  # until it has not
        self._running.begin()
        try:
            self._scan(places, started)
        finally:
            self._running.end()
        self._has_failed = False

    def _scan(self, places: Places, started: float) -> None:
        before = self._board.snapshot
        known = before.store.inventory if before.store else None
        inventory = self._read(known, places)
        reading = before.store
        if reading is None or inventory is not reading.inventory:
            figures = None if self._keeper is None else self._keeper.figures_of(inventory)
            caprover = before.caprover
            reading, self._conclusions = self._analyst.analyse(inventory, caprover, figures)
        duration = time.monotonic() - started
        status = ScanStatus(
            scans=before.scan.scans + 1,
            failures=before.scan.failures,
            succeeded=True,
            duration_seconds=duration,
            last_success_at=time.time(),
        )
        self._running.end()  # before that is published: what is ready is not under way
        self._board.post_scan(reading, status, self._conclusions)
        _log_scan(reading, known, duration, logging.INFO if places.everywhere else logging.DEBUG)
        if self._watcher is not None:
            new = self._watcher.follow(inventory)
            if new:  # it may have changed before it was watched
                self._changes.note(new)
        if self._keeper is not None:
            self._keeper.note(self._memory, reading)
            if known is None and self._memory.is_full_due:  # it was when the last process ended
                self._sweep_at = started

    def _read(self, known: Inventory | None, places: Places) -> Inventory:
        def scan(previous: Inventory | None) -> Inventory:
            return scan_store(
                self._root,
                previous,
                memory=self._memory,
                places=places,
                on_progress=_ProgressLog(self._running.tell),
                should_stop=self._stop.is_set,
                max_ops_per_second=self._max_ops_per_second,
            )

        if known is None and self._keeper is not None:
            return self._keeper.first_scan(self._memory, scan)
        return scan(known)

    def note_failure(self, error: Exception) -> None:
        """Post that a scan failed; what was known stays."""
        if isinstance(error, ScanCancelledError):
            return
        before = self._board.snapshot.scan
        status = replace(
            before,
            scans=before.scans + 1,
            failures=before.failures + 1,
            succeeded=False,
            failure=printable(str(error)),
        )
        self._board.post_scan(None, status)


class _ProgressLog:
    """Passes on how far a scan is, and logs it every few seconds."""

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
    _log.log(
        level,
        "scanned the store",
        extra=fields(
            blobs=sum(total.blobs for total in figures.blobs.values()),
            bytes=figures.total_bytes,
            repositories=len(figures.repositories),
            issues=len(reading.inventory.issues),
            complete=figures.complete,
            duration_seconds=duration,
        ),
    )
    old = set(known.issues) if known else set()
    new = [issue for issue in reading.inventory.issues if issue not in old]
    for issue in new[:_ISSUES_LOGGED]:
        is_closed = issue.cause is IssueCause.PERMISSION
        mend = {"mend": f"let uid {os.geteuid()} read it"} if is_closed else {}
        details = fields(cause=issue.cause, path=issue.path, detail=issue.detail, **mend)
        _log.warning("cannot read a part of the store", extra=details)
    if len(new) > _ISSUES_LOGGED:
        _log.warning("and %d more parts that cannot be read", len(new) - _ISSUES_LOGGED)


class Loop(threading.Thread):
    """Does one thing again and again, whatever goes wrong, until told to stop."""

    def __init__(
        self,
        name: str,
        action: Callable[[], None],
        interval: float,
        stop: threading.Event,
        on_failure: Callable[[Exception], None] = lambda _: None,
        pause: Callable[[float], object] | None = None,
        on_end: Callable[[], None] = lambda: None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Do ``action`` every ``interval`` seconds, unless ``pause`` waits for less.

        Before the first time the thread does ``prepare``, and in the end ``on_end``, once.
        """
        super().__init__(name=name, daemon=True)
        self._action = action
        self._interval = interval
        self._stop_event = stop
        self._on_failure = on_failure
        self._pause = pause or stop.wait
        self._on_end = on_end
        self._prepare = prepare
        self._trouble = TroubleLog(_log, f"{name} works again")

    def run(self) -> None:
        """Loop; after a failure the next try comes sooner."""
        self._prepare()
        failure: Exception | None = None
        while not self._stop_event.is_set():
            started = time.monotonic()
            telling = failure is not None
            try:
                if failure is None:
                    self._action()
                    self._trouble.end()
                else:
                    self._on_failure(failure)
                failure = None
            except Exception as error:  # noqa: BLE001 - the one place that outlives everything
                self._log_failure(error)
                failure = None if telling else error
            if failure is None:  # else it is told first
                pause = min(self._interval, _RETRY_SECONDS) if telling else self._interval
                elapsed = time.monotonic() - started
                self._pause(max(pause - elapsed, _SHORTEST_PAUSE_SECONDS))
        self._on_end()

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, ScanCancelledError):
            _log.info("the scan was stopped")
        elif isinstance(error, ExporterError):
            self._trouble.tell(f"{self.name} failed: {error}", logging.ERROR)
        else:
            message = f"{self.name} failed, which is a bug: {error!r}"
            self._trouble.tell(message, logging.ERROR, error)
