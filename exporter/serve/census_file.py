"""The file that keeps the last census over a restart."""

import logging
import math
from pathlib import Path

import msgspec

from exporter.domain.census import Census, DiskKind, LeftoverKind
from exporter.domain.errors import OutputError
from exporter.domain.text import printable
from exporter.store.port import Store
from exporter.support.logs import ProblemLog
from exporter.support.output_files import replace_file

_log = logging.getLogger(__name__)

_VERSION = 1
_MODE = 0o600
_MAX_BYTES = 64 * 1024
"""Far above the 2 KiB of a census."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    root: str
    census: Census


class CensusFile:
    """Keeps the last census of one store. For one thread."""

    def __init__(self, path: Path | None, store: Store) -> None:
        """Keep in ``path``; without one nothing is kept."""
        self._path = path
        self._store = store
        self._name = f"the kept census {printable(str(path))}"
        self._problem = ProblemLog(_log, f"{self._name} can be written again")

    def load(self) -> Census | None:
        """Return what was kept; None if nothing fits, which is logged unless nothing was kept."""
        encoded = self._read()
        if encoded is None:
            return None
        try:
            content = msgspec.json.decode(encoded, type=_Content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("%s is damaged (%s); it is ignored", self._name, error)
            return None
        if content.version != _VERSION or not _is_sound(content.census):
            _log.warning("%s is damaged or of another version; it is ignored", self._name)
            return None
        if content.root != self._store.identity:
            root = printable(content.root)
            _log.info("%s is of another store, %s; it is ignored", self._name, root)
            return None
        return content.census

    def _read(self) -> bytes | None:
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                return file.read(_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read: %s; it is ignored", self._name, error.strerror)
            return None

    def save(self, census: Census) -> None:
        """Write the file; a failure is logged."""
        if self._path is None or self._store.holds(self._path):
            return  # reported at the start, where the place of the cache is
        content = _Content(_VERSION, self._store.identity, census)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, msgspec.json.encode(content), _MODE)
        except OSError as error:
            self._problem.record(f"{self._name} cannot be written: {error.strerror}")
        except OutputError as error:
            self._problem.record(f"{self._name} is not kept: {error}")
        else:
            self._problem.end()


def _is_sound(census: Census) -> bool:
    """Return whether every kind is there, and no number is impossible."""
    counts = [census.unread, census.other_filesystems]
    for use in census.kinds.values():
        counts += use.inodes, use.allocated_bytes, use.apparent_bytes
    for left in census.leftovers.values():
        counts += left.entries, left.inodes, left.allocated_bytes
    for copy in census.copies:
        counts += copy.files, copy.linked_bytes, copy.frees_bytes
    times = census.taken_at, census.duration_seconds
    return (
        set(census.kinds) == set(DiskKind)
        and set(census.leftovers) == set(LeftoverKind)
        and min(counts) >= 0
        and all(math.isfinite(each) and each >= 0 for each in times)
    )
