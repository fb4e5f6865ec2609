"""What it means where the file of the cache cannot be used: its own fault, or that of its place."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.domain.errors import CacheDamagedError, CacheUnfitError, CacheUnusableError, mend_of

ELSEWHERE = "give another --cache.path"

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SURROUNDINGS = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Not the file's fault."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise as CacheDamagedError or CacheUnusableError what SQLite says of the file ``path``."""
    try:
        yield
    except UnicodeDecodeError as error:  # of a message that quotes what is in the file
        raise CacheDamagedError("what it says is no text") from error
    except sqlite3.Error as error:
        raise _meaning_of(error, path) from error


def _meaning_of(error: sqlite3.Error, path: Path) -> CacheDamagedError | CacheUnusableError:
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    code = extended & 0xFF
    if code in _LOCKED:
        mend = f"where that is not for a moment, {ELSEWHERE}"
        return CacheUnusableError(f"another process has locked it; {mend}")
    # where the system allows it, it is the file that says that only a newer SQLite may write it
    is_newer = extended == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK, effective_ids=True)
    if code in _SURROUNDINGS and not is_newer:
        mend = f"is there room in its directory, and may uid {os.geteuid()} write to it?"
        return CacheUnusableError(f"{error}; {mend}")
    return CacheDamagedError(str(error))


@contextmanager
def told_as_damage() -> Iterator[None]:
    """Raise as CacheDamagedError what makes no sense."""
    try:
        yield
    except CacheUnfitError as error:
        raise CacheDamagedError(str(error)) from error


def not_allowed(error: OSError) -> str:
    """Say why the file may not be touched, and what helps."""
    mend = mend_of(error, f"give a --cache.path that uid {os.geteuid()} may write to")
    return f"{error.strerror}; {mend}"
