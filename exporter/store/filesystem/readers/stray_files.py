"""Count stray files: files that are not part of the layout."""

import os
import stat
from collections.abc import Iterable

from exporter.domain.model import LAYERS, MANIFESTS, IssueCause, Misplaced, Strays
from exporter.domain.text import printable
from exporter.store.filesystem.readers.safe_files import GONE, IssueLog, open_directory
from exporter.store.format.layout import BLOBS, DATA, REPOSITORIES, REPOSITORY_MARKS

_BESIDE = f"looks like a repository, but is not below {REPOSITORIES}; it may be of a copy"


class StrayCounter:
    """Counts stray files and their bytes; may be used from several threads."""

    def __init__(self, issues: IssueLog) -> None:
        self._issues = issues
        self._files = 0
        self._sizes = 0
        self._links: dict[tuple[int, int], tuple[int, int, int]] = {}
        """By file with several links: its size, how many it has, and how many are strays."""
        self.misplaced: list[Misplaced] = []
        """What the registry's collector would trip over."""

    @property
    def is_empty(self) -> bool:
        """Whether none was found so far."""
        return not (self._files or self.misplaced)

    def merge(self, other: "StrayCounter") -> None:
        """Add what another counter has counted."""
        self._files += other._files  # noqa: SLF001 - of this class
        self._sizes += other._sizes  # noqa: SLF001
        for identity, (size, links, found) in other._links.items():  # noqa: SLF001
            self._add_links(identity, size, links, found)
        self.misplaced += other.misplaced

    def total(self) -> Strays:
        """Return the count so far."""
        linked = self._links.values()
        return Strays(
            self._files,
            self._sizes + sum(size for size, _, _ in linked),
            self._sizes + sum(size for size, links, found in linked if found >= links),
        )

    def _add_links(self, identity: tuple[int, int], size: int, links: int, found: int) -> None:
        _, _, before = self._links.get(identity, (0, 0, 0))
        self._links[identity] = size, links, before + found

    def add(self, name: str, parent: int, path: str) -> None:
        """Count ``name``, an entry of the directory ``parent``, and everything below it.

        A directory that looks like a repository may reference blobs, although the registry cannot
        serve its name. That is recorded, so that nothing is called garbage meanwhile.
        """
        pending = [(name, path)]
        while pending:
            place, where = pending.pop()
            if not self._add_entry(place, parent, where):
                continue
            try:
                with open_directory(place, parent) as directory:
                    names = os.listdir(directory)
            except OSError as error:
                self._note(error, where)
                continue
            if not REPOSITORY_MARKS.isdisjoint(names):
                self.note_misnamed(where, names)
            pending += [(f"{place}/{each}", f"{where}/{each}") for each in names]

    def _add_entry(self, name: str, parent: int, path: str) -> bool:
        """Count one entry; return whether it is a directory to look into."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            self._note(error, path)
            return False
        if stat.S_ISLNK(status.st_mode):
            self._issues.add(IssueCause.SYMLINK, path, "a symbolic link; not followed")
        elif not stat.S_ISDIR(status.st_mode):
            self._files += 1
            if status.st_nlink > 1:
                identity = status.st_dev, status.st_ino
                self._add_links(identity, status.st_size, status.st_nlink, 1)
            else:
                self._sizes += status.st_size
            if path.startswith(f"{BLOBS}/") and path.endswith(f"/{DATA}"):
                # the registry's collector regards every such file as a blob
                self.misplaced.append(Misplaced(printable(path)))
        return stat.S_ISDIR(status.st_mode)

    def note_misnamed(self, path: str, names: Iterable[str]) -> None:
        """Record a directory that looks like a repository; ``names`` are its entries.

        If the registry's collector would regard it as a repository, it refuses to run.
        """
        start, *components = path.split("/")
        is_below = start == REPOSITORIES
        detail = "not the name of a repository" if is_below else _BESIDE
        self._issues.add(IssueCause.BAD_NAME, path, detail)
        if is_below and not any(each.startswith("_") for each in components):
            directories = frozenset({LAYERS, MANIFESTS}.intersection(names))
            if directories:
                self.misplaced.append(Misplaced(printable(path), directories))

    def _note(self, error: OSError, path: str) -> None:
        if not isinstance(error, GONE):
            self._issues.add_error(error, path)
