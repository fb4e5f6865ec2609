"""What can be asked of the history."""

from collections.abc import Mapping
from typing import Protocol

from exporter.history.growth import Growth
from exporter.history.points import RepositoryPoint, StoreBytes, StorePoint

DAY_SECONDS = 86400.0
SPANS = (DAY_SECONDS, 7 * DAY_SECONDS, 30 * DAY_SECONDS)
"""The spans over which growth is shown."""


class History(Protocol):
    """The figures of one store over time. Any thread may ask.

    Where nothing is recorded yet, the answers are None or empty. All methods raise
    HistoryUnusableError if the history cannot be read.
    """

    def begins_at(self) -> int | None:
        """Return when the history of the store begins, Unix seconds."""

    def store_points(self, since: float) -> tuple[StorePoint, ...]:
        """Return the store at ``since`` (Unix seconds), and at each change after it."""

    def store_bytes(self, since: float) -> tuple[StoreBytes, ...]:
        """Return the bytes of these points: a hundred times faster."""

    def store_at(self, moment: float) -> StorePoint | None:
        """Return the newest point at or before ``moment``; None if there is none."""

    def growth(self, span: float) -> Growth | None:
        """Return how the store has grown in the last ``span`` seconds.

        None while the history is shorter.
        """

    def repositories_begin_at(self) -> int | None:
        """Return since when the history of all repositories is known, Unix seconds.

        Later than the store's begins if room was scarce.
        """

    def repository_points(self, name: str, since: float) -> tuple[RepositoryPoint, ...]:
        """Return one repository at ``since``, and in each later hour in which it changed."""

    def repositories_at(self, moment: float) -> Mapping[str, RepositoryPoint] | None:
        """Return the repositories that existed at ``moment``; None if that is not known."""

    def repositories_growth(self, span: float) -> Mapping[str, int] | None:
        """Return by how many bytes the exclusive bytes of each repository have grown.

        In the last ``span`` seconds, and only repositories for which that is not 0, also those that
        are gone. None while the history is shorter.
        """

    def seconds_until_full(self) -> float | None:
        """Return in how many seconds the filesystem is full, as the alert StorageFillingUp says.

        None if nothing fills it, or it has been watched for too short a time.
        """
