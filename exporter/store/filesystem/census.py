"""Take a census: count every file and directory of a store, with the blocks it takes on disk.

Only what is on the store's own filesystem is counted, as ``du -x`` does. Symbolic links are
counted, and not followed.
"""

import os
import stat
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exporter.domain.census import Census, DiskKind, DiskUse, LeftoverKind, Leftovers
from exporter.domain.digests import format_digest
from exporter.domain.errors import ScanCancelledError
from exporter.store.filesystem.linked_copies import LinkedCopies, StrayTree
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    open_directory,
    read_file,
)
from exporter.store.filesystem.root import MainDirectory, main_directories
from exporter.store.format.disk_places import (
    Place,
    kind_of_directory,
    kind_of_file,
    place_below,
)
from exporter.store.format.layout import DATA, MAX_LINK_BYTES, blob_directory, parse_link
from exporter.store.port import CensusControl
from exporter.support.rate_limit import RateLimit

_BLOCK = 512
"""The unit of ``st_blocks``, whatever the filesystem's own is."""
_BATCH = 32
"""Operations between two looks at the clock."""
_MAX_OPEN_LEVELS = 24
"""Levels of directories that are open at the same time; a registry's own are rarely deeper."""


def take_census(root: Path, control: CensusControl) -> Census:
    """Count everything below ``root``, the registry's root directory.

    What cannot be read is counted as such, and what vanishes meanwhile is not counted. Each stat
    and each listing is one operation of ``control``'s limit.

    Raises StoreUnreadableError if the store as a whole cannot be read, ScanCancelledError soon
    after ``control`` says to stop.
    """
    started = time.monotonic()
    with main_directories(root) as found:
        walk = _Walk(root, found, _Pace(control))
        walk.run()
        return Census(
            kinds={kind: walk.tally.use_of(kind) for kind in DiskKind},
            leftovers={kind: walk.tally.leftovers_of(kind) for kind in LeftoverKind},
            unread=walk.unread,
            other_filesystems=walk.other_filesystems,
            taken_at=time.time(),
            duration_seconds=time.monotonic() - started,
            copies=walk.copies.found(),
        )


class _Pace:
    """Counts operations: bounds them, reports progress, and ends the census if it is to stop."""

    def __init__(self, control: CensusControl) -> None:
        self._control = control
        self._limit = RateLimit(control.max_ops_per_second, time.monotonic, time.sleep)
        self._operations = 0

    def spend(self, counted: int) -> None:
        """Record one operation; ``counted`` files and directories are counted so far."""
        self._operations += 1
        if self._operations % _BATCH == 0:
            self._limit.spend(_BATCH, self._control.should_stop)
            self._control.on_progress(counted)
            if self._control.should_stop():
                raise ScanCancelledError("the census was stopped")


class _Tally:
    """The sums of a census so far."""

    def __init__(self) -> None:
        self.counted = 0
        self._inodes: Counter[DiskKind] = Counter()
        self._allocated: Counter[DiskKind] = Counter()
        self._apparent: Counter[DiskKind] = Counter()
        self._entries: Counter[LeftoverKind] = Counter()
        self._left_inodes: Counter[LeftoverKind] = Counter()
        self._left_allocated: Counter[LeftoverKind] = Counter()

    def add(self, kind: DiskKind, status: os.stat_result) -> None:
        self.counted += 1
        self._inodes[kind] += 1
        self._allocated[kind] += status.st_blocks * _BLOCK
        if not stat.S_ISDIR(status.st_mode):
            self._apparent[kind] += status.st_size

    def add_leftover(self, kind: LeftoverKind, entry: "_Entry") -> None:
        self._entries[kind] += 1
        self._left_inodes[kind] += entry.inodes
        self._left_allocated[kind] += entry.allocated

    def use_of(self, kind: DiskKind) -> DiskUse:
        return DiskUse(self._inodes[kind], self._allocated[kind], self._apparent[kind])

    def leftovers_of(self, kind: LeftoverKind) -> Leftovers:
        entries, inodes = self._entries[kind], self._left_inodes[kind]
        return Leftovers(entries, inodes, self._left_allocated[kind])


@dataclass(slots=True)
class _Entry:
    """The directory of one link, which may turn out to be left over.

    Attributes:
        inodes: of the directory, and of the files in it.
        allocated: bytes, likewise.
        holds_anything: whether it is not empty.

    """

    inodes: int = 0
    allocated: int = 0
    holds_anything: bool = False

    def add(self, status: os.stat_result) -> None:
        self.inodes += 1
        self.allocated += status.st_blocks * _BLOCK


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory to be counted.

    Attributes:
        name: below the directory that is open when it is entered.
        where: its path below the main directory.
        place: what it is for.
        status: as it was listed.
        tag_target: within a tag, the digest that the tag points to; None if that is unknown.
        tree: the topmost stray directory that it is in, or is; None in the layout.

    """

    name: str
    where: str
    place: Place
    status: os.stat_result
    tag_target: str | None = None
    tree: StrayTree | None = None


_LEFTOVER_KINDS = {
    Place.LAYER: LeftoverKind.STALE_LAYER_LINKS,
    Place.HISTORY_ENTRY: LeftoverKind.OLD_TAG_HISTORY,
    Place.REVISION: LeftoverKind.DELETED_MANIFESTS,
}


class _Walk:
    """One census."""

    def __init__(self, root: Path, found: Sequence[MainDirectory], pace: _Pace) -> None:
        self._root = root
        self._found = found
        self._main = found[-1].path
        self._pace = pace
        self._store = found[-1].descriptor
        self._device = os.fstat(self._store).st_dev
        self._linked: set[tuple[int, int]] = set()
        self._deep: list[_Directory] = []
        self.tally = _Tally()
        self.copies = LinkedCopies()
        self.unread = 0
        self.other_filesystems = 0

    def run(self) -> None:
        """Count it all: the store first, so that a linked copy of a blob counts as a blob."""
        for main in reversed(self._found):
            status = os.fstat(main.descriptor)
            if status.st_dev != self._device:
                continue  # the store was moved to another disk, and this is about that disk
            self.tally.add(DiskKind.DIRECTORIES, status)
            self._main = main.path
            is_store = main.following is None
            place = Place.VERSION if is_store else Place.STRAY
            names = main.names if is_store else main.beside
            if main.following is not None:
                self._count_link(main.following, main.descriptor)
            parent = _Directory("", "", place, status)
            for name in sorted(names, key=lambda name: (_is_stray(place, name), name)):
                self._count(name, main.descriptor, parent, None, 0)
                while self._deep:
                    self._enter(self._deep.pop(), main.descriptor, 0)

    def _count_link(self, name: str, parent: int) -> None:
        """Count a directory on the way to the store if it is a symbolic link."""
        status = self._look_at(name, parent)
        if status is not None and stat.S_ISLNK(status.st_mode):
            self.tally.add(DiskKind.DIRECTORIES, status)

    def _count(
        self, name: str, parent: int, above: _Directory, entry: _Entry | None, depth: int
    ) -> None:
        """Count ``name``, which the directory ``parent`` holds, and everything below it."""
        if entry is not None:
            entry.holds_anything = True
        status = self._look_at(name, parent)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            self.copies.add_file(above.tree, status, status.st_blocks * _BLOCK)
            self._count_file(name, above.place, status, entry)
            return
        if status.st_dev != self._device:
            self.other_filesystems += 1
            return
        place = place_below(above.place, name)
        self.tally.add(kind_of_directory(place), status)
        where = f"{above.where}/{name}" if above.where else name
        tree = above.tree
        if place is Place.STRAY:
            tree = tree or StrayTree(str((self._main / where).relative_to(self._root)))
            tree.add(status.st_blocks * _BLOCK)
        directory = _Directory(name, where, place, status, above.tag_target, tree)
        if depth < _MAX_OPEN_LEVELS:
            self._enter(directory, parent, depth)
        else:
            self._deep.append(replace(directory, name=where))

    def _count_file(
        self, name: str, place: Place, status: os.stat_result, entry: _Entry | None
    ) -> None:
        if status.st_nlink > 1:
            identity = status.st_dev, status.st_ino
            if identity in self._linked:
                return
            self._linked.add(identity)
        is_regular = stat.S_ISREG(status.st_mode)
        self.tally.add(kind_of_file(place, name) if is_regular else DiskKind.STRAY, status)
        if entry is not None:
            entry.add(status)

    def _enter(self, directory: _Directory, parent: int, depth: int) -> None:
        """Count what a directory holds."""
        self._pace.spend(self.tally.counted)
        entry = None
        if directory.place in _LEFTOVER_KINDS:
            entry = _Entry()
            entry.add(directory.status)
        try:
            with open_directory(directory.name, parent) as descriptor:
                now = os.fstat(descriptor)
                if not os.path.samestat(now, directory.status):
                    return  # replaced since it was listed
                if directory.place is Place.TAG:
                    target = self._target_of_tag(descriptor)
                    directory = replace(directory, tag_target=target)
                with os.scandir(descriptor) as entries:
                    for each in entries:
                        self._count(each.name, descriptor, directory, entry, depth + 1)
        except GONE:
            return
        except OSError:
            self.unread += 1
            return
        if entry is not None and self._is_left_over(directory, entry):
            self.tally.add_leftover(_LEFTOVER_KINDS[directory.place], entry)

    def _target_of_tag(self, tag: int) -> str | None:
        """Return the digest that a tag points to; None if its link cannot be read."""
        self._pace.spend(self.tally.counted)
        try:
            content, _ = read_file("current/link", tag, MAX_LINK_BYTES)
        except OSError:
            return None  # counted where the link itself is looked at
        digest = parse_link(content)
        return None if digest is None else format_digest(digest)

    def _is_left_over(self, directory: _Directory, entry: _Entry) -> bool:
        """Return whether nothing needs the directory of a link any more."""
        if directory.place is Place.REVISION:
            return not entry.holds_anything
        digest = ":".join(directory.where.rsplit("/", 2)[1:])
        if directory.place is Place.HISTORY_ENTRY:
            return directory.tag_target not in {None, digest}
        self._pace.spend(self.tally.counted)
        try:
            os.stat(f"{blob_directory(digest)}/{DATA}", dir_fd=self._store, follow_symlinks=False)
        except GONE:
            return True
        except OSError:
            return False
        return False

    def _look_at(self, name: str, parent: int) -> os.stat_result | None:
        """Stat a path; None if it is gone, or unreadable, which is counted."""
        self._pace.spend(self.tally.counted)
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except GONE:
            return None
        except OSError:
            self.unread += 1
            return None


def _is_stray(place: Place, name: str) -> bool:
    return place_below(place, name) is Place.STRAY
