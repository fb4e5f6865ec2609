"""Write many files so that each appears whole or not at all, whatever happens meanwhile.

A file is written under a temporary name, brought to the disk, and then renamed. Bringing a file to
the disk takes milliseconds, however small it is; for many files at a time it takes hardly longer.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Self

from exporter.backup.directory import TEMPORARY
from exporter.backup.safe_files import is_directory, open_directory, read_regular
from exporter.domain.errors import BackupUnusableError, OutputError, remedy_for
from exporter.domain.text import printable
from exporter.support.output_files import sync_directory

_MOST_FILES = 128
_MOST_BYTES = 64 * 1024 * 1024
_THREADS = 16
_REFUSALS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PRIVATE = 0o600
_PRIVATE_DIRECTORY = 0o700
_OPEN_DIRECTORY = 0o777
_SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Pending:
    """A file that is written and has its temporary name still."""

    file: BufferedWriter
    temporary: Path
    path: Path


class DurableFiles:
    """Writes files below one directory; for one thread and, by its lock, one process."""

    def __init__(self, directory: Path) -> None:
        """Remove the temporary files of runs that were killed.

        Raises OutputError, BackupUnusableError if something else is in their place.
        """
        self._directory = directory
        self._temporary = directory / TEMPORARY
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._unsynced: set[Path] = set()
        self._made: set[Path] = set()
        self._pool = ThreadPoolExecutor(_THREADS, "fsync")
        with _reporting(self._temporary):
            if not is_directory(self._temporary):
                self._temporary.mkdir(mode=_PRIVATE_DIRECTORY)
            descriptor = open_directory(self._temporary)
            try:
                for each in os.listdir(descriptor):  # noqa: PTH208 - no path
                    os.unlink(each, dir_fd=descriptor)
            finally:
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files that were not finished."""
        for each in self._pending:
            _discard(each.file, each.temporary)
        self._pending.clear()
        self._pool.shutdown()
        with suppress(OSError):
            self._temporary.rmdir()

    @contextmanager
    def writing(self, path: Path, mode: int = _PRIVATE) -> Iterator[Callable[[memoryview], None]]:
        """Yield a function that appends to a new file at ``path``.

        The file is there after :meth:`finish`, at the latest, unless the block has raised.
        Raises OutputError if it cannot be written.
        """
        temporary = self._temporary / secrets.token_hex(8)
        with _reporting(path):
            file = temporary.open("xb")
        written = 0

        def write(content: memoryview) -> None:
            nonlocal written
            with _reporting(path):
                file.write(content)
            written += len(content)

        with ExitStack() as undo:
            undo.callback(_discard, file, temporary)
            yield write
            with _reporting(path):
                file.flush()
                os.fchmod(file.fileno(), mode)
            undo.pop_all()
        self._pending.append(_Pending(file, temporary, path))
        self._pending_bytes += written
        if len(self._pending) >= _MOST_FILES or self._pending_bytes >= _MOST_BYTES:
            self.finish()

    def write(self, path: Path, content: bytes, mode: int = _PRIVATE) -> None:
        """Write a small file."""
        with self.writing(path, mode) as append:
            append(memoryview(content))

    def keep(self, path: Path, content: bytes, mode: int = _PRIVATE) -> None:
        """Write a small file, unless it is there. Raises as :meth:`writing` does.

        BackupUnusableError if something else is in its place.
        """
        with _reporting(path):
            try:
                is_there = read_regular(path, _SMALL_BYTES) == content
            except FileNotFoundError:
                is_there = False
        if not is_there:
            self.write(path, content, mode)

    def link(self, path: Path, target: str) -> None:
        """Make a symbolic link, unless it is there.

        Raises OutputError, BackupUnusableError if something else is in its place.
        """
        if path.is_symlink() and str(path.readlink()) == target:
            return
        if os.path.lexists(path) and not path.is_symlink():
            raise BackupUnusableError(
                f"{printable(str(path))} is no symbolic link to {target}, as after a copy that "
                "follows links (`rsync -L`, `cp -L`): make sure that nothing else is in it, remove "
                "it, and make the backup again"
            )
        temporary = self._temporary / secrets.token_hex(8)
        with _reporting(path):
            temporary.symlink_to(target)
            temporary.replace(path)
        self._unsynced.add(path.parent)

    def make_directory(self, path: Path, *, private: bool = False) -> None:
        """Make a directory, and those above it, unless they are there.

        Raises OutputError, BackupUnusableError if something else is in the place of one.
        """
        if path in self._made:
            return
        if path != self._directory:
            self.make_directory(path.parent, private=private)
            with _reporting(path):
                if not is_directory(path):
                    path.mkdir(_PRIVATE_DIRECTORY if private else _OPEN_DIRECTORY)
                    self._unsynced.add(path.parent)
        self._made.add(path)

    def finish(self) -> None:
        """Bring to the disk what was written so far. Raises OutputError."""
        for each, _ in zip(
            self._pending, self._pool.map(_bring_to_disk, self._pending), strict=True
        ):
            with _reporting(each.path):
                each.temporary.replace(each.path)
            self._unsynced.add(each.path.parent)
        self._pending.clear()
        self._pending_bytes = 0
        for path in self._unsynced:
            with _reporting(path):
                sync_directory(path)
        self._unsynced.clear()


def _discard(file: BufferedWriter, temporary: Path) -> None:
    """Close a file and remove it, unless it was renamed."""
    with suppress(OSError):
        file.close()  # may try to write once more
    with suppress(OSError):
        temporary.unlink()


def _bring_to_disk(pending: _Pending) -> None:
    descriptor = pending.file.fileno()
    with _reporting(pending.path):
        os.fsync(descriptor)
        # a backup is read once in a long time: leave the memory to others
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        pending.file.close()


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError about ``path``."""
    try:
        yield
    except OSError as error:
        otherwise = "does that filesystem work? `dmesg` may say more"
        if error.errno in _REFUSALS:
            otherwise = f"give a directory that uid {os.geteuid()} may write to"
        raise OutputError(
            f"cannot write {printable(str(path))}: {error.strerror}; "
            f"{remedy_for(error, otherwise)}; what is saved so far can be used, and the same "
            "command continues"
        ) from error
