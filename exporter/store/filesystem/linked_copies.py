"""Find directories inside the root that are hard-linked copies of the store, as ``cp -al`` makes.

Such a copy looks as large as the store and takes little: a file's bytes are freed only when the
last of its links is deleted. Files are only counted here; the census walks.
"""

import os
from collections.abc import Iterator

from exporter.domain.census import LinkedCopy
from exporter.domain.text import printable

_MAX_COPIES = 10
"""How many are named: a copy is made by hand, or by a backup that keeps a few."""

Identity = tuple[int, int]
"""Device and inode."""


class StrayTree:
    """A directory that is not part of the layout, with everything below it."""

    def __init__(self, path: str) -> None:
        """Begin with nothing; ``path`` is below the root directory."""
        self.path = path
        self.frees_bytes = 0
        """What deleting the directory frees on disk."""
        self.links: dict[Identity, int] = {}
        """By file that has links elsewhere too, as far as is known: how many it has here."""
        self.linked_bytes = 0
        """What these files take on disk."""

    def add(self, allocated: int) -> None:
        """Count a directory, or a file with one link, and the bytes allocated for it."""
        self.frees_bytes += allocated

    def add_link(self, identity: Identity, links: int, allocated: int) -> None:
        """Count one of the ``links`` of a file; it is freed once all of them are here."""
        here = self.links.pop(identity, 0) + 1
        if here == 1:
            self.linked_bytes += allocated
        if here < links:
            self.links[identity] = here
        else:
            self.linked_bytes -= allocated
            self.frees_bytes += allocated


class LinkedCopies:
    """The stray directories of a census, and the files of the layout that have several links."""

    def __init__(self) -> None:
        self._trees: dict[str, StrayTree] = {}
        """Only those with links: a Synology has a stray directory beside every file."""
        self._in_layout: set[Identity] = set()

    def add_file(self, tree: StrayTree | None, status: os.stat_result, allocated: int) -> None:
        """Count a file in a stray directory, or, without one, in the layout."""
        identity = status.st_dev, status.st_ino
        if tree is not None and status.st_nlink > 1:
            self._trees[tree.path] = tree
            tree.add_link(identity, status.st_nlink, allocated)
        elif tree is not None:
            tree.add(allocated)
        elif status.st_nlink > 1:
            self._in_layout.add(identity)

    def found(self) -> tuple[LinkedCopy, ...]:
        """Return the directories that share files with the layout, largest first."""
        copies = sorted(self._copies(), key=lambda each: (-each.files, each.path))
        return tuple(copies[:_MAX_COPIES])

    def _copies(self) -> Iterator[LinkedCopy]:
        for tree in self._trees.values():
            if not self._in_layout.isdisjoint(tree.links):
                path = printable(tree.path)
                yield LinkedCopy(path, len(tree.links), tree.linked_bytes, tree.frees_bytes)
