"""When what a scan knows is kept, and how the first scan after a restart goes by that."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import NOT_READ, Inventory
from exporter.domain.snapshot import StoreFigures, StoreReading
from exporter.store.filesystem.cache.cache_file import InventoryCache, Kept
from exporter.store.filesystem.cache.packing import KeptFigures
from exporter.store.filesystem.rescan.scan_memory import Known, StoreMemory

SAVE_SECONDS = 60.0
"""The shortest time between two writes, but for the last at the end."""


class CacheListener(Protocol):
    """Is told how keeping goes."""

    def tell(self, *, is_loaded: bool) -> None:
        """Take in whether the first scan went by what was kept."""

    def tell_written(self, *, is_written: bool) -> None:
        """Take in whether what is known now could be kept."""


class CacheKeeper:
    """Keeps a memory over restarts. Used by one thread, the one that scans."""

    def __init__(
        self,
        cache: InventoryCache,
        dialect: int,
        listener: CacheListener | None = None,
        save_seconds: float = SAVE_SECONDS,
    ) -> None:
        """Keep in ``cache``, with figures that were drawn for ``dialect``."""
        self._cache = cache
        self._dialect = dialect
        self._listener = listener
        self._save_seconds = save_seconds
        self._save_at = time.monotonic()
        self._kept_figures: tuple[Inventory, StoreFigures] | None = None
        self._known: Known | None = None
        self._full_at: float | None = None
        self._figures: StoreFigures | None = None
        self._is_new = False

    def first_scan(
        self, memory: StoreMemory, scan: Callable[[Inventory | None], Inventory]
    ) -> Inventory:
        """Have ``scan`` go by what was kept.

        Everything is read where that, unlike a scan that knows nothing, would tell of something
        that cannot be read now, or that is gone. Raises what ``scan`` does.
        """
        kept = self._cache.load()
        if kept is not None:
            memory.restore(kept.known, kept.full_at)
            with suppress(StoreUnreadableError):  # a scan of everything says why
                inventory = scan(kept.known.inventory)
                if not _may_be_old(inventory):
                    self._remember(kept)
                    self._tell(is_loaded=True)
                    return inventory
            memory.forget()
        self._tell(is_loaded=False)
        return scan(None)

    def figures_of(self, inventory: Inventory) -> StoreFigures | None:
        """Give the figures that were kept where they are those of ``inventory``."""
        kept, self._kept_figures = self._kept_figures, None
        return None if kept is None or kept[0] is not inventory else kept[1]

    def note(self, memory: StoreMemory, reading: StoreReading) -> None:
        """Take in how a scan ended; keep what is new of it, now or later."""
        known = memory.known
        if known.inventory is not reading.inventory:
            return  # there was no store to remember
        if self._full_at != memory.full_at or self._known is None or _differ(known, self._known):
            self._is_new = True
        self._known, self._full_at, self._figures = known, memory.full_at, reading.figures
        if time.monotonic() >= self._save_at:
            self.finish()

    def finish(self) -> None:
        """Keep what is not kept yet."""
        if not self._is_new or self._known is None or self._full_at is None:
            return
        self._save_at = time.monotonic() + self._save_seconds
        figures = None
        if self._figures is not None:
            figures = KeptFigures(self._dialect, self._figures)
        is_written = self._cache.save(Kept(self._known, self._full_at, figures))
        self._is_new = not is_written
        if self._listener is not None:
            self._listener.tell_written(is_written=is_written)

    def _tell(self, *, is_loaded: bool) -> None:
        if self._listener is not None:
            self._listener.tell(is_loaded=is_loaded)

    def _remember(self, kept: Kept) -> None:
        self._known, self._full_at = kept.known, kept.full_at
        if kept.figures is not None and kept.figures.dialect == self._dialect:
            self._kept_figures = kept.known.inventory, kept.figures.figures


def _differ(known: Known, other: Known) -> bool:
    return (
        known.inventory is not other.inventory
        or known.prefixes != other.prefixes
        or known.repositories != other.repositories
        or known.found != other.found
    )


def _may_be_old(inventory: Inventory) -> bool:
    """Tell whether a part of it may come from an earlier scan because it cannot be read now."""
    return any(issue.cause in NOT_READ for issue in inventory.issues) or not (
        inventory.unreadable.isdisjoint(inventory.manifests)
    )
