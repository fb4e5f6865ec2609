"""The cache file: what a scan knows, kept over a restart of ``serve`` in SQLite.

Decides whether its content is of use, and knows nothing about how a scan uses it. If it is not, or
cannot be read or written, the log gives each reason once, and everything is read again.
"""

import logging
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

import msgspec

from exporter import __version__
from exporter.domain.errors import CacheDamagedError, CacheUnfitError, CacheUnusableError
from exporter.domain.text import printable
from exporter.store.filesystem.cache.cache_errors import (
    ELSEWHERE,
    explained,
    not_allowed,
    raised_as_damage,
)
from exporter.store.filesystem.cache.packing import (
    MACHINE,
    KnownReader,
    pack_known,
)
from exporter.store.filesystem.rescan.scan_memory import Known
from exporter.store.filesystem.root import is_in_store
from exporter.store.format.layout import VERSION_PATH
from exporter.store.port import Kept, KeptCodec
from exporter.support.logs import fields

_log = logging.getLogger(__name__)

_FORMAT = 4
"""To be raised whenever the meaning of the content changes."""

_APPLICATION = 0x52535843
_NO_APPLICATION = 0
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_OPEN_TO_OTHERS = 0o077
_LOCK_SECONDS = 1.0
"""Another exporter may be writing, during a rolling update."""

_ABOUT, _KNOWN, _FIGURES = "about", "known", "figures"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS part "
    "(name TEXT PRIMARY KEY, checksum INTEGER NOT NULL, content BLOB NOT NULL)"
)


@dataclass(frozen=True, slots=True)
class CacheContent(Generic[Kept]):
    """What the cache holds.

    Attributes:
        known: what a scan left.
        full_at: when everything was read last, Unix seconds.
        kept: what was computed from its inventory; None if that is unknown.

    """

    known: Known
    full_at: float
    kept: Kept | None = None


class _About(msgspec.Struct, forbid_unknown_fields=True):
    """What must match for the rest to be of use; times are Unix seconds."""

    format: int
    program: str
    machine: str
    root: str
    device: int
    inode: int
    saved_at: float
    full_at: float
    pieces: int


class _Format(msgspec.Struct):
    format: int


class InventoryCache(Generic[Kept]):
    """The cache file of one store."""

    def __init__(
        self,
        path: Path,
        root: Path,
        codec: KeptCodec[Kept],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep in ``path`` what is known about the store below ``root``.

        ``codec`` packs what was computed from it; ``clock`` returns Unix seconds.
        """
        self._path = path
        self._root = root
        self._codec = codec
        self._clock = clock
        self._said: set[str] = set()
        self._is_damaged = False

    def load(self) -> CacheContent[Kept] | None:
        """Return the kept content; None if there is none or it cannot be used."""
        try:
            place = self._place()
            if place is None or not self._is_there():
                return None
            return self._read(*place)
        except CacheUnfitError as error:
            self._is_damaged = isinstance(error, CacheDamagedError)
            self._say_once(f"the cache {self._name} {error}: everything is read again")
        except CacheUnusableError as error:
            self._say_once(f"the cache {self._name} is not used: {error}")
        return None

    def save(self, content: CacheContent[Kept]) -> bool:
        """Write everything or nothing; return whether it was written."""
        try:
            place = self._place()
            if place is None:
                return False
            started = time.monotonic()
            try:
                if self._is_damaged:  # SQLite may not notice the damage when it writes
                    self._remove()
                    self._is_damaged = False
                size = self._write(content, *place)
            except CacheUnfitError:
                self._remove()
                size = self._write(content, *place)
        except (CacheUnfitError, CacheUnusableError) as error:
            self._say_once(f"the cache {self._name} is not used: {error}")
            return False
        details = fields(bytes=size, duration_seconds=time.monotonic() - started)
        _log.debug("kept what the scan knows", extra=details)
        self._said.clear()
        return True

    @property
    def _name(self) -> str:
        return printable(str(self._path))

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            _log.warning(message)

    # the place

    def _place(self) -> tuple[str, int, int] | None:
        """Return what identifies the store; None if there is none now."""
        try:
            status = os.stat(self._root.joinpath(*VERSION_PATH))
        except OSError:
            return None  # the scan reports it
        return printable(os.path.realpath(self._root)), status.st_dev, status.st_ino

    def _is_there(self) -> bool:
        """Return whether the file exists. Raises CacheUnusableError if it may not be used."""
        if is_in_store(self._path, self._root):
            store = printable(str(self._root))
            message = f"it is in the store {store}, which is never written to; {ELSEWHERE}"
            raise CacheUnusableError(message)
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CacheUnusableError(not_allowed(error)) from error
        if not stat.S_ISREG(status.st_mode):
            raise CacheUnusableError(f"it is not a regular file; {ELSEWHERE}")
        return True

    def _make_file(self) -> None:
        """Create an empty file that only its owner may read, and its directory."""
        try:
            self._path.parent.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self._path, flags, _FILE_MODE))
        except OSError as error:
            raise CacheUnusableError(not_allowed(error)) from error

    def _remove(self) -> None:
        """Remove the damaged file, and the files that SQLite would repair it from."""
        try:
            for suffix in ("-journal", "-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._path}{suffix}")
        except OSError as error:
            raise CacheUnusableError(not_allowed(error)) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the existing file.

        Raises CacheUnusableError if that is not possible, or it belongs to another program;
        CacheDamagedError if it is damaged.
        """
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        with (
            explained(self._path),
            closing(
                sqlite3.connect(address, _LOCK_SECONDS, isolation_level=None, uri=True)
            ) as database,
        ):
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (objects,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if application != _APPLICATION and (application != _NO_APPLICATION or objects):
                message = f"it is a database of another program; {ELSEWHERE}, or remove it"
                raise CacheUnusableError(message)
            yield database

    # what is in it

    def _read(self, root: str, device: int, inode: int) -> CacheContent[Kept]:
        """Read everything. Raises CacheUnfitError, CacheUnusableError."""
        with self._open() as database:
            rows = database.execute("SELECT name FROM sqlite_master").fetchall()
            if not rows:
                raise CacheUnfitError("is empty")
            database.execute("BEGIN")  # everything below is read at one moment
            about = self._about(_part(database, _ABOUT))
            if (about.root, about.device, about.inode) != (root, device, inode):
                where = "" if about.root == root else f", {printable(about.root)}"
                raise CacheUnfitError(f"is of another store{where}")
            reader = KnownReader()
            for piece in range(about.pieces):
                packed = _part(database, _piece_name(piece))
                with raised_as_damage():
                    reader.add(packed)
            packed = _part(database, _FIGURES)
        with raised_as_damage():
            known = reader.known()
            kept = self._codec.unpack(packed, known.inventory) if packed else None
        details = fields(
            path=self._name,
            blobs=len(known.inventory.sizes),
            age_seconds=self._clock() - about.saved_at,
        )
        _log.info("read what was known before the restart", extra=details)
        return CacheContent(known, about.full_at, kept)

    def _about(self, encoded: bytes) -> _About:
        try:
            if msgspec.msgpack.decode(encoded, type=_Format).format != _FORMAT:
                raise CacheUnfitError("was written by another version of this program")
            about = msgspec.msgpack.decode(encoded, type=_About)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise CacheDamagedError(str(error)) from error
        if about.program != __version__:
            raise CacheUnfitError(
                f"was written by version {printable(about.program)} of this program"
            )
        if about.machine != MACHINE:
            raise CacheUnfitError("was written by another build of Python")
        if not about.saved_at <= self._clock():
            raise CacheUnfitError("was written in the future; was the clock set back?")
        return about

    def _write(self, content: CacheContent[Kept], root: str, device: int, inode: int) -> int:
        """Replace the content in one transaction; return its size in bytes."""
        if not self._is_there():
            self._make_file()
        size = 0
        with self._open() as database:
            database.execute("PRAGMA auto_vacuum = FULL")  # takes effect while it is empty
            database.execute("BEGIN IMMEDIATE")
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(_TABLE)
            database.execute("DELETE FROM part")
            pieces = 0
            for pieces, packed in enumerate(pack_known(content.known), 1):
                size += _put(database, _piece_name(pieces - 1), packed)
            about = _About(
                format=_FORMAT,
                program=__version__,
                machine=MACHINE,
                root=root,
                device=device,
                inode=inode,
                saved_at=self._clock(),
                full_at=content.full_at,
                pieces=pieces,
            )
            size += _put(database, _ABOUT, msgspec.msgpack.encode(about))
            kept = b"" if content.kept is None else self._codec.pack(content.kept)
            size += _put(database, _FIGURES, kept)
            database.execute("COMMIT")
            try:
                if os.stat(self._path).st_mode & _OPEN_TO_OTHERS:
                    os.chmod(self._path, _FILE_MODE)
            except OSError as error:
                raise CacheUnusableError(not_allowed(error)) from error
        return size


def _piece_name(number: int) -> str:
    return f"{_KNOWN}-{number}" if number else _KNOWN


def _put(database: sqlite3.Connection, name: str, content: bytes) -> int:
    row = (name, zlib.crc32(content), content)
    database.execute("INSERT INTO part VALUES (?, ?, ?)", row)
    return len(content)


def _part(database: sqlite3.Connection, name: str) -> bytes:
    query = "SELECT checksum, content FROM part WHERE name = ? AND typeof(content) = 'blob'"
    row = database.execute(query, (name,)).fetchone()
    if row is None:
        raise CacheDamagedError(f"without {name}")
    checksum, content = row
    if not isinstance(content, bytes) or zlib.crc32(content) != checksum:
        raise CacheDamagedError(f"checksum of {name}")
    return content
