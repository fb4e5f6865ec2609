"""Watch a store for changes: hints where to look, never data.

Watched are the 256 directories in which blobs are added and removed, a few directories of each
repository, and the directory of each tag's link, which the registry rewrites in place. Directories
of single blobs and manifests would take a watch each, and are not watched: the next sweep, a scan
that looks everywhere, finds changes there.
"""

import errno
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from exporter.domain.model import MANIFESTS, TAGS_DIRECTORY, Inventory, Repository
from exporter.store.filesystem.disk_space import mount_of
from exporter.store.filesystem.follow_options import WatchListener
from exporter.store.filesystem.readers.safe_files import identity_of
from exporter.store.filesystem.rescan.change_queue import Changes
from exporter.store.filesystem.rescan.scan_memory import EVERYWHERE, Places
from exporter.store.format.layout import BLOBS, REPOSITORIES, REVISIONS, UPLOADS, VERSION_PATH

if TYPE_CHECKING:
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchDescriptor,
    )

_log = logging.getLogger(__name__)

MAX_WATCHES = 50_000
"""Each takes about 1 KiB of the kernel's memory, which is never swapped out."""

_REMOTE = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "virtiofs"}
)
"""Filesystems that other hosts change without an event here."""

_BY_SWEEP = "other changes show at the next sweep, every scan.interval"
_REPOSITORY_DIRECTORIES = (
    MANIFESTS,
    TAGS_DIRECTORY,
    f"{MANIFESTS}/{REVISIONS}",
    f"{MANIFESTS}/{REVISIONS}/sha256",
    UPLOADS,
)
_VERSION = f"/{'/'.join(VERSION_PATH)}"
_Owner = str
"""Owner of a watch: a path below the root that begins with a slash, or a repository's name."""


class Watcher:
    """Watches one store, and records changed places in ``changes``."""

    def __init__(
        self,
        root: Path,
        changes: Changes,
        listener: WatchListener,
        max_watches: int = MAX_WATCHES,
    ) -> None:
        self._root = str(root)
        self._store = os.path.join(root, *VERSION_PATH)
        self._changes = changes
        self._listener = listener
        self._max_watches = max_watches
        self._notify: InotifyFD | None = None
        self._is_off = False
        self._is_whole = True
        self._said: set[str] = set()
        self._lock = Lock()
        self._added = 0
        self._owners: dict[int, _Owner] = {}
        self._paths: dict[_Owner, int] = {}
        self._repositories: dict[str, dict[str, int]] = {}
        self._followed: dict[str, Repository] = {}
        self._main: tuple[tuple[int, int] | None, ...] = ()

    def follow(self, inventory: Inventory) -> Places:
        """Watch what a scan has found; return the places that were not watched before.

        They may have changed between the scan and now.
        """
        if not self._is_off:
            self._leave_replaced()
        if self._is_off or not self._begin():
            self._listener.record_watches(0, is_whole=False)
            return Places()
        new = Places()
        with self._lock:
            self._is_whole = True
            names = {each.name for each in inventory.repositories}
            for path in self._wanted_paths(names):
                if path not in self._paths and self._watch(
                    f"{self._root}{path}", path, self._paths
                ):
                    new |= _places_of(path)
            for name in self._followed.keys() - names:
                del self._followed[name]
            changed = [
                each for each in inventory.repositories if self._followed.get(each.name) is not each
            ]
            # if not all can be watched: first what every push changes, then what a retag changes
            for repository in changed:
                places = {part: part for part in _REPOSITORY_DIRECTORIES}
                new |= self._follow(repository, places)
            for repository in changed:
                tags = (tag.name for tag in repository.tags)
                places = {tag: f"{TAGS_DIRECTORY}/{tag}/current" for tag in tags}
                new |= self._follow(repository, places)
                self._followed[repository.name] = repository
        self._listener.record_watches(len(self._owners), is_whole=self._is_whole)
        return new

    def stop(self) -> None:
        """Stop watching."""
        self._is_off = True
        if self._notify is not None:
            self._notify.stop()

    def _leave_replaced(self) -> None:
        """Start again if another store has replaced the one that is watched.

        Watches stay with directories: none reports a mount over them, or a changed symbolic link
        on the way to them.
        """
        main = tuple(identity_of(f"{self._root}{path}") for path in _main_paths())
        if main == self._main:
            return
        self._main = main
        old, self._notify = self._notify, None
        with self._lock:
            self._owners.clear()
            self._paths.clear()
            self._repositories.clear()
            self._followed.clear()
        if old is not None:
            old.stop()
            old.join()  # its remaining events have the numbers of watches that are gone

    # called by watchdog, in its own thread

    def on_event(self, event: "InotifyEvent") -> None:
        """Record where something happened."""
        with self._lock:
            owner = self._owners.get(event.wd)
        if owner is not None:
            self._changes.note(_places_of(owner))

    def on_watch_deleted(self, wd: "WatchDescriptor") -> None:
        """Forget a directory that is gone; its successor will be watched."""
        with self._lock:
            owner = self._owners.pop(wd, None)
            if owner is None or self._is_off:
                return
            self._paths.pop(owner, None)
            self._followed.pop(owner, None)
            watches = self._repositories.get(owner, {})
            for key in [key for key, other in watches.items() if other == wd]:
                del watches[key]
        self._changes.note(_places_of(owner))

    def on_queue_overflow(self) -> None:
        """Look everywhere: it is unknown which changes were lost."""
        self._listener.record_overflow()
        self._say_once("more changes came than fs.inotify.max_queued_events; the store is swept")
        self._changes.note(EVERYWHERE)

    # the watches; the lock is held

    def _follow(self, repository: Repository, places: Mapping[str, str]) -> Places:
        """Watch places of one repository; return it if a watch was added."""
        name = repository.name
        watches = self._repositories.setdefault(name, {})
        before = len(watches)
        for key, place in places.items():
            if key not in watches:
                self._watch(f"{self._store}/{REPOSITORIES}/{name}/{place}", name, watches, key)
        return _places_of(name) if len(watches) > before else Places()

    def _watch(
        self, path: str, owner: _Owner, watches: dict[str, int], key: str | None = None
    ) -> bool:
        """Add one watch, recorded in ``watches``; return whether it was added."""
        if self._notify is None or not self._is_whole:
            return False
        if len(self._owners) >= self._max_watches:
            self._is_whole = False
            self._say_once(f"only {self._max_watches} directories are watched; {_BY_SWEEP}")
            return False
        self._added += 1  # a number for each, because a directory that was moved is met twice
        try:
            wd = self._notify.add_callback(
                os.fsencode(path), _mask(), self, cast("CallbackId", self._added)
            )
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._is_whole = False
                remedy = f"raise fs.inotify.max_user_watches; {_BY_SWEEP}"
                self._say_once(f"too few watches allowed, {len(self._owners)} in use: {remedy}")
            return False
        if wd < 0:  # not permitted
            return False
        self._owners[wd] = owner
        watches[owner if key is None else key] = wd
        return True

    def _wanted_paths(self, names: set[str]) -> Iterator[_Owner]:
        """Yield the watched paths outside repositories."""
        yield from _main_paths()
        path = _VERSION
        for algorithm in _directories(f"{self._store}/{BLOBS}"):
            yield f"{path}/{BLOBS}/{algorithm}"
            for prefix in _directories(f"{self._store}/{BLOBS}/{algorithm}"):
                yield f"{path}/{BLOBS}/{algorithm}/{prefix}"
        above = {
            "/".join(name.split("/")[:depth])
            for name in names
            for depth in range(1, name.count("/") + 2)
        }
        for name in sorted(above):
            yield f"{path}/{REPOSITORIES}/{name}"

    # beginning

    def _begin(self) -> bool:
        if self._notify is not None:
            return True
        mount = mount_of(os.path.realpath(self._root))
        if mount is not None and (mount.kind in _REMOTE or mount.kind.startswith("fuse")):
            self._give_up(f"it is on {mount.kind}, which does not report changes by other hosts")
            return False
        try:
            from watchdog.observers.inotify_c import InotifyFD  # noqa: PLC0415 - only Linux has it

            self._notify = InotifyFD()
        except (ImportError, AttributeError, OSError) as error:
            self._give_up(str(error))
            return False
        self._notify.start()
        return True

    def _give_up(self, reason: str) -> None:
        self._is_off = True
        self._say_once(f"the store is not watched: {reason}; changes show at the next sweep")

    def _say_once(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            _log.warning("%s", message)


def _main_paths() -> Iterator[_Owner]:
    """Yield the paths down to the store, and its two halves."""
    yield "/"
    for depth in range(len(VERSION_PATH)):
        yield f"/{'/'.join(VERSION_PATH[: depth + 1])}"
    yield f"{_VERSION}/{BLOBS}"
    yield f"{_VERSION}/{REPOSITORIES}"


def _places_of(owner: _Owner) -> Places:
    """Return the places to look at after an event in a directory of ``owner``."""
    if not owner.startswith("/"):
        return Places(repositories=frozenset({owner}))
    parts = tuple(owner.split("/")[1:])
    inside = parts[len(VERSION_PATH) :] if parts[: len(VERSION_PATH)] == VERSION_PATH else ()
    match inside:
        case ("blobs", algorithm, prefix):
            return Places(prefixes=frozenset({(algorithm, prefix)}))
        case ("blobs", *_):
            return Places(names=True)
        case ("repositories", *name):
            return Places(repositories=frozenset({"/".join(name)}), names=True)
    return EVERYWHERE


def _directories(path: str) -> list[str]:
    """List the directories in a directory; none if that cannot be listed."""
    with suppress(OSError), os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _mask() -> "Mask":
    from watchdog.observers.inotify_c import InotifyConstants, Mask  # noqa: PLC0415 - Linux

    return Mask(
        InotifyConstants.IN_CREATE
        | InotifyConstants.IN_DELETE
        | InotifyConstants.IN_MOVED_FROM
        | InotifyConstants.IN_MOVED_TO
        | InotifyConstants.IN_CLOSE_WRITE
        | InotifyConstants.IN_ONLYDIR
        | InotifyConstants.IN_DONT_FOLLOW
    )
