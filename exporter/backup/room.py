"""Check that a backup can be written to a directory: the right place, and enough room."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from exporter.backup.directory import STATUS, refuse_other_content
from exporter.backup.status import read_status
from exporter.domain.errors import BackupRefusedError
from exporter.domain.text import printable
from exporter.store.port import Store
from exporter.support.quantities import format_size

_DESCRIPTOR_BYTES = 512
"""Size of one entry of ``index.json``, rounded up."""
_FILES_OF_LAYOUT = 5
_FILES_OF_BACKUP = 8


@dataclass(frozen=True, slots=True)
class Need:
    """What a backup is going to write.

    Attributes:
        files: how many blobs and manifests are to be copied.
        bytes: their sizes added up.
        disk_bytes: what they take on the disk, with all files of the layouts.
        available_bytes: what the filesystem has for them.

    """

    files: int
    bytes: int
    disk_bytes: int
    available_bytes: int


def refuse_unfit(store: Store, directory: Path, *, same_filesystem: bool) -> None:
    """Raise BackupRefusedError for a directory that a backup of ``store`` must not go to.

    Raises BackupUnusableError if the directory holds a backup that cannot be read.
    """
    name = printable(str(directory))
    if store.holds(directory):
        raise BackupRefusedError(
            f"{name} is in the store {store.location}, which is never written to; give a "
            "directory elsewhere"
        )
    if not same_filesystem and store.shares_filesystem(directory):
        raise BackupRefusedError(
            f"{name} is on the same filesystem as the store {store.location}: a full or broken "
            "disk takes both; give a directory on another one, or --same-filesystem if this is "
            "what you want"
        )
    refuse_other_content(directory)
    status = read_status(directory)
    if status is not None and status.store != store.identity:
        raise BackupRefusedError(
            f"{name} holds a backup of another store, {printable(status.store)}; give a "
            "directory of its own for each store. If it is the same store under another path, "
            f"correct `store` in {STATUS}"
        )


def room_needed(
    directory: Path, sizes: Collection[int], descriptors: int, repositories: int
) -> Need:
    """Return what blobs of ``sizes`` need, and the filesystem has.

    Raises BackupRefusedError if they do not fit, or if the filesystem cannot be looked at.
    """
    place = directory.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    name = printable(str(directory))
    try:
        filesystem = os.statvfs(place)
    except OSError as error:
        raise BackupRefusedError(
            f"cannot look at the filesystem of {name}: {error.strerror}; is it mounted?"
        ) from error
    block = filesystem.f_frsize
    rounded = sum(-(-size // block) for size in sizes) * block
    files = _FILES_OF_BACKUP + _FILES_OF_LAYOUT * repositories
    disk_bytes = rounded + files * block + descriptors * _DESCRIPTOR_BYTES
    need = Need(len(sizes), sum(sizes), disk_bytes, filesystem.f_bavail * block)
    if disk_bytes > need.available_bytes:
        raise BackupRefusedError(
            f"{name} has too little room: {format_size(disk_bytes)} are needed, "
            f"{format_size(need.available_bytes)} are available; free some room, give another "
            "directory, or choose less"
        )
    if filesystem.f_files and len(sizes) + files > filesystem.f_favail:
        raise BackupRefusedError(
            f"{name} has too few inodes: {len(sizes) + files:,} are needed, "
            f"{filesystem.f_favail:,} are available; give a directory on another filesystem"
        )
    return need
