"""What a plan of a page is made from: the store's identity is found on its mount, in time."""

from exporter.domain.errors import NotReadInTimeError, PlanRefusedError
from exporter.views.deletion_plan.making import origin_of
from exporter.views.deletion_plan.text import PlanOrigin
from exporter.views.snapshot_view import SnapshotView


def plan_origin(view: SnapshotView) -> PlanOrigin:
    """Return what a plan of a view is made from. Raises PlanRefusedError."""
    store = view.options.store
    try:
        identity = view.options.reader.read(lambda: store.identity)
    except NotReadInTimeError as error:
        reason = f"no plan, because it is unknown which store this is: {error}"
        raise PlanRefusedError(reason) from error
    return origin_of(view.snapshot, store.location, identity)
