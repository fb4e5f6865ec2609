"""The SQLite file of the history: its tables, and how it is opened.

It is in WAL mode: readers never wait for the writer.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from exporter.domain.errors import HistoryDamagedError, HistoryUnusableError, remedy_for
from exporter.domain.text import printable
from exporter.history.rows import COLUMNS
from exporter.support.sqlite_faults import SqliteFault, fault_of

FORMAT = 1
"""To be raised whenever the tables or the meaning of their content change."""

SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
REPOSITORIES_FROM = "repositories_from"
"""Since when the history of repositories is complete, Unix seconds."""
THINNED_UNTIL = "thinned_until"
"""Before this moment there is one point a day, Unix seconds."""

_ROOT = "root"
_APPLICATION = 0x52535848
_NO_APPLICATION = 0
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_OPEN_TO_OTHERS = 0o077
_LOCK_SECONDS = 2.0
"""Another exporter may be writing, during a rolling update."""
_ELSEWHERE = "give another --cache.path, which it is beside"

_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    f"CREATE TABLE store_point (at INTEGER PRIMARY KEY, {', '.join(COLUMNS[1:])})",
    "CREATE TABLE space (at INTEGER PRIMARY KEY, avail_bytes INTEGER NOT NULL)",
    # The state now, and since when. Without tags the repository is gone.
    """
    CREATE TABLE repository (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, at INTEGER NOT NULL,
        referenced_bytes INTEGER NOT NULL, exclusive_bytes INTEGER NOT NULL, tags INTEGER
    )
    """,
    # The states before, so what has not changed takes no room.
    """
    CREATE TABLE repository_point (
        repository INTEGER NOT NULL, at INTEGER NOT NULL,
        referenced_bytes INTEGER NOT NULL, exclusive_bytes INTEGER NOT NULL, tags INTEGER,
        PRIMARY KEY (repository, at)
    ) WITHOUT ROWID
    """,
)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise errors for the file ``path`` as HistoryDamagedError or HistoryUnusableError."""
    try:
        yield
    except UnicodeDecodeError as error:  # from a message that quotes the file's content
        raise HistoryDamagedError("its text is not UTF-8") from error
    except sqlite3.Error as error:
        fault = fault_of(error, path)
        if fault is SqliteFault.DAMAGE:
            raise HistoryDamagedError(str(error)) from error
        remedy = f"is there room in its directory, and may uid {os.geteuid()} write to it?"
        if fault is SqliteFault.LOCKED:
            message = f"another process has locked it; if that lasts, {_ELSEWHERE}"
        else:
            message = f"{error}; {remedy}"
        raise HistoryUnusableError(message) from error
    except OSError as error:
        otherwise = f"give a --cache.path in a directory that uid {os.geteuid()} may write to"
        message = f"{error.strerror}; {remedy_for(error, otherwise)}"
        raise HistoryUnusableError(message) from error


@contextmanager
def opened_to_read(path: Path, root: str | None) -> Iterator[sqlite3.Connection | None]:
    """Open the history of the store ``root`` at one moment; None if nothing is recorded.

    None as ``root`` is a store that is not known yet. Raises HistoryUnusableError.
    """
    with explained(path):
        if root is None or not _is_there(path):
            yield None
            return
        # a connection that may not write leaves the files beside the database behind
        with closing(_connect(path)) as database:
            database.execute("PRAGMA query_only = ON")
            is_new = check(database, root)
            if not is_new:
                database.execute("BEGIN")
            yield None if is_new else database


def open_to_write(path: Path, root: str) -> sqlite3.Connection:
    """Open the history of the store ``root``, new if there is none.

    Raises what :func:`explained` explains.
    """
    if not _is_there(path):
        path.parent.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with suppress(FileExistsError):  # another exporter has just made it
            os.close(os.open(path, flags, _FILE_MODE))
    elif path.stat().st_mode & _OPEN_TO_OTHERS:
        path.chmod(_FILE_MODE)
    with ExitStack() as stack:
        database = stack.enter_context(closing(_connect(path)))
        check(database, root)  # before anything is changed
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect while it is empty
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("BEGIN IMMEDIATE")
        if check(database, root):
            _create(database, root)
        database.execute("COMMIT")
        _check_pages(database)
        stack.pop_all()  # all is well: it stays open
    return database


def _is_there(path: Path) -> bool:
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise HistoryUnusableError(f"it is not a regular file; {_ELSEWHERE}")
    return True


def _connect(path: Path) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode=rw"
    database = sqlite3.connect(address, _LOCK_SECONDS, isolation_level=None, uri=True)
    database.execute("PRAGMA cache_size = -512")  # KiB
    database.execute("PRAGMA temp_store = MEMORY")  # nothing else may be writable
    return database


def check(database: sqlite3.Connection, root: str) -> bool:
    """Return whether the file is empty.

    Raises HistoryUnusableError if it belongs to something else, HistoryDamagedError.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (objects,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == _NO_APPLICATION and not objects:
        return True
    if application != _APPLICATION:
        message = f"it is a database of another program; {_ELSEWHERE}, or remove it"
        raise HistoryUnusableError(message)
    if version > FORMAT:
        message = (
            "it was written by a newer version of this program; run that version, or move the file "
            "away to begin a new history"
        )
        raise HistoryUnusableError(message)
    if version != FORMAT:
        raise HistoryDamagedError(f"format {version}")
    row = database.execute("SELECT value FROM about WHERE name = ?", (_ROOT,)).fetchone()
    if row is None or not isinstance(row[0], str):
        raise HistoryDamagedError("of no store")
    if row[0] != root:
        message = (
            f"it is of another store, {printable(row[0])}; {_ELSEWHERE}, or move the file away to "
            "begin a new history"
        )
        raise HistoryUnusableError(message)
    return False


def _check_pages(database: sqlite3.Connection) -> None:
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise HistoryDamagedError(str(verdict))


def _create(database: sqlite3.Connection, root: str) -> None:
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(f"PRAGMA user_version = {FORMAT}")
    for table in _TABLES:
        database.execute(table)
    set_about(database, _ROOT, root)


def set_about(database: sqlite3.Connection, name: str, value: str | int) -> None:
    """Set a fact about the history."""
    database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))


def moment_about(database: sqlite3.Connection, name: str) -> int | None:
    """Return a moment, a fact about the history; None if it is not set."""
    row = database.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    if not isinstance(row[0], int):
        raise HistoryDamagedError(f"{name} is no number")
    return row[0]
