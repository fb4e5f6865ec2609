"""The options of the command ``verify``, and the task that they describe."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exporter.commands.verify.checkpoint import default_path, refuse_inside_store
from exporter.domain.errors import ConfigurationError
from exporter.store.port import Store
from exporter.support.quantities import parse_size

_DEFAULT_RATE = "100MiB"


@dataclass(frozen=True, slots=True)
class Task:
    """What to verify, and how.

    Attributes:
        repository: the only one to verify what it reaches; None for all blobs on disk.
        max_rate: bytes per second; None for as fast as it goes.
        checkpoint: file that records how far it is; None if there is no place for one.
        restart: whether to start again although there is a checkpoint.
        backup: directory of a backup to verify instead of the store; None for the store.

    """

    repository: str | None
    max_rate: int | None
    checkpoint: Path | None
    restart: bool
    backup: Path | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--repository", metavar="NAME", help="verify only what this repository reaches"
    )
    parser.add_argument(
        "--backup", metavar="DIR", help="verify this backup instead of the store, all of it"
    )
    parser.add_argument(
        "--max-rate",
        metavar="SIZE",
        type=parse_rate,
        default=_DEFAULT_RATE,
        help=f"read at most this much per second, or unlimited (default: {_DEFAULT_RATE})",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="records how far it is, so that the next run continues there "
        "(default: $XDG_STATE_HOME/registry-storage-exporter/verify.json)",
    )
    parser.add_argument(
        "--restart", action="store_true", help="start again, whatever the checkpoint says"
    )


def parse_rate(text: str) -> int | None:
    """Read ``50MiB`` or ``50MiB/s`` as bytes per second, ``unlimited`` as None.

    Raises ArgumentTypeError.
    """
    if text == "unlimited":
        return None
    try:
        rate = parse_size(text.removesuffix("/s"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} {error}, or unlimited") from error
    if rate == 0:
        raise argparse.ArgumentTypeError(f"{text} would never end; write e.g. 50MiB, or unlimited")
    return rate


def task_of(parsed: argparse.Namespace, store: Store, environment: Mapping[str, str]) -> Task:
    """Return what the options ask for.

    Raises ConfigurationError for a checkpoint in the store, or with a backup.
    """
    if parsed.backup is not None and (parsed.checkpoint is not None or parsed.restart):
        problem = "--backup: verifies all of it each time; leave out --checkpoint and --restart"
        raise ConfigurationError([problem])
    checkpoint = default_path(environment)
    if parsed.checkpoint is not None:
        checkpoint = Path(parsed.checkpoint)
    if checkpoint is not None:
        refuse_inside_store(checkpoint, store)
    backup = None if parsed.backup is None else Path(parsed.backup)
    return Task(parsed.repository, parsed.max_rate, checkpoint, parsed.restart, backup)
