"""The report for people: a table to read, JSON and CSV to work with."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporter.metrics.subject import Subject
from exporter.quantities import format_duration, format_size
from exporter.snapshot import ApiStatus, BlobState, RepositoryFigures, StoreReading

_ISSUES_SHOWN = 10
_PIPE_WIDTH = 120
_MEANINGS = {
    BlobState.TAGGED: "reachable from a tag",
    BlobState.UNTAGGED: "held by a repository, but no tag reaches it",
    BlobState.UNREFERENCED: "nothing references it: freed by `registry garbage-collect`",
}


def report_json(reading: StoreReading, subject: Subject, root: str) -> bytes:
    """Write everything as one JSON object: sizes in bytes, times in Unix seconds, null: unknown."""
    snapshot = subject.snapshot
    document: dict[str, Any] = {
        "root": root,
        "scanned_at": snapshot.scan.last_success_at,
        "scan_duration_seconds": snapshot.scan.duration_seconds,
        "storage_limit_bytes": subject.storage_limit,
        **msgspec.to_builtins(reading.figures, str_keys=True),
        "issues": reading.inventory.issues,
        "filesystem": snapshot.filesystem,
        "api": _api(snapshot.api, snapshot.tag_differences),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _api(api: ApiStatus | None, tag_differences: int | None) -> dict[str, Any] | None:
    if api is None:
        return None
    view = api.view
    return {
        "up": view is not None,
        "repository_tags": None
        if view is None
        else {name: len(tags) for name, tags in sorted(view.tags.items())},
        "tag_differences": tag_differences,
        "certificate_not_after": api.certificate_not_after,
    }


def report_csv(reading: StoreReading) -> str:
    """Write one line per repository, largest first: bytes and Unix seconds."""
    text = io.StringIO()
    writer = csv.DictWriter(text, RepositoryFigures.__slots__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(each) for each in reading.figures.repositories)
    return text.getvalue()


def print_report(
    reading: StoreReading, subject: Subject, root: str, now: float, output: TextIO
) -> None:
    """Print the tables; ``now`` (Unix seconds) is what ages are counted from."""
    console = _Console(
        file=output, width=None if output.isatty() else _PIPE_WIDTH, highlight=False, emoji=False
    )
    scan = subject.snapshot.scan
    moment = datetime.fromtimestamp(scan.last_success_at or now, UTC)
    duration = format_duration(scan.duration_seconds or 0.0)
    console.print(f"[bold]{escape(root)}[/], read {moment:%Y-%m-%d %H:%M:%S} UTC in {duration}\n")
    totals = _table("Store", "Count", "Size", "")
    for row in (*_blob_rows(reading), *_other_rows(reading, now), *_space_rows(reading, subject)):
        totals.add_row(*row)
    console.print(totals)
    console.print(_repositories(reading, now))
    _print_issues(reading, console)
    _print_api(subject, console)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller, for whom a reader that has seen enough is no failure."""
        raise BrokenPipeError


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, header in enumerate(headers):
        is_number = place > 0 and header != ""
        table.add_column(header, justify="right" if is_number else "left", overflow="fold")
    return table


def _blob_rows(reading: StoreReading) -> Iterator[tuple[str, str, str, str]]:
    figures = reading.figures
    blobs = sum(total.blobs for total in figures.blobs.values())
    yield "Blobs", f"{blobs:,}", format_size(figures.total_bytes), "each once"
    for state, total in figures.blobs.items():
        yield f"  {state}", f"{total.blobs:,}", format_size(total.bytes), _MEANINGS[state]
    yield "Shared", "", format_size(figures.shared_bytes), "in two or more repositories"
    logical = format_size(figures.logical_bytes)
    yield "Logical", "", logical, "what all tags would take if nothing were shared"


def _other_rows(reading: StoreReading, now: float) -> Iterator[tuple[str, str, str, str]]:
    uploads, strays = reading.figures.uploads, reading.figures.strays
    if uploads.oldest_start_at is not None:
        remark = f"oldest {format_duration(now - uploads.oldest_start_at)}"
        if uploads.unpurgeable:
            remark += f"; {uploads.unpurgeable} that the registry never removes"
        yield "Unfinished uploads", f"{uploads.uploads:,}", format_size(uploads.bytes), remark
    if strays.files:
        remark = "no part of the registry's layout"
        yield "Stray files", f"{strays.files:,}", format_size(strays.bytes), remark


def _space_rows(reading: StoreReading, subject: Subject) -> Iterator[tuple[str, str, str, str]]:
    filesystem, limit = subject.snapshot.filesystem, subject.storage_limit
    if limit is not None:
        used = (reading.figures.total_bytes + reading.figures.uploads.bytes) / limit
        yield "Limit", "", format_size(limit), f"{used:.0%} used"
    if filesystem is not None and filesystem.size_bytes:
        left = filesystem.avail_bytes / filesystem.size_bytes
        remark = f"{format_size(filesystem.avail_bytes)} ({left:.0%}) available"
        if filesystem.readonly:
            remark += "; [bold red]read-only[/]"
        yield "Filesystem", "", format_size(filesystem.size_bytes), remark


def _repositories(reading: StoreReading, now: float) -> Table:
    table = _table(
        "\nRepository", "\nTags", "\nManifests", "\nUntagged", "\nSize", "\nExclusive",
        "\nLast push",
    )  # fmt: skip
    for each in reading.figures.repositories:
        pushed = "never" if each.last_push_at is None else _ago(now - each.last_push_at)
        table.add_row(
            each.name,
            f"{each.tags:,}",
            f"{each.manifests:,}",
            f"{each.untagged_manifests:,}",
            format_size(each.referenced_bytes),
            format_size(each.exclusive_bytes),
            pushed,
        )
    return table


def _ago(seconds: float) -> str:
    return f"{format_duration(max(seconds, 0.0))} ago"


def _print_issues(reading: StoreReading, console: Console) -> None:
    issues = reading.inventory.issues
    if issues:
        console.print(f"\n[bold yellow]{len(issues)} parts of the store could not be read[/]")
    for issue in issues[:_ISSUES_SHOWN]:
        console.print(f"  {issue.cause}: {issue.path}: {issue.detail}", markup=False)
    if len(issues) > _ISSUES_SHOWN:
        console.print(f"  and {len(issues) - _ISSUES_SHOWN} more; --format json has all of them")


def _print_api(subject: Subject, console: Console) -> None:
    api, differences = subject.snapshot.api, subject.snapshot.tag_differences
    if api is not None and api.view is None:
        console.print("\n[bold yellow]The registry's API gave no whole answer; see above.[/]")
    elif differences:
        console.print(f"\n[bold yellow]Disk and API differ in {differences} tags.[/]")
