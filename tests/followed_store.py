"""A store that is followed, analysed and published in this process, as ``serve`` does it."""

import threading
from collections.abc import Callable
from pathlib import Path

from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.kept_figures import FiguresCodec
from exporter.domain.scan_progress import RunningScan
from exporter.domain.snapshot import Dialect, Snapshot, StoreFigures
from exporter.serve.publisher import Publisher
from exporter.serve.refresh import StoreRefresher
from exporter.store.filesystem.cache.cache_file import InventoryCache
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.follower import FilesystemFollower
from exporter.store.filesystem.rescan.change_queue import Changes


def figures_cache(path: Path, root: Path, dialect: Dialect = 2) -> InventoryCache[StoreFigures]:
    """Return the cache that ``serve`` would use for the store below ``root``."""
    return InventoryCache(path, root, FiguresCodec(dialect))


class FollowedStore:
    """One store, its analyst, and the publisher of its figures."""

    def __init__(
        self,
        root: Path,
        follow: FollowOptions | None = None,
        *,
        publish: Callable[[Snapshot], None] = lambda _: None,
        stop: threading.Event | None = None,
        running: RunningScan | None = None,
    ) -> None:
        self.publisher = Publisher(publish)
        self.analyst = Analyst(AnalysisOptions())
        codec = FiguresCodec(self.analyst.options.dialect)
        self.follower = FilesystemFollower(root, follow or FollowOptions(), codec)
        stop = stop or threading.Event()
        self.refresher = StoreRefresher(self.follower, self.analyst, self.publisher, stop, running)

    @property
    def snapshot(self) -> Snapshot:
        """The last published snapshot."""
        return self.publisher.snapshot

    @property
    def changes(self) -> Changes:
        """The queue of the watcher's changes, for tests that add changes themselves."""
        return self.follower._changes  # noqa: SLF001 - stands for the watcher

    def refresh(self) -> None:
        """Scan, analyse and publish once."""
        self.refresher.refresh()
