"""The tags of one repository: searched, sorted, and cut into pages."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.analysis.deletion.order import newest_first
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import Tag
from exporter.views.detail.listed import Listed, first
from exporter.views.detail.store_facts import read_facts
from exporter.views.snapshot_view import SnapshotView
from exporter.views.tag_rows import RepositoryTags, TagRow, tag_row

PAGE_ROWS = 50
"""Rows of one page."""

_ARTIFACTS_SHOWN = 3


class TagSort(enum.StrEnum):
    """A column to sort by."""

    TAG = "tag"
    SIZE = "size"
    EXCLUSIVE = "exclusive"
    PUSHED = "pushed"


@dataclass(frozen=True, slots=True)
class TagQuery:
    """What to show of the table.

    Attributes:
        search: part of a tag's name; empty for all.
        sort: the column to sort by.
        descending: the direction.
        page: from 1; a page after the last one is empty.

    """

    search: str = ""
    sort: TagSort = TagSort.PUSHED
    descending: bool = True
    page: int = 1

    @property
    def is_reversed(self) -> bool:
        """Whether tags are in descending order of :func:`tag_key`."""
        if self.sort is TagSort.PUSHED:
            return not self.descending
        return self.sort is TagSort.TAG and self.descending


@dataclass(frozen=True, slots=True)
class TagDetail:
    """One tag.

    Attributes:
        row: what ``report`` says of it.
        created_at: when its image was created, as it says itself, Unix seconds; None if unknown.
        artifacts: digests of the signatures and the like that belong to its image.

    """

    row: TagRow
    created_at: float | None
    artifacts: Listed[str]


@dataclass(frozen=True, slots=True)
class TagTable:
    """One page of the table.

    Attributes:
        query: what was asked for.
        rows: those of this page.
        found: how many tags match.
        pages: how many pages there are; at least 1.
        unread: why platforms and times of creation are unknown; None if they were read.

    """

    query: TagQuery
    rows: tuple[TagDetail, ...]
    found: int
    pages: int
    unread: str | None


def tag_table(view: SnapshotView, tags: RepositoryTags, query: TagQuery) -> TagTable:
    """Return a page of the table. Raises NotReadYetError."""
    chosen = chosen_tags(tags, query)
    start = (query.page - 1) * PAGE_ROWS
    rows, unread = tag_details(view, tags, chosen[start : start + PAGE_ROWS])
    return TagTable(query, rows, len(chosen), max(1, -(-len(chosen) // PAGE_ROWS)), unread)


def chosen_tags(tags: RepositoryTags, query: TagQuery) -> Sequence[Tag]:
    """Return the tags that are searched for, sorted; of all pages."""
    wanted = query.search.lower()
    return [tag for tag in _sorted(tags, query) if wanted in tag.name.lower()]


def tag_key(tags: RepositoryTags, query: TagQuery) -> Callable[[Tag], tuple[float, str]]:
    """Return what tags are sorted by: a number, then the name."""
    sign = -1 if query.descending else 1
    values: Mapping[TagSort, Callable[[Tag], float]] = {
        TagSort.TAG: lambda _: 0,
        TagSort.SIZE: lambda tag: sign * tags.bytes[tag.name],
        TagSort.EXCLUSIVE: lambda tag: sign * tags.exclusive_bytes[tag.name],
        TagSort.PUSHED: lambda tag: -(tag.updated_at or 0.0),
    }
    value = values[query.sort]
    return lambda tag: (value(tag), tag.name)


def tag_details(
    view: SnapshotView, tags: RepositoryTags, shown: Sequence[Tag]
) -> tuple[tuple[TagDetail, ...], str | None]:
    """Return some tags, and why platforms and times of creation are unknown; None if read."""
    facts = read_facts(view, {tag.target for tag in shown if tag.target is not None})
    uses, apps = view.snapshot.uses, view.apps
    artifacts = _artifacts(view, tags)

    def detail(tag: Tag) -> TagDetail:
        row = tag_row(view.inventory, tags, tag, (), uses, apps)
        if tag.target is None:
            return TagDetail(row, None, Listed())
        platforms = facts.platforms.get(tag.target, ())
        return TagDetail(
            replace(row, platforms=platforms),
            facts.created.get(tag.target),
            first(artifacts.get(tag.target, ()), _ARTIFACTS_SHOWN),
        )

    return tuple(map(detail, shown)), facts.failure


def _sorted(tags: RepositoryTags, query: TagQuery) -> Sequence[Tag]:
    repository = tags.repository
    keys: Mapping[TagSort, Callable[[Tag], int]] = {
        TagSort.SIZE: lambda tag: tags.bytes[tag.name],
        TagSort.EXCLUSIVE: lambda tag: tags.exclusive_bytes[tag.name],
    }
    if query.sort is TagSort.PUSHED:
        newest = newest_first(repository)
        return newest if query.descending else newest[::-1]
    key = keys.get(query.sort)
    if key is not None:
        return sorted(repository.tags, key=key, reverse=query.descending)
    return repository.tags[::-1] if query.descending else repository.tags


def _artifacts(view: SnapshotView, tags: RepositoryTags) -> Mapping[BlobNumber, Sequence[str]]:
    """Return the digests of artifacts by the image that they belong to."""
    found: dict[BlobNumber, list[str]] = {}
    for number, image in tags.artifacts.manifests.items():
        if image is not None:
            found.setdefault(image, []).append(format_digest(view.inventory.digests[number]))
    return found
