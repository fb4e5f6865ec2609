"""What is known of the backups of a store."""

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
