"""Actions against a full disk: what each frees, its commands, and when not to run it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.plan import Plan, Selection, make_plan
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import Reaches, reaches_of, with_listed
from exporter.domain.digests import format_digest
from exporter.domain.model import Inventory
from exporter.domain.snapshot import (
    VERSION_2,
    CollectorRun,
    Dialect,
    GcMode,
    Integrity,
    RepositoryFigures,
    Snapshot,
    StoreReading,
)
from exporter.domain.text import printable
from exporter.domain.uses import UseFigures
from exporter.platforms.port import STANDALONE, OperatorCommands
from exporter.store.format.layout import REPOSITORIES

_TAGS_NAMED = 3
_CONFIGURATIONS = {2: "/etc/docker/registry/config.yml", 3: "/etc/distribution/config.yml"}
_MAY_BE_PULLED = (
    "only the configured {platform} was checked: other hosts, base images and compose files may "
    "still pull from it"
)
_QUIET = "nobody may push while the collector runs; stop deploys first"
_UNKNOWN = "unknown: a part of the store could not be read"
_BLOCKED = "nothing is freed while the collector aborts: see garbage-collect"
_CACHE = (
    "a pull-through cache answers 405 to every deletion; it removes an image by itself some time "
    "after it was cached"
)
_DELETE = "# delete each manifest that plan.txt lists; its first lines say how"
_WHY = {
    2: "version 2 of the registry deletes the platforms of multi-platform images",
    3: "the registry deletes manifests that they need",
}


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator can do.

    Attributes:
        action: ``garbage-collect``, ``garbage-collect --delete-untagged``, the name of a policy,
            ``orphaned`` for all orphaned repositories if there are several, and ``orphaned``
            with the name of each.
        frees_bytes: what its commands free; None if unknown. An action after the
            collector's own: beyond what a collector run frees anyway.
        commands: what to run, in this order.
        warnings: what to know before.
        is_dangerous: whether it must not be run as things are.

    """

    action: str
    frees_bytes: int | None
    commands: tuple[str, ...]
    warnings: tuple[str, ...]
    is_dangerous: bool = False


@dataclass(frozen=True, slots=True)
class CommandLines:
    """What an operator runs here.

    Attributes:
        plan: runs ``plan`` on the same store with the same settings.
        operator: runs the registry's collector, and restarts the registry.

    """

    plan: str
    operator: OperatorCommands = STANDALONE


def actions_of(
    reading: StoreReading, snapshot: Snapshot, options: AnalysisOptions, commands: CommandLines
) -> tuple[Action, ...]:
    """Return all actions: the collector in both modes, each policy, each orphaned repository."""
    write = _Commands(reading, options, commands, snapshot.integrity)
    orphaned = () if snapshot.uses is None else _orphaned(reading, snapshot, options, write)
    pinned = () if snapshot.uses is None else _untagged_images(reading.inventory, snapshot.uses)
    return (
        *_collections(reading, options, write, tuple(pinned)),
        *_policies(snapshot, write),
        *orphaned,
    )


class _Commands:
    """Writes the commands that can be run as things are, and what to know before."""

    def __init__(
        self,
        reading: StoreReading,
        options: AnalysisOptions,
        commands: CommandLines,
        integrity: Integrity | None,
    ) -> None:
        self._runs = reading.figures.collector
        self._is_cache = reading.inventory.is_cache
        self._configuration = _CONFIGURATIONS[options.dialect]
        self._operator = commands.operator
        self._plan = commands.plan
        self.platform = "" if options.ownership is None else options.ownership.platform
        self.broken = tuple(_broken(integrity))

    def collector(self, *options: str) -> tuple[str, ...]:
        """Return the commands that run the registry's collector."""
        words = " ".join(["registry", "garbage-collect", *options, self._configuration])
        return f"docker exec {self._operator.container} {words}", self._operator.restart

    def deletion(self, name: str, frees: int | None, selection: str, *warnings: str) -> Action:
        """Return the action that carries out a plan; only the collector then frees anything."""
        if self._runs is None:
            return Action(name, None, (), (*warnings, _UNKNOWN))
        if self._is_cache:
            return Action(name, 0, (), (_CACHE,))
        is_blocked = bool(self._runs[GcMode.DEFAULT].blockers)
        return Action(
            name,
            frees,
            (
                f"{self._plan} {selection} --output plan.txt",
                _DELETE,
                *(() if is_blocked else self.collector()),
            ),
            (*warnings, *self.broken, _BLOCKED if is_blocked else _QUIET),
        )


def _broken(integrity: Integrity | None) -> Iterator[str]:
    """Yield a warning about tags that are broken already: a run may delete more of them."""
    if integrity is not None and integrity.broken_tags:
        tags = _first([f"{each.repository}:{each.tag}" for each in integrity.broken_tags])
        yield (
            f"{len(integrity.broken_tags)} tags cannot be pulled whole ({tags}): fix those that "
            "you need first: a collector run may delete the rest of them"
        )


def _untagged_images(inventory: Inventory, uses: UseFigures) -> Iterator[str]:
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


def _collections(
    reading: StoreReading,
    options: AnalysisOptions,
    write: _Commands,
    pinned: tuple[str, ...],
) -> Iterator[Action]:
    """Yield both modes; ``pinned`` are untagged images that apps need."""
    for mode, option in ((GcMode.DEFAULT, ()), (GcMode.DELETE_UNTAGGED, ("--delete-untagged",))):
        name = " ".join(["garbage-collect", *option])
        runs = reading.figures.collector
        if runs is None:
            yield Action(name, None, (), (_UNKNOWN,))
            continue
        run = runs[mode]
        needed = pinned if mode is GcMode.DELETE_UNTAGGED else ()
        breaks = bool(run.endangered or needed)
        # what a run would break once it no longer aborts is unknown
        commands = () if breaks or run.blockers else write.collector(*option)
        why = _why(reading.inventory, options.dialect)
        warnings = (*write.broken, *_warnings(run, needed, why, write.platform))
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
        tags = _first([str(each) for each in run.endangered])
        yield f"DO NOT RUN: it would break {len(run.endangered)} tags ({tags}): {why}"
    if needed:
        yield (
            f"DO NOT RUN: it would delete {len(needed)} images that have no tag and that "
            f"{platform} runs or can go back to ({_first(needed)})"
        )
    for blocker in run.blockers[:_TAGS_NAMED]:
        yield f"it aborts and frees nothing: {blocker.path} {blocker.reason}"
    if len(run.blockers) > _TAGS_NAMED:
        yield f"it also aborts on {len(run.blockers) - _TAGS_NAMED} more places"
    if run.blockers:
        yield "fix this, then run `report` again"
    elif not run.endangered and not needed:
        yield _QUIET


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TAGS_NAMED} more" if len(names) > _TAGS_NAMED else ""
    return ", ".join(names[:_TAGS_NAMED]) + more


def _policies(snapshot: Snapshot, write: _Commands) -> Iterator[Action]:
    for policy in snapshot.policies or ():
        keep = policy.policy.rpartition("-")[2]
        yield write.deletion(
            policy.policy,
            policy.reclaimable_bytes,
            f"--keep-last {keep}",
            f"it would delete {policy.candidate_tags} tags",
        )


def _orphaned(
    reading: StoreReading, snapshot: Snapshot, options: AnalysisOptions, write: _Commands
) -> Iterator[Action]:
    uses = snapshot.uses
    if uses is None:
        return
    orphans = [
        each for each in reading.figures.repositories if each.name in uses.orphaned_repositories
    ]
    if not orphans:
        return
    reaches = reaches_of(reading.inventory)
    collector = CollectorAfter(reading.inventory, reaches, options.dialect)
    select = "--orphaned --include-children"
    may_be_pulled = _MAY_BE_PULLED.format(platform=write.platform)
    changed_at = None if snapshot.platform is None else snapshot.platform.changed_at
    every = Selection(orphaned=True, changed_at=changed_at)
    if len(orphans) > 1:
        plan = _plan(reading, reaches, collector, uses, every)
        yield write.deletion(
            "orphaned", _freed(plan), select, *_recent(plan, write.platform), may_be_pulled
        )
    for each in orphans:
        pattern = each.name.replace(".", r"\.") + ":.*"
        plan = _plan(reading, reaches, collector, uses, replace(every, match=re.compile(pattern)))
        yield write.deletion(
            f"orphaned {each.name}",
            _freed(plan),
            f"{select} --match '{pattern}'",
            *_recent(plan, write.platform),
            *_left(each, plan),
            may_be_pulled,
        )


def _plan(
    reading: StoreReading,
    reaches: Reaches,
    collector: CollectorAfter,
    uses: UseFigures,
    selection: Selection,
) -> Plan | None:
    """Return the plan of an action; None if what it frees is unknown."""
    if reading.figures.collector is None:
        return None
    return make_plan(
        reading.inventory,
        reaches,
        collector,
        selection,
        uses,
        now=0.0,  # nothing is selected by age
        include_children=True,
    )


def _freed(plan: Plan | None) -> int | None:
    return None if plan is None else sum(each.freed_bytes for each in plan.deletions)


def _recent(plan: Plan | None, platform: str) -> Iterator[str]:
    if plan is not None and plan.recent_tags:
        yield (
            f"{plan.recent_tags} tags stay: they were pushed since {platform}'s configuration last "
            "changed"
        )


def _left(repository: RepositoryFigures, plan: Plan | None) -> Iterator[str]:
    frees = _freed(plan)
    if plan is None or frees is None or repository.exclusive_bytes <= frees:
        return
    left = repository.exclusive_bytes - frees
    staying = "tags that stay, and " if plan.recent_tags else ""
    yield (
        f"{left} more bytes are exclusive to it: {staying}a plan lists the manifests that tags "
        "point to and their children, not other untagged manifests"
    )
