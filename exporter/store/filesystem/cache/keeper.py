"""When a scan's knowledge is kept, and how the first scan after a restart uses it."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic

from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import NOT_READ, Inventory
from exporter.store.filesystem.cache.cache_file import CacheContent, InventoryCache
from exporter.store.filesystem.follow_options import SAVE_SECONDS, CacheListener
from exporter.store.filesystem.rescan.scan_memory import Known, StoreMemory
from exporter.store.port import Kept


class CacheKeeper(Generic[Kept]):
    """Keeps a scan's memory over restarts. For one thread, the one that scans."""

    def __init__(
        self,
        cache: InventoryCache[Kept],
        listener: CacheListener | None = None,
        save_seconds: float = SAVE_SECONDS,
    ) -> None:
        """Keep in ``cache``, at most every ``save_seconds``."""
        self._cache = cache
        self._listener = listener
        self._save_seconds = save_seconds
        self._save_at = time.monotonic()
        self._loaded: tuple[Inventory, Kept] | None = None
        self._known: Known | None = None
        self._full_at: float | None = None
        self._kept: Kept | None = None
        self._is_new = False

    def first_scan(
        self, memory: StoreMemory, scan: Callable[[Inventory | None], Inventory]
    ) -> Inventory:
        """Run ``scan`` with what was kept.

        If something cannot be read now, or is gone, everything is read: the result must equal that
        of a scan that knows nothing. Raises what ``scan`` raises.
        """
        content = self._cache.load()
        if content is not None:
            memory.restore(content.known, content.full_at)
            with suppress(StoreUnreadableError):  # a scan of everything says why
                inventory = scan(content.known.inventory)
                if not _may_be_old(inventory):
                    self._remember(content)
                    self._record_loaded(is_loaded=True)
                    return inventory
            memory.forget()
        self._record_loaded(is_loaded=False)
        return scan(None)

    def kept_with(self, inventory: Inventory) -> Kept | None:
        """Return what was kept over the restart with ``inventory``, the first time it is asked."""
        loaded, self._loaded = self._loaded, None
        return None if loaded is None or loaded[0] is not inventory else loaded[1]

    def note(self, memory: StoreMemory, inventory: Inventory, kept: Kept) -> None:
        """Record a scan and what was computed from it; keep what is new, now or later."""
        known = memory.known
        if known.inventory is not inventory:
            return  # there was no store to remember
        if self._full_at != memory.full_at or self._known is None or _differ(known, self._known):
            self._is_new = True
        self._known, self._full_at, self._kept = known, memory.full_at, kept
        if time.monotonic() >= self._save_at:
            self.finish()

    def finish(self) -> None:
        """Keep what is not kept yet."""
        if not self._is_new or self._known is None or self._full_at is None:
            return
        self._save_at = time.monotonic() + self._save_seconds
        is_written = self._cache.save(CacheContent(self._known, self._full_at, self._kept))
        self._is_new = not is_written
        if self._listener is not None:
            self._listener.record_written(is_written=is_written)

    def _record_loaded(self, *, is_loaded: bool) -> None:
        if self._listener is not None:
            self._listener.record_loaded(is_loaded=is_loaded)

    def _remember(self, content: CacheContent[Kept]) -> None:
        self._known, self._full_at = content.known, content.full_at
        if content.kept is not None:
            self._loaded = content.known.inventory, content.kept


def _differ(known: Known, other: Known) -> bool:
    return (
        known.inventory is not other.inventory
        or known.prefixes != other.prefixes
        or known.repositories != other.repositories
        or known.found != other.found
        or known.has_layer_links != other.has_layer_links
    )


def _may_be_old(inventory: Inventory) -> bool:
    """Return whether parts may come from an earlier scan because they cannot be read now."""
    return any(issue.cause in NOT_READ for issue in inventory.issues) or not (
        inventory.unreadable.isdisjoint(inventory.manifests)
    )
