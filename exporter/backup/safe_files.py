"""Read a backup, and write to it, without being led elsewhere by what somebody has put there.

Below the directory of a backup no symbolic link is followed but ``blobs`` of a layout, by other
tools. FIFOs never block, and nothing is read without a limit.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from exporter.domain.errors import BackupRefusedError, BackupUnusableError
from exporter.domain.text import printable

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_SMALL = 4096

Kind = Callable[[int], bool]
"""Whether a mode is of one kind, such as ``stat.S_ISREG``."""


def open_regular(path: Path) -> int:
    """Open a regular file and return its descriptor.

    Raises BackupUnusableError if it is a symbolic link or no file, OSError if it cannot be opened.
    """
    refuse_odd(path, stat.S_ISREG)
    descriptor = os.open(path, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupUnusableError(_odd(path, 0))
    return descriptor


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises BackupUnusableError if it is larger, and what :func:`open_regular` raises.
    """
    descriptor = open_regular(path)
    try:
        # not the limit: a buffer for all that is requested is allocated before reading
        wanted = min(max(os.fstat(descriptor).st_size, _SMALL), limit) + 1
        parts, size = [], 0
        while size <= limit and (part := os.read(descriptor, wanted)):
            parts.append(part)
            size += len(part)
    finally:
        os.close(descriptor)
    if size > limit:
        raise BackupUnusableError(
            f"{printable(str(path))} is larger than {limit:,} bytes: it was not written by a backup"
        )
    return b"".join(parts)


def size_of_regular(path: Path) -> int:
    """Return the size of a regular file. Raises as :func:`open_regular` does."""
    return refuse_odd(path, stat.S_ISREG).st_size


def is_directory(path: Path) -> bool:
    """Return whether a directory is there; False if nothing is.

    Raises BackupUnusableError for anything else, OSError if that cannot be known.
    """
    try:
        refuse_odd(path, stat.S_ISDIR)
    except FileNotFoundError:
        return False
    return True


def refuse_links(directory: Path, path: Path) -> None:
    """Raise BackupUnusableError if a part of ``path`` below ``directory`` is no directory.

    Parts that are not there are no fault. Raises OSError if that cannot be known.
    """
    place = directory
    for part in path.relative_to(directory).parts:
        place /= part
        if not is_directory(place):
            return


def open_directory(path: Path) -> int:
    """Open a directory and return its descriptor. Raises as :func:`is_directory` does."""
    is_directory(path)
    return os.open(path, _DIRECTORY)


def open_lock(path: Path) -> int:
    """Open the file of a lock, and create it if it is not there.

    Raises BackupRefusedError if something else is there, OSError if it cannot be opened.
    """
    try:
        refuse_odd(path, stat.S_ISREG)
    except FileNotFoundError:
        pass
    except BackupUnusableError as error:
        raise BackupRefusedError(str(error)) from error
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def refuse_odd(path: Path, is_right: Kind) -> os.stat_result:
    """Return the status of a path. Raises BackupUnusableError if it is of another kind."""
    status = path.lstat()
    if not is_right(status.st_mode):
        raise BackupUnusableError(_odd(path, status.st_mode))
    return status


def _odd(path: Path, mode: int) -> str:
    what = "a symbolic link" if stat.S_ISLNK(mode) else "of another kind than a backup writes there"
    if stat.S_ISDIR(mode):
        what = "a directory, and should be a file"
    return (
        f"{printable(str(path))} is {what}; no backup has made it: look where it comes from, and "
        "remove it"
    )
