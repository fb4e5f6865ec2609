"""The page ``/repositories/<name>``: one repository, and the plan for its retention."""

import re

from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import Repository
from exporter.domain.text import readable
from exporter.views.chart.time_chart import time_chart
from exporter.views.detail.repository import known_tags, repository_detail, similar_names
from exporter.views.detail.tag_table import TagQuery, TagSort, tag_table
from exporter.views.detail.what_if import plan_text, what_if
from exporter.views.over_time.repository_growth import RepositoryGrowth
from exporter.web.explorer.parameters import BadParameterError
from exporter.web.explorer.periods import PARAMETER, period_links, period_parameter, read_period
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import Download, Page
from exporter.web.explorer.tables import Columns, Order, is_descending_first, order_parameter, pager

MOST_KEPT = 1_000_000
"""Tags that a retention keeps."""

_MOST_NAME = 300
_CONFLICT = 409
_NOT_IN_FILES = re.compile(r"[^A-Za-z0-9.-]+")


def make(question: Question) -> Page:
    """Return the page of a repository."""
    repository, view = named_repository(question), question.view
    query, keep = read_tag_query(question), _read_keep(question)
    table = tag_table(view, known_tags(view, repository), query)
    # one wait for a store that does not answer is enough
    period = read_period(question.parameters)
    detail = repository_detail(view, repository, period, reads_platforms=table.unread is None)
    growth = detail.growth or RepositoryGrowth()
    path = f"/repositories/{repository.name}"
    given = {
        "q": query.search,
        "sort": None if query.sort is TagSort.PUSHED else query.sort,
        "order": order_parameter(query.sort, descending=query.descending),
        "keep": keep,
        PARAMETER: period_parameter(period),
    }
    return Page(
        "repository.html",
        repository.name,
        {
            "detail": detail,
            "table": table,
            "what_if": None if keep is None else what_if(view, repository, keep),
            "keep": keep,
            "growth_chart": time_chart(growth.exclusive_points, growth.referenced_points),
            "periods": period_links(question.links, path, given, period, "growth"),
            "policies": {
                each: question.links.to(path, {**given, "keep": each}, "what-if")
                for each in view.options.analysis.keep_last
            },
            "columns": Columns(question.links, path, given, query.sort, query.descending),
            "given": given,
            "pager": pager(question.links, path, given, query.page, table.pages),
            "plan_address": question.links.to(f"{path}/_plan", {"keep": keep}),
        },
    )


def make_plan(question: Question) -> Download | Page:
    """Return the plan as a file, as ``plan`` writes it."""
    repository, keep = named_repository(question), read_keep(question)
    try:
        text = plan_text(question.view, repository, keep)
    except PlanRefusedError as error:
        return Page("problem.html", "No plan", {"reason": str(error)}, _CONFLICT)
    return Download(f"plan-{_NOT_IN_FILES.sub('-', repository.name)}.txt", text)


def named_repository(question: Question) -> Repository:
    """Return the repository that the address names. Raises NothingThereError, NotReadYetError."""
    name = question.place["name"]
    repository = question.view.repository(name)
    if repository is not None:
        return repository
    names = similar_names(question.view, name[:_MOST_NAME])
    raise NothingThereError(
        f"there is no repository {readable(name, _MOST_NAME)}",
        {each: question.links.repository(each) for each in names},
    )


def read_tag_query(question: Question) -> TagQuery:
    """Return which tags the address asks for. Raises BadParameterError."""
    parameters = question.parameters
    sort = parameters.choice("sort", TagSort) or TagSort.PUSHED
    order = parameters.choice("order", Order)
    return TagQuery(
        search=parameters.text("q"),
        sort=sort,
        descending=is_descending_first(sort) if order is None else order is Order.DESCENDING,
        page=parameters.number("page", 1),
    )


def read_keep(question: Question) -> int:
    """Return how many tags a retention keeps. Raises BadParameterError."""
    keep = _read_keep(question)
    if keep is None:
        raise BadParameterError("keep is missing: give the number of tags to keep, such as keep=5")
    return keep


def _read_keep(question: Question) -> int | None:
    keep = question.parameters.number("keep", -1, least=0, most=MOST_KEPT)
    return None if keep < 0 else keep
