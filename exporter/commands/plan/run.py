"""One run of the command: selects, refuses where too little is known, and writes."""

import argparse
from pathlib import Path
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion_plan import Plan, Selection, make_plan
from exporter.analysis.retention import CollectorAfter
from exporter.analysis.store_figures import reaches_of
from exporter.commands.plan.options import describe
from exporter.commands.plan.page import write_plan
from exporter.domain.errors import PlanRefusedError
from exporter.domain.snapshot import Snapshot
from exporter.support.output_files import replace_file


def plan(
    snapshot: Snapshot,
    options: AnalysisOptions,
    selection: Selection,
    parsed: argparse.Namespace,
    *,
    root: str,
    now: float,
    output: TextIO,
) -> None:
    """Write the plan to ``output``, or to the file that was asked for.

    Raises PlanRefusedError where something is not known that could make a deletion wrong.
    """
    made = _make(snapshot, options, selection, now, include_children=parsed.include_children)
    page = write_plan(made, root, describe(selection, parsed), now)
    if parsed.output is None:
        output.write(page)
        output.flush()
    else:
        replace_file(Path(parsed.output), page.encode())


def _make(
    snapshot: Snapshot,
    options: AnalysisOptions,
    selection: Selection,
    now: float,
    *,
    include_children: bool,
) -> Plan:
    if snapshot.store is None:
        raise PlanRefusedError("no plan: the store was not read")
    inventory = snapshot.store.inventory
    if options.image_prefix is not None and snapshot.uses is None:
        failure = snapshot.caprover.failure if snapshot.caprover is not None else "not read"
        raise PlanRefusedError(f"no plan, since nobody knows which tags run: {failure}")
    if inventory.unread:
        issue = next(iter(inventory.issues))
        raise PlanRefusedError(
            f"no plan, since a part of the store could not be read: {issue.path}: {issue.detail}; "
            "run it as a user who may read all of the store"
        )
    reaches = reaches_of(inventory)
    return make_plan(
        inventory,
        reaches,
        CollectorAfter(inventory, reaches, options.dialect),
        selection,
        snapshot.uses,
        now=now,
        include_children=include_children,
    )
