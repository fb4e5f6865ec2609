"""Why the cache file cannot be used: it is damaged, or its place cannot be read or written."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.domain.errors import (
    CacheDamagedError,
    CacheUnfitError,
    CacheUnusableError,
    remedy_for,
)

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
"""Errors that are not the file's fault."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise errors of SQLite for the file ``path`` as CacheDamagedError or CacheUnusableError."""
    try:
        yield
    except UnicodeDecodeError as error:  # from a message that quotes the file's content
        raise CacheDamagedError("its text is not UTF-8") from error
    except sqlite3.Error as error:
        raise _meaning_of(error, path) from error


def _meaning_of(error: sqlite3.Error, path: Path) -> CacheDamagedError | CacheUnusableError:
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    code = extended & 0xFF
    if code in _LOCKED:
        remedy = f"if that lasts, {ELSEWHERE}"
        return CacheUnusableError(f"another process has locked it; {remedy}")
    # if the system allows writing, the file says that only a newer SQLite may write it
    is_newer = extended == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK, effective_ids=True)
    if code in _SURROUNDINGS and not is_newer:
        remedy = f"is there room in its directory, and may uid {os.geteuid()} write to it?"
        return CacheUnusableError(f"{error}; {remedy}")
    return CacheDamagedError(str(error))


@contextmanager
def raised_as_damage() -> Iterator[None]:
    """Raise CacheUnfitError as CacheDamagedError."""
    try:
        yield
    except CacheUnfitError as error:
        raise CacheDamagedError(str(error)) from error


def not_allowed(error: OSError) -> str:
    """Return why the file may not be used, and the remedy."""
    remedy = remedy_for(error, f"give a --cache.path that uid {os.geteuid()} may write to")
    return f"{error.strerror}; {remedy}"
