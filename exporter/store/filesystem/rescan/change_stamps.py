"""Change stamps: whether a file or directory has changed since it was last looked at.

A directory's times change when an entry is added or removed, a file's when it is written. What has
just changed may change again within the same clock tick, so a stamp is kept only if nothing has
changed for a while (:data:`SETTLED_SECONDS`). Clocks of filesystems are coarse: up to 4 ms on older
kernels, 2 s on some network filesystems.
"""

import os

Stamp = int
"""Device, inode, size and change times as one number, to be compared for equality."""

NO_STAMP: Stamp = 0
"""A stamp that may not be relied on."""

SETTLED_SECONDS = 5.0
"""Far longer than a clock tick; and a manifest that is written in place is complete by then."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the change stamp of a stat result."""
    return hash(
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    )


def newest_of(status: os.stat_result) -> int:
    """Return the time of the last change, nanoseconds since 1970."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def settled_stamp(status: os.stat_result, settled_before: int) -> Stamp:
    """Return the stamp if nothing changed since ``settled_before`` (nanoseconds); else NO_STAMP."""
    return stamp_of(status) if newest_of(status) < settled_before else NO_STAMP


def stamp_at(path: str, parent: int) -> Stamp | None:
    """Return the stamp of a path below ``parent``, not following a final link; None on failure."""
    try:
        return stamp_of(os.stat(path, dir_fd=parent, follow_symlinks=False))
    except OSError:
        return None
