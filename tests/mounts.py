"""Real mounts in directories of a test, if this user may mount; all are removed at its end."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_MOUNTINFO = Path("/proc/self/mountinfo")
_PATIENCE_SECONDS = 10.0
_UNPRIVILEGED = 64_321
"""A user id without an entry or processes."""


class Mounts:
    """Mounts, and remembers what to unmount."""

    def __init__(self) -> None:
        self._places: list[Path] = []

    def bind(self, source: Path, place: Path) -> None:
        """Mount a directory at another place, too."""
        self._mount(place, "--bind", str(source))

    def tmpfs(self, place: Path, options: str = "size=16m") -> None:
        """Mount an empty filesystem in memory."""
        self._mount(place, "-t", "tmpfs", "-o", options, "of-a-test")

    def remount(self, place: Path, option: str) -> None:
        """Make a mount read-only (``ro``) or writable (``rw``)."""
        _run("mount", "-o", f"remount,{option}", str(place))

    def note(self, place: Path) -> None:
        """Register a place where another program mounts, for :meth:`undo`."""
        self._places.append(place)

    def unmount(self, place: Path, *, lazily: bool = False) -> None:
        """Unmount the last mount there; ``lazily`` also if it is in use."""
        started = time.monotonic()
        while True:
            try:
                return _run("umount", *["--lazy"] * lazily, str(place))
            except RuntimeError as error:  # a scan is under way
                if "busy" not in str(error) or time.monotonic() - started > _PATIENCE_SECONDS:
                    raise

    def undo(self) -> None:
        """Unmount everything that is left."""
        for place in reversed(self._places):
            while is_mounted(place):
                self.unmount(place, lazily=True)
        self._places.clear()

    def _mount(self, place: Path, *arguments: str) -> None:
        self.note(place)
        _run("mount", *arguments, str(place))


def is_mounted(place: Path) -> bool:
    """Return whether a place is a mount, without touching it, as it may hang."""
    return any(line.split()[4] == str(place) for line in _MOUNTINFO.read_text().splitlines())


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Yield mounts for a test; skip it if this user may not mount."""
    refusal = _refusal()
    if refusal is not None:
        pytest.skip(f"mounting for real: {refusal}")
    each = Mounts()
    try:
        yield each
    finally:
        each.undo()


@cache
def _refusal() -> str | None:
    """Try to mount; return the reason why it is impossible, or None."""
    if os.geteuid() != 0:
        return "only root may"
    each = Mounts()
    with tempfile.TemporaryDirectory() as place:
        try:
            each.tmpfs(Path(place))
        except (OSError, RuntimeError) as error:
            return str(error)
        finally:
            each.undo()
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def unprivileged() -> tuple[str, ...]:
    """Return a prefix that runs a command as a user who owns nothing; empty unless this is root."""
    if os.geteuid() != 0:
        return ()
    user = str(_UNPRIVILEGED)
    return ("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs")
