"""The plan as a text file: comments, and one line per manifest to delete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.analysis.deletion.freeable import Kind, Reason
from exporter.analysis.deletion.freeing import Freeing
from exporter.analysis.deletion.plan import Deletion, Plan
from exporter.domain.plan_file import PlannedDeletion, plan_header, plan_line
from exporter.support.quantities import format_size

_KINDS = {
    Kind.SUPERSEDED: "superseded tags",
    Kind.UNTAGGED: "untagged manifests",
    Kind.ORPHANED: "orphaned repositories",
    Kind.ROLLBACK: "old rollbacks",
}
_REASONS = {
    Reason.RUNNING: "images that apps run",
    Reason.PROTECTED: "what is protected",
    Reason.RECENT: "tags that were pushed since the apps' configuration last changed",
    Reason.UNMANAGED: "tags of which it is unknown whether they are used",
}

_HEAD = """# Manifests to delete from {root}, as of {moment:%Y-%m-%d %H:%M:%S} UTC.
{header}
# Selected: {selection}. Nothing was deleted.
#
# Each line: <repository>@<digest> TAB <bytes that it frees> TAB <tags that go with it, or ->
# Carry it out by `registry-storage-exporter apply PLAN`; it looks again before each deletion.
# Without that, delete each by DELETE /v2/<repository>/manifests/<digest>, for instance:
#   grep -v '^#' PLAN | while IFS="$(printf '\\t')" read -r image bytes tags; do
#     curl --fail -u USER -X DELETE "REGISTRY/v2/${{image%@*}}/manifests/${{image#*@}}"
#   done
# Then, while nobody pushes, run the registry's garbage collector without --delete-untagged, and
# restart the registry. Only that run frees the bytes.
# That this plan knows no use of an image does not mean that nobody pulls it: other hosts, base
# images and compose files may.
"""


@dataclass(frozen=True, slots=True)
class PlanOrigin:
    """What a plan was made from.

    Attributes:
        location: where the store is, safe to print.
        identity: distinguishes the store from others, safe to print.
        scanned_at: when the scan of it began, Unix seconds.

    """

    location: str
    identity: str
    scanned_at: float


def write_plan(plan: Plan, origin: PlanOrigin, selection: str, notes: Sequence[str] = ()) -> str:
    """Return the plan as text; ``notes`` are further comments."""
    return _head(origin, selection) + "".join(f"{line}\n" for line in _body(plan, notes))


def write_freeing(
    freeing: Freeing, origin: PlanOrigin, selection: str, notes: Sequence[str] = ()
) -> str:
    """Return a plan that frees so many bytes as text, with a comment before each step."""
    return _head(origin, selection) + "".join(f"{line}\n" for line in _steps(freeing, notes))


def describe_missing(freeing: Freeing) -> str:
    """Return how much a plan fails to free, and what the rest of the store is needed for."""
    needed = [
        f"{_REASONS[reason]} ({format_size(size)})"
        for reason, size in freeing.needed.items()
        if size
    ]
    return (
        f"{_exactly(freeing.missing_bytes)} are missing of {format_size(freeing.wanted_bytes)}; "
        f"what stays: {', '.join(needed) or 'nothing that a tag needs'}"
    )


def _head(origin: PlanOrigin, selection: str) -> str:
    return _HEAD.format(
        root=origin.location,
        moment=datetime.fromtimestamp(origin.scanned_at, UTC),
        header="\n".join(plan_header(origin.identity, origin.scanned_at)),
        selection=selection,
    )


def _steps(freeing: Freeing, notes: Sequence[str]) -> Iterator[str]:
    yield "# Each step begins with a comment: what goes, what it frees, and the total up to there."
    for note in notes:
        yield f"# {note}"
    if freeing.missing_bytes:
        yield f"# not reached: {describe_missing(freeing)}"
    total = freeing.alone_bytes
    yield f"# step 0: a collector run alone: {format_size(total)} (total {format_size(total)})"
    for place, step in enumerate(freeing.steps, 1):
        total += step.freed_bytes
        size = format_size(step.freed_bytes)
        yield f"# step {place}: {_KINDS[step.kind]}: {size} (total {format_size(total)})"
        yield from map(_line, step.deletions)
    yield _total(freeing.deletions)
    yield f"# with step 0: {_exactly(total)}; wanted: {_exactly(freeing.wanted_bytes)}"


def _exactly(size: int) -> str:
    return f"{format_size(size)} ({size} bytes)"


def _line(each: Deletion) -> str:
    return plan_line(PlannedDeletion(each.repository, each.digest, each.freed_bytes, each.tags))


def _total(deletions: Sequence[Deletion]) -> str:
    total = sum(each.freed_bytes for each in deletions)
    tags = sum(len(each.tags) for each in deletions)
    return f"# total: {total} bytes in {len(deletions)} manifests, {tags} tags"


def _body(plan: Plan, notes: Sequence[str]) -> Iterator[str]:
    for note in notes:
        yield f"# {note}"
    for blocker in plan.blockers:
        yield (
            f"# warning: the collector aborts on {blocker.path} ({blocker.reason}): "
            "nothing is freed until that is fixed"
        )
    if plan.kept_tags:
        yield (
            f"# {plan.kept_tags} selected tags stay: a tag that stays needs the same manifest, or "
            "it is unknown what they point to"
        )
    if plan.children_left:
        yield (
            f"# {plan.children_left} manifests that only deleted indexes list stay, untagged, with "
            "their layers; --include-children names them too"
        )
    yield from map(_line, plan.deletions)
    yield _total(plan.deletions)
