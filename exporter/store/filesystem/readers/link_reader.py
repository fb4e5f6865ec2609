"""Read links: the small files that hold a digest, which the registry writes in place."""

import os
import time
from collections.abc import Collection

from exporter.store.filesystem.readers.safe_files import read_file
from exporter.store.format.layout import MAX_LINK_BYTES

_RETRIES = 5
_RETRY_SECONDS = 0.001
"""A link is empty for about 0.2 ms while version 2 of the registry writes it."""

PATIENCE_SECONDS = 0.25
"""On a busy disk a write takes up to this long, and until then the link has its old change time; a
new tag's directory exists this long before its link. Such a link looks like a damaged one."""


class LinkReader:
    """Reads the links of one scan, again if they are being rewritten.

    All waiting together takes little longer than its patience, however many links it waits for. It
    hardly waits for links that were damaged in the last scan.
    """

    def __init__(
        self, damaged: Collection[str] = (), patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Prepare it; ``damaged`` are the paths of links that were damaged in the last scan."""
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
        """Wait before a link is read again; return False if no further try is worth it.

        ``tries`` is how often it has been read without success.
        """
        is_long = tries > _RETRIES
        if is_long and (self._patience <= 0 or where in self._damaged):
            return False
        began = time.monotonic()
        time.sleep(_RETRY_SECONDS)
        if is_long:
            self._patience -= time.monotonic() - began
        return True
