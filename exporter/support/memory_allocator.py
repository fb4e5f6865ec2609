"""Return freed memory to the system."""

import ctypes

_LARGE_BYTES = 1024 * 1024
_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of mallopt(3)."""


def return_large_blocks() -> None:
    """Return blocks above 1 MiB to the system when they are freed.

    The GNU C library raises this limit up to 32 MiB while a program runs. Growing tables then leave
    their smaller predecessors behind: a tenth of the memory for a million blobs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
