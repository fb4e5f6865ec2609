"""The command ``apply``: refuse, look, back up, delete, and say what was done."""

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TextIO

from exporter.analysis.analyst import AnalysisOptions
from exporter.backup.selection import select
from exporter.backup.writing import Backup, BackupControl
from exporter.commands.apply.attempt import Tools
from exporter.commands.apply.deleting import UNDOABLE, Deleter
from exporter.commands.apply.journal_file import open_journal, read_known
from exporter.commands.apply.judging import Judge
from exporter.commands.apply.loading import LoadedPlan
from exporter.commands.apply.manifests import Manifests
from exporter.commands.apply.options import ApplyRequest
from exporter.commands.apply.preview import (
    THERE_AGAIN,
    Left,
    Preview,
    look_ahead,
    reason_to_outlive,
)
from exporter.commands.apply.report import (
    NextSteps,
    Pricing,
    describe_done,
    describe_freed,
    describe_left,
    describe_lines,
    describe_next,
)
from exporter.commands.apply.same_registry import refuse_other_registry
from exporter.commands.apply.witness import Witness
from exporter.domain.digests import format_digest, parse_digest
from exporter.domain.errors import ExporterError
from exporter.domain.journal import JournalHead, Result
from exporter.domain.model import Inventory
from exporter.domain.plan_file import PlannedDeletion, digests_by_repository
from exporter.domain.snapshot import Snapshot
from exporter.domain.text import plural, printable
from exporter.platforms.port import Platform
from exporter.registry.port import RegistryEditor
from exporter.store.port import Store
from exporter.support.quantities import format_size
from exporter.support.step_progress import step_progress
from exporter.support.terminal_progress import byte_progress
from exporter.views.deletion_plan.making import readable_store


class Ending(enum.Enum):
    """How a run ended."""

    DONE = enum.auto()
    PARTLY = enum.auto()
    INTERRUPTED = enum.auto()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is changed, and how it is known.

    Attributes:
        store: the store, which is only read.
        snapshot: of one scan of it.
        options: how that was analysed.
        platform: says what apps run; None without one.
        open_editor: opens what changes the registry; its arguments are whether waiting is to end,
            and the requests per second.
        steps: commands for afterwards.

    """

    store: Store
    snapshot: Snapshot
    options: AnalysisOptions
    platform: Platform | None
    open_editor: Callable[[Callable[[], bool], int], AbstractContextManager[RegistryEditor]]
    steps: NextSteps


@dataclass(frozen=True, slots=True)
class Environment:
    """Injected I/O: output, clock, stop signal.

    Attributes:
        output: receives what is done.
        now: returns Unix seconds.
        clock: returns monotonic seconds.
        should_stop: whether the run is to end.

    """

    output: TextIO
    now: Callable[[], float]
    clock: Callable[[], float]
    should_stop: Callable[[], bool]

    def say(self, *lines: str) -> None:
        """Write lines."""
        self.output.writelines(f"{line}\n" for line in lines)
        self.output.flush()


def apply(
    subject: Subject, plan: LoadedPlan, request: ApplyRequest, environment: Environment
) -> Ending:
    """Carry a plan out, or only say what it would do.

    Raises PlanRefusedError, JournalUnusableError, BackupRefusedError, BackupUnusableError,
    ApiUnavailableError, StoreUnreadableError, OutputError.
    """
    reading = readable_store(subject.snapshot, subject.options, "nothing is deleted")
    head = JournalHead(
        plan=plan.hash,
        store=subject.store.identity,
        backup=None if request.backup is None else str(request.backup.absolute()),
        time=environment.now(),
    )
    with ExitStack() as opened:
        witness = Witness(
            opened.enter_context(subject.store.open_looker()), subject.platform, reading.inventory
        )
        manifests = Manifests(reading.inventory, opened.enter_context(subject.store.open_blobs()))
        judge = Judge(manifests, plan.file.made_at, subject.options.protect)
        pricing = Pricing(reading, subject.options)
        if not request.confirmed:
            known = read_known(request.journal, head)
            preview = look_ahead(plan.file, known, reading.inventory, witness, judge)
            environment.say(*_foretell(plan, preview, pricing))
            return Ending.DONE
        journal = opened.enter_context(open_journal(request.journal, head))
        preview = look_ahead(plan.file, journal.known, reading.inventory, witness, judge)
        editor = opened.enter_context(
            subject.open_editor(environment.should_stop, request.max_rate)
        )
        tools = Tools(
            witness,
            manifests,
            editor,
            journal,
            judge,
            environment.now,
            subject.steps.undo,
        )
        run = _Run(plan, preview, tools, environment, has_blobs=request.backup_blobs)
        refuse_other_registry(run.pending(), tools)
        _back_up(subject, reading.inventory, request, run, environment)
        return run.run(pricing, subject.steps)


def _foretell(plan: LoadedPlan, preview: Preview, pricing: Pricing) -> Iterator[str]:
    """Yield what a run would do."""
    going = [plan.file.lines[place] for place in preview.going]
    yield from describe_done(preview.done.values())
    yield f"would delete {describe_lines(going)}"
    yield from describe_left(preview.left.values())
    yield from describe_freed(pricing.freed(going), after="then")
    yield "nothing was deleted; give --yes and --backup DIR, or --yes and --no-backup, to delete"


def _back_up(
    subject: Subject,
    inventory: Inventory,
    request: ApplyRequest,
    run: "_Run",
    environment: Environment,
) -> None:
    """Back up what will be deleted; what cannot be saved is left out."""
    lines = list(run.pending())
    if request.backup is None or not lines:
        return
    # also those that the collector does not free now: it may free them after a later run
    blobs = None if request.backup_blobs else ()
    old_times = subject.options.dating.old_times
    selection = select(inventory, digests_by_repository(lines), blobs, old_times)
    backup = Backup(subject.store, inventory, selection, request.backup)
    need = backup.check(same_filesystem=request.same_filesystem)
    place = printable(str(request.backup))
    environment.say(
        f"backing up {plural(need.files, 'file')}, {format_size(need.bytes)}, to {place}, which "
        f"has {format_size(need.available_bytes)} available"
    )
    with byte_progress(0, need.bytes, environment.clock, "saving") as progress:
        result = backup.run(BackupControl(progress.advance, environment.should_stop))
    run.leave_unsaved({each.subject: each.reason for each in result.faults}, inventory)


class _Run:
    """Deletes line by line, until the end or a request to stop."""

    def __init__(
        self,
        plan: LoadedPlan,
        preview: Preview,
        tools: Tools,
        environment: Environment,
        *,
        has_blobs: bool,
    ) -> None:
        self._lines = plan.file.lines
        self._preview = preview
        self._environment = environment
        self._has_blobs = has_blobs
        self._deleter = Deleter(tools)
        known = tools.journal.known.values()
        self._can_undo = any(each.result in UNDOABLE for each in known)
        self._gone: dict[int, Result] = {}
        self._failure: ExporterError | None = None

    def pending(self) -> Iterator[PlannedDeletion]:
        """Yield the lines that are to be carried out."""
        left = self._preview.left
        return (self._lines[place] for place in self._preview.going if place not in left)

    def leave_unsaved(self, faults: dict[str, str], inventory: Inventory) -> None:
        """Leave out what could not be backed up with all that goes with it."""
        if not faults:
            return
        for place in self._preview.going:
            line = self._lines[place]
            reasons = (faults.get(each) for each in _parts(line, inventory))
            reason = next((each for each in reasons if each is not None), None)
            if reason is not None:
                self._preview.left[place] = Left(line, f"it could not be backed up: {reason}")

    def run(self, pricing: Pricing, steps: NextSteps) -> Ending:
        """Delete, and say what was done. Raises as :func:`apply` does."""
        going, left = self._preview.going, self._preview.left
        chosen = set(going)
        for place, each in left.items():
            if place not in chosen:
                self._deleter.leave(each.line, each.reason)
        count = 0
        with step_progress("Deleting", len(going)) as progress:
            try:
                for place in going:
                    if self._environment.should_stop():
                        break
                    self._carry_out(place)
                    count += 1
                    progress.advance()
            except ExporterError as error:
                # a request to stop also ends the repetition of a request that has failed
                if not self._environment.should_stop():
                    self._failure = error
        is_partial = count < len(going)
        self._environment.say(*self._summary(pricing, steps, len(going) - count))
        if self._failure is not None:
            raise self._failure
        if is_partial:
            return Ending.INTERRUPTED
        return Ending.PARTLY if left else Ending.DONE

    def _carry_out(self, place: int) -> None:
        """Delete the manifest of one line, or leave it."""
        line, left = self._lines[place], self._preview.left
        earlier = self._preview.earlier
        for each in earlier.get(place, ()):
            was_gone = each in self._gone or each in self._preview.done
            if was_gone and self._deleter.is_there(self._lines[each]):
                left[each] = Left(self._lines[each], THERE_AGAIN)
        known = left.get(place)
        reason = known.reason if known else reason_to_outlive(place, earlier, left)
        if reason is None:
            outcome = self._deleter.delete(line)
        else:
            outcome = self._deleter.leave(line, reason)
        self._can_undo |= outcome.result in UNDOABLE
        if outcome.is_there:
            left[place] = Left(line, outcome.reason or "")
        else:
            self._gone[place] = outcome.result

    def _summary(self, pricing: Pricing, steps: NextSteps, missing: int) -> Iterator[str]:
        done, left = self._preview.done, self._preview.left
        yield from describe_done(done.values())
        deleted = [place for place, result in self._gone.items() if result is Result.DELETED]
        yield f"deleted {describe_lines([self._lines[place] for place in deleted])}"
        if len(deleted) < len(self._gone):
            yield f"{plural(len(self._gone) - len(deleted), 'manifest')} gone already"
        yield from describe_left(left.values())
        if missing:
            yield f"stopped: {plural(missing, 'manifest')} not looked at yet"
        freeing = [self._lines[place] for place in self._gone if place not in left]
        yield from describe_freed(pricing.freed(freeing), after="now")
        yield from describe_next(
            steps,
            has_deleted=self._can_undo,
            is_partial=missing > 0,
            has_blobs=self._has_blobs,
        )


def _parts(line: PlannedDeletion, inventory: Inventory) -> Sequence[str]:
    """Return the digests of a manifest and of what it references itself."""
    digest = parse_digest(line.digest)
    number = None if digest is None else inventory.digests.find(digest)
    manifest = None if number is None else inventory.manifests.get(number)
    parts = () if manifest is None else (*manifest.children, *manifest.blobs)
    return (line.digest, *(format_digest(inventory.digests[each]) for each in parts))
