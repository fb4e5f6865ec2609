"""What keeping the last tags of each repository would free, by how many are kept."""

from dataclasses import dataclass

from exporter.analysis.deletion.lazy_reaches import lazy_manifest_reaches, lazy_reaches
from exporter.analysis.deletion.order import Dating, TooManyImagesError, remembering
from exporter.analysis.deletion.protection import uses_with
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.retention_curve import CurvePoint, retention_curve, some_points
from exporter.domain.errors import PlanRefusedError
from exporter.domain.model import Inventory
from exporter.domain.uses import UseFigures
from exporter.views.clean_up.what_if import collector_after, options_of
from exporter.views.deletion_plan.making import readable_store
from exporter.views.snapshot_view import SnapshotView

TABLE = (1, 2, 3, 5, 10, 20, 30, 50)
"""Numbers of tags to keep whose figures are listed."""

MOST_IMAGES = 2000
"""Images that are read for the curve, to learn when they were created, at most."""

_TOO_MANY = (
    f"so many tags were written at the same time that more than {MOST_IMAGES:,} images would have "
    "to be read to order them; ask for one number of tags to keep above"
)


@dataclass(frozen=True, slots=True)
class Retention:
    """What each number of tags to keep would free.

    Attributes:
        points: for each number from 1 on; only some, if the store is not consistent.
        table: the points of :data:`TABLE`.
        unknown: why nothing is known; None if it is.

    """

    points: tuple[CurvePoint, ...]
    table: tuple[CurvePoint, ...]
    unknown: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether there is a point for every number."""
        return len(self.points) > len(self.table)


def retention(view: SnapshotView) -> Retention:
    """Return the curve; computed once per snapshot. Raises NotReadYetError."""
    _ = view.reading
    return view.memo.get("retention", lambda: _retention(view))


def _retention(view: SnapshotView) -> Retention:
    snapshot, options = view.snapshot, options_of(view)
    try:
        inventory = readable_store(snapshot, options).inventory
    except PlanRefusedError as error:
        return Retention((), (), str(error))
    collector, dating = collector_after(view), remembering(options.dating, MOST_IMAGES)
    try:
        uses = uses_with(inventory, snapshot.uses, options.protect, collector.unlisted)
        return _points(inventory, collector, uses, dating)
    except TooManyImagesError:
        return Retention((), (), _TOO_MANY)
    except PlanRefusedError as error:
        return Retention((), (), str(error))


def _points(
    inventory: Inventory, collector: CollectorAfter, uses: UseFigures | None, dating: Dating
) -> Retention:
    if not collector.is_orderly:
        reaches = lazy_reaches(inventory)
        points = some_points(inventory, reaches, collector, uses, TABLE, dating)
        return Retention(points, points)
    points = retention_curve(inventory, lazy_manifest_reaches(inventory), collector, uses, dating)
    return Retention(points, tuple(each for each in points if each.keep_last in TABLE))
