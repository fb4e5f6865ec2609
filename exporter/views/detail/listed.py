"""The first of many things, and how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST = 50
"""How many of a kind a page lists."""


@dataclass(frozen=True, slots=True)
class Listed(Generic[Item]):
    """The first of many things.

    Attributes:
        shown: the first ones.
        total: how many there are.

    """

    shown: tuple[Item, ...] = ()
    total: int = 0

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


def first(items: Sequence[Item], most: int = MOST) -> Listed[Item]:
    """Return the first of some things."""
    return Listed(tuple(items[:most]), len(items))
