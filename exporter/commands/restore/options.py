"""The options of the command ``restore``, and what they ask for."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from exporter.commands.max_rate_option import DEFAULT_RATE, add_max_rate
from exporter.commands.pattern_option import parse_pattern


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore, and how.

    Attributes:
        source: the directory of a backup, or the journal of ``apply``.
        repositories: only these; empty for all.
        match: only tags whose whole ``repository:tag`` matches, or manifests whose whole
            ``repository@digest`` does; None for all.
        force: whether tags that point elsewhere now are moved back, and whether a store with
            another identity is accepted.
        dry_run: whether nothing is to be changed.
        max_rate: requests per second.
        backup: where the backup of a journal is; None for where ``apply`` made it.

    """

    source: Path
    repositories: tuple[str, ...] = ()
    match: "re.Pattern[str] | None" = None
    force: bool = False
    dry_run: bool = False
    max_rate: int = DEFAULT_RATE
    backup: Path | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "source",
        metavar="DIR-or-JOURNAL",
        help="the directory of a backup, or the journal that `apply` has written",
    )
    parser.add_argument(
        "--repository",
        metavar="NAME",
        action="append",
        default=[],
        help="only this repository; repeatable",
    )
    parser.add_argument(
        "--match",
        metavar="REGEX",
        type=parse_pattern,
        help="only tags whose whole repository:tag matches, with what belongs to them, "
        "or manifests whose whole repository@digest matches",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="also move back tags that point elsewhere now, and accept another store",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be restored")
    add_max_rate(parser)
    parser.add_argument(
        "--backup",
        metavar="DIR",
        help="where the backup of a journal is now, if it was moved",
    )


def request_of(parsed: argparse.Namespace) -> RestoreRequest:
    """Return what the parsed options ask for."""
    return RestoreRequest(
        Path(parsed.source),
        tuple(parsed.repository),
        parsed.match,
        parsed.force,
        parsed.dry_run,
        parsed.max_rate,
        None if parsed.backup is None else Path(parsed.backup),
    )
