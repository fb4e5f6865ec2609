"""How memory that is not needed any more goes back to the system."""

import ctypes

_LARGE_BYTES = 1024 * 1024
_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of mallopt(3)."""


def return_large_blocks() -> None:
    """Have blocks above 1 MiB returned when they are let go.

    The C library of GNU raises that limit to 32 MiB as a program goes on. Tables that grow with a
    scan then leave behind all their smaller selves: a tenth of what a million blobs take.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
