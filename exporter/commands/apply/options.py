"""The options of the command ``apply``, and what they ask for."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from exporter.commands.max_rate_option import add_max_rate
from exporter.domain.errors import ConfigurationError
from exporter.support.quantities import parse_duration

_DEFAULT_AGE = "1d"
_JOURNAL = ".journal"


@dataclass(frozen=True, slots=True)
class ApplyRequest:
    """What is to be carried out, and how.

    Attributes:
        plan: the file.
        confirmed: whether anything is to be deleted.
        backup: directory that is backed up to before; None for no backup.
        backup_blobs: whether the backup has the blobs that the deleted manifests reference.
        same_filesystem: whether the backup may be on the store's filesystem.
        max_age: of the plan, in seconds.
        max_rate: requests per second.
        journal: the file that says what was done.

    """

    plan: Path
    confirmed: bool
    backup: Path | None
    backup_blobs: bool
    same_filesystem: bool
    max_age: float
    max_rate: int
    journal: Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("plan", metavar="PLAN", help="the file that `plan --output` wrote")
    parser.add_argument(
        "--yes", action="store_true", help="delete; without it, only say what would be deleted"
    )
    parser.add_argument(
        "--backup", metavar="DIR", help="save all that it deletes there first, for `restore`"
    )
    parser.add_argument("--no-backup", action="store_true", help="delete without a backup")
    parser.add_argument(
        "--backup-blobs",
        action="store_true",
        help="also save all blobs that it references: `restore` needs them after the collector ran",
    )
    parser.add_argument(
        "--same-filesystem",
        action="store_true",
        help="let the backup be on the filesystem of the store",
    )
    parser.add_argument(
        "--max-age",
        metavar="AGE",
        type=_age,
        default=_DEFAULT_AGE,
        help=f"refuse a plan that is older (default: {_DEFAULT_AGE})",
    )
    add_max_rate(parser)
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="records each deletion, so that the same command continues (default: PLAN.journal)",
    )


def request_of(parsed: argparse.Namespace, *, has_registry: bool) -> ApplyRequest:
    """Return what the parsed options ask for. Raises ConfigurationError with all problems.

    ``has_registry``: whether the settings name a registry.
    """
    problems = list(_problems(parsed, has_registry=has_registry))
    if problems:
        raise ConfigurationError(problems)
    plan = Path(parsed.plan)
    return ApplyRequest(
        plan=plan,
        confirmed=parsed.yes,
        backup=None if parsed.backup is None else Path(parsed.backup),
        backup_blobs=parsed.backup_blobs,
        same_filesystem=parsed.same_filesystem,
        max_age=parsed.max_age,
        max_rate=parsed.max_rate,
        journal=plan.with_name(plan.name + _JOURNAL)
        if parsed.journal is None
        else Path(parsed.journal),
    )


def _problems(parsed: argparse.Namespace, *, has_registry: bool) -> list[str]:
    problems = []
    if not Path(parsed.plan).name:
        problems.append(f"apply: {parsed.plan!r} is not a file; give the file that `plan` wrote")
    if parsed.backup is not None and parsed.no_backup:
        problems.append("--no-backup: not together with --backup; give one of them")
    if parsed.yes and parsed.backup is None and not parsed.no_backup:
        problems.append("apply: give --backup DIR, or --no-backup to delete without one")
    if parsed.backup is None:
        problems += [
            f"{option}: only together with --backup DIR"
            for option, given in (
                ("--backup-blobs", parsed.backup_blobs),
                ("--same-filesystem", parsed.same_filesystem),
            )
            if given
        ]
    if parsed.yes and not has_registry:
        problems.append(
            "apply: give the registry's address as --registry.url, such as "
            "https://registry.example.com"
        )
    return problems


def _age(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
