"""What a selection would delete and free, and how it is carried out."""

from dataclasses import dataclass, replace
from heapq import nsmallest

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.order import remembering
from exporter.analysis.deletion.plan_summary import PlanSummary, RepositoryShare
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.domain.errors import PlanRefusedError
from exporter.views.deletion_plan.making import (
    collector_of,
    notes_on,
    plan_for,
    readable_store,
    summary_for,
    write,
)
from exporter.views.deletion_plan.request import PlanRequest
from exporter.views.detail.plan_origin import plan_origin
from exporter.views.snapshot_view import SnapshotView

LARGEST = 10
"""Repositories that are listed."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a selection would delete and free.

    Attributes:
        command: the command that makes the same plan.
        manifests: how many it deletes.
        tags: how many go with them.
        repositories: in how many.
        frees_bytes: what a collector run then frees, beyond what it frees anyway.
        largest: the repositories that free the most, largest first.
        kept_tags: how many selected tags stay, because a tag that stays needs the same manifest.
        children_left: how many manifests that only deleted indexes list stay.
        blocker: what the collector aborts on; None if it does not. Until then nothing is freed.
        notes: what else to know.
        refused: why no plan can be made; None if one can. All else is then empty.

    """

    command: str
    manifests: int = 0
    tags: int = 0
    repositories: int = 0
    frees_bytes: int = 0
    largest: tuple[RepositoryShare, ...] = ()
    kept_tags: int = 0
    children_left: int = 0
    blocker: str | None = None
    notes: tuple[str, ...] = ()
    refused: str | None = None


def options_of(view: SnapshotView) -> AnalysisOptions:
    """Return the options of the analysis, which read when images were created once per snapshot."""
    options = view.options.analysis
    return view.memo.get("options", lambda: replace(options, dating=remembering(options.dating)))


def collector_after(view: SnapshotView) -> CollectorAfter:
    """Return the simulated collector; made once per snapshot. Raises PlanRefusedError."""
    options = view.options.analysis
    readable_store(view.snapshot, options)
    return view.memo.get("collector", lambda: collector_of(view.snapshot, options))


def what_if(view: SnapshotView, request: PlanRequest, now: float) -> WhatIf:
    """Return what a selection would do; ``now`` is in Unix seconds. Raises NotReadYetError."""
    _ = view.reading
    command = f"{view.options.commands.plan} {request} --output plan.txt"
    if request.selection.older_than is not None:  # its outcome changes with time
        return _what_if(view, request, command, now)
    return view.memo.get(("what-if", request), lambda: _what_if(view, request, command, now))


def plan_text(view: SnapshotView, request: PlanRequest, now: float) -> str:
    """Return the plan as text. Raises NotReadYetError, PlanRefusedError."""
    _ = view.reading
    snapshot, options = view.snapshot, options_of(view)
    made = plan_for(snapshot, options, request, now, collector_after(view))
    return write(made, snapshot, options, request, plan_origin(view))


def _what_if(view: SnapshotView, request: PlanRequest, command: str, now: float) -> WhatIf:
    snapshot, options = view.snapshot, options_of(view)
    try:
        summary = summary_for(snapshot, options, request, now, collector_after(view))
    except PlanRefusedError as error:
        return WhatIf(command, refused=str(error))
    blockers = (f"{each.path} ({each.reason})" for each in summary.blockers)
    return WhatIf(
        command,
        summary.manifests,
        summary.tags,
        len(summary.repositories),
        summary.freed_bytes,
        _largest(summary),
        summary.kept_tags,
        summary.children_left,
        next(blockers, None),
        tuple(notes_on(summary, snapshot, options)),
    )


def _largest(summary: PlanSummary) -> tuple[RepositoryShare, ...]:
    by_bytes = nsmallest(
        LARGEST, summary.repositories, key=lambda each: (-each.frees_bytes, each.name)
    )
    return tuple(by_bytes)
