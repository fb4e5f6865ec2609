"""The journal's file: every line is on the disk before the next step."""

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from exporter.domain.errors import JournalUnusableError, OutputError, remedy_for
from exporter.domain.journal import (
    Journal,
    JournalHead,
    JournalLine,
    encode_journal,
    read_journal,
)
from exporter.domain.text import printable
from exporter.support.output_files import sync_directory

_PRIVATE = 0o600
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class JournalFile:
    """A journal that is open for one run."""

    def __init__(self, path: Path, descriptor: int, known: Journal) -> None:
        self.path = path
        self._descriptor = descriptor
        self._known = known

    @property
    def known(self) -> Mapping[tuple[str, str], JournalLine]:
        """What earlier runs did, by repository and digest."""
        return self._known.lines

    def write(self, line: JournalHead | JournalLine) -> None:
        """Append a line, and bring it to the disk. Raises OutputError."""
        content = encode_journal(line)
        with _reporting(self.path):
            if os.write(self._descriptor, content) != len(content):
                raise OSError(None, "only a part of a line was written; free some room")
            os.fsync(self._descriptor)


@contextmanager
def open_journal(path: Path, head: JournalHead) -> Iterator[JournalFile]:
    """Open a journal to continue or begin it; no other run may have it open.

    Raises JournalUnusableError if it is of another plan, store or backup, in use, or cannot be
    understood, OutputError if it cannot be written.
    """
    with _reporting(path):
        is_new = not path.exists()
        descriptor = os.open(path, _FLAGS, _PRIVATE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise JournalUnusableError(
                f"{printable(str(path))} is not a regular file; give another --journal"
            )
        _lock(path, descriptor)
        with _reporting(path):
            known = read_journal(_content(descriptor))
            os.ftruncate(descriptor, known.length)
            os.lseek(descriptor, known.length, os.SEEK_SET)
            if is_new:
                sync_directory(path.parent)
        file = JournalFile(path, descriptor, known)
        if known.head is None:
            file.write(head)
        else:
            _check(path, known.head, head)
        yield file
    finally:
        os.close(descriptor)


def read_known(path: Path, head: JournalHead) -> Mapping[tuple[str, str], JournalLine]:
    """Return what earlier runs did; nothing if there was none. Raises JournalUnusableError."""
    try:
        with _reporting(path):
            known = read_journal(path.read_bytes() if path.is_file() else b"")
    except OutputError as error:
        raise JournalUnusableError(str(error)) from error
    if known.head is not None and (known.head.plan, known.head.store) != (head.plan, head.store):
        raise _other(path, "plan")
    return known.lines


def _check(path: Path, known: JournalHead, head: JournalHead) -> None:
    if (known.plan, known.store) != (head.plan, head.store):
        raise _other(path, "plan")
    if known.backup != head.backup:
        before = "--no-backup" if known.backup is None else f"--backup {printable(known.backup)}"
        raise JournalUnusableError(
            f"{printable(str(path))} was begun with {before}; give the same, or another --journal"
        )


def _other(path: Path, what: str) -> JournalUnusableError:
    return JournalUnusableError(
        f"{printable(str(path))} is the journal of another {what}; give another --journal, or "
        "remove it if nothing of it is to be restored"
    )


def _lock(path: Path, descriptor: int) -> None:
    name = printable(str(path))
    with _reporting(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalUnusableError(
                f"another run of apply writes to {name}; wait until it has ended"
            ) from error


def _content(descriptor: int) -> bytes:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read()


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = f"give a file that uid {os.geteuid()} may write as --journal"
        raise OutputError(
            f"cannot write the journal {printable(str(path))}: {error.strerror}; "
            f"{remedy_for(error, place)}"
        ) from error
