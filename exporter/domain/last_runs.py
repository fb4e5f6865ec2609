"""When work on a store last ended well: its backup, and its maintenance."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest complete backup of the whole store.

    Attributes:
        completed_at: when it ended, Unix seconds; None if there is none.
        bytes: of its blobs, manifests included; None if that is unknown.

    """

    completed_at: float | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class LastMaintenance:
    """The last run of the maintenance routine that succeeded.

    Attributes:
        completed_at: when it ended, Unix seconds; None if there was none.
        freed_bytes: what the registry's collector freed then; None if there was none.

    """

    completed_at: float | None = None
    freed_bytes: int | None = None


LastRun = LastBackup | LastMaintenance


@dataclass(frozen=True, slots=True)
class LastRunReading:
    """A place that says when such work last ended well.

    Attributes:
        name: of the work, for messages.
        read: reads the place; raises an ExporterError, and may hang on a mount that hangs.

    """

    name: str
    read: Callable[[], LastRun]
