"""The command ``plan``: select, refuse if too little is known, and write."""

from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.plan import Plan, make_plan
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of
from exporter.commands.plan.options import PlanRequest
from exporter.commands.plan.page import write_plan
from exporter.domain.errors import PlanRefusedError
from exporter.domain.snapshot import Snapshot
from exporter.support.output_files import replace_file


def plan(
    snapshot: Snapshot,
    options: AnalysisOptions,
    request: PlanRequest,
    *,
    location: str,
    now: float,
    output: TextIO,
) -> None:
    """Write the plan to ``output``, or to the file that the request names.

    ``location`` is the store's; ``now`` is in Unix seconds. Raises PlanRefusedError if something
    is unknown that could make a deletion wrong.
    """
    page = write_plan(_make(snapshot, options, request, now), location, str(request), now)
    if request.output is None:
        output.write(page)
        output.flush()
    else:
        replace_file(request.output, page.encode())


def _make(snapshot: Snapshot, options: AnalysisOptions, request: PlanRequest, now: float) -> Plan:
    if snapshot.store is None:
        raise PlanRefusedError("no plan: the store was not read")
    inventory = snapshot.store.inventory
    if options.ownership is not None and snapshot.uses is None:
        failure = snapshot.platform.failure if snapshot.platform is not None else "not read"
        raise PlanRefusedError(f"no plan, because it is unknown which tags run: {failure}")
    if inventory.unread:
        issue = next(iter(inventory.issues))
        raise PlanRefusedError(
            "no plan, because a part of the store could not be read: "
            f"{issue.path}: {issue.detail}; run it as a user who may read all of the store"
        )
    reaches = reaches_of(inventory)
    return make_plan(
        inventory,
        reaches,
        CollectorAfter(inventory, reaches, options.dialect),
        request.selection,
        snapshot.uses,
        now=now,
        include_children=request.include_children,
    )
