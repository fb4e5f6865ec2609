"""The pages ``/clean-up``, what can go, and ``/clean-up/plan``, the plan to download."""

from collections.abc import Mapping

from exporter.domain.errors import ConfigurationError, PlanRefusedError
from exporter.views.clean_up.planned_actions import PlannedAction, clean_up
from exporter.views.clean_up.retention import retention
from exporter.views.clean_up.retention_chart import retention_chart
from exporter.views.clean_up.what_if import plan_text, what_if
from exporter.views.deletion_plan.request import (
    PlanRequest,
    check_request,
    knows_orphans,
    selection_request,
)
from exporter.web.explorer.parameters import BadParameterError, Parameters
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Download, Page

_NAMES = ("keep-last", "older-than", "match", "protect")
_FLAGS = ("orphaned", "untagged", "detached", "include-children")
_PLAN = "/clean-up/plan"


def make(question: Question) -> Page:
    """Return what can go; what a selection would free, if the address has one."""
    view, parameters, links = question.view, question.parameters, question.links
    given = _given(parameters)
    request = read_request(parameters)
    result = None
    if not request.selection.is_empty:
        check(question, request)
        result = what_if(view, request, question.now)
    found, shown = clean_up(view), retention(view)
    ownership = view.options.analysis.ownership
    return Page(
        "clean_up.html",
        "What can go",
        {
            "collector": found.collector,
            "actions": [(each, _address(question, each)) for each in found.actions.shown],
            "more_actions": found.actions.left_out,
            "given": given,
            "knows_orphans": knows_orphans(ownership),
            "knows_uses": ownership is not None,
            "what_if": result,
            "plan_address": links.to(_PLAN, given),
            "what_if_addresses": {
                each.keep_last: links.to("/clean-up", {"keep-last": each.keep_last}, "what-if")
                for each in shown.table
            },
            "retention": shown,
            "chart": retention_chart(shown.points) if shown.is_whole else None,
        },
    )


def make_plan(question: Question) -> Page | Download:
    """Return the plan of the selection in the address."""
    request = read_request(question.parameters)
    check(question, request)
    try:
        return Download("plan.txt", plan_text(question.view, request, question.now))
    except PlanRefusedError as error:
        return Page("problem.html", "No plan", {"reason": str(error)}, 409)


def read_request(parameters: Parameters) -> PlanRequest:
    """Return the selection in the address. Raises BadParameterError."""
    return selection_request(
        keep_last=parameters.optional_number("keep-last"),
        orphaned=parameters.flag("orphaned"),
        match=parameters.pattern("match"),
        older_than=parameters.age("older-than"),
        untagged=parameters.flag("untagged"),
        detached=parameters.flag("detached"),
        include_children=parameters.flag("include-children"),
        protect=parameters.pattern("protect"),
    )


def check(question: Question, request: PlanRequest) -> None:
    """Raise BadParameterError for a selection that makes no sense."""
    try:
        check_request(request, question.view.options.analysis.ownership)
    except ConfigurationError as error:
        raise BadParameterError(str(error).removeprefix("--")) from error


def _given(parameters: Parameters) -> Mapping[str, str]:
    texts = {name: parameters.text(name) for name in _NAMES}
    flags = {name: "1" if parameters.flag(name) else "" for name in _FLAGS}
    return {**texts, **flags}


def _address(question: Question, planned: PlannedAction) -> str | None:
    return None if planned.plan is None else question.links.to(_PLAN, planned.plan)
