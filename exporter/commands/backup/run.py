"""The command ``backup``: scan, choose, copy, and say what is missing."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from exporter.backup.room import Need
from exporter.backup.selection import (
    BackupFault,
    BackupSelection,
    OldTimes,
    no_old_times,
    select,
    select_repositories,
)
from exporter.backup.status import SavedRun
from exporter.backup.writing import Backup, BackupControl, BackupResult
from exporter.commands.backup.options import Task
from exporter.commands.repository_option import find_repository
from exporter.domain.errors import ConfigurationError, PlanRefusedError, ScanCancelledError
from exporter.domain.model import Inventory, Repository
from exporter.domain.plan_file import digests_by_repository
from exporter.domain.text import plural, printable
from exporter.store.port import ScanControl, Store
from exporter.support.quantities import format_duration, format_size
from exporter.support.terminal_progress import byte_progress, terminal_progress


@dataclass(frozen=True, slots=True)
class Environment:
    """Injected I/O: output, clock, stop signal.

    Attributes:
        output: receives what is missing, and the summary.
        note: receives remarks for people.
        clock: returns monotonic seconds.
        should_stop: whether the run is to end.
        old_times: when restored tags had been pushed before.

    """

    output: TextIO
    note: Callable[[str], None]
    clock: Callable[[], float]
    should_stop: Callable[[], bool]
    old_times: OldTimes = no_old_times


def back_up(store: Store, task: Task, environment: Environment) -> BackupResult | None:
    """Save what is asked for; return None if it was stopped before the first blob.

    Raises StoreUnreadableError, BackupRefusedError, BackupUnusableError, OutputError,
    PlanRefusedError for a plan of another store, ConfigurationError for an unknown repository.
    """
    if task.plan is not None and task.plan.store != store.identity:
        raise PlanRefusedError(
            f"the plan is of the store {printable(task.plan.store)}, not of {store.identity}; "
            "make a plan of this store"
        )
    started = environment.clock()
    try:
        with terminal_progress() as on_progress:
            control = ScanControl(on_progress, environment.should_stop, layer_links=False)
            inventory = store.scan(control)
    except ScanCancelledError:
        environment.note("interrupted before the first blob; nothing is saved")
        return None
    backup = Backup(
        store, inventory, _select(inventory, task, _known_times(environment)), task.directory
    )
    need = backup.check(same_filesystem=task.same_filesystem)
    environment.note(_announcement(need, task))
    with byte_progress(0, need.bytes, environment.clock, "saving") as progress:
        control_of_copy = BackupControl(progress.advance, environment.should_stop)
        result = backup.run(control_of_copy)
    for line in _missing(result.faults):
        environment.output.write(f"{printable(line)}\n")
    seconds = environment.clock() - started
    environment.output.write(f"{_summary(result, seconds)}\n")
    environment.output.flush()
    if result.was_stopped:
        environment.note("interrupted; what is saved can be used, and the same command continues")
    elif result.faults:
        environment.note(
            f"the backup is not complete: {plural(len(result.faults), 'part')} of it could not be "
            "saved, see above; `report` says which images that concerns"
        )
    return result


def _known_times(environment: Environment) -> OldTimes:
    """Return the old times of restored tags, none if they cannot be read: the rest is saved.

    The next run that can read them writes them into the backup.
    """
    noted: set[str] = set()

    def known(inventory: Inventory, repository: Repository) -> Mapping[str, float]:
        try:
            return environment.old_times(inventory, repository)
        except PlanRefusedError as error:
            if str(error) not in noted:
                noted.add(str(error))
                environment.note(
                    f"{error}; until then the backup has the times at which tags were restored"
                )
            return {}

    return known


def _select(inventory: Inventory, task: Task, old_times: OldTimes) -> BackupSelection:
    if task.plan is not None:
        wanted = digests_by_repository(task.plan.lines)
        return select(inventory, wanted, None if task.with_blobs else (), old_times)
    if task.is_whole_store:
        return select_repositories(inventory, None, with_blobs=task.with_blobs, old_times=old_times)
    names = {find_repository(inventory, name).name for name in task.repositories}
    if task.match is not None:
        matching = {each.name for each in inventory.repositories if task.match.fullmatch(each.name)}
        if not matching:
            problem = (
                f"--match {printable(task.match.pattern)}: no repository has such a name; the "
                "expression must match the whole name; `report` lists the repositories"
            )
            raise ConfigurationError([problem])
        names |= matching
    return select_repositories(inventory, names, with_blobs=task.with_blobs, old_times=old_times)


def _missing(faults: Iterable[BackupFault]) -> Iterator[str]:
    """Yield a line for each fault; one for all that have the same reason in the backup itself."""
    places: Counter[tuple[str, str]] = Counter()
    for each in faults:
        if each.place:
            places[each.place, each.reason] += 1
        else:
            owner = f"; {each.repository} needs it" if each.repository else ""
            yield f"missing: {each.subject}: {each.reason}{owner}"
    for (place, reason), number in places.items():
        yield f"missing: {place}: {reason}; {plural(number, 'manifest')} concerned"


def _announcement(need: Need, task: Task) -> str:
    place = printable(str(task.directory))
    files = plural(need.files, "file")
    return (
        f"saving {files}, {format_size(need.bytes)}, in {place}, which has "
        f"{format_size(need.available_bytes)} available"
    )


def _summary(result: BackupResult, seconds: float) -> str:
    run = result.run
    return (
        f"{_what(run)} in the backup: {plural(run.repositories, 'repository', 'repositories')}, "
        f"{plural(run.tags, 'tag')}, {plural(run.manifests, 'manifest')}, "
        f"{plural(run.blobs, 'file')} of {format_size(run.bytes)}; copied "
        f"{plural(result.copied_blobs, 'file')} of {format_size(run.copied_bytes)} in "
        f"{format_duration(seconds)}; {run.missing:,} missing"
    )


def _what(run: SavedRun) -> str:
    what = "whole store" if run.whole_store else "selection"
    return f"{what}{'' if run.with_blobs else ' without blobs'}"
