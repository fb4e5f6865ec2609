"""Keeping the history small: points are thinned as they age, and more if room is scarce.

Every function works in many short transactions, so that the files beside the database stay small
too.
"""

import sqlite3
from itertools import pairwise

from exporter.history.database import REPOSITORIES_FROM, THINNED_UNTIL, moment_about, set_about
from exporter.history.thinning import (
    DAY,
    daily_before,
    later_beginnings,
    nearer_daily_limits,
)

_SIDE_BYTES = 4_000_000
"""What the files beside the database may take."""
_KEPT_SIDE_BYTES = 1_000_000
_CHECKPOINT_PAGES = 128
_SCARCE = 0.9
_ENOUGH = 0.7
_ROWS_AT_ONCE = 20_000
_PAGES_AT_ONCE = 500
_POINTS_BY_REPOSITORY = """
    SELECT repository, count(*) FROM repository_point GROUP BY repository ORDER BY repository
"""
_THIN_STORE = """
    DELETE FROM store_point AS point WHERE at >= :since AND at < :limit AND EXISTS (
        SELECT 1 FROM store_point AS later
        WHERE later.at > point.at AND later.at < min(:limit, (point.at / :day + 1) * :day)
    )
"""
_THIN_REPOSITORIES = """
    DELETE FROM repository_point AS point
    WHERE repository > :first AND repository <= :last AND at >= :since AND at < :limit AND EXISTS (
        SELECT 1 FROM repository_point AS later WHERE later.repository = point.repository
        AND later.at > point.at AND later.at < min(:limit, (point.at / :day + 1) * :day)
    )
"""
# The last state before the new beginning stays: it is the state at the beginning. Later than `end`
# are points from a time when the clock was ahead.
_KEEP = """
    CREATE TEMP TABLE kept AS SELECT * FROM repository_point AS point
    WHERE repository > :first AND repository <= :last AND at <= :end AND (
        at >= :begin OR NOT (
            EXISTS (
                SELECT 1 FROM repository_point AS later WHERE later.repository = point.repository
                AND later.at > point.at AND later.at <= :begin
            ) OR EXISTS (
                SELECT 1 FROM repository WHERE id = point.repository
                AND repository.at > point.at AND repository.at <= :begin
            )
        )
    )
    ORDER BY repository, at
"""
_POINTS_BY_SIDE = """
    SELECT count(*) FILTER (WHERE at <= :end), count(*) FILTER (WHERE at > :end) FROM store_point
"""
_REMOVE_ALL = "DELETE FROM repository_point WHERE repository > :first AND repository <= :last"
_PUT_BACK = "INSERT INTO repository_point SELECT * FROM temp.kept"
_FORGET_REPOSITORIES = (
    "DELETE FROM repository WHERE id > :first AND id <= :last AND tags IS NULL AND at <= :begin"
)


def limit_size(database: sqlite3.Connection, max_bytes: int) -> None:
    """Let the database and the files beside it take no more than ``max_bytes``."""
    (page,) = database.execute("PRAGMA page_size").fetchone()
    database.execute(f"PRAGMA max_page_count = {(max_bytes - _SIDE_BYTES) // page}")
    database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    database.execute(f"PRAGMA journal_size_limit = {_KEPT_SIDE_BYTES}")


def thin_old_points(database: sqlite3.Connection, now: int) -> None:
    """Leave one point of the next day that has become old enough.

    Not more at once: a clock that is ahead for a while then does little harm.
    """
    oldest = daily_before(now)
    since = moment_about(database, THINNED_UNTIL)
    if since is None or since > oldest:  # new, or begun while the clock was ahead
        set_about(database, THINNED_UNTIL, oldest)
        return
    limit = min(since + DAY, oldest)
    if limit == since:
        return
    where = {"since": since, "limit": limit, "day": DAY}
    database.execute(_THIN_STORE, where)
    for ids in _parts(database):
        database.execute(_THIN_REPOSITORIES, where | ids)
    set_about(database, THINNED_UNTIL, limit)


def make_room(database: sqlite3.Connection, max_bytes: int, now: int) -> None:
    """Forget the oldest points of repositories if room is scarce, then points of the store."""
    most = max_bytes - _SIDE_BYTES
    if _used(database) > _SCARCE * most:
        _forget(database, most, now)
    _shrink(database, most)


def _forget(database: sqlite3.Connection, most: int, now: int) -> None:
    past, future = database.execute(_POINTS_BY_SIDE, {"end": now + DAY}).fetchone()
    if future > past:
        return  # the clock is wrong now, and not when most was recorded
    (newest,) = database.execute("SELECT coalesce(max(at), 0) FROM repository").fetchone()
    newest = min(newest, now)
    begins_at = min(moment_about(database, REPOSITORIES_FROM) or newest, newest)
    for begin in later_beginnings(begins_at, newest):
        set_about(database, REPOSITORIES_FROM, begin)
        for ids in _parts(database):
            _forget_before(database, ids | {"begin": begin, "end": now + DAY})
        if _used(database) <= _ENOUGH * most:
            return
    for limit in nearer_daily_limits(newest):
        if _used(database) <= _SCARCE * most:
            break
        database.execute(_THIN_STORE, {"since": 0, "limit": limit, "day": DAY})


def _forget_before(database: sqlite3.Connection, where: dict[str, int]) -> None:
    """Write what stays of some repositories again: only that empties whole pages."""
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute(_KEEP, where)
        database.execute(_REMOVE_ALL, where)
        database.execute(_PUT_BACK)
        database.execute("DROP TABLE temp.kept")
        database.execute(_FORGET_REPOSITORIES, where)
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def is_full(database: sqlite3.Connection, max_bytes: int) -> bool:
    """Return whether the database is as large as it may be."""
    return _used(database) > _SCARCE * (max_bytes - _SIDE_BYTES)


def _used(database: sqlite3.Connection) -> int:
    (page,) = database.execute("PRAGMA page_size").fetchone()
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    (free,) = database.execute("PRAGMA freelist_count").fetchone()
    return int(page * (pages - free))


def _shrink(database: sqlite3.Connection, most: int) -> None:
    """Give room back if the limit was lowered."""
    (page,) = database.execute("PRAGMA page_size").fetchone()
    while True:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        if not free or page * pages <= most:
            return
        database.execute(f"PRAGMA incremental_vacuum({min(free, _PAGES_AT_ONCE)})").fetchall()


def _parts(database: sqlite3.Connection) -> list[dict[str, int]]:
    """Return ranges of ids that cover all repositories; none with too many points at once."""
    ends, rows = [0], 0
    for repository, points in database.execute(_POINTS_BY_REPOSITORY):
        rows += points
        if rows >= _ROWS_AT_ONCE:
            ends.append(repository)
            rows = 0
    (last,) = database.execute("SELECT coalesce(max(id), 0) FROM repository").fetchone()
    return [{"first": first, "last": end} for first, end in pairwise([*ends, max(last, ends[-1])])]
