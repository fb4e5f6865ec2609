"""Whose fault an error of SQLite is: the file's, its surroundings', or another process's."""

import enum
import os
import sqlite3
from pathlib import Path

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


class SqliteFault(enum.Enum):
    """Why SQLite has failed."""

    LOCKED = enum.auto()
    SURROUNDINGS = enum.auto()
    DAMAGE = enum.auto()


def fault_of(error: sqlite3.Error, path: Path) -> SqliteFault:
    """Return whose fault an error with the file ``path`` is."""
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    code = extended & 0xFF
    if code in _LOCKED:
        return SqliteFault.LOCKED
    # if the system allows writing, the file says that only a newer SQLite may write it
    is_newer = extended == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK, effective_ids=True)
    return (
        SqliteFault.SURROUNDINGS if code in _SURROUNDINGS and not is_newer else SqliteFault.DAMAGE
    )
