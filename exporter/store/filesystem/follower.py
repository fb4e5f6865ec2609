"""Follow a store in a directory: scan it again and again, reading only what may have changed.

A sweep is a scan that looks for changes everywhere. Between sweeps a scan looks only where the
watcher noticed something. What a scan knows is kept in memory for the next scan, and in the cache
over a restart.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from exporter.domain.model import Inventory
from exporter.store.filesystem.cache.cache_file import InventoryCache
from exporter.store.filesystem.cache.keeper import CacheKeeper
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.rescan.change_queue import Changes
from exporter.store.filesystem.rescan.scan_memory import EVERYWHERE, Places, StoreMemory
from exporter.store.filesystem.rescan.watcher import Watcher
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import FollowedScan, Kept, KeptCodec, ScanControl

_SWEEP_LEEWAY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A scan that is not accepted yet."""

    inventory: Inventory
    started: float
    is_first: bool


class FilesystemFollower(Generic[Kept]):
    """Follows the store below one root directory."""

    def __init__(self, root: Path, options: FollowOptions, codec: KeptCodec[Kept]) -> None:
        self._root = root
        self._options = options
        self._changes = Changes()
        self._watcher: Watcher | None = None
        if options.watching is not None:
            self._watcher = Watcher(root, self._changes, options.watching)
        self._keeper: CacheKeeper[Kept] | None = None
        if options.cache_path is not None:
            cache = InventoryCache(options.cache_path, root, codec)
            self._keeper = CacheKeeper(cache, options.caching, options.save_seconds)
        self._memory = StoreMemory(options.settled_seconds)
        self._accepted: Inventory | None = None
        self._scanned: _Scanned | None = None
        self._is_accepted = True
        self._sweep_at = 0.0
        self._closed = threading.Event()

    def wait(self, seconds: float) -> None:
        """Wait until a scan is due, for ``seconds`` at most."""
        if self._is_accepted:
            self._changes.wait(min(seconds, self._sweep_at - time.monotonic()))
        else:  # changes that have come already are no reason to retry sooner
            self._closed.wait(seconds)

    def sweep_is_due(self) -> None:
        """Let the next scan look everywhere."""
        self._sweep_at = 0.0

    def scan(self, control: ScanControl) -> FollowedScan[Kept]:
        """Scan now, everywhere if a sweep is due. Raises as :func:`scan_store` does."""
        started = time.monotonic()
        places = self._changes.take()
        is_due = started >= self._sweep_at - _SWEEP_LEEWAY_SECONDS
        if places.everywhere or is_due or not self._is_accepted:
            places = EVERYWHERE
            self._sweep_at = started + self._options.interval
        self._is_accepted = False
        inventory = self._read(places, control)
        self._scanned = _Scanned(inventory, started, self._accepted is None)
        kept = None if self._keeper is None else self._keeper.kept_with(inventory)
        return FollowedScan(inventory, places.everywhere, kept)

    def accept(self, kept: Kept) -> None:
        """Rely on the last scan; watch what it found, and keep it with ``kept``."""
        scanned = self._scanned
        if scanned is None:
            return
        self._accepted, self._is_accepted = scanned.inventory, True
        if self._watcher is not None:
            new = self._watcher.follow(scanned.inventory)
            if new:  # it may have changed before it was watched
                self._changes.note(new)
        if self._keeper is not None:
            self._keeper.note(self._memory, scanned.inventory, kept)
        if scanned.is_first and self._has_more_to_read:
            self._sweep_at = scanned.started

    @property
    def _has_more_to_read(self) -> bool:
        """Whether the first scan left out what the next one is to read soon.

        After a restart the full scan may be due; without a cache, layer links were not looked at.
        """
        if self._memory.known.inventory is not self._accepted:
            return False  # there was no store
        return self._memory.is_full_due or not self._memory.known.has_layer_links

    def finish(self) -> None:
        """Keep over a restart what is not kept yet."""
        if self._keeper is not None:
            self._keeper.finish()

    def close(self) -> None:
        """End all waiting and watching."""
        self._closed.set()
        self._changes.close()
        if self._watcher is not None:
            self._watcher.stop()

    def _read(self, places: Places, control: ScanControl) -> Inventory:
        def scan(previous: Inventory | None) -> Inventory:
            return scan_store(
                self._root,
                previous,
                memory=self._memory,
                places=places,
                control=control,
                max_ops_per_second=self._options.max_ops_per_second,
                layer_links_later=self._accepted is None,
            )

        if self._accepted is None and self._keeper is not None:
            return self._keeper.first_scan(self._memory, scan)
        return scan(self._accepted)
