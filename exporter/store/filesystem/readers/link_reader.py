"""Reading links: the small files that name a digest, which the registry writes in place."""

import os
import time
from collections.abc import Collection

from exporter.store.filesystem.readers.safe_files import read_file
from exporter.store.format.layout import MAX_LINK_BYTES

_RETRIES = 5
_RETRY_SECONDS = 0.001
"""A link is empty for about 0.2 ms while version 2 of the registry writes it."""

PATIENCE_SECONDS = 0.25
"""On a busy disk it takes up to so long, and until then has its old time of change; and a new tag's
directory is there as long before its link. Nothing tells such a link from a damaged one."""


class LinkReader:
    """Reads the links of one scan, again where they are being rewritten.

    In all it waits for a little longer than its patience, however many links are to be waited for,
    and hardly at all for those that were damaged before.
    """

    def __init__(
        self, damaged: Collection[str] = (), patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Begin; ``damaged`` are the places of those of which the scan before said so."""
        self._damaged = damaged
        self._patience = patience_seconds

    def read(self, path: str, parent: int, where: str) -> tuple[bytes, os.stat_result]:
        """Read the link at ``path`` below ``parent``, ``where`` in the store. Raises OSError."""
        link, status = read_file(path, parent, MAX_LINK_BYTES)
        tries = 1
        while not link and self.pause(where, tries):
            link, status = read_file(path, parent, MAX_LINK_BYTES)
            tries += 1
        return link, status

    def pause(self, where: str, tries: int) -> bool:
        """Wait before a link is read once more; tell whether that is worth while.

        ``tries`` is how often it has been read in vain.
        """
        is_long = tries > _RETRIES
        if is_long and (self._patience <= 0 or where in self._damaged):
            return False
        began = time.monotonic()
        time.sleep(_RETRY_SECONDS)
        if is_long:
            self._patience -= time.monotonic() - began
        return True
