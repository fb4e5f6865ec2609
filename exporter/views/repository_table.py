"""The table of repositories: searched, filtered, sorted, and cut into pages."""

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.domain.snapshot import RepositoryFigures
from exporter.domain.uses import Use
from exporter.views.snapshot_view import SnapshotView

PAGE_ROWS = 50
"""Rows of one page."""

_STRENGTH = {use: place for place, use in enumerate(Use)}


class RepositorySort(enum.StrEnum):
    """A column to sort by."""

    NAME = "name"
    SIZE = "size"
    EXCLUSIVE = "exclusive"
    TAGS = "tags"
    MANIFESTS = "manifests"
    UNTAGGED = "untagged"
    LAST_PUSH = "last-push"
    GROWTH = "growth"


@dataclass(frozen=True, slots=True)
class RepositoryQuery:
    """What to show of the table.

    Attributes:
        search: part of a name, or of an app's; empty for all.
        use: only repositories with this strongest use; None for all.
        sort: the column to sort by.
        descending: the direction.
        page: from 1; a page after the last one is empty.

    """

    search: str = ""
    use: Use | None = None
    sort: RepositorySort = RepositorySort.SIZE
    descending: bool = True
    page: int = 1

    @property
    def is_name_descending(self) -> bool:
        """Whether names decide, from the last to the first."""
        return self.sort is RepositorySort.NAME and self.descending


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """One repository.

    Attributes:
        figures: its figures.
        owner: the app that it belongs to; None if it belongs to none.
        use: the strongest use of its tags; None without a platform or without tags.
        uses: how many tags by use.
        growth_bytes: how much its exclusive bytes grew in the last 7 days; None if unknown.

    """

    figures: RepositoryFigures
    owner: str | None
    use: Use | None
    uses: Mapping[Use, int]
    growth_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RepositoryTotals:
    """What the filter leaves, added up.

    Attributes:
        repositories: how many.
        tags: of them.
        manifests: of them.
        untagged_manifests: of them.
        exclusive_bytes: each blob that only one repository references counts once; blobs that
            several of them share are in none.
        growth_bytes: None if unknown.

    """

    repositories: int
    tags: int
    manifests: int
    untagged_manifests: int
    exclusive_bytes: int
    growth_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RepositoryTable:
    """One page of the table.

    Attributes:
        query: what was asked for.
        rows: those of this page.
        totals: of all pages.
        pages: how many there are; at least 1.

    """

    query: RepositoryQuery
    rows: tuple[RepositoryRow, ...]
    totals: RepositoryTotals
    pages: int


def repository_table(view: SnapshotView, query: RepositoryQuery) -> RepositoryTable:
    """Return a page of the table. Raises NotReadYetError."""
    chosen = chosen_repositories(view, query)
    first = (query.page - 1) * PAGE_ROWS
    return RepositoryTable(
        query,
        tuple(repository_row(view, each) for each in chosen[first : first + PAGE_ROWS]),
        repository_totals(view, chosen),
        max(1, -(-len(chosen) // PAGE_ROWS)),
    )


def chosen_repositories(view: SnapshotView, query: RepositoryQuery) -> Sequence[RepositoryFigures]:
    """Return what the filter leaves, sorted. Raises NotReadYetError."""
    chosen = _filtered(view, query)
    chosen.sort(key=sort_key(view, query), reverse=query.is_name_descending)
    return chosen


def repository_row(view: SnapshotView, figures: RepositoryFigures) -> RepositoryRow:
    """Return the row of one repository."""
    uses = view.snapshot.uses
    counts = {} if uses is None else uses.repositories[figures.name].count()
    ordered = {use: counts[use] for use in Use if counts.get(use)}
    return RepositoryRow(
        figures,
        view.owner_of(figures.name),
        next(iter(ordered), None),
        ordered,
        None if view.growth is None else view.growth.get(figures.name, 0),
    )


def use_of(view: SnapshotView, name: str) -> Use | None:
    """Return the strongest use of a repository's tags; None without a platform or tags."""
    uses = view.snapshot.uses
    if uses is None:
        return None
    by_tag = uses.repositories[name]
    found = set(by_tag.named.values())  # counting takes several times as long
    if len(by_tag.tags) > len(by_tag.named):
        found.add(by_tag.otherwise)
    return min(found, key=_STRENGTH.__getitem__, default=None)


def _filtered(view: SnapshotView, query: RepositoryQuery) -> list[RepositoryFigures]:
    repositories: Iterable[RepositoryFigures] = view.reading.figures.repositories
    if query.search:
        wanted = query.search.lower()
        repositories = [each for each in repositories if _matches(view, each.name, wanted)]
    if query.use is not None:
        repositories = [each for each in repositories if use_of(view, each.name) is query.use]
    return list(repositories)


def _matches(view: SnapshotView, name: str, wanted: str) -> bool:
    return wanted in name or wanted in (view.owner_of(name) or "")


def sort_key(
    view: SnapshotView, query: RepositoryQuery
) -> Callable[[RepositoryFigures], tuple[float, str]]:
    """Return what repositories are sorted by: a number, then the name.

    If they are sorted by name alone, in descending order, the whole order is reversed.
    """
    growth = view.growth or {}
    values: Mapping[RepositorySort, Callable[[RepositoryFigures], float]] = {
        RepositorySort.NAME: lambda _: 0,
        RepositorySort.SIZE: lambda each: each.referenced_bytes,
        RepositorySort.EXCLUSIVE: lambda each: each.exclusive_bytes,
        RepositorySort.TAGS: lambda each: each.tags,
        RepositorySort.MANIFESTS: lambda each: each.manifests,
        RepositorySort.UNTAGGED: lambda each: each.untagged_manifests,
        RepositorySort.LAST_PUSH: lambda each: each.last_push_at or 0.0,
        RepositorySort.GROWTH: lambda each: growth.get(each.name, 0),
    }
    value, sign = values[query.sort], -1 if query.descending else 1
    return lambda each: (sign * value(each), each.name)


def repository_totals(
    view: SnapshotView, repositories: Sequence[RepositoryFigures]
) -> RepositoryTotals:
    """Return the figures of some repositories, added up."""
    growth = view.growth
    return RepositoryTotals(
        len(repositories),
        sum(each.tags for each in repositories),
        sum(each.manifests for each in repositories),
        sum(each.untagged_manifests for each in repositories),
        sum(each.exclusive_bytes for each in repositories),
        None if growth is None else sum(growth.get(each.name, 0) for each in repositories),
    )
