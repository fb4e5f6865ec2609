"""The options of the command ``plan``, and what they ask for."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from exporter.analysis.deletion.selection import Selection
from exporter.domain.errors import ConfigurationError
from exporter.domain.uses import OwnershipRules, Use
from exporter.support.quantities import parse_duration, parse_size
from exporter.views.plan.text import quoted, selection_options

USES_UNKNOWN = (
    "Without --caprover.config-dir it is unknown which tags are in use: only untagged manifests "
    "are known to be safe."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--keep-last",
        metavar="N",
        type=_count,
        help="tags that are not among the N newest of their repository",
    )
    parser.add_argument(
        "--orphaned",
        action="store_true",
        help="tags in repositories of apps that the configured CapRover does not know",
    )
    parser.add_argument(
        "--match",
        metavar="REGEX",
        type=_pattern,
        help="tags whose whole repository:tag matches; with --untagged, repository@digest",
    )
    parser.add_argument(
        "--older-than", metavar="AGE", type=_age, help="tags written longer ago, e.g. 90d"
    )
    parser.add_argument(
        "--untagged",
        action="store_true",
        help="manifests that no tag reaches, and that no app or image needs",
    )
    parser.add_argument(
        "--detached",
        action="store_true",
        help="signatures, attestations and other artifacts whose image is gone",
    )
    parser.add_argument(
        "--free",
        metavar="SIZE",
        type=_size,
        help="the cheapest safe way to so many bytes, e.g. 5GiB: the least needed first",
    )
    parser.add_argument(
        "--protect",
        metavar="REGEX",
        type=_pattern,
        action="append",
        default=[],
        help="never tags whose whole repository:tag matches, nor what they need; repeatable",
    )
    parser.add_argument(
        "--include-children",
        action="store_true",
        help="also the manifests that only deleted indexes list (platforms of an image)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="replace FILE instead of writing to standard output"
    )


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What the options ask for.

    Attributes:
        selection: which tags are to go.
        include_children: whether manifests that only deleted indexes list go too.
        free: how many bytes are to be freed, in place of a selection.
        protect: what never goes, by its whole ``repository:tag`` or ``repository@digest``.
        output: the file to replace; None for standard output.

    """

    selection: Selection
    include_children: bool = False
    free: int | None = None
    protect: tuple["re.Pattern[str]", ...] = ()
    output: Path | None = None

    def __str__(self) -> str:
        """Return the selection as the options that were given."""
        parts = [] if self.free is None else [f"--free {self.free}"]
        parts += selection_options(self.selection)
        parts += (f"--protect {quoted(pattern.pattern)}" for pattern in self.protect)
        if self.include_children:
            parts.append("--include-children")
        return " ".join(parts)


def request_of(parsed: argparse.Namespace, ownership: OwnershipRules | None) -> PlanRequest:
    """Return what the parsed options ask for. Raises ConfigurationError if it makes no sense."""
    selection = Selection(
        parsed.keep_last,
        parsed.orphaned,
        parsed.match,
        parsed.older_than,
        parsed.untagged,
        parsed.detached,
    )
    if parsed.free is None:
        _check(selection)
    elif not selection.is_empty:
        problem = "it chooses by itself; use --protect REGEX for what must stay"
        raise ConfigurationError([f"--free: not together with a selection: {problem}"])
    if selection.orphaned and (ownership is None or Use.ORPHANED not in ownership.known_uses):
        advice = "set --caprover.config-dir, e.g. /captain/data"
        raise ConfigurationError([f"--orphaned: which apps exist is not known; {advice}"])
    output = None if parsed.output is None else Path(parsed.output)
    protect = tuple(parsed.protect)
    return PlanRequest(selection, parsed.include_children, parsed.free, protect, output)


def _check(selection: Selection) -> None:
    """Raise ConfigurationError for a selection that is empty, or of different things."""
    if selection.is_empty:
        options = "--keep-last N, --orphaned, --untagged, --detached, --match RE, --older-than AGE"
        options += ", or --free SIZE"
        raise ConfigurationError([f"plan: nothing is selected; give one or more of {options}"])
    given = {
        "--untagged": selection.untagged,
        "--detached": selection.detached,
        "--keep-last": selection.keep_last is not None,
    }
    together = [option for option, is_given in given.items() if is_given]
    if len(together) > 1:
        first, second = together[:2]
        raise ConfigurationError([f"{second}: not together with {first}; make a plan for each"])


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tags; give e.g. 5")
    return int(text)


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
    if not size:
        raise argparse.ArgumentTypeError(f"{text!r}: give how much is to be freed, e.g. 5GiB")
    return size


def _pattern(text: str) -> "re.Pattern[str]":
    try:
        return re.compile(text)
    except re.error as error:
        message = f"{text!r} is not a regular expression: {error}"
        raise argparse.ArgumentTypeError(message) from error


def _age(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
