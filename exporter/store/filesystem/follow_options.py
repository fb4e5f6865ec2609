"""How a store in a directory is followed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporter.store.filesystem.rescan.change_stamps import SETTLED_SECONDS

SAVE_SECONDS = 60.0
"""The shortest time between two writes of the cache, except for the last one at the end."""


class WatchListener(Protocol):
    """Records how watching goes."""

    def record_watches(self, watches: int, *, is_whole: bool) -> None:
        """Record how many directories are watched, and whether those are all that should be."""

    def record_overflow(self) -> None:
        """Record that changes were lost."""


class CacheListener(Protocol):
    """Records how keeping goes."""

    def record_loaded(self, *, is_loaded: bool) -> None:
        """Record whether the first scan used what was kept."""

    def record_written(self, *, is_written: bool) -> None:
        """Record whether the last attempt to keep what is known succeeded."""


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """How a store is followed.

    Attributes:
        interval: seconds between two sweeps.
        max_ops_per_second: limit on what a scan of everything reads; None for no limit.
        watching: records how watching goes; None if the store is not to be watched.
        cache_path: file that keeps what a scan knows over a restart; None for none.
        caching: records how keeping goes.
        save_seconds: shortest time between two writes of that file.
        settled_seconds: how long a place must have been unchanged before its state is relied on.

    """

    interval: float = 300.0
    max_ops_per_second: int | None = None
    watching: WatchListener | None = None
    cache_path: Path | None = None
    caching: CacheListener | None = None
    save_seconds: float = SAVE_SECONDS
    settled_seconds: float = SETTLED_SECONDS
