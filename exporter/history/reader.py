"""Answers from the history file. Any thread may ask; each question opens the file for itself."""

import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from exporter.domain.errors import HistoryDamagedError
from exporter.history.database import REPOSITORIES_FROM, moment_about, opened_to_read
from exporter.history.growth import Growth
from exporter.history.points import RepositoryPoint, StoreBytes, StorePoint
from exporter.history.rows import STORE_BYTES, point_of
from exporter.history.time_to_full import WINDOW_SECONDS, Sample, seconds_until_full

_POINT_AT = "SELECT * FROM store_point WHERE at <= ? ORDER BY at DESC LIMIT 1"
_POINTS = "SELECT * FROM store_point WHERE at > ? AND at <= ? ORDER BY at"
_BYTES = f"SELECT at, {STORE_BYTES}, avail_bytes FROM store_point"  # noqa: S608 - a constant
_BYTES_AT = f"{_BYTES} WHERE at <= ? ORDER BY at DESC LIMIT 1"
_BYTES_SINCE = f"{_BYTES} WHERE at > ? AND at <= ? ORDER BY at"
_OF_REPOSITORY = """
    SELECT at, referenced_bytes, exclusive_bytes, tags FROM repository_point
    WHERE repository = :id AND at <= :now AND at >= coalesce(
        (SELECT max(at) FROM repository_point WHERE repository = :id AND at <= :since), :since
    )
    UNION ALL
    SELECT at, referenced_bytes, exclusive_bytes, tags FROM repository
    WHERE id = :id AND at <= :now
    ORDER BY at
"""
_REPOSITORIES_AT = """
    SELECT name, at, referenced_bytes, exclusive_bytes, tags FROM repository
    WHERE at <= :moment AND tags IS NOT NULL
    UNION ALL
    SELECT name, point.at, point.referenced_bytes, point.exclusive_bytes, point.tags
    FROM repository JOIN repository_point AS point
    ON point.repository = repository.id AND point.at = (
        SELECT max(at) FROM repository_point WHERE repository = repository.id AND at <= :moment
    )
    WHERE repository.at > :moment AND point.tags IS NOT NULL
"""
# What has not changed since then has not grown.
_GROWTH = """
    SELECT name, growth FROM (
        SELECT name, exclusive_bytes - coalesce((
            SELECT exclusive_bytes FROM repository_point AS point
            WHERE point.repository = repository.id AND point.at <= :moment
            ORDER BY point.at DESC LIMIT 1
        ), 0) AS growth
        FROM repository WHERE at > :moment
    )
    WHERE growth != 0
"""
_State = tuple[int, int, int, int | None]
_Named = tuple[str, int, int, int, int | None]
_Rows = TypeVar("_Rows")


class HistoryReader:
    """Reads the history of one store."""

    def __init__(
        self, path: Path, root: Callable[[], str | None], clock: Callable[[], float] = time.time
    ) -> None:
        """Read the history of the store whose identity ``root`` returns in ``path``.

        None as the identity stands for a history that is empty as yet. ``clock`` returns Unix
        seconds.
        """
        self._path = path
        self._root = root
        self._clock = clock

    def begins_at(self) -> int | None:
        """Return when the history of the store begins, Unix seconds."""
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return None
            query = "SELECT min(at) FROM store_point WHERE at <= ?"
            rows = database.execute(query, (self._now(),)).fetchall()
        ((begins_at,),) = _checked(rows, list[tuple[int | None]])
        return begins_at

    def store_points(self, since: float) -> tuple[StorePoint, ...]:
        """Return the store at ``since`` (Unix seconds), and at each change after it."""
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return ()
            first = database.execute(_POINT_AT, (int(since),)).fetchall()
            rows = database.execute(_POINTS, (int(since), self._now())).fetchall()
        return tuple(map(point_of, first + rows))

    def store_bytes(self, since: float) -> tuple[StoreBytes, ...]:
        """Return the bytes of these points."""
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return ()
            first = database.execute(_BYTES_AT, (int(since),)).fetchall()
            rows = database.execute(_BYTES_SINCE, (int(since), self._now())).fetchall()
        return tuple(_checked(first + rows, list[StoreBytes]))

    def store_at(self, moment: float) -> StorePoint | None:
        """Return the newest point at or before ``moment``; None if there is none."""
        with opened_to_read(self._path, self._root()) as database:
            return None if database is None else _point(database, int(moment))

    def growth(self, span: float) -> Growth | None:
        """Return how the store has grown in the last ``span`` seconds."""
        now = self._now()
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return None
            before, last = _point(database, int(now - span)), _point(database, now)
        return None if before is None or last is None else Growth(before, last)

    def repositories_begin_at(self) -> int | None:
        """Return since when the history of all repositories is known, Unix seconds."""
        with opened_to_read(self._path, self._root()) as database:
            begins_at = None if database is None else moment_about(database, REPOSITORIES_FROM)
        return None if begins_at is None or begins_at > self._now() else begins_at

    def repository_points(self, name: str, since: float) -> tuple[RepositoryPoint, ...]:
        """Return one repository at ``since``, and in each later hour in which it changed."""
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return ()
            query = "SELECT id FROM repository WHERE name = ?"
            row = database.execute(query, (name,)).fetchone()
            if row is None:
                return ()
            where = {"id": row[0], "since": int(since), "now": self._now()}
            rows = database.execute(_OF_REPOSITORY, where).fetchall()
        points = [RepositoryPoint(*each) for each in _checked(rows, list[_State])]
        earlier = sum(each.at <= since for each in points)
        return tuple(points[max(earlier - 1, 0) :])

    def repositories_at(self, moment: float) -> Mapping[str, RepositoryPoint] | None:
        """Return the repositories that existed at ``moment``; None if that is not known."""
        rows = self._rows(_REPOSITORIES_AT, moment)
        if rows is None:
            return None
        return {row[0]: RepositoryPoint(*row[1:]) for row in _checked(rows, list[_Named])}

    def repositories_growth(self, span: float) -> Mapping[str, int] | None:
        """Return by how many bytes the exclusive bytes of each repository have grown."""
        rows = self._rows(_GROWTH, self._now() - span)
        return None if rows is None else dict(_checked(rows, list[tuple[str, int]]))

    def seconds_until_full(self) -> float | None:
        """Return in how many seconds the filesystem is full, as the alert StorageFillingUp says."""
        now = self._clock()
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return None
            query = "SELECT at, avail_bytes FROM space WHERE at >= ? AND at <= ? ORDER BY at"
            rows = database.execute(query, (now - WINDOW_SECONDS, now)).fetchall()
        samples = [Sample(*each) for each in _checked(rows, list[tuple[int, int]])]
        return seconds_until_full(samples, now)

    def _now(self) -> int:
        return int(self._clock())

    def _rows(self, query: str, moment: float) -> list[tuple[object, ...]] | None:
        """Return the answer to a question about all repositories; None if it is not known."""
        with opened_to_read(self._path, self._root()) as database:
            if database is None:
                return None
            begins_at = moment_about(database, REPOSITORIES_FROM)
            if begins_at is None or int(moment) < begins_at:
                return None
            return database.execute(query, {"moment": int(moment)}).fetchall()


def _point(database: sqlite3.Connection, moment: int) -> StorePoint | None:
    row = database.execute(_POINT_AT, (moment,)).fetchone()
    return None if row is None else point_of(row)


def _checked(rows: object, kind: type[_Rows]) -> _Rows:
    """Return rows whose values have the right types. Raises HistoryDamagedError."""
    try:
        return msgspec.convert(rows, kind)
    except msgspec.ValidationError as error:
        raise HistoryDamagedError(str(error)) from error
