"""Figures as bytes, so that a store can keep them over a restart; nothing in them is trusted."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

import msgspec

from exporter.domain.errors import CacheUnfitError
from exporter.domain.model import Inventory, IssueCause
from exporter.domain.snapshot import BlobState, Dialect, GcMode, StoreFigures


@dataclass(frozen=True, slots=True)
class _KeptFigures:
    dialect: int
    figures: StoreFigures


class FiguresCodec:
    """Packs figures for one version of the registry's collector."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def pack(self, kept: StoreFigures) -> bytes:
        """Return figures as bytes."""
        return msgspec.msgpack.encode(_KeptFigures(self._dialect, kept))

    def unpack(self, packed: bytes, inventory: Inventory) -> StoreFigures | None:
        """Return the figures of ``inventory``; None if another collector was simulated for them.

        Raises CacheUnfitError if they make no sense.
        """
        try:
            kept = msgspec.msgpack.decode(packed, type=_KeptFigures)
            _check(kept.figures, inventory)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CacheUnfitError(str(error)) from error
        return kept.figures if kept.dialect == self._dialect else None


def _check(figures: StoreFigures, inventory: Inventory) -> None:
    """Raise ValueError if the figures cannot be those of ``inventory``."""
    is_whole = (
        figures.blobs.keys() == set(BlobState)
        and figures.issues.keys() == set(IssueCause)
        and (figures.collector is None or figures.collector.keys() == set(GcMode))
        and sorted(each.name for each in figures.repositories)
        == [each.name for each in inventory.repositories]
    )
    if not is_whole:
        raise ValueError("figures of something else")
    _check_times(each.last_push_at for each in figures.repositories)
    _check_times([figures.uploads.oldest_start_at])


def _check_times(times: Iterable[float | None]) -> None:
    if not isfinite(sum(each for each in times if each is not None)):
        raise ValueError("a time that is not a number")
