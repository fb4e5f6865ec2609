"""Writes the history. For one thread.

The file is opened again whenever another has taken its place. If it is damaged, it is set aside,
which the log says, and a new history begins.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from exporter.domain.errors import HistoryDamagedError, HistoryUnusableError
from exporter.domain.snapshot import RepositoryFigures
from exporter.domain.text import printable
from exporter.history.database import (
    REPOSITORIES_FROM,
    SIDE_SUFFIXES,
    check,
    explained,
    moment_about,
    open_to_write,
    set_about,
)
from exporter.history.points import StorePoint
from exporter.history.room import is_full, limit_size, make_room, thin_old_points
from exporter.history.rows import point_of, row_of
from exporter.history.thinning import HOUR
from exporter.history.time_to_full import WINDOW_SECONDS

_log = logging.getLogger(__name__)

_DAMAGED_SUFFIX = ".damaged"
_OPEN_SECONDS = HOUR
"""The file is opened again, because SQLite does not notice what others do to an open one."""
_AT_ONCE = 500
"""Rows per transaction: a large one makes the files beside the database large."""

_LAST_POINT = "SELECT * FROM store_point WHERE at <= ? ORDER BY at DESC LIMIT 1"
_ADD_POINT = """
    INSERT OR REPLACE INTO store_point
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_STATES = "SELECT id, name, at, referenced_bytes, exclusive_bytes, tags FROM repository"
# One state for each hour in which it changed: the last.
_KEEP_STATE = """
    INSERT OR REPLACE INTO repository_point
    SELECT id, at, referenced_bytes, exclusive_bytes, tags FROM repository
    WHERE id = :id AND at / :hour != :now / :hour
"""
_CHANGE_STATE = (
    "UPDATE repository SET at = ?, referenced_bytes = ?, exclusive_bytes = ?, tags = ? WHERE id = ?"
)
_ADD_REPOSITORY = (
    "INSERT INTO repository (name, at, referenced_bytes, exclusive_bytes, tags) "
    "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)

_State = tuple[int, int, int | None]
_GONE: _State = 0, 0, None
_Row = tuple[int, str, int, int, int, int | None]
_Item = TypeVar("_Item")
_Arguments = ParamSpec("_Arguments")


class HistoryFile:
    """The history file of one store."""

    def __init__(self, path: Path, root: Callable[[], str], max_bytes: int) -> None:
        """Keep in ``path`` the history of the store ``root``, in at most ``max_bytes``.

        ``root`` returns the store's identity; asked when it is needed, because a mount that hangs
        may keep it waiting.
        """
        self.path = path
        self._root = root
        self._max_bytes = max_bytes
        self._database: sqlite3.Connection | None = None
        self._place: tuple[int, int] | None = None
        self._opened_at = 0
        self._recorded: int | None = None
        self._recorded_at = 0

    def record(self, point: StorePoint, repositories: Sequence[RepositoryFigures]) -> None:
        """Record what has changed at the time of ``point``. Raises HistoryUnusableError."""
        try:
            try:
                self._record(point, repositories)
            except HistoryDamagedError as error:
                self._set_aside(error)
                self._record(point, repositories)
        except HistoryUnusableError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; recording opens it again."""
        database, self._database = self._database, None
        self._recorded = None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error as error:
                _log.debug("closing the history: %s", error)

    def _record(self, point: StorePoint, repositories: Sequence[RepositoryFigures]) -> None:
        with explained(self.path):
            database = self._open(point.at)
            _in_one(database, _record_store, point)
            make_room(database, self._max_bytes, point.at)
            digest = hash(tuple(repositories))  # the figures themselves take memory
            if digest == self._recorded and point.at >= self._recorded_at:
                return
            if is_full(database, self._max_bytes):
                raise HistoryUnusableError(
                    f"the names of {len(repositories):,} repositories fill it; set a larger "
                    "--history.max-size"
                )
            _record_repositories(database, repositories, point.at)
            self._recorded, self._recorded_at = digest, point.at

    def _open(self, now: int) -> sqlite3.Connection:
        is_due = not 0 <= now - self._opened_at < _OPEN_SECONDS
        if self._database is not None and self._place == _place_of(self.path) and not is_due:
            check(self._database, self._root())
            return self._database
        self.close()
        self._place = _place_of(self.path)
        self._database = open_to_write(self.path, self._root())
        self._place = _place_of(self.path)
        self._opened_at = now
        limit_size(self._database, self._max_bytes)
        thin_old_points(self._database, now)
        return self._database

    def _set_aside(self, damage: HistoryDamagedError) -> None:
        """Rename the damaged file, unless somebody has replaced it meanwhile."""
        self.close()
        if self._place != _place_of(self.path):
            return
        aside = self.path.with_name(self.path.name + _DAMAGED_SUFFIX)
        with explained(self.path):
            self.path.replace(aside)
            for suffix in SIDE_SUFFIXES:
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        _log.warning(
            "the history %s %s: it is kept as %s, and a new history begins",
            printable(str(self.path)),
            damage,
            printable(aside.name),
        )


def _place_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _record_store(database: sqlite3.Connection, point: StorePoint) -> None:
    """Record the store, and what is available, for the estimate of when it is full."""
    row = database.execute(_LAST_POINT, (point.at,)).fetchone()
    if row is None or not point_of(row).equals(point_of(row_of(point))):
        database.execute(_ADD_POINT, row_of(point))
    # nothing later than now counts: the clock may have been set back
    oldest = point.at - WINDOW_SECONDS
    database.execute("DELETE FROM space WHERE at < ? OR at >= ?", (oldest, point.at))
    if point.avail_bytes is not None:
        database.execute("INSERT INTO space VALUES (?, ?)", (point.at, point.avail_bytes))


def _record_repositories(
    database: sqlite3.Connection, repositories: Sequence[RepositoryFigures], now: int
) -> None:
    """Record the repositories that have changed."""
    new = {each.name: each for each in repositories}
    changes = []
    for number, name, at, *old in _states(database):
        each = new.pop(name, None)
        state = _GONE if each is None else _state_of(each)
        # a time later than now is from before the clock was set back
        if state != tuple(old) or at > now:
            changes.append((number, state))
    for some in _parts(changes):
        _in_one(database, _change, some, now)
    for added in _parts(list(new.values())):
        _in_one(database, _add, added, now)
    begins_at = moment_about(database, REPOSITORIES_FROM)
    if begins_at is None or begins_at > now:
        set_about(database, REPOSITORIES_FROM, now)


def _states(database: sqlite3.Connection) -> Iterator[_Row]:
    try:
        for row in database.execute(_STATES):  # not all at once: names take memory
            yield msgspec.convert(row, _Row)
    except msgspec.ValidationError as error:
        raise HistoryDamagedError(str(error)) from error


def _state_of(repository: RepositoryFigures) -> _State:
    return repository.referenced_bytes, repository.exclusive_bytes, repository.tags


def _change(database: sqlite3.Connection, changes: Sequence[tuple[int, _State]], now: int) -> None:
    kept = ({"id": number, "now": now, "hour": HOUR} for number, _ in changes)
    database.executemany(_KEEP_STATE, kept)
    database.executemany(_CHANGE_STATE, ((now, *state, number) for number, state in changes))


def _add(database: sqlite3.Connection, added: Sequence[RepositoryFigures], now: int) -> None:
    database.executemany(_ADD_REPOSITORY, ((each.name, now, *_state_of(each)) for each in added))


def _parts(rows: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    return (rows[place : place + _AT_ONCE] for place in range(0, len(rows), _AT_ONCE))


def _in_one(
    database: sqlite3.Connection,
    write: Callable[Concatenate[sqlite3.Connection, _Arguments], None],
    *arguments: _Arguments.args,
    **named: _Arguments.kwargs,
) -> None:
    """Write in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    try:
        write(database, *arguments, **named)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")
