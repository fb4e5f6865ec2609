"""The options of the command ``plan``, and what they ask for."""

import argparse

from exporter.analysis.deletion.selection import Selection
from exporter.commands.pattern_option import parse_pattern
from exporter.domain.errors import ConfigurationError
from exporter.domain.uses import OwnershipRules
from exporter.support.quantities import parse_duration, parse_size
from exporter.views.deletion_plan.request import (
    PlanRequest,
    RetentionPolicy,
    check_request,
    policy_request,
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
        type=parse_pattern,
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
        "--policy",
        action="store_true",
        help="what --retention.keep-last, --retention.orphaned and --retention.untagged say, "
        "together",
    )
    parser.add_argument(
        "--protect",
        metavar="REGEX",
        type=parse_pattern,
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


def request_of(
    parsed: argparse.Namespace, ownership: OwnershipRules | None, policy: RetentionPolicy
) -> PlanRequest:
    """Return what the parsed options ask for. Raises ConfigurationError if it makes no sense."""
    selection = Selection(
        parsed.keep_last,
        parsed.orphaned,
        parsed.match,
        parsed.older_than,
        parsed.untagged,
        parsed.detached,
    )
    protect = tuple(parsed.protect)
    if parsed.policy:
        if not selection.is_empty or parsed.free is not None:
            problem = "not together with --free or an option that selects; make a plan for each"
            raise ConfigurationError([f"--policy: {problem}"])
        return policy_request(policy, protect, ownership)
    request = PlanRequest(selection, parsed.include_children, parsed.free, protect)
    check_request(request, ownership)
    return request


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


def _age(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
