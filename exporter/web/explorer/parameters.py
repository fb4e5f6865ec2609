"""Parameters of an address, checked."""

import enum
import re
from collections.abc import Mapping
from typing import TypeVar

from exporter.settings.name_patterns import parse_foreign_pattern
from exporter.support.quantities import parse_duration

Choice = TypeVar("Choice", bound=enum.StrEnum)

MAX_TEXT = 300
"""Characters of a parameter."""

MAX_PAGE = 1_000_000
"""Largest number of a page."""

MAX_NUMBER = 10**9
"""Largest number that is not one of a page."""

_MAX_AGE_SECONDS = 100 * 365 * 86400


class BadParameterError(Exception):
    """A parameter of the address has a value that it cannot have."""


class Parameters:
    """Reads parameters. Each method raises BadParameterError for a wrong value."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def text(self, name: str) -> str:
        """Return a text without spaces around it; empty if it is not given."""
        value = self._given.get(name, "").strip()
        if len(value) > MAX_TEXT:
            raise BadParameterError(f"{name} is longer than {MAX_TEXT} characters")
        return value

    def choice(self, name: str, choices: type[Choice]) -> Choice | None:
        """Return one of some names; None if it is not given."""
        value = self.text(name)
        try:
            return choices(value) if value else None
        except ValueError as error:
            names = ", ".join(choices)
            raise BadParameterError(f"{name} is none of: {names}") from error

    def number(self, name: str, default: int, *, least: int = 1, most: int = MAX_PAGE) -> int:
        """Return a whole number between two bounds."""
        value = self.text(name)
        if not value:
            return default
        if not (value.isascii() and value.isdigit() and least <= int(value) <= most):
            raise BadParameterError(f"{name} is not a whole number from {least} to {most}")
        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return whether something is switched on: ``1`` or ``0``."""
        value = self.text(name)
        if value not in ("", "0", "1"):
            raise BadParameterError(f"{name} is neither 0 nor 1")
        return default if not value else value == "1"

    def optional_number(self, name: str) -> int | None:
        """Return a whole number from 0 on; None if it is not given."""
        return self.number(name, 0, least=0, most=MAX_NUMBER) if self.text(name) else None

    def age(self, name: str) -> float | None:
        """Return a duration, such as ``90d``, in seconds; None if it is not given."""
        value = self.text(name)
        if not value:
            return None
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise BadParameterError(f"{name} {error}") from error
        if seconds > _MAX_AGE_SECONDS:
            raise BadParameterError(f"{name} is longer than 100 years")
        return seconds

    def pattern(self, name: str) -> "re.Pattern[str] | None":
        """Return a regular expression; None if it is not given."""
        value = self.text(name)
        try:
            return parse_foreign_pattern(value) if value else None
        except ValueError as error:
            raise BadParameterError(f"{name} {error}") from error
