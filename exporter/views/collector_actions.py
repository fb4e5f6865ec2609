"""The runs of the registry's collector: what each frees, and when not to run it."""

from collections.abc import Iterator, Sequence

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.artifacts import count_endangered
from exporter.analysis.reachability import ManifestReaches, with_listed
from exporter.domain.digests import format_digest
from exporter.domain.model import Inventory
from exporter.domain.snapshot import (
    VERSION_2,
    CollectorRun,
    Dialect,
    GcMode,
    StoreReading,
)
from exporter.domain.text import first_of, plural, printable
from exporter.domain.uses import UseFigures
from exporter.store.format.layout import REPOSITORIES
from exporter.views.action import (
    QUIET,
    QUIET_OR_SCRIPT,
    UNKNOWN,
    Action,
    CommandWriter,
)

_NAMED = 3
_WHY = {
    2: "version 2 of the registry deletes the platforms of multi-platform images",
    3: "the registry deletes manifests that they need",
}


def untagged_images(inventory: Inventory, uses: UseFigures) -> Iterator[str]:
    """Yield the images that apps use by digest and that no tag of their repository reaches."""
    for repository in inventory.repositories:
        pinned = uses.pinned.get(repository.name)
        if not pinned:
            continue
        targets = (tag.target for tag in repository.tags if tag.target is not None)
        tagged = with_listed(inventory, targets)
        held = {revision.manifest for revision in repository.revisions}
        for number in sorted(held.intersection(pinned) - tagged):
            yield f"{repository.name}@{format_digest(inventory.digests[number])}"


def collector_actions(
    reading: StoreReading,
    reaches: ManifestReaches,
    options: AnalysisOptions,
    write: CommandWriter,
    pinned: tuple[str, ...],
    safer: Sequence[Action],
) -> Iterator[Action]:
    """Yield both modes.

    ``pinned`` are untagged images that apps need; ``safer`` are actions in place of a run that
    deletes what something needs.
    """
    for mode, option in ((GcMode.DEFAULT, ()), (GcMode.DELETE_UNTAGGED, ("--delete-untagged",))):
        name = " ".join(["garbage-collect", *option])
        runs = reading.figures.collector
        if runs is None:
            yield Action(name, None, (), (UNKNOWN,))
            continue
        run = runs[mode]
        needed = pinned if mode is GcMode.DELETE_UNTAGGED else ()
        breaks = bool(run.endangered or needed)
        # what a run would break once it no longer aborts is unknown
        commands = () if breaks or run.blockers else write.collector(*option)
        why = _why(reading.inventory, options.dialect)
        warnings = (*write.broken, *_warnings(run, needed, why, write.platform))
        if commands:
            warnings = (*warnings, QUIET if option else QUIET_OR_SCRIPT)
        if mode is GcMode.DELETE_UNTAGGED:
            lost = count_endangered(reading.inventory, reaches)
            warnings = (*warnings, *_instead(lost, safer, breaks=breaks))
        yield Action(name, run.frees.bytes, commands, warnings, breaks)


def _why(inventory: Inventory, dialect: Dialect) -> str:
    """Return why a run breaks tags."""
    if dialect != VERSION_2 or not inventory.layout.walk_ends:
        return _WHY[dialect]
    return (
        "version 2 of the registry overlooks the repositories that come after "
        f"{REPOSITORIES}/{printable(inventory.layout.walk_ends[0])}; move that file away"
    )


def _warnings(run: CollectorRun, needed: Sequence[str], why: str, platform: str) -> Iterator[str]:
    if run.endangered:
        tags = first_of([str(each) for each in run.endangered])
        yield f"DO NOT RUN: it would break {plural(len(run.endangered), 'tag')} ({tags}): {why}"
    if needed:
        yield (
            f"DO NOT RUN: it would delete {len(needed)} images that have no tag and that "
            f"{platform} runs or can go back to ({first_of(needed)})"
        )
    for blocker in run.blockers[:_NAMED]:
        yield f"it aborts and frees nothing: {blocker.path} {blocker.reason}"
    if len(run.blockers) > _NAMED:
        yield f"it also aborts on {len(run.blockers) - _NAMED} more places"
    if run.blockers:
        yield "fix this, then run `report` again"


def _instead(lost: int, safer: Sequence[Action], *, breaks: bool) -> Iterator[str]:
    """Yield that a run deletes so many artifacts of images that stay, and what to do instead."""
    if lost:
        yield (
            f"it would also delete {lost} artifacts (signatures, attestations, SBOMs) of images "
            "that stay"
        )
    if breaks or lost:
        for each in safer:
            yield f"instead, delete what nothing needs: {each.action}, below"
