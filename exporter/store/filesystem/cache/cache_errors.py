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
from exporter.support.sqlite_faults import SqliteFault, fault_of

ELSEWHERE = "give another --cache.path"


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
    fault = fault_of(error, path)
    if fault is SqliteFault.LOCKED:
        remedy = f"if that lasts, {ELSEWHERE}"
        return CacheUnusableError(f"another process has locked it; {remedy}")
    if fault is SqliteFault.SURROUNDINGS:
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
