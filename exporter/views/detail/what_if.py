"""What a retention of one repository would free, to the byte, and its plan."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from exporter.analysis.deletion.one_repository import CollectorAfterInOne, count_marks
from exporter.analysis.deletion.order import DateReader, Dating
from exporter.analysis.deletion.plan import Collector, Plan, choose, make_plan
from exporter.analysis.deletion.protection import uses_with
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.selection import Selection
from exporter.analysis.reachability import RepositoryReach, reach_of, reaches_of
from exporter.domain.digests import BlobNumber
from exporter.domain.errors import NotReadInTimeError, PlanRefusedError
from exporter.domain.model import Inventory, Repository
from exporter.domain.snapshot import GcMode
from exporter.views.action import CommandWriter
from exporter.views.deletion_plan.making import changed_at, notes_on, readable_store, refuse_ties
from exporter.views.deletion_plan.request import PlanRequest
from exporter.views.deletion_plan.text import write_plan
from exporter.views.detail.plan_origin import plan_origin
from exporter.views.snapshot_view import SnapshotView

_USES_UNKNOWN = "which of these tags are in use is unknown: no platform is configured"
_NEEDS_NO_ESCAPE = re.compile(r"[^\w/-]")


@dataclass(frozen=True, slots=True)
class RetentionWhatIf:
    """What would happen if a repository kept only its newest tags.

    Attributes:
        keep: how many tags of images it would keep.
        refused: why nothing is planned; None if something is.
        tags: how many would go.
        manifests: how many would be deleted.
        frees_bytes: what a collector run would then free, beyond what it frees anyway.
        kept_tags: how many other tags would stay all the same: a tag that stays needs their
            manifest, or what they point to is unknown.
        children_left: how many manifests that only deleted indexes list would stay, untagged.
        notes: what else to know of the plan.
        commands: what to run, in this order.
        warnings: what to know before.

    """

    keep: int
    refused: str | None = None
    tags: int = 0
    manifests: int = 0
    frees_bytes: int = 0
    kept_tags: int = 0
    children_left: int = 0
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def what_if(view: SnapshotView, repository: Repository, keep: int) -> RetentionWhatIf:
    """Return what keeping the newest ``keep`` tags of a repository would do."""
    try:
        return view.memo.get(
            ("what-if", repository.name, keep), lambda: _what_if(view, repository, keep)
        )
    except PlanRefusedError as error:
        return RetentionWhatIf(keep, str(error))


def plan_text(view: SnapshotView, repository: Repository, keep: int) -> str:
    """Return the plan as ``plan`` writes it. Raises PlanRefusedError."""
    plan, options = _plan(view, repository, keep), view.options
    notes = tuple(notes_on(plan, view.snapshot, options.analysis))
    selection = _options(repository, keep)
    return write_plan(plan, plan_origin(view), selection, notes)


def _what_if(view: SnapshotView, repository: Repository, keep: int) -> RetentionWhatIf:
    plan, options = _plan(view, repository, keep), view.options
    frees = sum(each.freed_bytes for each in plan.deletions)
    warnings = () if options.analysis.ownership is not None else (_USES_UNKNOWN,)
    integrity = view.snapshot.integrity
    writer = CommandWriter(view.reading, options.analysis, options.commands, integrity)
    action = writer.deletion("", frees, _options(repository, keep), *warnings)
    return RetentionWhatIf(
        keep=keep,
        tags=sum(len(each.tags) for each in plan.deletions),
        manifests=len(plan.deletions),
        frees_bytes=frees,
        kept_tags=plan.kept_tags,
        children_left=plan.children_left,
        notes=tuple(notes_on(plan, view.snapshot, options.analysis)),
        commands=action.commands,
        warnings=action.warnings,
    )


def _selection(repository: Repository, keep: int) -> Selection:
    name = _NEEDS_NO_ESCAPE.sub(lambda found: re.escape(found[0]), repository.name)
    return Selection(keep_last=keep, match=re.compile(f"^{name}:.*"))


def _options(repository: Repository, keep: int) -> str:
    return str(PlanRequest(_selection(repository, keep)))


def _plan(view: SnapshotView, repository: Repository, keep: int) -> Plan:
    """Return the plan that ``plan --keep-last N --match '^name:.*'`` makes.

    Raises PlanRefusedError.
    """
    snapshot, options = view.snapshot, view.options.analysis
    inventory = readable_store(snapshot, options).inventory
    reach = reach_of(inventory.manifests, repository)
    dating = replace(options.dating, read=_timed(view, options.dating))
    alone = replace(inventory, repositories=(repository,))
    uses = uses_with(alone, snapshot.uses, options.protect, view.unlisted)
    selection = replace(_selection(repository, keep), changed_at=changed_at(snapshot))
    try:
        # nothing of the selection depends on the time
        chosen = choose(alone, [reach], selection, uses, now=0.0, dating=dating)
    except NotReadInTimeError as error:
        reason = f"no plan, because it is unknown when images were created: {error}"
        raise PlanRefusedError(reason) from error
    refuse_ties(chosen.tied)
    return make_plan(alone, _collector(view, repository, reach), chosen)


def _timed(view: SnapshotView, dating: Dating) -> DateReader:
    def read(inventory: Inventory, manifests: Collection[BlobNumber]) -> Mapping[BlobNumber, float]:
        return view.options.reader.read(lambda: dating.read(inventory, manifests))

    return read


def _collector(view: SnapshotView, repository: Repository, reach: RepositoryReach) -> Collector:
    inventory, dialect = view.inventory, view.options.analysis.dialect
    holders = view.holders
    marks = view.memo.get("marks", lambda: count_marks(inventory, holders, dialect))
    if marks is None:
        return CollectorAfter(inventory, reaches_of(inventory), dialect)
    runs = view.reading.figures.collector
    found = () if runs is None else runs[GcMode.DEFAULT].blockers
    blockers = {each.path: each.reason for each in found}
    return CollectorAfterInOne(inventory, repository, reach, marks, blockers, dialect)
