"""Makes deletion plans from a snapshot, or refuses to: what is unknown could make one wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.lazy_reaches import lazy_manifest_reaches, lazy_reaches
from exporter.analysis.deletion.plan import Chosen, Plan, choose, make_plan
from exporter.analysis.deletion.plan_summary import PlanSummary, summarize_plan
from exporter.analysis.deletion.protection import uses_with
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.selection import Selection
from exporter.domain.errors import PlanRefusedError
from exporter.domain.snapshot import Snapshot, StoreReading
from exporter.domain.text import first_of, printable
from exporter.domain.uses import UseFigures
from exporter.views.deletion_plan.request import PlanRequest
from exporter.views.deletion_plan.text import PlanOrigin, write_plan

_CACHE = (
    "this registry is a pull-through cache, which answers 405 to every deletion; it "
    "removes an image by itself some time after it was cached (7 days by default). To free all of "
    "it, stop the registry, empty its store, and start it again"
)
_NOT_READ = "the store was not read"


def readable_store(
    snapshot: Snapshot, options: AnalysisOptions, refusal: str = "no plan"
) -> StoreReading:
    """Return what was read. Raises PlanRefusedError if something is unknown or in vain.

    ``refusal`` is how its message begins.
    """
    if snapshot.store is None:
        raise PlanRefusedError(f"{refusal}: {_NOT_READ}")
    inventory = snapshot.store.inventory
    if inventory.is_cache:
        raise PlanRefusedError(f"{refusal}: {_CACHE}")
    if options.ownership is not None and snapshot.uses is None:
        failure = snapshot.platform.failure if snapshot.platform is not None else "not read"
        raise PlanRefusedError(f"{refusal}, because it is unknown which tags run: {failure}")
    if inventory.unread:
        issue = next(iter(inventory.issues))
        raise PlanRefusedError(
            f"{refusal}, because a part of the store could not be read: "
            f"{issue.path}: {issue.detail}; run it as a user who may read all of the store"
        )
    return snapshot.store


def collector_of(snapshot: Snapshot, options: AnalysisOptions) -> CollectorAfter:
    """Return the collector after deletions. Raises PlanRefusedError."""
    inventory = readable_store(snapshot, options).inventory
    return CollectorAfter(inventory, lazy_reaches(inventory), options.dialect)


def plan_for(
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    now: float,
    collector: CollectorAfter | None = None,
) -> Plan:
    """Return the plan. Raises PlanRefusedError.

    ``now`` is in Unix seconds; ``collector`` is one of this snapshot, if it is at hand.
    """
    inventory = readable_store(snapshot, options).inventory
    collector = collector or collector_of(snapshot, options)
    uses = _staying(snapshot, options, request, collector)
    chosen = [_choose(snapshot, options, request, each, uses, now) for each in request.selections]
    return make_plan(inventory, collector, *chosen)


def summary_for(
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    now: float,
    collector: CollectorAfter,
) -> PlanSummary:
    """Return what the plan with the same arguments would delete. Raises PlanRefusedError."""
    inventory = readable_store(snapshot, options).inventory
    uses = _staying(snapshot, options, request, collector)
    chosen = _choose(snapshot, options, request, request.selection, uses, now)
    return summarize_plan(inventory, collector, chosen)


def _staying(
    snapshot: Snapshot, options: AnalysisOptions, request: PlanRequest, collector: CollectorAfter
) -> UseFigures | None:
    """Return the uses with everything that stays in any case as running."""
    inventory = readable_store(snapshot, options).inventory
    patterns = (*options.protect, *request.protect)
    return uses_with(inventory, snapshot.uses, patterns, collector.unlisted)


def _choose(
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    selection: Selection,
    uses: UseFigures | None,
    now: float,
) -> Chosen:
    inventory = readable_store(snapshot, options).inventory
    chosen = choose(
        inventory,
        lazy_manifest_reaches(inventory),
        replace(selection, changed_at=changed_at(snapshot)),
        uses,
        now=now,
        include_children=request.include_children,
        dating=options.dating,
    )
    refuse_ties(chosen.tied)
    return chosen


def write(
    plan: Plan,
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    origin: PlanOrigin,
    warnings: Sequence[str] = (),
) -> str:
    """Return a plan as text."""
    policy = [f"policy: {PlanRequest(each)}" for each in request.policy]
    notes = (*policy, *notes_on(plan, snapshot, options), *warnings)
    return write_plan(plan, origin, str(request), notes)


def origin_of(snapshot: Snapshot, location: str, identity: str) -> PlanOrigin:
    """Return what a plan of this snapshot is made from; the texts are the store's.

    Raises PlanRefusedError if no scan has succeeded.
    """
    began_at = snapshot.scan.began_at
    if began_at is None:
        raise PlanRefusedError(f"no plan: {_NOT_READ}")
    return PlanOrigin(location, identity, began_at)


def notes_on(
    plan: Plan | PlanSummary, snapshot: Snapshot, options: AnalysisOptions
) -> Iterator[str]:
    """Yield what ordered tags, and which orphaned tags are newer than the configuration."""
    for basis, names in plan.ordered.items():
        shown = first_of([printable(each) for each in names])
        yield f"{shown}: tags written at the same time are ordered by {basis}"
    if plan.recent_tags and options.ownership is not None:
        moment = datetime.fromtimestamp(changed_at(snapshot) or 0.0, UTC)
        yield (
            f"{plan.recent_tags} tags of orphaned repositories stay: they were pushed since "
            f"{options.ownership.platform}'s configuration last changed "
            f"({moment:%Y-%m-%d %H:%M:%S} UTC)"
        )


def changed_at(snapshot: Snapshot) -> float | None:
    """Return when the platform's configuration last changed, in Unix seconds; None if unknown."""
    return None if snapshot.platform is None else snapshot.platform.changed_at


def refuse_ties(tied: Mapping[str, int]) -> None:
    """Raise PlanRefusedError if nothing says which tags of a repository are the newest."""
    if tied:
        raise PlanRefusedError(_tied(tied))


def _tied(tied: Mapping[str, int]) -> str:
    (name, tags), *others = tied.items()
    more = f", and so it is in {len(others)} more repositories" if others else ""
    return (
        f"no plan: {tags} tags of {printable(name)} were written at the same time, nothing else "
        f"says which are the newest, and only some of them would be kept{more}; select with "
        "--match in place of --keep-last there"
    )
