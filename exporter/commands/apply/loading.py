"""Read a plan from its file, and refuse it if it is not for this store, or not for now."""

from dataclasses import dataclass
from pathlib import Path

from exporter.commands.apply.options import ApplyRequest
from exporter.commands.planned_names import refuse_illegal_names
from exporter.domain.errors import PlanRefusedError
from exporter.domain.journal import plan_hash
from exporter.domain.plan_file import PlanFile, read_plan
from exporter.domain.text import printable
from exporter.store.port import Store
from exporter.support.quantities import format_duration

_MOST_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A plan that may be carried out now.

    Attributes:
        file: the plan.
        hash: names its text in the journal.

    """

    file: PlanFile
    hash: str


def load_plan(request: ApplyRequest, store: Store, now: float) -> LoadedPlan:
    """Return the plan that is asked for; ``now`` is in Unix seconds.

    Raises PlanRefusedError if it cannot be read, is of another store, too old or from the future,
    or if the journal would be in the store.
    """
    text = _read(request.plan)
    plan = read_plan(text)
    refuse_illegal_names(plan)
    if plan.store != store.identity:
        raise PlanRefusedError(
            f"the plan is of another store, {printable(plan.store)}, and --storage.root is "
            f"{store.identity}; give the --storage.root that it was made with, or make a plan of "
            "this store"
        )
    age = now - plan.made_at
    if age < 0:
        raise PlanRefusedError(
            f"the plan was made {format_duration(-age)} in the future; check this host's clock, "
            "then make the plan again with `plan`"
        )
    if age > request.max_age:
        raise PlanRefusedError(
            f"the plan is {format_duration(age)} old, and --max-age is "
            f"{format_duration(request.max_age)}; make it again with `plan`"
        )
    if store.holds(request.journal):
        raise PlanRefusedError(
            f"the journal {printable(str(request.journal))} would be in the store; give a file "
            "elsewhere as --journal"
        )
    return LoadedPlan(plan, plan_hash(text))


def _read(path: Path) -> str:
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PlanRefusedError(
            f"cannot read the plan {name}: {error.strerror}; give the file that `plan --output` "
            "wrote"
        ) from error
    if len(content) > _MOST_BYTES:
        raise PlanRefusedError(f"{name} is larger than 1 GiB, and no plan; give another file")
    return content.decode("utf-8", "surrogateescape")
