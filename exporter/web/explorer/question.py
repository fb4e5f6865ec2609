"""What a page is asked for, and how it says that what it should show does not exist."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exporter.views.snapshot_view import SnapshotView
from exporter.web.explorer.links import Links
from exporter.web.explorer.parameters import Parameters
from exporter.web.explorer.rendering import Download, Page, Redirect


@dataclass(frozen=True, slots=True)
class Question:
    """A request for a page.

    Attributes:
        view: the snapshot to show.
        place: the variable parts of the address.
        parameters: those of its query.
        links: writes addresses.
        now: Unix seconds; ages are counted from it.

    """

    view: SnapshotView
    place: Mapping[str, str]
    parameters: Parameters
    links: Links
    now: float


PageMaker = Callable[[Question], Page | Download | Redirect]
"""Makes a page, a text to save, or another address.

Raises NotReadYetError, NothingThereError or BadParameterError.
"""


class NothingThereError(Exception):
    """What an address names does not exist.

    Attributes:
        suggestions: addresses that may be meant, by what they name.

    """

    def __init__(self, message: str, suggestions: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.suggestions = suggestions or {}
