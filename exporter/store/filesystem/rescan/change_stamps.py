"""Stamps: what of a file or a directory shows that it has changed since it was looked at.

A directory's times change when an entry of it comes or goes, a file's when it is written. What
changed just before it was looked at may change again without another time, so a stamp is worth
keeping only when its place has been still for a while (:data:`SETTLED_SECONDS`): clocks of
filesystems are coarse, on older kernels to 4 ms, on some network filesystems to 2 s.
"""

import os

Stamp = int
"""Device, inode, size and times of change, as one number: two of them are the same, or are not."""

NO_STAMP: Stamp = 0
"""Stands for one that may not be relied on."""

SETTLED_SECONDS = 5.0
"""Far more than a clock's step; and a manifest that is written in place is whole by then."""


def stamp_of(status: os.stat_result) -> Stamp:
    """Give the stamp of what was looked at."""
    return hash(
        (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    )


def newest_of(status: os.stat_result) -> int:
    """Give when it changed last, in nanoseconds since 1970."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def settled_stamp(status: os.stat_result, settled_before: int) -> Stamp:
    """Give the stamp of what has not changed since then, nanoseconds since 1970; else NO_STAMP."""
    return stamp_of(status) if newest_of(status) < settled_before else NO_STAMP


def stamp_at(path: str, parent: int) -> Stamp | None:
    """Look at a place below ``parent``, following no link at its end; None where that fails."""
    try:
        return stamp_of(os.stat(path, dir_fd=parent, follow_symlinks=False))
    except OSError:
        return None
