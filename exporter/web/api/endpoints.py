"""The endpoints of the API, and what each returns."""

from dataclasses import dataclass

from exporter.domain.uses import Use
from exporter.views.health.findings import FindingKind, Findings, findings
from exporter.views.over_time.series import Period
from exporter.views.overview import Overview, overview
from exporter.views.repository_table import (
    RepositoryRow,
    RepositorySort,
    RepositoryTotals,
    chosen_repositories,
    repository_row,
    repository_totals,
    sort_key,
)
from exporter.views.search import SearchResult, search
from exporter.views.treemap.store_map import StoreMap
from exporter.web.api.endpoint import Endpoint, Number, OneOf, Text
from exporter.web.api.paging import CURSOR, LIMIT, page_after
from exporter.web.explorer.pages.map import read_map
from exporter.web.explorer.pages.repositories import read_query
from exporter.web.explorer.parameters import MAX_PAGE
from exporter.web.explorer.question import Question
from exporter.web.explorer.tables import Order


@dataclass(frozen=True, slots=True)
class RepositoryList:
    """A page of repositories.

    Attributes:
        repositories: those of this page.
        totals: of all pages.
        next: cursor of the next page; None on the last.

    """

    repositories: tuple[RepositoryRow, ...]
    totals: RepositoryTotals
    next: str | None


def _overview(question: Question) -> Overview:
    return overview(question.view, _DAYS.read(question.parameters) or Period.MONTH)


def _repositories(question: Question) -> RepositoryList:
    view, query = question.view, read_query(question)
    chosen = chosen_repositories(view, query)
    page, following = page_after(
        chosen,
        sort_key(view, query),
        CURSOR.read(question.parameters),
        LIMIT.read(question.parameters),
        is_reversed=query.is_name_descending,
    )
    rows = tuple(repository_row(view, each) for each in page)
    return RepositoryList(rows, repository_totals(view, chosen), following)


def _issues(question: Question) -> Findings:
    kind = _KIND.read(question.parameters)
    return findings(question.view, kind, _PAGE.read(question.parameters))


def _search(question: Question) -> SearchResult:
    return search(question.view, _QUERY.read(question.parameters))


_DAYS = OneOf("days", "over how many days the points of `trend` are; by default 30", Period)
_KIND = OneOf("kind", "only findings of this kind", FindingKind)
_PAGE = Number("page", "of that kind, from 1", 1, 1, MAX_PAGE)
_QUERY = Text("q", "part of a name, `repository:tag`, or the beginning of a digest")

ENDPOINTS = (
    Endpoint("/overview", "The store at a glance", Overview, _overview, (_DAYS,)),
    Endpoint(
        "/map",
        "The store, a namespace or a repository as tiles",
        StoreMap,
        read_map,
        (
            Text(
                "in", "a repository, or a namespace with a slash at its end; without it, the store"
            ),
            Number("rest", "how many of the largest parts to leave out", 0, 0, MAX_PAGE),
        ),
        names_a_place=True,
    ),
    Endpoint(
        "/repositories",
        "Repositories, to filter and sort",
        RepositoryList,
        _repositories,
        (
            Text("q", "part of a repository's or an app's name"),
            OneOf("use", "only repositories with this strongest use", Use),
            OneOf("sort", "what to sort by; by default the size", RepositorySort),
            OneOf("order", "direction; by default names ascend and numbers descend", Order),
            CURSOR,
            LIMIT,
        ),
    ),
    Endpoint("/issues", "What is wrong, and where", Findings, _issues, (_KIND, _PAGE)),
    Endpoint("/search", "Repositories, tags, digests and apps", SearchResult, _search, (_QUERY,)),
)
