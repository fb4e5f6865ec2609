"""Small filesystems for tests, which can be filled and made read-only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mounts import Mounts

_BLOCK_BYTES = 4096


class SmallFilesystem:
    """A filesystem in memory."""

    def __init__(self, place: Path, mounts: Mounts) -> None:
        """Represent the filesystem that ``mounts`` has mounted on ``place``."""
        self.place = place
        self._mounts = mounts
        self._filler = place / "filler"

    def fill(self) -> None:
        """Write until no block is free."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(descriptor, bytes(_BLOCK_BYTES))
        except OSError:
            assert os.statvfs(self.place).f_bavail == 0
        finally:
            os.close(descriptor)

    def fill_all_but(self, size: int) -> None:
        """Write until about ``size`` bytes are free."""
        status = os.statvfs(self.place)
        self._filler.write_bytes(bytes(status.f_bavail * status.f_frsize - size))

    def make_room(self) -> None:
        """Delete what :meth:`fill` wrote."""
        self._filler.unlink()

    def make_read_only(self) -> None:
        """Make the kernel refuse every write."""
        self._mounts.remount(self.place, "ro")

    def make_writable(self) -> None:
        """Allow writes again."""
        self._mounts.remount(self.place, "rw")

    def names(self) -> list[str]:
        """Return the names of all files but the one of :meth:`fill`."""
        files = (each for each in self.place.rglob("*") if each.is_file())
        return sorted(each.name for each in files if each != self._filler)


@contextmanager
def small_filesystem(mounts: Mounts, place: Path, size: str = "1m") -> Iterator[SmallFilesystem]:
    """Mount a small filesystem on ``place``, until the context ends."""
    place.mkdir()
    mounts.tmpfs(place, f"size={size},mode=0700")
    yield SmallFilesystem(place, mounts)
    mounts.unmount(place)
