"""The command ``plan``: make a plan, ask the registry whether it may be carried out, write it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.freeable import Needs
from exporter.analysis.deletion.freeing import Freeing, plan_freeing
from exporter.analysis.deletion.plan import Deletion
from exporter.analysis.deletion.protection import find_protected
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of
from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import DeletionAnswer
from exporter.domain.snapshot import GcMode, Snapshot, StoreReading
from exporter.store.port import Store
from exporter.support.output_files import replace_file
from exporter.views.deletion_plan.making import (
    changed_at,
    origin_of,
    plan_for,
    readable_store,
    write,
)
from exporter.views.deletion_plan.request import USES_UNKNOWN, PlanRequest
from exporter.views.deletion_plan.text import describe_missing, write_freeing

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
    store: Store,
    ask_deletion: Callable[[str], DeletionAnswer] | None,
    now: float,
    output: TextIO,
    file: Path | None = None,
) -> str | None:
    """Write the plan to ``output``, or replace ``file``.

    ``store`` is what was scanned; ``ask_deletion`` asks the registry whether it allows deletions in
    a repository, None if no registry is configured; ``now`` is in Unix seconds. Raises
    PlanRefusedError if something is unknown that could make a deletion wrong, or if the registry
    refuses deletions. Returns what the operator must know besides the plan, such as that it does
    not free enough.
    """
    reading = readable_store(snapshot, options)
    has_answered = snapshot.api is not None and snapshot.api.view is not None
    asked = ask_deletion if has_answered else None
    origin = origin_of(snapshot, store.location, store.identity)
    complaint = None
    if request.free is None:
        made = plan_for(snapshot, options, request, now)
        warnings = tuple(_warnings(made.deletions, asked))
        page = write(made, snapshot, options, request, origin, warnings)
    else:
        freeing = _free(reading, snapshot, options, request, request.free)
        hints = () if options.ownership is not None else (USES_UNKNOWN,)
        notes = (*hints, *_warnings(freeing.deletions, asked))
        page = write_freeing(freeing, origin, str(request), notes)
        if freeing.missing_bytes:
            complaint = f"--free is not reached: {describe_missing(freeing)}"
    if file is None:
        output.write(page)
        output.flush()
    else:
        replace_file(file, page.encode())
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
    collector = CollectorAfter(inventory, reaches, options.dialect)
    patterns = (*options.protect, *request.protect)
    protected = find_protected(inventory, patterns, collector.unlisted)
    return plan_freeing(
        inventory,
        reaches,
        collector,
        Needs(snapshot.uses, changed_at(snapshot), protected),
        wanted_bytes,
        run.frees.bytes,
    )
