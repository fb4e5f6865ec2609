"""Points of a store as rows of a table, and back. Pure."""

from collections.abc import Sequence

from exporter.domain.errors import HistoryDamagedError
from exporter.domain.snapshot import BlobState, GcMode
from exporter.domain.uses import Use
from exporter.history.points import StorePoint

_KNOWN = ("at", "uploads", "upload_bytes", "strays", "stray_bytes", "tags", "repositories")
_STATES = tuple(f"{state}_bytes" for state in BlobState)
_UNKNOWN = ("size_bytes", "avail_bytes", "free_bytes", "files", "files_free")
_MODES = tuple(f"reclaimable_{mode}_bytes" for mode in GcMode)
_USES = tuple(f"{use}_bytes" for use in Use)
COLUMNS = (*_KNOWN, *_STATES, *_UNKNOWN, *_MODES, *_USES)
"""Names of the columns; ``at`` is the first."""

STORE_BYTES = " + ".join((*_STATES, "upload_bytes"))
"""What the store has, as an expression of SQL."""

_MOST = 2**63 - 1
"""Some filesystems report more inodes than fit into a column."""


def row_of(point: StorePoint) -> tuple[int | None, ...]:
    """Return the values of all columns."""
    uses = point.use_bytes or {}
    values = (
        *(getattr(point, name) for name in _KNOWN),
        *(point.blob_bytes[state] for state in BlobState),
        *(getattr(point, name) for name in _UNKNOWN),
        *(point.reclaimable_bytes[mode] for mode in GcMode),
        *(uses.get(use) for use in Use),
    )
    return tuple(None if value is None else min(value, _MOST) for value in values)


def point_of(row: Sequence[object]) -> StorePoint:
    """Return the point that a row holds. Raises HistoryDamagedError."""
    known: dict[str, int] = {}
    unknown: dict[str, int | None] = {}
    for name, value in zip(COLUMNS, row, strict=True):
        if isinstance(value, int):
            known[name] = unknown[name] = value
        elif value is None and name not in (*_KNOWN, *_STATES):
            unknown[name] = None
        else:
            raise HistoryDamagedError(f"{name} of a point is no number")
    uses = {use: known[name] for use, name in zip(Use, _USES, strict=True) if name in known}
    return StorePoint(
        blob_bytes={state: known[name] for state, name in zip(BlobState, _STATES, strict=True)},
        reclaimable_bytes={mode: unknown[name] for mode, name in zip(GcMode, _MODES, strict=True)},
        use_bytes=uses or None,
        **{name: known[name] for name in _KNOWN},
        **{name: unknown[name] for name in _UNKNOWN},  # type: ignore[arg-type]
    )
