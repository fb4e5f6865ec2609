"""Count stray files: files that are not part of the layout, and name foreign directories."""

import os
import stat
from collections.abc import Iterable

from exporter.domain.model import LAYERS, MANIFESTS, IssueCause, Misplaced, Strays
from exporter.domain.text import printable
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    IssueLog,
    is_directory,
    open_directory,
    read_file,
)
from exporter.store.format.foreign_directories import advice_on, is_foreign
from exporter.store.format.layout import (
    BLOBS,
    DATA,
    LINK,
    MAX_LINK_BYTES,
    REPOSITORIES,
    REPOSITORY_MARKS,
    REVISIONS,
    digest_of_data,
    is_storage_name,
    parse_link,
)

_AMONG_REVISIONS = f"/{MANIFESTS}/{REVISIONS}/"
_NO_NAME = "not a name that can stand here"

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
        self.links: list[str] = []
        """Files that the registry's collector takes for the link of a manifest, in vain."""

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

    def add(self, name: str, parent: int, path: str) -> bool:
        """Count ``name``, an entry of the directory ``parent``, and everything below it.

        Return whether there are links in it. A directory that looks like a repository may
        reference blobs, although the registry cannot serve its name. That is recorded, so that
        nothing is called garbage meanwhile.
        """
        matters, has_links = not is_foreign(name), False
        pending = [(name, path)]
        while pending:
            place, where = pending.pop()
            if not self._add_entry(place, parent, where, matters=matters):
                has_links |= where.endswith(f"/{LINK}")
                continue
            try:
                with open_directory(place, parent) as directory:
                    names = os.listdir(directory)
            except OSError as error:
                self._note(error, where, matters=matters)
                continue
            if not REPOSITORY_MARKS.isdisjoint(names):
                self.note_misnamed(where, names)
            pending += [(f"{place}/{each}", f"{where}/{each}") for each in names]
        return has_links

    def add_misplaced(self, entry: "os.DirEntry[str]", parent: int, path: str) -> None:
        """Count an entry at ``path`` among tags or manifests whose name nothing there can have.

        A directory is recorded too. What holds links may be a tag or a manifest under another
        name, so nothing is called garbage meanwhile.
        """
        has_links = self.add(entry.name, parent, path)
        if is_directory(entry):
            advice = advice_on(entry.name)
            hides = advice is None and has_links
            self._issues.add(IssueCause.BAD_NAME, path, advice or _NO_NAME, hides=hides)

    def add_foreign(self, entry: "os.DirEntry[str]", parent: int, path: str) -> None:
        """Count an entry at ``path`` that references nothing, and name a foreign directory."""
        self.add(entry.name, parent, path)
        advice = advice_on(entry.name)
        if advice is not None:
            self._issues.add(IssueCause.BAD_NAME, path, advice, hides=False)

    def add_beside(self, file: str, name: str, parent: int, path: str) -> None:
        """Count what is in the directory ``name`` beside the ``file`` that belongs there."""
        try:
            with open_directory(name, parent) as directory, os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name != file:
                        self.add_foreign(entry, directory, f"{path}/{entry.name}")
        except GONE:
            return
        except OSError as error:
            self._issues.add_error(error, path, hides=False)

    def _add_entry(self, name: str, parent: int, path: str, *, matters: bool) -> bool:
        """Count one entry; return whether it is a directory to look into."""
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            self._note(error, path, matters=matters)
            return False
        if stat.S_ISLNK(status.st_mode):
            if matters:
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
                digest = digest_of_data(path)
                self.misplaced.append(Misplaced(printable(path), copy_of=digest))
            elif path.endswith(f"/{LINK}") and _AMONG_REVISIONS in path:
                self._check_link(name, parent, path)
        return stat.S_ISDIR(status.st_mode)

    def _check_link(self, name: str, parent: int, path: str) -> None:
        """Record a link in the wrong place if the registry's collector aborts on it."""
        is_read = all(map(is_storage_name, path.split("/")))
        try:
            if is_read and parse_link(read_file(name, parent, MAX_LINK_BYTES)[0]) is not None:
                return
        except OSError as error:
            if error.errno not in WRONG_KIND:
                self._note(error, path, matters=True)
                return
        self.links.append(printable(path))

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

    def _note(self, error: OSError, path: str, *, matters: bool) -> None:
        """Record what could not be read; ``matters``: it may hold a part of the store."""
        if isinstance(error, GONE):
            return
        if matters:
            self._issues.add_error(error, path)
        else:
            advice = advice_on(path.rpartition("/")[2]) or "below another program's directory"
            detail = f"{advice}; not counted: {error.strerror}"
            self._issues.add(IssueCause.BAD_NAME, path, detail, hides=False)
