"""The filesystem that holds the store: space, inodes, read-only or not."""

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from exporter.domain.model import FilesystemUsage
from exporter.store.format.layout import VERSION_PATH
from exporter.support.logs import ProblemLog

_log = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def read_usage(root: Path) -> FilesystemUsage:
    """Read the usage of the filesystem that holds the store below ``root``. Raises OSError."""
    path = root.joinpath(*VERSION_PATH)
    path = (path if path.exists() else root).resolve(strict=True)
    space = psutil.disk_usage(str(path))
    status = os.statvfs(path)
    return FilesystemUsage(
        size_bytes=space.total,
        avail_bytes=space.free,
        free_bytes=status.f_bfree * status.f_frsize,
        files=status.f_files,
        files_free=status.f_ffree,
        readonly=_is_readonly(path, status),
    )


def _is_readonly(path: Path, status: os.statvfs_result) -> bool | None:
    """Return whether the filesystem as a whole is read-only; None if unknown.

    ``statvfs`` cannot distinguish that from a read-only mount of a writable filesystem, which is
    how the exporter should see the store and is no reason to page anybody. The mount table can.
    """
    if not status.f_flag & os.ST_RDONLY:
        return False
    try:
        mount = find_mount(str(path), _read_mounts())
    except FileNotFoundError:  # this system has no mount table
        return True
    except OSError:  # no more files can be opened
        return None
    return mount is None or mount.is_readonly


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted filesystem.

    Attributes:
        kind: its type, such as ``ext4``.
        is_readonly: whether the filesystem as a whole is, not only this mount of it.

    """

    kind: str
    is_readonly: bool


def mount_of(path: str) -> Mount | None:
    """Return the mount that holds ``path``; None if the mount table does not say."""
    try:
        return find_mount(path, _read_mounts())
    except OSError:
        return None


def _read_mounts() -> str:
    return os.fsdecode(_MOUNTS.read_bytes())


def find_mount(path: str, mountinfo: str) -> Mount | None:
    """Return the mount that holds ``path``, from a mount table.

    ``mountinfo`` has the format of ``/proc/self/mountinfo``, see proc(5). None if no mount point
    in it holds ``path``.
    """
    best, found = -1, None
    for line in mountinfo.split("\n"):  # a mount point may contain other line breaks
        mount, separator, filesystem = line.partition(" - ")
        fields, options = mount.split(" "), filesystem.split(" ")
        if not separator or len(fields) < 5 or len(options) < 3:  # noqa: PLR2004 - proc(5)
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]).rstrip("/")
        # of several mounts on one point the last one is visible
        if len(point) >= best and (path == point or path.startswith(f"{point}/")):
            best, found = len(point), Mount(options[0], "ro" in options[2].split(","))
    return found


class FilesystemProbe:
    """Reads the usage without hanging on a filesystem that hangs."""

    def __init__(
        self,
        root: Path,
        timeout: float = 5.0,
        read: Callable[[Path], FilesystemUsage] = read_usage,
    ) -> None:
        self._root = root
        self._timeout = timeout
        self._read = read
        self._thread: threading.Thread | None = None
        self._usage: FilesystemUsage | None = None
        self._error: OSError | None = None
        self._problem = ProblemLog(_log, f"the filesystem of {root} answers again")

    def read(self) -> FilesystemUsage | None:
        """Return the usage; None if it cannot be read, or not within ``timeout`` seconds.

        A read that hangs is left alone, and no other is started meanwhile.
        """
        if self._thread is None:
            self._usage = self._error = None
            self._thread = threading.Thread(target=self._fetch, daemon=True, name="statvfs")
            self._thread.start()
        self._thread.join(self._timeout)
        if self._thread.is_alive():
            problem = "does not answer; is its mount hanging?"
            self._problem.record(f"the filesystem of {self._root} {problem}")
            return None
        self._thread = None
        if self._error is None:
            self._problem.end()
        else:
            reason = self._error.strerror
            self._problem.record(f"cannot read the filesystem of {self._root}: {reason}")
        return self._usage

    def _fetch(self) -> None:
        try:
            self._usage = self._read(self._root)
        except OSError as error:
            self._error = error
