"""What a scan leaves for the next one, so that it reads only what has changed.

Kept is only what was read whole, and had been still for a while when it was read. The rest is read
anew, as is everything once in a while: what the registry does shows in the stamps of what was
looked at, but damage to a blob's file shows nowhere else than in that file.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.model import Inventory
from exporter.storage.blobs import Prefix, PrefixBlobs
from exporter.storage.repository_content import RepositoryContent
from exporter.storage.stamps import SETTLED_SECONDS

FULL_SECONDS = 3600.0
"""The longest time in which a damaged blob goes unnoticed."""

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Known:
    """What one scan left.

    Attributes:
        inventory: its result.
        prefixes: directories of blobs that need not be listed again while their stamp is the same.
        repositories: those that need not be read again while their stamps are the same.

    """

    inventory: Inventory = field(default_factory=Inventory)
    prefixes: Mapping[Prefix, PrefixBlobs] = field(default_factory=dict)
    repositories: Mapping[str, RepositoryContent] = field(default_factory=dict)


class StoreMemory:
    """Holds what the last scan of one store left.

    Attributes:
        known: that; nothing at first.

    """

    def __init__(
        self, settled_seconds: float = SETTLED_SECONDS, full_seconds: float = FULL_SECONDS
    ) -> None:
        """Begin with nothing.

        ``settled_seconds``: how long a place must have been still to be kept. ``full_seconds``:
        how long what is kept may be relied on before everything is read again.
        """
        self.known = Known()
        self._settled = int(settled_seconds * _NANOSECONDS)
        self._full_seconds = full_seconds
        self._full_at: float | None = None

    def recall(self, previous: Inventory | None) -> Known:
        """Give what is known beside ``previous``: nothing, where all is to be read again."""
        now = time.monotonic()
        if self._full_at is None or now - self._full_at >= self._full_seconds:
            self._full_at = now
            return Known()
        return self.known if self.known.inventory is previous else Known()

    def settled_before(self) -> int:
        """Give the time, nanoseconds since 1970, after which nothing may have changed."""
        return time.time_ns() - self._settled
