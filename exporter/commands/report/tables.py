"""The report for people: tables on a terminal."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporter.commands.report.store_report import StoreReport
from exporter.domain.artifacts import ArtifactState
from exporter.domain.model import LEAVES_UNREAD, ScanIssue
from exporter.domain.snapshot import (
    BlobState,
    Integrity,
    PartialTag,
    RepositoryFigures,
    Snapshot,
    StoreReading,
)
from exporter.domain.text import plural
from exporter.support.quantities import format_duration, format_size
from exporter.views.action import Action
from exporter.views.tag_rows import TagRow

_ISSUES_SHOWN = 10
_PIPE_WIDTH = 140
_NAME_WIDTH = 48
_ORPHANS_SHOWN = 5
_DIGEST_SHOWN = len("sha256:") + 12
MEANINGS = {
    BlobState.TAGGED: "reachable from a tag",
    BlobState.UNTAGGED: "held by a repository, but no tag reaches it",
    BlobState.UNREFERENCED: "nothing references it: freed by `registry garbage-collect`",
}


_ARTIFACTS = {
    None: None,
    ArtifactState.ATTACHED: "(artifact)",
    ArtifactState.DETACHED: "(artifact, its image is gone)",
}


def print_report(report: StoreReport, output: TextIO) -> None:
    """Print the tables."""
    console = console_on(output)
    scan, reading, now = report.snapshot.scan, report.reading, report.now
    moment = datetime.fromtimestamp(scan.last_success_at or now, UTC)
    duration = format_duration(scan.duration_seconds or 0.0)
    place = escape(report.location)
    console.print(f"[bold]{place}[/], read {moment:%Y-%m-%d %H:%M:%S} UTC in {duration}\n")
    totals = text_table("Store", "Count", "Size", "")
    for row in (*_blob_rows(reading), *_other_rows(reading, now), *_space_rows(report)):
        totals.add_row(*row)
    console.print(totals)
    console.print(_repositories(report))
    left_out = len(reading.figures.repositories) - len(report.repositories)
    if left_out:
        console.print(f"and {left_out} more")
    _print_actions(report.actions, console)
    _print_platform(report.snapshot, console)
    _print_damage(report, console)
    _print_issues(reading, console)
    _print_api(report.snapshot, console)


def console_on(output: TextIO) -> Console:
    """Return a console that writes to ``output``."""
    width = None if output.isatty() else _PIPE_WIDTH
    return _Console(file=output, width=width, highlight=False, emoji=False)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise it for the caller, for whom a reader that stops early is not a failure."""
        raise BrokenPipeError


def text_table(*headers: str) -> Table:
    """Return an empty table; all columns with a header but the first hold numbers."""
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
        yield f"  {state}", f"{total.blobs:,}", format_size(total.bytes), MEANINGS[state]
    yield "Shared", "", format_size(figures.shared_bytes), "in two or more repositories"
    logical = format_size(figures.logical_bytes)
    yield "Logical", "", logical, "what all tags would take if nothing were shared"


def _other_rows(reading: StoreReading, now: float) -> Iterator[tuple[str, str, str, str]]:
    uploads, strays = reading.figures.uploads, reading.figures.strays
    artifacts = reading.figures.artifacts
    if artifacts.attached or artifacts.detached:
        remark = "signatures, attestations, SBOMs and their kind; contained in the blobs"
        if artifacts.detached:
            remark += f"; the images of {artifacts.detached:,} are gone"
        yield "Artifacts", f"{artifacts.attached + artifacts.detached:,}", "", remark
    if uploads.oldest_start_at is not None:
        remark = f"oldest {format_duration(now - uploads.oldest_start_at)}"
        if uploads.unpurgeable:
            remark += f"; {uploads.unpurgeable} that the registry never removes"
        yield "Unfinished uploads", f"{uploads.uploads:,}", format_size(uploads.bytes), remark
    if strays.files:
        remark = "no part of the registry's layout"
        if strays.frees_bytes < strays.bytes:
            remark += f"; deleting them frees {format_size(strays.frees_bytes)}: see report --disk"
        yield "Stray files", f"{strays.files:,}", format_size(strays.bytes), remark


def _space_rows(report: StoreReport) -> Iterator[tuple[str, str, str, str]]:
    filesystem, limit = report.snapshot.filesystem, report.storage_limit
    figures = report.reading.figures
    if limit is not None:
        used = (figures.total_bytes + figures.uploads.bytes) / limit
        yield "Limit", "", format_size(limit), f"{used:.0%} used"
    if filesystem is not None and filesystem.size_bytes:
        left = filesystem.avail_bytes / filesystem.size_bytes
        remark = f"{format_size(filesystem.avail_bytes)} ({left:.0%}) available"
        if filesystem.readonly:
            remark += "; [bold red]read-only[/]"
        yield "Filesystem", "", format_size(filesystem.size_bytes), remark


def _repositories(report: StoreReport) -> Table:
    repositories, uses, now = report.repositories, report.snapshot.uses, report.now
    headers = ["Repository", "Tags", "Manifests", "Untagged", "Size", "Exclusive", "Last push"]
    table = text_table(*(f"\n{header}" for header in headers))
    longest = max((len(each.name) for each in repositories), default=0)
    table.columns[0].min_width = min(longest, _NAME_WIDTH)
    if uses is not None:
        table.add_column("\nApp")
        table.add_column("\nUse")
    for each in repositories:
        cells = [
            each.name,
            f"{each.tags:,}",
            f"{each.manifests:,}",
            f"{each.untagged_manifests:,}",
            format_size(each.referenced_bytes),
            format_size(each.exclusive_bytes),
            _when(each.last_push_at, now),
        ]
        if uses is not None:
            counts = Counter(uses.repositories[each.name].values())
            cells.append(report.owner_of(each.name) or "-")
            cells.append(", ".join(f"{count} {use}" for use, count in sorted(counts.items())))
        table.add_row(*cells)
    return table


def print_repository(
    figures: RepositoryFigures, rows: Sequence[TagRow], now: float, output: TextIO
) -> None:
    """Print the tags of one repository."""
    console = console_on(output)
    size, exclusive = map(format_size, (figures.referenced_bytes, figures.exclusive_bytes))
    console.print(
        f"[bold]{escape(figures.name)}[/]: {figures.tags:,} tags, {figures.manifests:,} manifests, "
        f"{figures.untagged_manifests:,} untagged; {size}, {exclusive} exclusive\n"
    )
    has_uses = any(row.use is not None for row in rows)
    table = text_table("Tag", "Size", "Exclusive", "Pushed")
    for header in ("Digest", "Platforms", *(["Use", "Apps"] if has_uses else [])):
        table.add_column(header, overflow="fold")
    for row in rows:
        digest = "not known" if row.digest is None else row.digest[:_DIGEST_SHOWN]
        cells = [
            row.tag,
            format_size(row.bytes),
            format_size(row.exclusive_bytes),
            _when(row.pushed_at, now),
            digest,
            _ARTIFACTS[row.artifact] or ", ".join(row.platforms),
        ]
        if has_uses:
            cells += [row.use or "", ", ".join(map(str, row.apps or ()))]
        table.add_row(*cells)
    console.print(table)
    for row in rows:
        if row.broken is not None:
            console.print(f"[bold red]broken[/] {escape(row.tag)}: {escape(row.broken)}")
        if row.partial is not None:
            console.print(f"[bold yellow]partial[/] {escape(row.tag)}: {escape(row.partial)}")


def _print_actions(actions: Sequence[Action], console: Console) -> None:
    console.print("\n[bold]What can be freed[/]")
    orphans = [action for action in actions if action.action.startswith("orphaned ")]
    left_out = orphans[_ORPHANS_SHOWN:]
    for action in actions:
        if action in left_out:
            continue
        freed = "not known" if action.frees_bytes is None else format_size(action.frees_bytes)
        style = "bold red" if action.is_dangerous else "bold"
        console.print(f"[{style}]{escape(action.action)}[/]: {freed}")
        for warning in action.warnings:
            style = "red" if action.is_dangerous else ""
            console.print(f"  {warning}", style=style, markup=False, soft_wrap=True)
        for command in action.commands:
            console.print(f"    {command}", markup=False, soft_wrap=True)
    if left_out:
        console.print(f"and {len(left_out)} more; --format json has all of them")


def _print_platform(snapshot: Snapshot, console: Console) -> None:
    platform = snapshot.platform
    if platform is not None and platform.failure is not None:
        title = f"{platform.name}: it is unknown which images are needed"
        console.print(f"\n[bold yellow]{title}[/]")
        console.print(f"  {platform.failure}", markup=False, soft_wrap=True)


def _print_damage(report: StoreReport, console: Console) -> None:
    integrity = report.snapshot.integrity or Integrity((), ())
    uses, ownership = report.snapshot.uses, report.ownership
    if integrity.missing_blobs:
        console.print(f"\n[bold red]{len(integrity.missing_blobs)} referenced blobs are missing[/]")
    if integrity.broken_tags:
        console.print(
            f"\n[bold red]{plural(len(integrity.broken_tags), 'tag')} cannot be pulled whole[/]"
        )
    _print_first(
        [f"{each.repository}:{each.tag}: {each.reason}" for each in integrity.broken_tags], console
    )
    if integrity.partial_tags:
        title = (
            f"{len(integrity.partial_tags)} tags are partial: some of their images can be pulled"
        )
        console.print(f"\n[bold yellow]{title}[/]")
    _print_first([_describe(each) for each in integrity.partial_tags], console)
    for use, count in ({} if uses is None else uses.missing_images).items():
        if count:
            platform = "" if ownership is None else ownership.platform
            text = f"{count} images of {platform}'s use {use} are not here, or not whole"
            console.print(f"\n[bold red]{text}[/]")


def _describe(tag: PartialTag) -> str:
    """Return what can be pulled of a partial tag, and why the rest cannot."""
    can = f"can be pulled for {', '.join(tag.platforms)}" if tag.platforms else ""
    lacks = f"lacks {', '.join(tag.lacks)}" if tag.lacks else ""
    facts = ", ".join(part for part in (lacks, can) if part)
    return f"{tag.repository}:{tag.tag}{' ' * bool(facts)}{facts}: {tag.reason}"


def _print_first(lines: Sequence[str], console: Console) -> None:
    for line in lines[:_ISSUES_SHOWN]:
        console.print(f"  {line}", markup=False)
    if len(lines) > _ISSUES_SHOWN:
        more = len(lines) - _ISSUES_SHOWN
        console.print(f"  and {more} more; --format json lists all of them")


def _when(moment: float | None, now: float) -> str:
    return "never" if moment is None else _ago(now - moment)


def _ago(seconds: float) -> str:
    return f"{format_duration(max(seconds, 0.0))} ago"


def _print_issues(reading: StoreReading, console: Console) -> None:
    issues = reading.inventory.issues
    unread = tuple(issue for issue in issues if issue.cause in LEAVES_UNREAD)
    if unread:
        console.print(f"\n[bold yellow]{len(unread)} parts of the store could not be read[/]")
        _print_some(unread, console)
    others = tuple(issue for issue in issues if issue.cause not in LEAVES_UNREAD)
    if others:
        console.print(
            f"\n[bold yellow]{len(others)} parts of the store are not as the registry makes them[/]"
            "\nThey were read, and the figures above take them into account."
        )
        _print_some(others, console)


def _print_some(issues: Sequence[ScanIssue], console: Console) -> None:
    for issue in issues[:_ISSUES_SHOWN]:
        console.print(f"  {issue.cause}: {issue.path}: {issue.detail}", markup=False)
    if len(issues) > _ISSUES_SHOWN:
        console.print(f"  and {len(issues) - _ISSUES_SHOWN} more; --format json has all of them")


def _print_api(snapshot: Snapshot, console: Console) -> None:
    api, differences = snapshot.api, snapshot.tag_differences
    if api is not None and api.view is None:
        console.print("\n[bold yellow]The registry's API gave no whole answer; see above.[/]")
    elif differences:
        console.print(f"\n[bold yellow]Disk and API differ in {differences} tags.[/]")
