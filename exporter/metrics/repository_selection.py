"""Which repositories have series of their own: the largest of those that the patterns let in.

Chosen once for each scan that found something new, and a name is matched once, however often it is
looked for: neither a scrape nor the number of metrics costs a match.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from exporter.domain.snapshot import RepositoryFigures, StoreFigures

_NAMES_REMEMBERED = 65_536


class NamePattern(Protocol):
    """What a name can match, such as a regular expression."""

    def fullmatch(self, name: str, /) -> object:
        """Give something true where all of the name matches."""


Patterns = Sequence[NamePattern]


class RepositorySelector:
    """Chooses repositories, always the same ones from the same figures.

    A name matches a pattern when all of it does, as in Prometheus.
    """

    def __init__(self, most: int = 1000, include: Patterns = (), exclude: Patterns = ()) -> None:
        """Let in what matches any of ``include``, if there are such, and none of ``exclude``."""
        self.most = most
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._remembered = lru_cache(_NAMES_REMEMBERED)(self._match)
        self._chosen: tuple[StoreFigures, tuple[RepositoryFigures, ...]] | None = None

    def lets_in(self, name: str) -> bool:
        """Tell whether the patterns let a repository have series of its own."""
        return self._remembered(name)

    def choose(self, figures: StoreFigures) -> tuple[RepositoryFigures, ...]:
        """Give the repositories that have series of their own, largest first."""
        known = self._chosen
        if known is None or known[0] is not figures:
            let_in = [each for each in figures.repositories if self.lets_in(each.name)]
            self._chosen = known = figures, tuple(let_in[: self.most])
        return known[1]

    def includes_nothing_of(self, figures: StoreFigures) -> bool:
        """Tell whether there are repositories and patterns to include, and none matches any."""
        names = [each.name for each in figures.repositories]
        return bool(self._include and names) and not any(
            _matches_any(self._include, name) for name in names
        )

    def _match(self, name: str) -> bool:
        is_included = not self._include or _matches_any(self._include, name)
        return is_included and not _matches_any(self._exclude, name)


def _matches_any(patterns: Patterns, name: str) -> bool:
    return any(pattern.fullmatch(name) for pattern in patterns)
