"""Write output files: completely or not at all."""

import errno
import glob
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from exporter.domain.errors import OutputError, remedy_for

_READABLE_BY_ALL = 0o644
_SUFFIX = ".tmp"
_RANDOM = "[a-z0-9_]" * 8
"""What :mod:`tempfile` puts into a name."""
_LEFT_SECONDS = 60.0
"""No write takes this long: an older temporary file was left by a killed process."""


def replace_file(path: Path, content: bytes, mode: int = _READABLE_BY_ALL) -> None:
    """Write a file by atomic rename: a reader sees the old content or the new, never a part.

    Unless another ``mode`` is given, all may read the file, as node_exporter's textfile collector
    needs it. Temporary files that a killed process left are removed.

    Raises OutputError if it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise OutputError(
            f"cannot write {path}: not a regular file; without --output it goes to standard output"
        )
    try:
        _remove_left(path)
        descriptor, temporary = tempfile.mkstemp(_SUFFIX, f".{path.name}.", path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.chmod(temporary, mode)  # noqa: PTH101 - beside the other calls of os
            os.replace(temporary, path)  # noqa: PTH105 - the same
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        place = f"give a file in a directory that uid {os.geteuid()} may write to"
        remedy = remedy_for(error, place)
        raise OutputError(f"cannot write {path}: {error.strerror}; {remedy}") from error


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk, where its filesystem can. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network filesystems cannot
            raise
    finally:
        os.close(descriptor)


def _remove_left(path: Path) -> None:
    """Remove old temporary files for ``path``; recent ones may be in use."""
    now = time.time()
    for each in path.parent.glob(f".{glob.escape(path.name)}.{_RANDOM}{_SUFFIX}"):
        with suppress(OSError):
            status = each.lstat()
            if stat.S_ISREG(status.st_mode) and abs(now - status.st_mtime) > _LEFT_SECONDS:
                each.unlink()
