"""Real mounts in directories of a test, where this user may mount; all undone in the end."""

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
"""A user that nobody is."""


class Mounts:
    """Mounts, and remembers what to undo."""

    def __init__(self) -> None:
        self._places: list[Path] = []

    def bind(self, source: Path, place: Path) -> None:
        """Show a directory at another place."""
        self._mount(place, "--bind", str(source))

    def tmpfs(self, place: Path, options: str = "size=16m") -> None:
        """Mount an empty filesystem in memory."""
        self._mount(place, "-t", "tmpfs", "-o", options, "of-a-test")

    def remount(self, place: Path, option: str) -> None:
        """Change what is mounted there, ``ro`` or ``rw``."""
        _run("mount", "-o", f"remount,{option}", str(place))

    def note(self, place: Path) -> None:
        """Undo in the end what something else mounts there."""
        self._places.append(place)

    def unmount(self, place: Path, *, lazily: bool = False) -> None:
        """Unmount what was mounted there last; ``lazily`` also what is in use."""
        started = time.monotonic()
        while True:
            try:
                return _run("umount", *["--lazy"] * lazily, str(place))
            except RuntimeError as error:  # a scan is under way
                if "busy" not in str(error) or time.monotonic() - started > _PATIENCE_SECONDS:
                    raise

    def undo(self) -> None:
        """Unmount all that is left."""
        for place in reversed(self._places):
            while is_mounted(place):
                self.unmount(place, lazily=True)
        self._places.clear()

    def _mount(self, place: Path, *arguments: str) -> None:
        self.note(place)
        _run("mount", *arguments, str(place))


def is_mounted(place: Path) -> bool:
    """Tell whether something is mounted at a place, without touching it, as it may hang."""
    return any(line.split()[4] == str(place) for line in _MOUNTINFO.read_text().splitlines())


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Give what mounts; skip the test where this user may not."""
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
    """Try to mount; give why it is not possible, None where it is."""
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
    """Give the command that runs another one as a user who owns nothing; none where this is one."""
    if os.geteuid() != 0:
        return ()
    user = str(_UNPRIVILEGED)
    return ("setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs")
