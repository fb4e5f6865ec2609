"""The endpoints of the API, and what each returns."""

from dataclasses import dataclass

from exporter.domain.uses import Use
from exporter.views.clean_up.planned_actions import CleanUp, clean_up
from exporter.views.clean_up.retention import Retention, retention
from exporter.views.clean_up.what_if import WhatIf, what_if
from exporter.views.detail.blob import BlobDetail, blob_detail
from exporter.views.detail.image import ImageDetail
from exporter.views.detail.repository import RepositoryDetail, known_tags, repository_detail
from exporter.views.detail.tag_table import (
    TagDetail,
    TagSort,
    chosen_tags,
    tag_details,
    tag_key,
)
from exporter.views.detail.what_if import RetentionWhatIf
from exporter.views.detail.what_if import what_if as retention_what_if
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
from exporter.web.api.endpoint import Endpoint, Number, OfPage, OneOf, Schema, Text
from exporter.web.api.paging import CURSOR, LIMIT, page_after
from exporter.web.explorer.digest_address import found_blob
from exporter.web.explorer.pages.clean_up import check, read_request
from exporter.web.explorer.pages.image import read_image
from exporter.web.explorer.pages.map import read_map
from exporter.web.explorer.pages.repositories import read_query
from exporter.web.explorer.pages.repository import (
    MOST_KEPT,
    named_repository,
    read_keep,
    read_tag_query,
)
from exporter.web.explorer.parameters import MAX_NUMBER, MAX_PAGE, MAX_TEXT
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


@dataclass(frozen=True, slots=True)
class TagList:
    """A page of the tags of a repository.

    Attributes:
        tags: those of this page.
        found: how many there are on all pages.
        unread: why platforms and times of creation are unknown; None if they were read.
        next: cursor of the next page; None on the last.

    """

    tags: tuple[TagDetail, ...]
    found: int
    unread: str | None
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


def _repository(question: Question) -> RepositoryDetail:
    period = _DAYS.read(question.parameters) or Period.MONTH
    return repository_detail(question.view, named_repository(question), period)


def _tags(question: Question) -> TagList:
    view, repository, query = question.view, named_repository(question), read_tag_query(question)
    tags = known_tags(view, repository)
    chosen = chosen_tags(tags, query)
    page, following = page_after(
        chosen,
        tag_key(tags, query),
        CURSOR.read(question.parameters),
        _TAG_LIMIT.read(question.parameters),
        is_reversed=query.is_reversed,
    )
    rows, unread = tag_details(view, tags, page)
    return TagList(rows, len(chosen), unread, following)


def _retention_of_one(question: Question) -> RetentionWhatIf:
    return retention_what_if(question.view, named_repository(question), read_keep(question))


def _image(question: Question) -> ImageDetail:
    return read_image(question, found_blob(question, question.links.image))


def _blob(question: Question) -> BlobDetail:
    return blob_detail(question.view, found_blob(question, question.links.blob))


def _clean_up(question: Question) -> CleanUp:
    return clean_up(question.view)


def _what_if(question: Question) -> WhatIf:
    request = read_request(question.parameters)
    check(question, request)
    return what_if(question.view, request, question.now)


def _curve(question: Question) -> Retention:
    return retention(question.view)


_DAYS = OneOf("days", "over how many days the points of growth are; by default 30", Period)

_FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
_PATTERN: Schema = {"type": "string", "format": "regex", "maxLength": MAX_TEXT}
_AGE: Schema = {
    "type": "string",
    "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$",
    "maxLength": MAX_TEXT,
}


def _count(most: int) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": most}


_NAME = "a repository's name, with its slashes"
_DIGEST = "a digest, or the beginning of one that no other has"
# each tag is read from the store
_TAG_LIMIT = Number("limit", "how many at most", 50, 1, 200)
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
    # no part of a repository's name begins with "_", but one may be "tags"
    Endpoint(
        "/repositories/{name:path}/_tags",
        "The tags of a repository, to search and sort",
        TagList,
        _tags,
        (
            Text("q", "part of a tag's name"),
            OneOf("sort", "what to sort by; by default when they were pushed", TagSort),
            OneOf("order", "direction; by default names ascend and the rest descends", Order),
            CURSOR,
            _TAG_LIMIT,
        ),
        place=_NAME,
    ),
    Endpoint(
        "/repositories/{name:path}/_what-if",
        "What keeping only the newest tags of a repository would free",
        RetentionWhatIf,
        _retention_of_one,
        (OfPage("keep", "how many tags to keep", _count(MOST_KEPT)),),
        required=("keep",),
        place=_NAME,
    ),
    Endpoint(
        "/repositories/{name:path}",
        "A repository, without its tags",
        RepositoryDetail,
        _repository,
        (_DAYS,),
        place=_NAME,
    ),
    Endpoint("/images/{digest}", "A manifest or index", ImageDetail, _image, place=_DIGEST),
    Endpoint("/blobs/{digest}", "A blob, and who needs it", BlobDetail, _blob, place=_DIGEST),
    Endpoint("/issues", "What is wrong, and where", Findings, _issues, (_KIND, _PAGE)),
    Endpoint("/search", "Repositories, tags, digests and apps", SearchResult, _search, (_QUERY,)),
    Endpoint(
        "/clean-up",
        "What can go: actions, with commands and warnings",
        CleanUp,
        _clean_up,
        is_laborious=True,
    ),
    Endpoint(
        "/clean-up/what-if",
        "What a selection would delete and free",
        WhatIf,
        _what_if,
        (
            OfPage("keep-last", "only tags beyond so many newest", _count(MAX_NUMBER)),
            OfPage("older-than", "only tags older than this, such as 90d", _AGE),
            OfPage("match", "only tags whose whole `repository:tag` matches", _PATTERN),
            OfPage("protect", "never what matches, `repository:tag` or digest", _PATTERN),
            OfPage("orphaned", "only repositories of apps that are not known", _FLAG),
            OfPage("untagged", "untagged manifests, in place of tags", _FLAG),
            OfPage("detached", "artifacts whose image is gone, in place of tags", _FLAG),
            OfPage("include-children", "also what only deleted indexes list", _FLAG),
        ),
        is_laborious=True,
    ),
    Endpoint(
        "/clean-up/curve",
        "What keeping the last tags of each repository would free, for each number",
        Retention,
        _curve,
        is_laborious=True,
    ),
)
