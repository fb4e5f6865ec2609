"""Links above and below a table: to sort it, and to its pages."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.web.explorer.links import Links

_NEIGHBOURS = 2
_NAMES = frozenset({"name", "tag"})


class Order(enum.StrEnum):
    """A direction to sort in."""

    ASCENDING = "asc"
    DESCENDING = "desc"


def is_descending_first(column: str) -> bool:
    """Return whether a column is sorted in descending order first: numbers, not names."""
    return column not in _NAMES


def order_parameter(column: str, *, descending: bool) -> Order | None:
    """Return the parameter for a direction; None for the one that a column has first."""
    if descending is is_descending_first(column):
        return None
    return Order.DESCENDING if descending else Order.ASCENDING


@dataclass(frozen=True, slots=True)
class Columns:
    """Writes the addresses that sort a table by a column.

    Attributes:
        links: writes addresses.
        path: of the page.
        given: the other parameters.
        sort: the column that it is sorted by.
        descending: in which direction.

    """

    links: Links
    path: str
    given: Mapping[str, object]
    sort: str
    descending: bool

    def address(self, column: str) -> str:
        """Return the address sorted by a column; by the current one, in the other direction."""
        descending = is_descending_first(column)
        if column == self.sort:
            descending = not self.descending
        order = order_parameter(column, descending=descending)
        return self.links.to(self.path, {**self.given, "sort": column, "order": order})

    def state(self, column: str) -> str:
        """Return the value of ``aria-sort`` for a column."""
        if column != self.sort:
            return "none"
        return "descending" if self.descending else "ascending"


@dataclass(frozen=True, slots=True)
class Pager:
    """The links between the pages of a table.

    Attributes:
        page: the current one, from 1.
        pages: how many there are.
        previous: address of the one before; None on the first.
        next: address of the one after; None on the last.
        near: (number, address) of the first, the last and those around; None for a gap.

    """

    page: int
    pages: int
    previous: str | None
    next: str | None
    near: tuple[tuple[int, str] | None, ...]


def pager(links: Links, path: str, given: Mapping[str, object], page: int, pages: int) -> Pager:
    """Return the links between pages; ``given`` are the other parameters."""

    def address(number: int) -> str:
        return links.to(path, {**given, "page": None if number == 1 else number})

    around = range(page - _NEIGHBOURS, page + _NEIGHBOURS + 1)
    numbers = sorted({1, pages, *(each for each in around if 1 <= each <= pages)})
    near: list[tuple[int, str] | None] = []
    for before, number in zip([0, *numbers], numbers, strict=False):
        if number > before + 1:
            near.append(None)
        near.append((number, address(number)))
    return Pager(
        page,
        pages,
        address(min(page - 1, pages)) if page > 1 else None,
        address(page + 1) if page < pages else None,
        tuple(near),
    )
