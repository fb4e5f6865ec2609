"""Selection of the repositories that have series of their own: the largest that match the patterns.

The selection is made once for each scan that found changes, and each name is matched once: neither
a scrape nor a further metric costs a match.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from exporter.domain.snapshot import RepositoryFigures, StoreFigures

_NAMES_REMEMBERED = 65_536


class NamePattern(Protocol):
    """A pattern for names, such as a regular expression."""

    def fullmatch(self, name: str, /) -> object:
        """Return something true if the whole name matches."""


Patterns = Sequence[NamePattern]


class RepositorySelector:
    """Selects repositories; always the same ones from the same figures.

    A pattern must match the whole name, as in Prometheus.
    """

    def __init__(self, most: int = 1000, include: Patterns = (), exclude: Patterns = ()) -> None:
        """Select names that match any of ``include``, if it is given, and none of ``exclude``."""
        self.most = most
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._remembered = lru_cache(_NAMES_REMEMBERED)(self._match)
        self._chosen: tuple[StoreFigures, tuple[RepositoryFigures, ...]] | None = None

    def lets_in(self, name: str) -> bool:
        """Return whether the patterns allow a repository series of its own."""
        return self._remembered(name)

    def choose(self, figures: StoreFigures) -> tuple[RepositoryFigures, ...]:
        """Return the repositories that have series of their own, largest first."""
        known = self._chosen
        if known is None or known[0] is not figures:
            let_in = [each for each in figures.repositories if self.lets_in(each.name)]
            self._chosen = known = figures, tuple(let_in[: self.most])
        return known[1]

    def includes_nothing_of(self, figures: StoreFigures) -> bool:
        """Return whether no repository matches the patterns to include, if both exist."""
        names = [each.name for each in figures.repositories]
        return bool(self._include and names) and not any(
            _matches_any(self._include, name) for name in names
        )

    def _match(self, name: str) -> bool:
        is_included = not self._include or _matches_any(self._include, name)
        return is_included and not _matches_any(self._exclude, name)


def _matches_any(patterns: Patterns, name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in patterns)
