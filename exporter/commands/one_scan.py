"""One scan and one look at everything else, for the commands that do not keep running."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from exporter.analysis.analyst import Analysis, Analyst
from exporter.domain.census import Census
from exporter.domain.errors import ExporterError, ScanCancelledError
from exporter.domain.last_runs import LastRun, LastRunReading
from exporter.domain.scan_progress import ProgressListener
from exporter.domain.snapshot import ApiStatus, ScanStatus, Snapshot
from exporter.platforms.port import Platform
from exporter.store.port import CensusControl, ScanControl, Store
from exporter.support.thread_priority import at_low_priority

_log = logging.getLogger(__name__)

_LAST_RUN_SECONDS = 5.0


def scan_once(
    store: Store,
    platform: Platform | None,
    analyst: Analyst,
    *,
    ask_registry: Callable[[], ApiStatus] | None = None,
    last_runs: Sequence[LastRunReading] = (),
    on_progress: ProgressListener = lambda _: None,
    layer_links: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Snapshot:
    """Return a snapshot of the store, the platform, the registry's API, and the space left.

    ``layer_links``: whether the scan looks at them. Without ``ask_registry`` the API is not asked.
    ``last_runs``: say when the backup and the maintenance last ended well.
    Raises StoreUnreadableError if the store as a whole cannot be read, ScanCancelledError soon
    after ``should_stop`` says so.
    """
    snapshot = Snapshot()
    if platform is not None:
        snapshot = analyst.with_platform(snapshot, platform.read())
    status = snapshot.platform

    def scan(was_interrupted: Callable[[], bool]) -> Analysis:
        def is_to_stop() -> bool:
            return was_interrupted() or should_stop()

        inventory = store.scan(ScanControl(on_progress, is_to_stop, layer_links))
        return analyst.analyse(inventory, status)

    began_at, started = time.time(), time.monotonic()
    analysis = at_low_priority(scan)
    if should_stop():
        raise ScanCancelledError("the scan was stopped")
    scan_status = ScanStatus(
        scans=1,
        succeeded=True,
        duration_seconds=time.monotonic() - started,
        last_success_at=time.time(),
        began_at=began_at,
    )
    snapshot = analyst.with_scan(snapshot, analysis, scan_status)
    snapshot = analyst.with_filesystem(snapshot, store.capacity())
    if ask_registry is not None:
        api = ask_registry()
        snapshot = analyst.with_api(snapshot, api)
        if api.failure is not None:
            _log.warning("the registry's API is not available: %s", api.failure)
    for each in last_runs:
        run = _read_in_time(each)
        snapshot = snapshot if run is None else analyst.with_last_run(snapshot, run)
    return snapshot


def _read_in_time(reading: LastRunReading) -> LastRun | None:
    """Return when such work last ended well; None if that cannot be read, or not in time."""
    found: list[LastRun] = []
    failure = ["it does not answer; is its mount hanging?"]

    def read() -> None:
        try:
            found.append(reading.read())
        except ExporterError as error:
            failure.append(str(error))

    # a thread that hangs in a system call does not keep the process from ending
    thread = threading.Thread(target=read, daemon=True, name=reading.name)
    thread.start()
    thread.join(_LAST_RUN_SECONDS)
    if found:
        return found[0]
    _log.warning("nothing is known of the %s: %s", reading.name, failure[-1])
    return None


def take_census_once(
    store: Store, on_progress: Callable[[int], None], max_ops_per_second: int | None
) -> Census | None:
    """Take a census of a store's disk at low priority. Raises StoreUnreadableError."""

    def take(was_interrupted: Callable[[], bool]) -> Census | None:
        return store.census(CensusControl(on_progress, was_interrupted, max_ops_per_second))

    return at_low_priority(take)
