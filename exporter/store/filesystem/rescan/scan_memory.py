"""The memory of a scan: what the next one needs in order to read only what has changed.

Only what had not changed for a while when it was read is kept. Everything is read again once an
hour: what the registry does shows in change stamps, but damage in a blob shows only in the blob.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.domain.digests import Digest
from exporter.domain.model import Inventory
from exporter.store.filesystem.readers.blob_reader import Prefix
from exporter.store.filesystem.readers.repository_content import RepositoryStamps
from exporter.store.filesystem.readers.repository_names import FoundRepositories
from exporter.store.filesystem.rescan.change_stamps import SETTLED_SECONDS, Stamp

FULL_SECONDS = 3600.0
"""The longest time in which a damaged blob goes unnoticed."""

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PrefixStamp:
    """The state of a directory that contained only blobs.

    Attributes:
        stamp: of the directory; NO_STAMP if it must be listed again.
        blobs: how many it contained.
        young: those that must be measured again.

    """

    stamp: Stamp
    blobs: int
    young: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What one scan left.

    Attributes:
        inventory: its result.
        prefixes: directories of blobs.
        repositories: by name.
        found: what was below ``repositories``; None if it must be searched again.
        has_layer_links: whether the layer links of every repository were looked at.

    """

    inventory: Inventory = field(default_factory=Inventory)
    prefixes: Mapping[Prefix, PrefixStamp] = field(default_factory=dict)
    repositories: Mapping[str, RepositoryStamps] = field(default_factory=dict)
    found: FoundRepositories | None = None
    has_layer_links: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Where something may have changed.

    Attributes:
        prefixes: directories of blobs.
        repositories: names of repositories.
        names: whether repositories may have been added or removed.
        everywhere: whether anything else may have changed too.

    """

    prefixes: frozenset[Prefix] = frozenset()
    repositories: frozenset[str] = frozenset()
    names: bool = False
    everywhere: bool = False

    def __bool__(self) -> bool:
        """Return whether there is anything to look at."""
        return bool(self.prefixes or self.repositories or self.names or self.everywhere)

    def __or__(self, other: "Places") -> "Places":
        """Return the places of both."""
        return Places(
            self.prefixes | other.prefixes,
            self.repositories | other.repositories,
            self.names or other.names,
            self.everywhere or other.everywhere,
        )


EVERYWHERE = Places(everywhere=True)


@dataclass(frozen=True, slots=True)
class Recollection:
    """What one scan may rely on.

    Attributes:
        known: what the last scan left; empty if everything is to be read.
        places: where to look for changes.
        settled_before: nanoseconds since 1970; what has not changed since is kept for the next
            scan. 0 if nothing is.

    """

    known: Known = field(default_factory=Known)
    places: Places = EVERYWHERE
    settled_before: int = 0

    @property
    def is_full(self) -> bool:
        """Whether everything is to be read, because nothing is known."""
        return not (self.known.prefixes or self.known.repositories)


class StoreMemory:
    """Holds what the last scan of one store left.

    Attributes:
        known: what it left; empty at first.
        full_at: when the last scan of everything began, Unix seconds; None if none is known.

    """

    def __init__(
        self, settled_seconds: float = SETTLED_SECONDS, full_seconds: float = FULL_SECONDS
    ) -> None:
        """Begin with nothing.

        ``settled_seconds``: how long a place must have been unchanged to be kept.
        ``full_seconds``: how long it may be relied on before everything is read again.
        """
        self.known = Known()
        self.full_at: float | None = None
        self._settled = int(settled_seconds * _NANOSECONDS)
        self._full_seconds = full_seconds
        self._full_tick: float | None = None
        """The same moment by the monotonic clock."""
        self._begun: tuple[float, float] | None = None
        self._is_restored = False

    @property
    def is_full_due(self) -> bool:
        """Whether the next scan that looks everywhere is to read everything."""
        tick = self._full_tick
        return tick is None or time.monotonic() - tick >= self._full_seconds

    def recall(self, previous: Inventory | None, places: Places = EVERYWHERE) -> Recollection:
        """Return what a scan of ``places`` after ``previous`` may rely on."""
        settled_before = time.time_ns() - self._settled
        is_due = places.everywhere and self.is_full_due and not self._is_restored
        self._is_restored = False
        self._begun = None
        if self.known.inventory is previous and not is_due:
            return Recollection(self.known, places, settled_before)
        self._begun = time.monotonic(), time.time()
        return Recollection(settled_before=settled_before)

    def keep(self, known: Known) -> None:
        """Keep what a scan left that relied on the last recollection."""
        self.known = known
        if self._begun is not None:
            self._full_tick, self.full_at = self._begun

    def restore(self, known: Known, full_at: float) -> None:
        """Use what another process kept.

        The first scan relies on it even if a full scan is due: it is done soon, and the full scan
        follows. A time in the future counts as long past.
        """
        age = time.time() - full_at
        self.known, self.full_at = known, full_at
        self._full_tick = time.monotonic() - age if age >= 0 else None
        self._is_restored = True

    def forget(self) -> None:
        """Forget everything."""
        self.known, self.full_at, self._full_tick = Known(), None, None
