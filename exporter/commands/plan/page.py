"""The plan as a text file: comments, and one line per manifest to delete."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from exporter.analysis.deletion.plan import Plan

_HEAD = """# Manifests to delete from {root}, as of {moment:%Y-%m-%d %H:%M:%S} UTC.
# Selected: {selection}. Nothing was deleted.
#
# Each line: <repository>@<digest> TAB <bytes that it frees> TAB <tags that go with it, or ->
# Delete each by DELETE /v2/<repository>/manifests/<digest>, for instance:
#   grep -v '^#' PLAN | while IFS="$(printf '\\t')" read -r image bytes tags; do
#     curl --fail -u USER -X DELETE "REGISTRY/v2/${{image%@*}}/manifests/${{image#*@}}"
#   done
# Then, while nobody pushes, run the registry's garbage collector without --delete-untagged, and
# restart the registry. Only that run frees the bytes.
# That this plan knows no use of an image does not mean that nobody pulls it: other hosts, base
# images and compose files may.
"""


def write_plan(plan: Plan, root: str, selection: str, now: float, notes: Sequence[str] = ()) -> str:
    """Return the plan as text; ``now`` is in Unix seconds, ``notes`` are further comments."""
    head = _HEAD.format(root=root, moment=datetime.fromtimestamp(now, UTC), selection=selection)
    return head + "".join(f"{line}\n" for line in _body(plan, notes))


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
    for each in plan.deletions:
        yield f"{each.repository}@{each.digest}\t{each.freed_bytes}\t{','.join(each.tags) or '-'}"
    total = sum(each.freed_bytes for each in plan.deletions)
    tags = sum(len(each.tags) for each in plan.deletions)
    yield f"# total: {total} bytes in {len(plan.deletions)} manifests, {tags} tags"
