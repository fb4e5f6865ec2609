"""What an endpoint is: its path, its parameters, and what it returns.

The OpenAPI document follows from it, so that neither can differ from the other.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from exporter.web.explorer.parameters import MAX_TEXT, Parameters
from exporter.web.explorer.question import Question

Choice = TypeVar("Choice", bound=enum.StrEnum)
Schema = dict[str, Any]
"""A JSON schema, or a part of an OpenAPI document."""


class Parameter(Protocol):
    """A parameter of the query."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def meaning(self) -> str:
        """What it is for."""

    def schema(self) -> Schema:
        """Return what values it may have."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text; without it, an empty one."""

    name: str
    meaning: str

    def read(self, parameters: Parameters) -> str:
        """Return the value. Raises BadParameterError."""
        return parameters.text(self.name)

    def schema(self) -> Schema:
        """Return what values it may have."""
        return {"type": "string", "maxLength": MAX_TEXT}


@dataclass(frozen=True, slots=True)
class OneOf(Generic[Choice]):
    """One of some names; None without it."""

    name: str
    meaning: str
    choices: type[Choice]

    def read(self, parameters: Parameters) -> Choice | None:
        """Return the value. Raises BadParameterError."""
        return parameters.choice(self.name, self.choices)

    def schema(self) -> Schema:
        """Return what values it may have."""
        return {"type": "string", "enum": [str(each) for each in self.choices]}


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number between two bounds."""

    name: str
    meaning: str
    default: int
    least: int
    most: int

    def read(self, parameters: Parameters) -> int:
        """Return the value. Raises BadParameterError."""
        return parameters.number(self.name, self.default, least=self.least, most=self.most)

    def schema(self) -> Schema:
        """Return what values it may have."""
        bounds = {"minimum": self.least, "maximum": self.most}
        return {"type": "integer", "default": self.default, **bounds}


@dataclass(frozen=True, slots=True)
class OfPage:
    """A parameter that is read as the page that has it reads it.

    Attributes:
        name: its name.
        meaning: what it is for.
        values: the schema of what values it may have.

    """

    name: str
    meaning: str
    values: Schema

    def schema(self) -> Schema:
        """Return what values it may have."""
        return self.values


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of the API.

    Attributes:
        path: below ``/api/v1``; variable parts in braces, ``{name:path}`` with slashes.
        summary: what it returns.
        result: the type of that.
        answer: makes it. Raises NotReadYetError, NothingThereError or BadParameterError.
        parameters: those of its query.
        required: names of those without which there is no answer.
        place: what the variable part of its path names; empty without one.
        names_a_place: whether a parameter names something that may not exist.
        is_laborious: whether it may take seconds: it is then computed in turns.

    """

    path: str
    summary: str
    result: Any
    answer: Callable[[Question], object]
    parameters: tuple[Parameter, ...] = field(default=())
    required: tuple[str, ...] = ()
    place: str = ""
    names_a_place: bool = False
    is_laborious: bool = False
