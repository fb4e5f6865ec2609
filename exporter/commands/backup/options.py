"""The options of the command ``backup``, and the task that they describe."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from exporter.commands.pattern_option import parse_pattern
from exporter.commands.planned_names import refuse_illegal_names
from exporter.domain.errors import ConfigurationError
from exporter.domain.plan_file import PlanFile, read_plan
from exporter.domain.text import printable

_MOST_PLAN_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Task:
    """What to save, and where.

    Attributes:
        directory: of the backup.
        repositories: names of repositories to save.
        match: also repositories whose whole name matches; None for none.
        plan: save only what this plan deletes; None without one.
        with_blobs: whether to save all blobs of the manifests too.
        same_filesystem: whether the directory may be on the store's filesystem.

    """

    directory: Path
    repositories: tuple[str, ...] = ()
    match: "re.Pattern[str] | None" = None
    plan: PlanFile | None = None
    with_blobs: bool = True
    same_filesystem: bool = False

    @property
    def is_whole_store(self) -> bool:
        """Whether nothing is selected: everything is to be saved."""
        return not self.repositories and self.match is None and self.plan is None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("directory", metavar="DIR", help="where the backup is, or is to be")
    parser.add_argument(
        "--repository",
        metavar="NAME",
        action="append",
        default=[],
        help="save only this repository; repeatable (default: the whole store)",
    )
    parser.add_argument(
        "--match",
        metavar="REGEX",
        type=parse_pattern,
        help="save only repositories whose whole name matches",
    )
    parser.add_argument(
        "--plan", metavar="FILE", help="save only the manifests that this plan deletes"
    )
    parser.add_argument(
        "--no-blobs",
        action="store_true",
        help="save manifests and tags only: enough to restore what the collector has not removed",
    )
    parser.add_argument(
        "--same-filesystem",
        action="store_true",
        help="allow a directory on the store's filesystem, which one broken disk takes too",
    )


def task_of(parsed: argparse.Namespace) -> Task:
    """Return what the options ask for.

    Raises ConfigurationError if they contradict each other or the plan cannot be read,
    PlanRefusedError if it is not a plan, or names what no registry has.
    """
    if parsed.plan is not None and (parsed.repository or parsed.match is not None):
        raise ConfigurationError(
            ["--plan names what to save; give it without --repository and --match"]
        )
    return Task(
        Path(parsed.directory),
        tuple(parsed.repository),
        parsed.match,
        None if parsed.plan is None else _read(Path(parsed.plan)),
        with_blobs=not parsed.no_blobs,
        same_filesystem=parsed.same_filesystem,
    )


def _read(path: Path) -> PlanFile:
    try:
        with path.open(encoding="utf-8") as file:
            plan = read_plan(file.read(_MOST_PLAN_BYTES))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problem = f"--plan {printable(str(path))}: cannot be read: {reason}; give a file of `plan`"
        raise ConfigurationError([problem]) from error
    refuse_illegal_names(plan)
    return plan
