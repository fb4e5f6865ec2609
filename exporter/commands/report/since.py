"""``report --since``: what has grown and what has gone since a point of the history."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.markup import escape

from exporter.commands.report.document import csv_text, encode_json
from exporter.commands.report.tables import console_on, text_table
from exporter.domain.errors import (
    HistoryTooShortError,
    HistoryUnusableError,
    StoreUnreadableError,
)
from exporter.domain.snapshot import BlobState, GcMode, Snapshot
from exporter.history.growth import Growth, RepositoryChange, repository_changes
from exporter.history.points import RepositoryPoint, StorePoint, store_point_of
from exporter.history.port import History
from exporter.support.quantities import format_duration, format_size

_CHANGES_SHOWN = 20
_MODES = {
    GcMode.DEFAULT: "Reclaimable",
    GcMode.DELETE_UNTAGGED: "Reclaimable, --delete-untagged",
}


@dataclass(frozen=True, slots=True)
class Base:
    """What the present is compared with.

    Attributes:
        store: the store at that time.
        repositories: those that existed; None if that is not known any more.

    """

    store: StorePoint
    repositories: Mapping[str, RepositoryPoint] | None


@dataclass(frozen=True, slots=True)
class _Changes:
    """What the report is written from.

    Attributes:
        location: of the store, safe to print.
        growth: of the store.
        repositories: what has changed of each, the largest change first; None if that is not known.

    """

    location: str
    growth: Growth
    repositories: Sequence[RepositoryChange] | None


def base_of(history: History | None, place: str, span: float, now: float) -> Base:
    """Return what was recorded ``span`` seconds before ``now`` (Unix seconds).

    ``place`` is the history's file, safe to print. Raises HistoryUnusableError if there is no
    history, HistoryTooShortError if it begins later.
    """
    if history is None:
        raise HistoryUnusableError(
            "--since: no history is kept; set --history.max-size above 0, and a --cache.path, as "
            "for `serve`"
        )
    try:
        begins_at = history.begins_at()
        store = history.store_at(now - span)
        repositories = None if store is None else history.repositories_at(now - span)
    except HistoryUnusableError as error:
        raise HistoryUnusableError(f"--since: the history {place}: {error}") from error
    if begins_at is None:
        raise HistoryTooShortError(
            f"--since: there is no history in {place}; `serve` records it there, if it runs with "
            "the same settings and as the same user"
        )
    if store is None:
        moment = datetime.fromtimestamp(begins_at, UTC)
        raise HistoryTooShortError(
            f"--since {format_duration(span)}: the history in {place} begins at "
            f"{moment:%Y-%m-%d %H:%M:%S} UTC, {format_duration(max(now - begins_at, 0))} ago"
        )
    return Base(store, repositories)


def report_since(
    snapshot: Snapshot, location: str, base: Base, style: str, top: int | None, output: TextIO
) -> None:
    """Write the report as ``table``, ``json`` or ``csv``, with the first ``top`` repositories.

    Raises StoreUnreadableError if there was no scan.
    """
    point = store_point_of(snapshot, snapshot.scan.last_success_at or base.store.at)
    if snapshot.store is None or point is None:
        raise StoreUnreadableError(f"{location} was not read")
    repositories = (
        None
        if base.repositories is None
        else repository_changes(base.repositories, snapshot.store.figures.repositories)
    )
    changes = _Changes(location, Growth(base.store, point), repositories)
    if style == "json":
        output.write(_json(changes, top))
    elif style == "csv":
        lines = [msgspec.to_builtins(each) for each in (repositories or ())[:top]]
        output.write(csv_text(RepositoryChange.__slots__, lines))
    else:
        _print(changes, top or _CHANGES_SHOWN, console_on(output))
    output.flush()


def _json(changes: _Changes, top: int | None) -> str:
    growth, repositories = changes.growth, changes.repositories
    document: dict[str, Any] = {
        "root": changes.location,
        "before": _point(growth.before),
        "now": _point(growth.now),
        "growth": {"store_bytes": growth.store_bytes, "avail_bytes": growth.avail_bytes},
        "repositories": None if repositories is None else repositories[:top],
    }
    return encode_json(document).decode()


def _point(point: StorePoint) -> Any:  # noqa: ANN401 - a document
    return msgspec.to_builtins(point, str_keys=True)


def _print(changes: _Changes, top: int, console: Console) -> None:
    growth = changes.growth
    before, now = (datetime.fromtimestamp(each.at, UTC) for each in (growth.before, growth.now))
    console.print(
        f"[bold]{escape(changes.location)}[/], read {now:%Y-%m-%d %H:%M:%S} UTC, compared with "
        f"{before:%Y-%m-%d %H:%M:%S} UTC, {format_duration(max(growth.seconds, 0))} before\n",
        soft_wrap=True,
    )
    table = text_table("Store", "Before", "Now", "Change")
    for row in _rows(growth.before, growth.now):
        table.add_row(*row)
    console.print(table)
    _print_repositories(changes.repositories, top, console)


def _rows(before: StorePoint, now: StorePoint) -> Iterator[tuple[str, ...]]:
    yield _sizes("Blobs and uploads", before.store_bytes, now.store_bytes)
    for state in BlobState:
        yield _sizes(f"  {state}", before.blob_bytes[state], now.blob_bytes[state])
    yield _sizes("  unfinished uploads", before.upload_bytes, now.upload_bytes)
    yield _sizes("Stray files", before.stray_bytes, now.stray_bytes)
    for mode, name in _MODES.items():
        yield _sizes(name, before.reclaimable_bytes[mode], now.reclaimable_bytes[mode])
    for use, size in (now.use_bytes or {}).items():
        yield _sizes(f"Tagged, {use}", (before.use_bytes or {}).get(use), size)
    yield _sizes("Filesystem, available", before.avail_bytes, now.avail_bytes)
    yield _counts("Tags", before.tags, now.tags)
    yield _counts("Repositories", before.repositories, now.repositories)


def _sizes(name: str, before: int | None, now: int | None) -> tuple[str, ...]:
    is_known = before is not None and now is not None
    change = _signed_size(now - before) if is_known else "not known"  # type: ignore[operator]
    return name, _size(before), _size(now), change


def _size(size: int | None) -> str:
    return "not known" if size is None else format_size(size)


def _counts(name: str, before: int, now: int) -> tuple[str, ...]:
    return name, f"{before:,}", f"{now:,}", f"{now - before:+,}"


def _signed_size(change: int) -> str:
    return f"{'+' if change > 0 else ''}{format_size(change)}"


def _print_repositories(
    changes: Sequence[RepositoryChange] | None, top: int, console: Console
) -> None:
    if changes is None:
        console.print(
            "\nWhat the repositories were then is not kept any more. A larger --history.max-size "
            "keeps it for longer.",
            soft_wrap=True,
        )
        return
    if not changes:
        console.print("\nNo repository has changed.")
        return
    table = text_table("\nRepository", "\nExclusive", "\nSize", "\nTags")
    table.add_column("\nIt")
    for each in changes[:top]:
        exclusive, size = map(_signed_size, (each.exclusive_bytes, each.referenced_bytes))
        table.add_row(each.name, exclusive, size, f"{each.tags:+,}", str(each.change))
    console.print(table)
    if len(changes) > top:
        console.print(f"and {len(changes) - top} more; --format json has all of them")
