"""The option ``--repository``: the repository that it names, or which name was meant."""

import difflib

from exporter.domain.errors import ConfigurationError
from exporter.domain.model import NOT_READ, Inventory, Repository, ScanIssue
from exporter.domain.text import printable
from exporter.store.format.layout import REPOSITORIES


def find_repository(inventory: Inventory, name: str) -> Repository:
    """Return the repository of that name. Raises ConfigurationError if there is none."""
    names = [each.name for each in inventory.repositories]
    if name in names:
        return inventory.repositories[names.index(name)]
    close = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean {close[0]}?" if close else "`report` lists the repositories"
    if unread_below(inventory, REPOSITORIES):
        remedy += "; not all of the store could be read, `report` says what"
    raise ConfigurationError(
        [f"--repository {printable(name)}: the store has no such repository; {remedy}"]
    )


def unread_below(inventory: Inventory, place: str, separator: str = "/") -> list[ScanIssue]:
    """Return what could not be read at or below a place.

    A repository may contain others; its own directories begin with an underscore.
    """
    return [
        issue
        for issue in inventory.issues
        if issue.cause in NOT_READ
        and (issue.path == place or issue.path.startswith(f"{place}{separator}"))
    ]
