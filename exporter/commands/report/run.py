"""The command ``report``: which part is asked for, in which format."""

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.reverse_references import referencing
from exporter.commands.report.blob_tables import print_blob
from exporter.commands.report.digest_option import check_prefix, find_blob
from exporter.commands.report.document import (
    blob_json,
    report_csv,
    report_json,
    repository_csv,
    repository_json,
)
from exporter.commands.report.store_report import StoreReport
from exporter.commands.report.tables import print_report, print_repository
from exporter.domain.errors import ConfigurationError, StoreUnreadableError
from exporter.domain.snapshot import RepositoryFigures, Snapshot, StoreReading
from exporter.domain.text import printable
from exporter.store.port import Store
from exporter.support.quantities import parse_duration
from exporter.views.action import Action, CommandLines
from exporter.views.actions import actions_of
from exporter.views.blob_answer import answer_of
from exporter.views.blob_kind import is_held, read_type
from exporter.views.image_platforms import read_all_platforms
from exporter.views.tag_rows import TagRow, digests_of_tags, repository_named, tag_rows

_NEVER = 0.0
_LONGEST_SPAN = 3650 * 86400.0
_ORDERS: dict[str, Callable[[RepositoryFigures], tuple[float | str, ...]]] = {
    "size": lambda each: (-each.referenced_bytes, each.name),
    "exclusive": lambda each: (-each.exclusive_bytes, each.name),
    "tags": lambda each: (-each.tags, each.name),
    "last-push": lambda each: (-(each.last_push_at or _NEVER), each.name),
    "name": lambda each: (each.name,),
}


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What the options ask for.

    Attributes:
        format: ``table``, ``json`` or ``csv``.
        repository: the only one to report, tag by tag; None for the whole store.
        digest: beginning of the digest of the only blob to report; None for the whole store.
        top: how many repositories, tags or manifests to list; None for all.
        sort: order of the repositories.
        disk: whether to report what the disk is full of instead.
        since: report what has changed in so many seconds instead; None for the present.

    """

    format: str = "table"
    repository: str | None = None
    digest: str | None = None
    top: int | None = None
    sort: str = "size"
    disk: bool = False
    since: float | None = None


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What a report is made from.

    Attributes:
        store: the store that was scanned.
        snapshot: what is known about it.
        options: how it was analysed.
        commands: what an operator runs here.
        storage_limit: the configured budget in bytes; None without one.
        now: Unix seconds; ages are counted from it.
        least_available: the share of the filesystem below which space must be freed.

    """

    store: Store
    snapshot: Snapshot
    options: AnalysisOptions
    commands: CommandLines
    storage_limit: int | None
    now: float
    least_available: float = 0.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument(
        "--repository", metavar="NAME", help="list the tags of one repository instead"
    )
    subject.add_argument(
        "--digest",
        metavar="DIGEST",
        help="report what one blob is and what needs it instead; 6 digits of it are enough",
    )
    parser.add_argument(
        "--disk", action="store_true", help="count what the disk is full of instead"
    )
    parser.add_argument(
        "--since",
        metavar="SPAN",
        type=_span,
        help="report what has grown and what has gone instead, e.g. 7d",
    )
    parser.add_argument(
        "--top", metavar="N", type=_count, help="list only the first N repositories or tags"
    )
    parser.add_argument(
        "--sort",
        choices=tuple(_ORDERS),
        default="size",
        help="order of the repositories (default: size)",
    )


def request_of(parsed: argparse.Namespace) -> ReportRequest:
    """Return what the parsed options ask for.

    Raises ConfigurationError if they contradict, or make no sense.
    """
    digest = None if parsed.digest is None else check_prefix(parsed.digest)
    request = ReportRequest(
        parsed.format,
        parsed.repository,
        digest,
        parsed.top,
        parsed.sort,
        parsed.disk,
        parsed.since,
    )
    if request.disk and request != ReportRequest(request.format, disk=True):
        problem = (
            "--disk: is about the whole store; --repository, --digest, --top, --sort and --since "
            "do not go with it"
        )
        raise ConfigurationError([problem])
    whole = ReportRequest(request.format, top=request.top, since=request.since)
    if request.since is not None and request != whole:
        problem = (
            "--since: is about the whole store; --repository, --digest and --sort do not go with it"
        )
        raise ConfigurationError([problem])
    if digest is not None and parsed.format == "csv":
        raise ConfigurationError(["--format csv: --digest has only table and json"])
    return request


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _span(text: str) -> float:
    try:
        span = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
    if not 0 < span <= _LONGEST_SPAN:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1s and 3650d")
    return span


def report(source: ReportSource, request: ReportRequest, output: TextIO) -> None:
    """Write the report.

    Raises StoreUnreadableError, BlobUnknownError if no blob has the digest, and ConfigurationError
    if the repository does not exist or the digest is ambiguous.
    """
    reading = source.snapshot.store
    if reading is None:
        raise StoreUnreadableError(f"{source.store.location} was not read")
    if request.digest is not None:
        _report_blob(reading, source, request, output)
    elif request.repository is None:
        _report_store(reading, source, request, output)
    else:
        _report_repository(reading, source, request, output)
    output.flush()


def _report_store(
    reading: StoreReading, source: ReportSource, request: ReportRequest, output: TextIO
) -> None:
    repositories = sorted(reading.figures.repositories, key=_ORDERS[request.sort])[: request.top]
    if request.format == "csv":
        output.write(report_csv(repositories))
        return
    actions: tuple[Action, ...] = actions_of(
        reading, source.snapshot, source.options, source.commands, source.least_available
    )
    content = StoreReport(
        source.store.location,
        reading,
        source.snapshot,
        source.storage_limit,
        repositories,
        actions,
        source.options.ownership,
        source.now,
    )
    if request.format == "json":
        output.write(report_json(content).decode())
    else:
        print_report(content, output)


def _report_repository(
    reading: StoreReading, source: ReportSource, request: ReportRequest, output: TextIO
) -> None:
    figures = _find(reading, request.repository or "")
    rows = _rows(reading, source, figures.name)[: request.top]
    if request.format == "json":
        uses, ownership = source.snapshot.uses, source.options.ownership
        output.write(repository_json(figures, rows, uses, ownership).decode())
    elif request.format == "csv":
        output.write(repository_csv(rows))
    else:
        print_repository(figures, rows, source.now, output)


def _report_blob(
    reading: StoreReading, source: ReportSource, request: ReportRequest, output: TextIO
) -> None:
    inventory = reading.inventory
    number = find_blob(inventory.digests, request.digest or "")
    digest = inventory.digests[number]
    with source.store.open_blobs() as blobs:
        parents = referencing(inventory, {number})
        is_manifest = is_held(inventory, number)
        blob_type = read_type(blobs, inventory, number, parents, is_manifest=is_manifest)
        names = (each.name for each in inventory.repositories)
        linked = [name for name in names if blobs.is_layer_of(name, digest)]
    answer = answer_of(inventory, source.snapshot, number, parents, blob_type, linked)
    if request.format == "json":
        output.write(blob_json(answer, request.top).decode())
    else:
        print_blob(answer, request.top, output)


def _find(reading: StoreReading, name: str) -> RepositoryFigures:
    by_name = {each.name: each for each in reading.figures.repositories}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else "`report` lists them all"
        message = f"--repository {printable(name)}: no such repository; {hint}"
        raise ConfigurationError([message])
    return by_name[name]


def _rows(reading: StoreReading, source: ReportSource, name: str) -> tuple[TagRow, ...]:
    repository = repository_named(reading.inventory, name)
    platforms = read_all_platforms(source.store, digests_of_tags(reading.inventory, repository))
    return tag_rows(reading, source.snapshot, repository, platforms)
