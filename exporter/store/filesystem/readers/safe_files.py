"""Open directories and small files safely in a store that may be damaged, hostile or changing.

Symbolic links are never followed, FIFOs never block, and nothing is read without a limit.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from exporter.domain.errors import remedy_for
from exporter.domain.model import NOT_READ, IssueCause, ScanIssue
from exporter.domain.text import printable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

GONE = (FileNotFoundError, NotADirectoryError)
"""Raised by a path that vanished, or became something else, since it was listed."""

WRONG_KIND = frozenset({errno.EFBIG, errno.EINVAL})
"""Error numbers of :func:`read_file` for a file that is too large, or not a file."""

_SMALL = 4096
"""Smallest read: a file may grow between being measured and being read."""

_FAILED = frozenset(
    {errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ENOTCONN, errno.ENXIO, errno.ESTALE}
)
_CAUSES = {
    errno.EACCES: IssueCause.PERMISSION,
    errno.EPERM: IssueCause.PERMISSION,
    errno.ELOOP: IssueCause.SYMLINK,
}


class IssueLog:
    """Collects what could not be read; may be used from several threads."""

    def __init__(self) -> None:
        self._issues: dict[str, ScanIssue] = {}
        self.hides_references = False
        """Whether something unread may reference blobs."""
        self.unread = False
        """Whether references or the size of a blob are unknown because something is unread."""

    @property
    def is_empty(self) -> bool:
        """Whether everything could be read so far."""
        return not self._issues

    def merge(self, other: "IssueLog") -> None:
        """Add what another log has collected."""
        for path, issue in other._issues.items():  # noqa: SLF001 - of this class
            self._issues.setdefault(path, issue)
        self.hides_references |= other.hides_references
        self.unread |= other.unread

    def add(self, cause: IssueCause, path: str, detail: str, *, hides: bool = True) -> None:
        """Record one issue of a path; ``hides``: it may hide references."""
        self._issues.setdefault(path, ScanIssue(cause, printable(path), printable(detail)))
        self.hides_references |= hides
        self.unread |= hides and cause in NOT_READ

    def add_error(self, error: OSError, path: str, *, hides: bool = True) -> None:
        """Record an error of the operating system for a path."""
        cause = _CAUSES.get(error.errno or 0, IssueCause.IO_ERROR)
        self.add(cause, path, error.strerror or str(error), hides=hides)

    def add_unmeasured(self, error: OSError, path: str) -> None:
        """Record that blobs could not be measured; manifests among them are read elsewhere."""
        self.add_error(error, path, hides=False)
        self.unread = True

    def sorted(self) -> tuple[ScanIssue, ...]:
        """Return the issues in a stable order."""
        return tuple(sorted(self._issues.values(), key=lambda issue: (issue.cause, issue.path)))


def directory_remedy(error: OSError) -> str:
    """Return what to do about a directory that cannot be read."""
    if error.errno in _FAILED:
        return "its disk or its mount has failed; repair it, unmount it and mount it again"
    return remedy_for(error, f"it must be a directory that uid {os.geteuid()} may read")


def identity_of(
    path: str, parent: int | None = None, *, follow_symlinks: bool = True
) -> tuple[int, int] | None:
    """Return the identity of the file or directory at a path; None if there is none."""
    try:
        status = os.stat(path, dir_fd=parent, follow_symlinks=follow_symlinks)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_directory(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a directory; False if that is unknown.

    On a filesystem that does not list types, this is a system call that can fail.
    """
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def look_at(name: str, parent: int, path: str, issues: IssueLog) -> os.stat_result | None:
    """Stat a path; None if it is gone, or unreadable, which is recorded in ``issues``."""
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except GONE:
        return None
    except OSError as error:
        issues.add_error(error, path, hides=False)
        return None


@contextmanager
def open_directory(path: str, parent: int | None = None) -> Iterator[int]:
    """Open a directory below ``parent`` and yield its descriptor.

    Raises OSError: ELOOP if it is a symbolic link.
    """
    try:
        descriptor = os.open(path, _DIRECTORY, dir_fd=parent)
    except NotADirectoryError:
        refuse_symlink(path, parent)
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def refuse_symlink(path: str, parent: int | None) -> None:
    """Raise OSError (ELOOP) if the last component of ``path`` is a symbolic link."""
    if stat.S_ISLNK(os.stat(path, dir_fd=parent, follow_symlinks=False).st_mode):
        raise OSError(errno.ELOOP, "a symbolic link; not followed")


@contextmanager
def open_file(path: str, parent: int) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file below ``parent``; yield its descriptor and status.

    Raises OSError: EINVAL if it is not a regular file, ELOOP if it is a symbolic link.
    """
    descriptor = os.open(path, _FILE, dir_fd=parent)
    try:
        yield descriptor, _status_of(descriptor)
    finally:
        os.close(descriptor)


def read_file(path: str, parent: int, limit: int) -> tuple[bytes, os.stat_result]:
    """Read a regular file of at most ``limit`` bytes.

    Raises OSError: EFBIG if it is larger, and what :func:`open_file` raises.
    """
    descriptor = os.open(path, _FILE, dir_fd=parent)
    try:
        status = _status_of(descriptor)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, at most {limit} make sense here")
        # not the limit: a buffer for all that is requested is allocated before reading
        wanted = max(status.st_size, _SMALL) + 1
        content = os.read(descriptor, wanted)
        while len(content) < status.st_size and (more := os.read(descriptor, wanted)):
            content += more
        return content, status
    finally:
        os.close(descriptor)


def _status_of(descriptor: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status
