"""What ``apply`` says in the end: what goes, what is left out, what that frees, what to do next."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.lazy_reaches import lazy_reaches
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.commands.apply.preview import Left, count_tags
from exporter.domain.digests import BlobNumber, parse_digest
from exporter.domain.journal import Result
from exporter.domain.plan_file import PlannedDeletion
from exporter.domain.snapshot import GcMode, StoreReading
from exporter.domain.text import plural
from exporter.support.quantities import format_size


@dataclass(frozen=True, slots=True)
class Freed:
    """What a run of the registry's collector would free.

    Attributes:
        by_deletions: bytes that it frees because of the deletions.
        anyway: bytes that it frees without them; None if that is unknown.
        blocker: what it aborts on; None if it does not.

    """

    by_deletions: int
    anyway: int | None
    blocker: str | None = None


class Pricing:
    """What deletions free, as the scan knows the store."""

    def __init__(self, reading: StoreReading, options: AnalysisOptions) -> None:
        self._reading = reading
        inventory = reading.inventory
        self._collector = CollectorAfter(inventory, lazy_reaches(inventory), options.dialect)

    def freed(self, lines: Sequence[PlannedDeletion]) -> Freed:
        """Return what the collector would free after deletions."""
        sizes = self._reading.inventory.sizes
        total = sum(max(sizes[number], 0) for number in self._freed(lines))
        runs = self._reading.figures.collector
        if runs is None:
            return Freed(total, None)
        run = runs[GcMode.DEFAULT]
        blocker = next((f"{each.path} ({each.reason})" for each in run.blockers), None)
        return Freed(total, run.frees.bytes, blocker)

    def _freed(self, lines: Sequence[PlannedDeletion]) -> set[BlobNumber]:
        return self._collector.freed(self._numbers(lines))

    def _numbers(self, lines: Sequence[PlannedDeletion]) -> Mapping[str, set[BlobNumber]]:
        """Return the manifests of lines that the repositories held at the scan."""
        inventory = self._reading.inventory
        held = {
            each.name: {revision.manifest for revision in each.revisions}
            for each in inventory.repositories
        }
        found: dict[str, set[BlobNumber]] = {}
        for line in lines:
            digest = parse_digest(line.digest)
            number = None if digest is None else inventory.digests.find(digest)
            if number is not None and number in held.get(line.repository, ()):
                found.setdefault(line.repository, set()).add(number)
        return found


@dataclass(frozen=True, slots=True)
class NextSteps:
    """Commands for after the deletions.

    Attributes:
        collection: that run the registry's collector.
        undo: that takes the deletions back.

    """

    collection: tuple[str, ...]
    undo: str


def describe_done(results: Collection[Result]) -> Iterator[str]:
    """Yield how many manifests earlier runs have deleted, and found to be gone."""
    gone = sum(each is Result.GONE for each in results)
    if deleted := len(results) - gone:
        yield f"{plural(deleted, 'manifest')} deleted by earlier runs"
    if gone:
        yield f"{plural(gone, 'manifest')} gone already, as earlier runs have found"


def describe_lines(lines: Sequence[PlannedDeletion]) -> str:
    """Return how many manifests and tags lines are, in how many repositories."""
    repositories = plural(len({line.repository for line in lines}), "repository", "repositories")
    manifests, tags = plural(len(lines), "manifest"), plural(count_tags(lines), "tag")
    return f"{manifests} with {tags} in {repositories}"


def describe_left(left: Collection[Left]) -> Iterator[str]:
    """Yield each line that is left out, and why."""
    if left:
        yield f"{plural(len(left), 'manifest')} left out:"
    yield from (f"  {each}" for each in left)


def describe_freed(freed: Freed, *, after: str) -> Iterator[str]:
    """Yield what the collector frees; ``after`` says when."""
    if freed.blocker is not None:
        yield (
            f"a run of the registry's collector {after} aborts on {freed.blocker}, and frees "
            "nothing until that is fixed"
        )
        return
    if freed.anyway is None:
        yield f"what a run of the registry's collector {after} frees is unknown"
        return
    total = freed.by_deletions + freed.anyway
    yield (
        f"a run of the registry's collector {after} frees {format_size(total)} ({total:,} bytes): "
        f"{freed.by_deletions:,} by these deletions, {freed.anyway:,} anyway"
    )


def describe_next(
    steps: NextSteps, *, has_deleted: bool, is_partial: bool, has_blobs: bool
) -> Iterator[str]:
    """Yield what can be done next; ``has_blobs``: whether the backup has the blobs."""
    if is_partial:
        yield "to continue, run the same command again"
    if has_deleted:
        yield "to free the bytes, while nobody pushes:"
        yield from (f"  {command}" for command in steps.collection)
        before = "" if has_blobs else ", before the collector has run"
        yield f"to undo it{before}: {steps.undo}"
