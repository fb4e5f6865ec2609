"""One look at everything, for the commands that do not keep running."""

import logging
import time
from collections.abc import Callable

from exporter.analysis.analyst import AnalysisOptions
from exporter.domain.scan_progress import ProgressListener
from exporter.domain.snapshot import ApiStatus, ScanStatus, Snapshot
from exporter.metrics.metric import Subject
from exporter.metrics.repository_selection import RepositorySelector
from exporter.platforms.caprover.configuration import CaproverReader
from exporter.serve.publisher import SnapshotBoard
from exporter.serve.refresh import read_store
from exporter.settings.model import Settings
from exporter.store.filesystem.disk_space import FilesystemProbe
from exporter.support.thread_priority import at_low_priority

_log = logging.getLogger(__name__)


def gather(
    settings: Settings, ask_registry: Callable[[], ApiStatus], on_progress: ProgressListener
) -> Subject:
    """Scan once, ask the registry where one is configured, and look at the filesystem.

    Raises StoreUnreadableError where the store as a whole cannot be read.
    """
    board = SnapshotBoard(lambda _: None, analysis_options(settings))
    if settings.caprover.config_dir is not None:
        board.post_caprover(CaproverReader(settings.caprover.config_dir).read())
    started = time.monotonic()
    reading, conclusions = at_low_priority(
        lambda was_interrupted: read_store(
            settings.storage.root,
            options=board.options,
            caprover=board.snapshot.caprover,
            on_progress=on_progress,
            should_stop=was_interrupted,
            max_ops_per_second=settings.scan.max_ops_per_second,
        )
    )
    status = ScanStatus(
        scans=1,
        succeeded=True,
        duration_seconds=time.monotonic() - started,
        last_success_at=time.time(),
    )
    board.post_scan(reading, status, conclusions)
    board.post_filesystem(FilesystemProbe(settings.storage.root).read())
    if settings.registry.url is not None:
        api = ask_registry()
        board.post_api(api)
        if api.failure is not None:
            _log.warning("the registry's API is not available: %s", api.failure)
    return subject_of(settings, board.snapshot)


def analysis_options(settings: Settings) -> AnalysisOptions:
    """Give what the configuration says of the analysis."""
    caprover = settings.caprover
    return AnalysisOptions(
        dialect=settings.registry.gc_dialect,
        image_prefix=None if caprover.config_dir is None else caprover.image_prefix,
        keep_last=settings.retention.keep_last,
    )


def subject_of(settings: Settings, snapshot: Snapshot) -> Subject:
    """Give what metrics are read from."""
    return Subject(
        snapshot=snapshot,
        thresholds=tuple(settings.alerts.thresholds(settings.scan.interval)),
        storage_limit=settings.storage.limit,
        selector=RepositorySelector(
            settings.metrics.max_repositories,
            settings.metrics.include_repositories,
            settings.metrics.exclude_repositories,
        ),
    )
