"""Actions against a full disk: the collector, and deletions before it."""

import re
from collections.abc import Iterator
from dataclasses import replace

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.deletion.lazy_reaches import lazy_manifest_reaches, lazy_reaches
from exporter.analysis.deletion.plan import Plan, choose, make_plan
from exporter.analysis.deletion.protection import uses_with
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.selection import Selection
from exporter.domain.snapshot import (
    RepositoryFigures,
    Snapshot,
    StoreReading,
)
from exporter.domain.text import first_of, plural, printable
from exporter.domain.uses import UseFigures
from exporter.views.action import (
    UNTAGGED,
    Action,
    CommandLines,
    CommandWriter,
)
from exporter.views.collector_actions import collector_actions, untagged_images
from exporter.views.space_action import space_action

_MAY_BE_PULLED = (
    "only the configured {platform} was checked: other hosts, base images and compose files may "
    "still pull from it"
)

_UNORDERED = (
    "no plan: nothing says which tags are the newest in {}: they were written at the same time, "
    "and their images do not say when they were created; leave these out with --match"
)


def actions_of(
    reading: StoreReading,
    snapshot: Snapshot,
    options: AnalysisOptions,
    commands: CommandLines,
    least_available: float = 0.0,
) -> tuple[Action, ...]:
    """Return all actions: the collector in both modes, each policy, each orphaned repository.

    ``least_available`` is the share of the filesystem below which space must be freed.
    """
    write = CommandWriter(reading, options, commands, snapshot.integrity)
    uses = snapshot.uses
    pinned = () if uses is None else untagged_images(reading.inventory, uses)
    reaches = lazy_manifest_reaches(reading.inventory)
    price = _Prices(reading, options, uses)
    untagged = tuple(_without_tags(snapshot, price, write))
    return (
        *collector_actions(reading, reaches, options, write, tuple(pinned), untagged),
        *space_action(reading, snapshot, options, write, least_available),
        *untagged,
        *_policies(snapshot, write),
        *_orphaned(reading, snapshot, price, write),
    )


def _policies(snapshot: Snapshot, write: CommandWriter) -> Iterator[Action]:
    for policy in snapshot.policies or ():
        if policy.candidate_tags is None:
            names = first_of([printable(each) for each in policy.unordered])
            reason = policy.refused or _UNORDERED.format(names)
            yield Action(policy.policy, None, (), (reason,))
            continue
        keep = policy.policy.rpartition("-")[2]
        yield write.deletion(
            policy.policy,
            policy.reclaimable_bytes,
            f"--keep-last {keep}",
            f"it would delete {policy.candidate_tags} tags",
        )


def _orphaned(
    reading: StoreReading, snapshot: Snapshot, price: "_Prices", write: CommandWriter
) -> Iterator[Action]:
    uses = snapshot.uses
    if uses is None:
        return
    orphans = [
        each for each in reading.figures.repositories if each.name in uses.orphaned_repositories
    ]
    if not orphans:
        return
    select = "--orphaned --include-children"
    may_be_pulled = _MAY_BE_PULLED.format(platform=write.platform)
    changed_at = None if snapshot.platform is None else snapshot.platform.changed_at
    every = Selection(orphaned=True, changed_at=changed_at)
    if len(orphans) > 1:
        plan = price.plan(every)
        yield write.deletion(
            "orphaned", _freed(plan), select, *_recent(plan, write.platform), may_be_pulled
        )
    for each in orphans:
        pattern = pattern_of(each.name)
        plan = price.plan(replace(every, match=re.compile(pattern)), each.name)
        yield write.deletion(
            f"orphaned {each.name}",
            _freed(plan),
            f"{select} --match '{pattern}'",
            *_recent(plan, write.platform),
            *_left(each, plan),
            may_be_pulled,
        )


def pattern_of(repository: str) -> str:
    """Return the regular expression for all tags of a repository."""
    return repository.replace(".", r"\.") + ":.*"


class _Prices:
    """Makes the plans of actions, to say what they free."""

    def __init__(
        self,
        reading: StoreReading,
        options: AnalysisOptions,
        uses: UseFigures | None,
    ) -> None:
        self._inventory = reading.inventory
        # else what anything frees is unknown; so it is of untagged images without all uses
        self._is_known = reading.figures.collector is not None
        self._knows_uses = uses is not None or options.ownership is None
        reaches = lazy_reaches(reading.inventory)
        self._collector = CollectorAfter(reading.inventory, reaches, options.dialect)
        unlisted = self._collector.unlisted
        self._uses = uses_with(reading.inventory, uses, options.protect, unlisted)
        self._repositories = {each.name: each for each in reading.inventory.repositories}

    def plan(self, selection: Selection, repository: str | None = None) -> Plan | None:
        """Return the plan of an action, in one repository or all; None if it is unknown."""
        if not self._is_known or not self._knows_uses:
            return None
        inventory = self._inventory
        if repository is not None:
            inventory = replace(inventory, repositories=(self._repositories[repository],))
        chosen = choose(
            inventory,
            lazy_manifest_reaches(inventory),
            selection,
            self._uses,
            now=0.0,  # nothing is selected by age
            include_children=True,
        )
        return make_plan(inventory, self._collector, chosen)


def _without_tags(snapshot: Snapshot, price: _Prices, write: CommandWriter) -> Iterator[Action]:
    """Yield the plans for untagged manifests and for artifacts whose image is gone."""
    plan = price.plan(Selection(untagged=True))
    if plan is not None and plan.deletions:
        warning = (
            f"it would delete {plural(len(plan.deletions), 'manifest')} that no tag reaches and "
            "that no app or image needs, with their artifacts; whoever pulls by digest loses them"
        )
        yield write.deletion(UNTAGGED, _freed(plan), "--untagged", warning)
    if snapshot.store is None or not snapshot.store.figures.artifacts.detached:
        return
    plan = price.plan(Selection(detached=True))
    if plan is not None and plan.deletions:
        warning = f"it would delete {len(plan.deletions)} artifacts whose image is gone"
        yield write.deletion("detached", _freed(plan), "--detached", warning)


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
