"""Find the repositories of a store, and what keeps the registry from finding them.

The registry finds them by a walk of its own (``Enumerate`` in its ``registry/storage/catalog.go``),
in which version 2 stops at a file whose name begins with an underscore.
"""

import os
from dataclasses import dataclass, field

from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import IssueCause
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    IssueLog,
    directory_remedy,
    is_directory,
    open_directory,
)
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.format.foreign_directories import advice_on
from exporter.store.format.layout import (
    REPOSITORIES,
    REPOSITORY_MARKS,
    is_domain,
    is_repository_name,
)

_PRIVATE = "_"
"""Starts the names of a repository's own directories; no repository's name starts with it."""


@dataclass(slots=True)
class FoundRepositories:
    """What is below ``repositories``.

    Attributes:
        marks: by repository name, the directories that make it a repository.
        unlisted: directories that could not be listed: repositories may be below them.
        walk_ends: see :attr:`exporter.domain.model.StoreLayout.walk_ends`.
        is_missing: whether there is no ``repositories`` directory at all.

    """

    marks: dict[str, frozenset[str]] = field(default_factory=dict)
    unlisted: list[str] = field(default_factory=list)
    walk_ends: list[str] = field(default_factory=list)
    is_missing: bool = False

    @property
    def names(self) -> list[str]:
        """Names of the repositories, sorted."""
        return sorted(self.marks)


def find_repositories(store: int, issues: IssueLog, strays: StrayCounter) -> FoundRepositories:
    """Find the repositories of the store whose version directory is open as ``store``.

    Raises StoreUnreadableError if ``repositories`` itself cannot be listed.
    """
    search = _Search(store, issues, strays)
    search.run()
    return search.found


class _Search:
    def __init__(self, store: int, issues: IssueLog, strays: StrayCounter) -> None:
        self._store = store
        self._issues = issues
        self._strays = strays
        self.found = FoundRepositories()

    def run(self) -> None:
        pending = [""]
        while pending:
            name = pending.pop()
            path = f"{REPOSITORIES}/{name}".rstrip("/")
            try:
                with open_directory(path, self._store) as parent:
                    nested = self._look_into(parent, name, path)
            except FileNotFoundError:
                self.found.is_missing |= not name
            except OSError as error:
                if not name:
                    message = f"cannot list {path}: {error.strerror}; {directory_remedy(error)}"
                    raise StoreUnreadableError(message) from error
                if not isinstance(error, GONE):
                    self._issues.add_error(error, path)
                    self.found.unlisted.append(name)
            else:
                pending += nested

    def _look_into(self, parent: int, name: str, path: str) -> list[str]:
        """Look into one directory; return the names below it that may be repositories."""
        nested = []
        marks: set[str] = set()
        with os.scandir(parent) as entries:
            for entry in entries:
                child = f"{name}/{entry.name}".lstrip("/")
                where = f"{path}/{entry.name}"
                if not is_directory(entry):
                    self._note_file(entry.name, parent, child, where)
                elif name and entry.name in REPOSITORY_MARKS:
                    marks.add(entry.name)
                elif is_repository_name(child) or is_domain(child):
                    nested.append(child)
                else:
                    detail = advice_on(entry.name) or "not the name of a repository"
                    self._issues.add(IssueCause.BAD_NAME, where, detail, hides=False)
                    self._strays.add(entry.name, parent, where)
        if marks and is_repository_name(name):
            self.found.marks[name] = frozenset(marks)
        elif marks:
            self._strays.note_misnamed(path, marks)
            for mark in marks:
                self._strays.add(mark, parent, f"{path}/{mark}")
        return nested

    def _note_file(self, entry: str, parent: int, child: str, where: str) -> None:
        self._strays.add(entry, parent, where)
        if entry in REPOSITORY_MARKS:
            self._issues.add(IssueCause.IO_ERROR, where, "not a directory")
        elif entry.startswith(_PRIVATE):
            self.found.walk_ends.append(child)
            detail = "version 2 of the registry overlooks the repositories that come after it"
            self._issues.add(IssueCause.BAD_NAME, where, detail, hides=False)
