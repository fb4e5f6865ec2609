"""The command ``plan``: select, refuse if too little is known, and write."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.freeable import Needs
from exporter.analysis.deletion.freeing import Freeing, plan_freeing
from exporter.analysis.deletion.plan import Deletion, Plan, make_plan
from exporter.analysis.deletion.protection import find_protected, with_protected
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of
from exporter.commands.plan.options import USES_UNKNOWN, PlanRequest
from exporter.commands.plan.page import describe_missing, write_freeing, write_plan
from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import DeletionAnswer
from exporter.domain.snapshot import GcMode, Snapshot, StoreReading
from exporter.domain.text import first_of, printable
from exporter.support.output_files import replace_file

_CACHE = (
    "no plan: this registry is a pull-through cache, which answers 405 to every deletion; it "
    "removes an image by itself some time after it was cached (7 days by default). To free all of "
    "it, stop the registry, empty its store, and start it again"
)
_SWITCHED_OFF = (
    "no plan: the registry at --registry.url answers 405 UNSUPPORTED to every deletion; set "
    "storage.delete.enabled: true in its configuration (REGISTRY_STORAGE_DELETE_ENABLED=true) and "
    "restart it"
)
_NOT_ALLOWED = (
    "the registry at --registry.url answers 405 to deletions now: it is in read-only mode, or a "
    "proxy in front of it allows no DELETE"
)


def plan(
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    *,
    location: str,
    ask_deletion: Callable[[str], DeletionAnswer] | None,
    now: float,
    output: TextIO,
) -> str | None:
    """Write the plan to ``output``, or to the file that the request names.

    ``location`` is the store's; ``ask_deletion`` asks the registry whether it allows deletions in
    a repository, None if no registry is configured; ``now`` is in Unix seconds. Raises
    PlanRefusedError if something is unknown that could make a deletion wrong, or if the registry
    refuses deletions. Returns what the operator must know besides the plan, such as that it does
    not free enough.
    """
    reading = _reading(snapshot, options)
    has_answered = snapshot.api is not None and snapshot.api.view is not None
    asked = ask_deletion if has_answered else None
    complaint = None
    if request.free is None:
        made = _make(reading, snapshot, options, request, now)
        notes = (*_notes(made, snapshot, options), *_warnings(made.deletions, asked))
        page = write_plan(made, location, str(request), now, notes)
    else:
        freeing = _free(reading, snapshot, options, request, request.free)
        hints = () if options.ownership is not None else (USES_UNKNOWN,)
        notes = (*hints, *_warnings(freeing.deletions, asked))
        page = write_freeing(freeing, location, str(request), now, notes)
        if freeing.missing_bytes:
            complaint = f"--free is not reached: {describe_missing(freeing)}"
    if request.output is None:
        output.write(page)
        output.flush()
    else:
        replace_file(request.output, page.encode())
    return complaint


def _warnings(
    deletions: Sequence[Deletion], ask: Callable[[str], DeletionAnswer] | None
) -> Iterator[str]:
    """Yield why the registry cannot carry out the plan now. Raises PlanRefusedError if never."""
    if ask is None or not deletions:
        return
    # in a repository of the plan: a login may be limited to some
    answer = ask(deletions[0].repository)
    if answer is DeletionAnswer.SWITCHED_OFF:
        raise PlanRefusedError(_SWITCHED_OFF)
    if answer is DeletionAnswer.NOT_ALLOWED:
        yield f"warning: {_NOT_ALLOWED}"


def _notes(plan: Plan, snapshot: Snapshot, options: AnalysisOptions) -> Iterator[str]:
    """Yield what ordered tags, and which orphaned tags are newer than the configuration."""
    for basis, names in plan.ordered.items():
        shown = first_of([printable(each) for each in names])
        yield f"{shown}: tags written at the same time are ordered by {basis}"
    if plan.recent_tags and options.ownership is not None:
        moment = datetime.fromtimestamp(_changed_at(snapshot) or 0.0, UTC)
        yield (
            f"{plan.recent_tags} tags of orphaned repositories stay: they were pushed since "
            f"{options.ownership.platform}'s configuration last changed "
            f"({moment:%Y-%m-%d %H:%M:%S} UTC)"
        )


def _changed_at(snapshot: Snapshot) -> float | None:
    return None if snapshot.platform is None else snapshot.platform.changed_at


def _reading(snapshot: Snapshot, options: AnalysisOptions) -> StoreReading:
    """Return what was read. Raises PlanRefusedError if something is unknown or in vain."""
    if snapshot.store is None:
        raise PlanRefusedError("no plan: the store was not read")
    inventory = snapshot.store.inventory
    if inventory.is_cache:
        raise PlanRefusedError(_CACHE)
    if options.ownership is not None and snapshot.uses is None:
        failure = snapshot.platform.failure if snapshot.platform is not None else "not read"
        raise PlanRefusedError(f"no plan, because it is unknown which tags run: {failure}")
    if inventory.unread:
        issue = next(iter(inventory.issues))
        raise PlanRefusedError(
            "no plan, because a part of the store could not be read: "
            f"{issue.path}: {issue.detail}; run it as a user who may read all of the store"
        )
    return snapshot.store


def _make(
    reading: StoreReading,
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    now: float,
) -> Plan:
    inventory = reading.inventory
    reaches = reaches_of(inventory)
    made = make_plan(
        inventory,
        reaches,
        CollectorAfter(inventory, reaches, options.dialect),
        replace(request.selection, changed_at=_changed_at(snapshot)),
        with_protected(inventory, snapshot.uses, find_protected(inventory, request.protect)),
        now=now,
        include_children=request.include_children,
        dating=options.dating,
    )
    if made.tied:
        raise PlanRefusedError(_tied(made.tied))
    return made


def _tied(tied: Mapping[str, int]) -> str:
    (name, tags), *others = tied.items()
    more = f", and so it is in {len(others)} more repositories" if others else ""
    return (
        f"no plan: {tags} tags of {printable(name)} were written at the same time, nothing else "
        f"says which are the newest, and only some of them would be kept{more}; select with "
        "--match in place of --keep-last there"
    )


def _free(
    reading: StoreReading,
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    wanted_bytes: int,
) -> Freeing:
    inventory, runs = reading.inventory, reading.figures.collector
    if runs is None:
        raise PlanRefusedError("no plan: it is unknown what the registry's collector would free")
    run = runs[GcMode.DEFAULT]
    if run.blockers:
        blocker = run.blockers[0]
        raise PlanRefusedError(
            f"no plan: the registry's collector aborts on {blocker.path} ({blocker.reason}), and "
            "frees nothing until that is fixed"
        )
    reaches = reaches_of(inventory)
    return plan_freeing(
        inventory,
        reaches,
        CollectorAfter(inventory, reaches, options.dialect),
        Needs(snapshot.uses, _changed_at(snapshot), find_protected(inventory, request.protect)),
        wanted_bytes,
        run.frees.bytes,
    )
