"""The actions of ``report``, each with the plan that it carries out."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.domain.snapshot import GcMode
from exporter.views.action import SPACE, UNTAGGED, Action
from exporter.views.actions import actions_of, pattern_of
from exporter.views.detail.listed import Listed, first
from exporter.views.health.severity import Severity
from exporter.views.snapshot_view import SnapshotView
from exporter.views.space_action import missing_bytes

_MOST_ACTIONS = 100


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """An action, and its plan.

    Attributes:
        action: see there.
        plan: the parameters of the plan that it carries out, by the names of the options of
            ``plan``; None if it has none, or nothing can be planned as things are.

    """

    action: Action
    plan: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class CollectorNow:
    """What a run of the registry's collector frees, without deleting anything before.

    Attributes:
        frees_bytes: None if unknown.
        blocker: what it aborts on; None if it does not.

    """

    frees_bytes: int | None
    blocker: str | None


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What can go.

    Attributes:
        collector: what a run of the collector frees now.
        actions: those of ``report``; of many orphaned repositories, the largest.

    """

    collector: CollectorNow
    actions: Listed[PlannedAction]


def clean_up(view: SnapshotView) -> CleanUp:
    """Return what can go; computed once, while store and uses stay. Raises NotReadYetError."""
    least = view.options.threshold("StorageAlmostFull", Severity.WARNING) or 0.0
    missing = missing_bytes(view.snapshot.filesystem, least)
    actions = view.memo.get(("actions", missing), lambda: _planned_actions(view, least))
    return CleanUp(_collector_now(view), first(actions, _MOST_ACTIONS))


def _collector_now(view: SnapshotView) -> CollectorNow:
    runs = view.reading.figures.collector
    if runs is None:
        return CollectorNow(None, None)
    run = runs[GcMode.DEFAULT]
    blocker = next((f"{each.path} ({each.reason})" for each in run.blockers), None)
    return CollectorNow(run.frees.bytes, blocker)


def _planned_actions(view: SnapshotView, least: float) -> tuple[PlannedAction, ...]:
    options = view.options
    actions = actions_of(view.reading, view.snapshot, options.analysis, options.commands, least)
    return tuple(PlannedAction(each, _plan_of(each)) for each in actions)


def _plan_of(action: Action) -> Mapping[str, str] | None:
    name, _, rest = action.action.partition(" ")
    if not action.commands or name in ("garbage-collect", SPACE):
        return None
    if name in (UNTAGGED, "detached"):
        return {name: "1"}
    if name == "orphaned":
        match = {"match": pattern_of(rest)} if rest else {}
        return {"orphaned": "1", "include-children": "1", **match}
    return {"keep-last": name.rpartition("-")[2]}
