"""The command ``verify``: print findings, and record how far the run is.

Blobs are verified in the order of their digests, so that one digest marks the position. Blobs that
are pushed meanwhile and sort before the position are verified in the next run.
"""

import enum
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

from exporter.analysis.reverse_references import ReverseReferences
from exporter.commands.verify.checkpoint import Checkpoint
from exporter.commands.verify.hashing import BlobVerifier, Condition, RateLimiter
from exporter.commands.verify.options import Task
from exporter.commands.verify.selection import select
from exporter.commands.verify.tally import Finding, Tally
from exporter.domain.digests import (
    Digest,
    format_digest,
    parse_digest,
)
from exporter.domain.errors import ScanCancelledError
from exporter.domain.model import Inventory
from exporter.domain.text import printable
from exporter.store.format.foreign_directories import advice_on
from exporter.store.port import Leftover, ScanControl, Store, WrongLink
from exporter.support.quantities import format_duration, format_size
from exporter.support.terminal_progress import ByteProgress, byte_progress, terminal_progress

_SAVE_SECONDS = 5.0
_SAVING_SHARE = 20
"""Saving takes at most one twentieth of the time, however many findings there are."""
_NAMES_SHOWN = 5


class Verdict(enum.Enum):
    """How a run ended."""

    SOUND = enum.auto()
    DAMAGED = enum.auto()
    INTERRUPTED = enum.auto()


@dataclass(frozen=True, slots=True)
class Environment:
    """Injected I/O: output, clock, stop signal.

    Attributes:
        output: receives the findings and the summary.
        note: receives remarks for people.
        clock: returns monotonic seconds.
        sleep: waits for seconds.
        should_stop: whether the run is to end.

    """

    output: TextIO
    note: Callable[[str], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    should_stop: Callable[[], bool]


def verify(store: Store, task: Task, environment: Environment) -> Verdict:
    """Verify the blobs that are asked for, continuing from the checkpoint.

    Raises StoreUnreadableError, and ConfigurationError if the repository does not exist.
    """
    try:
        with terminal_progress() as on_progress:
            inventory = store.scan(ScanControl(on_progress, environment.should_stop))
    except ScanCancelledError:
        environment.note("interrupted before the first blob; nothing is lost")
        return Verdict.INTERRUPTED
    selection = select(inventory, task.repository)
    checkpoint = Checkpoint(task.checkpoint, store.identity, task.repository)
    known = None if task.restart else checkpoint.load(environment.note)
    run = _Run(_Subject(store, inventory), task, environment, checkpoint, known or Tally())
    pending = selection.digests
    if known is not None and known.position is not None:
        pending = pending[bisect_right(pending, known.position, key=format_digest) :]
        environment.note(
            f"continuing an interrupted run; {len(pending):,} of "
            f"{len(selection.digests):,} blobs are left; --restart starts again"
        )
    run.print_known(selection.places)
    return run.run(pending, selection.digests)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A store, and what a scan found in it."""

    store: Store
    inventory: Inventory


class _Run:
    """One run, continued or not."""

    def __init__(
        self,
        subject: _Subject,
        task: Task,
        environment: Environment,
        checkpoint: Checkpoint,
        tally: Tally,
    ) -> None:
        self._store = subject.store
        self._inventory = subject.inventory
        self._task = task
        self._environment = environment
        self._references = ReverseReferences(subject.inventory)
        self._checkpoint = checkpoint
        self._tally = tally
        self._seconds_before = tally.seconds
        self._started = environment.clock()
        self._save_at = 0.0
        self._has_complained = False
        self._left_over: list[Leftover] = []
        self._wrong_links = 0

    def print_known(self, places: Sequence[Finding]) -> None:
        """Print what earlier runs have found, and the places that cannot be read."""
        known = {each.subject for each in self._tally.findings}
        self._tally.findings += [each for each in places if each.subject not in known]
        for finding in self._tally.findings:
            self._print_finding(finding)

    def run(self, pending: Sequence[Digest], selected: Sequence[Digest]) -> Verdict:
        """Verify blobs, look beside all that are ``selected``, and sum up."""
        total = self._tally.bytes + sum(self._size(digest) for digest in pending)
        with byte_progress(self._tally.bytes, total, self._environment.clock) as progress:
            left, saved = self._verify(pending, progress)
        if left:
            promise = "the same command continues there" if saved else "the next run starts again"
            self._environment.note(
                f"interrupted, {left:,} of {len(pending):,} blobs are left; {promise}"
            )
            return Verdict.INTERRUPTED
        if not self._look_beside(selected):
            self._environment.note(
                "interrupted after the last blob, while searching for leftovers; "
                "the same command searches again"
            )
            return Verdict.INTERRUPTED
        self._checkpoint.remove()
        self._print(self._summary())
        corrupt, unreadable = map(self._tally.count, (Condition.CORRUPT, Condition.UNREADABLE))
        is_damaged = corrupt or unreadable or self._wrong_links
        return Verdict.DAMAGED if is_damaged else Verdict.SOUND

    def _verify(self, pending: Sequence[Digest], progress: ByteProgress) -> tuple[int, bool]:
        """Verify blobs; return how many are left, and whether the position was saved."""
        left, saved = len(pending), False
        if not left:
            return 0, saved
        here = self._environment
        limiter = RateLimiter(self._task.max_rate, here.clock, here.sleep)
        with self._store.open_blobs() as blobs:
            verifier = BlobVerifier(
                blobs, limiter, should_stop=here.should_stop, on_read=progress.advance
            )
            self._save(progress)
            try:
                for check in verifier.verify(pending):
                    left -= 1
                    finding = self._tally.add(check)
                    if finding is not None:
                        with progress.aside():
                            self._print_finding(finding)
                    if here.clock() >= self._save_at:
                        self._save(progress)
            finally:
                # also if the output is no longer read, or the leftovers are still to be searched
                saved = self._save(progress)
        return left, saved

    def _look_beside(self, selected: Sequence[Digest]) -> bool:
        """Print what lies beside blobs and links; return False if that was interrupted."""
        if not self._inventory.sizes:
            return True  # nothing was pushed yet
        repository = self._task.repository
        repositories = [each.name for each in self._inventory.repositories]
        digests = None
        if repository is not None:
            repositories, digests = [repository], selected
        unsearched = []
        known = {issue.path for issue in self._inventory.issues}
        with self._store.open_blobs() as blobs:
            for each in blobs.leftovers(repositories, digests):
                if self._environment.should_stop():
                    return False
                if isinstance(each, WrongLink):
                    self._note_wrong_link(each)
                elif each is None:
                    continue
                elif each.problem and each.path not in known:
                    unsearched.append(each)
                elif not each.problem:
                    self._left_over.append(each)
                    self._print(_leftover_line(each))
        if unsearched:
            self._environment.note(
                f"{len(unsearched):,} directories could not be searched for leftovers, the first "
                f"{unsearched[0].path}: {unsearched[0].problem}"
            )
        return True

    def _note_wrong_link(self, link: WrongLink) -> None:
        """Print a link that something in its repository needs."""
        number = self._inventory.digests.find(link.digest)
        names = () if number is None else self._references.names(number)
        here = (f"{link.repository}:", f"{link.repository}@")
        needed_by = [name for name in names if name.startswith(here)]
        if needed_by:
            self._wrong_links += 1
            reason = f"does not hold the digest of its directory; {_reaching(iter(needed_by))}"
            self._print(f"wrong link: {link.path}: {reason}")

    def _size(self, digest: Digest) -> int:
        number = self._inventory.digests.find(digest)
        return 0 if number is None else max(self._inventory.sizes[number], 0)

    def _save(self, progress: ByteProgress) -> bool:
        """Save the position; report a failure once."""
        clock = self._environment.clock
        before = clock()
        self._tally.seconds = self._seconds_before + before - self._started
        problem = self._checkpoint.save(self._tally)
        after = clock()
        self._save_at = after + max(_SAVE_SECONDS, (after - before) * _SAVING_SHARE)
        if problem is not None and not self._has_complained:
            self._has_complained = True
            with progress.aside():
                self._environment.note(
                    f"{problem}; continuing, but an interrupted run cannot be resumed: "
                    "give a file that can be written as --checkpoint"
                )
        return problem is None

    def _print_finding(self, finding: Finding) -> None:
        line = f"{finding.condition}: {printable(finding.subject)}: {_reason(finding)}"
        digest = parse_digest(finding.subject)
        if digest is not None:
            line += f"; {self._reached_by(digest)}"
        self._print(line)

    def _reached_by(self, digest: Digest) -> str:
        number = self._inventory.digests.find(digest)
        names = iter(()) if number is None else self._references.names(number)
        if reaching := _reaching(names):
            return reaching
        known = "" if self._inventory.references_known else " that could be read"
        return f"nothing{known} references it"

    def _summary(self) -> str:
        tally = self._tally
        seconds = self._seconds_before + self._environment.clock() - self._started
        others = [
            f"{count:,} {what}"
            for count, what in (
                (tally.count(Condition.UNVERIFIABLE), "cannot be verified"),
                (tally.vanished, "vanished meanwhile"),
            )
            if count
        ]
        if self._wrong_links:
            others.append(f"{self._wrong_links:,} wrong links")
        if self._left_over:
            left = sum(each.bytes for each in self._left_over)
            others.append(f"{len(self._left_over):,} left over ({format_size(left)})")
        counts = ", ".join(
            [
                f"{tally.count(Condition.CORRUPT):,} corrupt",
                f"{tally.count(Condition.UNREADABLE):,} unreadable",
                *others,
            ]
        )
        blobs = "1 blob" if tally.blobs == 1 else f"{tally.blobs:,} blobs"
        size, duration = format_size(tally.bytes), format_duration(seconds)
        return f"verified {blobs}, {size}, in {duration}: {counts}"

    def _print(self, line: str) -> None:
        self._environment.output.write(f"{line}\n")
        self._environment.output.flush()


def _reaching(names: Iterator[str]) -> str:
    """Return the first few names, and how many more there are; empty without one."""
    shown = list(islice(names, _NAMES_SHOWN))
    more = sum(1 for _ in names)
    if not shown:
        return ""
    return f"reached by {printable(', '.join(shown))}" + (f" and {more:,} more" if more else "")


def _leftover_line(leftover: Leftover) -> str:
    files = "1 file" if leftover.files == 1 else f"{leftover.files:,} files"
    line = f"left over: {leftover.path}: {files}, {leftover.bytes:,} bytes"
    advice = advice_on(leftover.path.rpartition("/")[2])
    line += f"; {advice or 'no part of the registry'}"
    return line + ("; the registry's collector aborts on it" if leftover.stops_collector else "")


def _reason(finding: Finding) -> str:
    if finding.condition is Condition.CORRUPT:
        return f"its {finding.size:,} bytes on disk hash to {printable(finding.detail)}"
    return printable(finding.detail)
