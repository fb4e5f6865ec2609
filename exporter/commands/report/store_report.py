"""What the report of a whole store is written from, whatever its format."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.domain.snapshot import RepositoryFigures, Snapshot, StoreReading
from exporter.domain.uses import OwnershipRules
from exporter.views.action import Action


@dataclass(frozen=True, slots=True)
class StoreReport:
    """One report.

    Attributes:
        location: of the store, safe to print.
        reading: the scan.
        snapshot: what else is known.
        storage_limit: the configured budget in bytes; None without one.
        repositories: those to list, in this order.
        actions: what can be done.
        ownership: the platform's rules; None without a platform.
        now: Unix seconds; ages are counted from it.

    """

    location: str
    reading: StoreReading
    snapshot: Snapshot
    storage_limit: int | None
    repositories: Sequence[RepositoryFigures]
    actions: Sequence[Action]
    ownership: OwnershipRules | None
    now: float

    def owner_of(self, repository: str) -> str | None:
        """Return the app that a repository belongs to; None if it belongs to none."""
        return None if self.ownership is None else self.ownership.owner_of(repository)
