"""One run of the command: what is asked for, in the form that is asked for."""

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.commands.report.actions import Action, actions_of
from exporter.commands.report.document import (
    report_csv,
    report_json,
    repository_csv,
    repository_json,
)
from exporter.commands.report.tables import print_report, print_repository
from exporter.commands.report.tag_rows import TagRow, repository_named, tag_rows, targets_of
from exporter.domain.errors import ConfigurationError, StoreUnreadableError
from exporter.domain.snapshot import RepositoryFigures, StoreReading
from exporter.domain.text import printable
from exporter.metrics.metric import Subject
from exporter.store.filesystem.image_platforms import read_all_platforms
from exporter.store.filesystem.root import open_known_store

_NEVER = 0.0
_ORDERS: dict[str, Callable[[RepositoryFigures], tuple[float | str, ...]]] = {
    "size": lambda each: (-each.referenced_bytes, each.name),
    "exclusive": lambda each: (-each.exclusive_bytes, each.name),
    "tags": lambda each: (-each.tags, each.name),
    "last-push": lambda each: (-(each.last_push_at or _NEVER), each.name),
    "name": lambda each: (each.name,),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument(
        "--repository", metavar="NAME", help="list the tags of one repository instead"
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


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def report(
    subject: Subject,
    options: AnalysisOptions,
    parsed: argparse.Namespace,
    *,
    root: Path,
    plan_command: str,
    now: float,
    output: TextIO,
) -> None:
    """Write the report; ``now`` (Unix seconds) is what ages are counted from.

    ``plan_command`` runs ``plan`` on the same store with the same settings.

    Raises StoreUnreadableError, and ConfigurationError where there is no such repository.
    """
    reading = subject.snapshot.store
    if reading is None:
        raise StoreUnreadableError(f"{printable(str(root))} was not read")
    if parsed.repository is None:
        prefix = options.image_prefix
        actions: tuple[Action, ...] = ()
        if parsed.format != "csv":
            actions = actions_of(reading, subject.snapshot, options, plan_command)
        _report_store(reading, subject, prefix, actions, parsed, root, now, output)
    else:
        _report_repository(reading, subject, options.image_prefix, parsed, root, now, output)
    output.flush()


def _report_store(
    reading: StoreReading,
    subject: Subject,
    prefix: str | None,
    actions: Sequence[Action],
    parsed: argparse.Namespace,
    root: Path,
    now: float,
    output: TextIO,
) -> None:
    place = printable(str(root))
    repositories = sorted(reading.figures.repositories, key=_ORDERS[parsed.sort])[: parsed.top]
    if parsed.format == "csv":
        output.write(report_csv(repositories))
    elif parsed.format == "json":
        page = report_json(reading, subject, place, repositories, actions, prefix)
        output.write(page.decode())
    else:
        print_report(reading, subject, place, repositories, actions, prefix, now, output)


def _report_repository(
    reading: StoreReading,
    subject: Subject,
    prefix: str | None,
    parsed: argparse.Namespace,
    root: Path,
    now: float,
    output: TextIO,
) -> None:
    figures = _find(reading, parsed.repository)
    rows = _rows(reading, subject, root, figures.name)[: parsed.top]
    if parsed.format == "json":
        output.write(repository_json(figures, rows, subject.snapshot.uses, prefix).decode())
    elif parsed.format == "csv":
        output.write(repository_csv(rows))
    else:
        print_repository(figures, rows, now, output)


def _find(reading: StoreReading, name: str) -> RepositoryFigures:
    by_name = {each.name: each for each in reading.figures.repositories}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f"did you mean {close[0]}?" if close else "`report` lists them all"
        message = f"--repository {printable(name)}: no such repository; {hint}"
        raise ConfigurationError([message])
    return by_name[name]


def _rows(reading: StoreReading, subject: Subject, root: Path, name: str) -> tuple[TagRow, ...]:
    repository = repository_named(reading.inventory, name)
    with open_known_store(root) as store:
        platforms = read_all_platforms(store, targets_of(reading.inventory, repository))
    return tag_rows(reading, subject.snapshot, repository, platforms)
