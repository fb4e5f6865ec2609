"""The file ``restored.jsonl``: which tags were restored, and when they were pushed before.

What is restored is new to the registry. The file keeps the old times, one line for each tag. A line
is written before its tag: if the process is killed in between, the next run restores the tag and
writes a second line.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from exporter.commands.restore.wanted import WantedTag
from exporter.domain.journal import RestoredTag
from exporter.domain.text import printable

_MODE = 0o600


class RestoredTags:
    """Appends to the file; what cannot be written is noted once."""

    def __init__(
        self,
        path: Path | None,
        store: str,
        clock: Callable[[], float],
        note: Callable[[str], None],
    ) -> None:
        """Prepare it; ``path`` is None if nothing says where the file may be."""
        self._path = path
        self._store = store
        self._clock = clock
        self._note = note
        self._is_whole = False
        self._has_failed = path is None
        if path is None:
            note(
                "the old times of tags are not recorded: neither --cache.path, XDG_STATE_HOME nor "
                "HOME is set"
            )

    def add(self, tag: WantedTag) -> None:
        """Append a tag and bring it to the disk."""
        if self._path is None or self._has_failed:
            return
        line = RestoredTag(
            self._store, tag.repository, tag.name, tag.digest, self._clock(), tag.pushed_at
        )
        try:
            self._append(self._path, msgspec.json.encode(line) + b"\n")
        except OSError as error:
            self._has_failed = True
            self._note(
                f"{printable(str(self._path))} cannot be written: {error.strerror}; going on, but "
                "the old times of tags are not recorded"
            )

    @property
    def place(self) -> str | None:
        """Where the old times are, safe to print; None if they are not recorded."""
        return None if self._has_failed else printable(str(self._path))

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(path, flags, _MODE)
        try:
            size = os.fstat(descriptor).st_size
            if not self._is_whole and size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # a run that was killed has left half a line
            self._is_whole = True
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
