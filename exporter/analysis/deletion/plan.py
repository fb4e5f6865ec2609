"""Deletion plans: from a selection of tags to the manifests to delete, each with its price."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Protocol

from exporter.analysis.deletion.choice import Chooser, RepositoryDeletion
from exporter.analysis.deletion.order import UNDATED, Basis, Dating, TagOrder, newest_first
from exporter.analysis.deletion.selection import Selection
from exporter.analysis.deletion.untagged import untagged_manifests
from exporter.analysis.reachability import ManifestReaches
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import (
    Inventory,
    Repository,
    Revision,
    Tag,
)
from exporter.domain.snapshot import Blocker
from exporter.domain.uses import UseFigures


@dataclass(frozen=True, slots=True)
class Deletion:
    """One manifest to delete.

    Attributes:
        repository: where.
        digest: of the manifest.
        tags: the tags that point to it and go with it; none for an untagged manifest.
        freed_bytes: what a collector run then frees beyond the deletions before it.

    """

    repository: str
    digest: str
    tags: tuple[str, ...]
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to delete.

    Attributes:
        deletions: in this order; their bytes add up to what all of them free.
        kept_tags: how many selected tags stay, because a tag that stays needs their manifest.
        children_left: how many manifests that only deleted indexes list stay, untagged.
        recent_tags: how many tags stay because they were pushed after the platform's configuration
            last changed.
        blockers: what the collector aborts on; until it is fixed, nothing is freed.
        ordered: the repositories with tags that their times cannot order, by what did.
        tied: how many tags of each repository nothing orders, although some of them would go and
            some would stay; with any of these the plan is of no use.

    """

    deletions: tuple[Deletion, ...]
    kept_tags: int
    children_left: int
    recent_tags: int
    blockers: tuple[Blocker, ...]
    ordered: Mapping[Basis, Sequence[str]] = field(default_factory=dict)
    tied: Mapping[str, int] = field(default_factory=dict)


class Collector(Protocol):
    """Says what a run of the registry's collector would do after deletions."""

    @property
    def blockers(self) -> Mapping[str, str]:
        """What it aborts on, by path; then it frees nothing."""

    def freed(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        """Return the blobs that it frees beyond what it frees anyway."""


def make_plan(inventory: Inventory, collector: Collector, *chosen: "Chosen") -> Plan:
    """Return which manifests to delete so that what was chosen goes, each with its price.

    What was chosen first comes first.
    """
    lines: dict[tuple[str, BlobNumber], Line] = {}
    for each in chosen:
        for line in _lines(inventory, each):
            lines.setdefault(line[:2], line)
    deleted: dict[str, set[BlobNumber]] = {}
    for repository, number in lines:
        deleted.setdefault(repository, set()).add(number)
    return Plan(
        deletions=tuple(price(inventory, list(lines.values()), collector.freed(deleted))),
        kept_tags=sum(each.kept_tags for each in chosen),
        children_left=sum(each.children_left for each in chosen),
        recent_tags=sum(each.recent_tags for each in chosen),
        blockers=blockers_of(collector),
        ordered={basis: names for each in chosen for basis, names in each.ordered.items()},
        tied={name: tags for each in chosen for name, tags in each.tied.items()},
    )


def blockers_of(collector: Collector) -> tuple[Blocker, ...]:
    """Return what the collector aborts on, sorted."""
    return tuple(Blocker(*each) for each in sorted(collector.blockers.items()))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The manifests that go with what is selected.

    Attributes:
        tagged: with the tags of images that are selected, by repository.
        untagged: the untagged manifests that are selected, by repository.
        gone_tags: how many tags go with ``tagged``, by repository.
        include_children: whether the manifests that only deleted indexes list go too.
        kept_tags: see :class:`Plan`.
        children_left: likewise.
        recent_tags: likewise.
        ordered: likewise.
        tied: likewise.

    """

    tagged: Mapping[str, RepositoryDeletion]
    untagged: Mapping[str, set[BlobNumber]]
    gone_tags: Mapping[str, int]
    include_children: bool
    kept_tags: int
    children_left: int
    recent_tags: int
    ordered: Mapping[Basis, Sequence[str]]
    tied: Mapping[str, int]

    def deleted(self) -> Mapping[str, AbstractSet[BlobNumber]]:
        """Return all manifests that go, by repository, in the inventory's order."""
        return self.untagged or {
            name: each.deleted(include_children=self.include_children)
            for name, each in self.tagged.items()
        }


def choose(
    inventory: Inventory,
    reaches: ManifestReaches,
    selection: Selection,
    uses: UseFigures | None,
    *,
    now: float,
    include_children: bool = False,
    dating: Dating = UNDATED,
) -> Chosen:
    """Return which manifests go so that what is selected goes and all others stay whole."""
    order = TagOrder(inventory, dating)
    untagged: Mapping[str, set[BlobNumber]] = {}
    tagged: Mapping[str, RepositoryDeletion] = {}
    if selection.untagged:
        untagged = _untagged(inventory, reaches, selection, uses, now)
    else:
        tagged = Chooser(
            inventory,
            reaches,
            uses,
            include_children=include_children,
            choose_detached=lambda each: selection.part_detached(each, uses, now),
        ).deletions(lambda each: selection.part(each, uses, now, order))
    gone_tags = dict(_gone_tags(inventory, tagged))
    return Chosen(
        tagged,
        untagged,
        gone_tags,
        include_children,
        kept_tags=sum(each.tags for each in tagged.values()) - sum(gone_tags.values()),
        children_left=0
        if include_children
        else sum(len(each.children) for each in tagged.values()),
        recent_tags=_recent(inventory, selection, uses, now, order),
        ordered=_ordered(order, selection, now),
        tied={
            name: len(tags)
            for name, tags in order.tied.items()
            if _chooses_any(selection, name, tags, now)
        },
    )


def _gone_tags(
    inventory: Inventory, chosen: Mapping[str, RepositoryDeletion]
) -> Iterator[tuple[str, int]]:
    for repository in inventory.repositories:
        deletion = chosen.get(repository.name)
        if deletion is not None:
            goes = deletion.tagged.__contains__
            yield repository.name, sum(map(goes, [tag.target for tag in repository.tags]))


def _ordered(order: TagOrder, selection: Selection, now: float) -> Mapping[Basis, Sequence[str]]:
    found: dict[Basis, list[str]] = {}
    for name, (basis, tags) in order.ordered.items():
        if _chooses_any(selection, name, tags, now):
            found.setdefault(basis, []).append(name)
    return found


def _chooses_any(selection: Selection, name: str, tags: Sequence[Tag], now: float) -> bool:
    """Return whether any of some tags would go, but for their place among the newest."""
    return any(selection.holds_for(f"{name}:{tag.name}", tag.updated_at, now) for tag in tags)


def _recent(
    inventory: Inventory,
    selection: Selection,
    uses: UseFigures | None,
    now: float,
    order: TagOrder,
) -> int:
    """Return how many tags only the change of the platform's configuration keeps."""
    if not selection.orphaned or selection.changed_at is None:
        return 0
    otherwise = replace(selection, changed_at=None)
    return sum(
        len(otherwise.part(each, uses, now, order)[0])
        - len(selection.part(each, uses, now, order)[0])
        for each in inventory.repositories
    )


def _untagged(
    inventory: Inventory,
    reaches: ManifestReaches,
    selection: Selection,
    uses: UseFigures | None,
    now: float,
) -> Mapping[str, set[BlobNumber]]:
    def is_selected(repository: Repository, revision: Revision) -> bool:
        name = f"{repository.name}@{format_digest(inventory.digests[revision.manifest])}"
        is_in = selection.is_in(repository, uses)
        return is_in and selection.holds_for(name, revision.linked_at, now)

    return untagged_manifests(inventory, reaches, uses, is_selected)


Line = tuple[str, BlobNumber, tuple[str, ...]]


def _lines(inventory: Inventory, chosen: Chosen) -> Iterator[Line]:
    """Yield what to delete: repository by repository, the oldest tags first, then the rest."""
    for repository in inventory.repositories:
        rest: list[BlobNumber] = []
        deletion = chosen.tagged.get(repository.name)
        if deletion is not None:
            yield from _tagged_lines(repository, deletion)
            rest += sorted(deletion.children) if chosen.include_children else ()
            rest += sorted(deletion.artifacts)
        yield from ((repository.name, number, ()) for number in rest)
        numbers = chosen.untagged.get(repository.name)
        if numbers:
            tags = _tags_of(repository, numbers)
            # an index goes before what it lists, so that none is ever left without its parts
            for number in sorted(numbers, key=lambda each: (each not in inventory.indexes, each)):
                yield repository.name, number, tuple(tags[number])


def _tagged_lines(repository: Repository, deletion: RepositoryDeletion) -> Iterator[Line]:
    newest = {tag.target: tag.updated_at or 0.0 for tag in reversed(newest_first(repository))}
    tags = _tags_of(repository, deletion.tagged)
    for number in sorted(deletion.tagged, key=lambda each: (newest[each], tags[each])):
        yield repository.name, number, tuple(tags[number])


def _tags_of(
    repository: Repository, numbers: Collection[BlobNumber]
) -> Mapping[BlobNumber, list[str]]:
    tags: dict[BlobNumber, list[str]] = {number: [] for number in numbers}
    for tag in repository.tags:
        if tag.target in tags:
            tags[tag.target].append(tag.name)
    return tags


def price(
    inventory: Inventory, lines: Sequence[Line], freed: set[BlobNumber]
) -> Iterator[Deletion]:
    """Yield each line with the bytes that it frees: the last line that needs a blob frees it."""
    last: dict[BlobNumber, int] = {}
    for place, (_, number, _) in enumerate(lines):
        manifest = inventory.manifests.get(number)
        parts = () if manifest is None else (*manifest.children, *manifest.blobs)
        last.update(dict.fromkeys(freed.intersection((number, *parts)), place))
    totals = [0] * len(lines)
    for blob, place in last.items():
        totals[place] += max(inventory.sizes[blob], 0)
    for (repository, number, tags), total in zip(lines, totals, strict=True):
        yield Deletion(repository, format_digest(inventory.digests[number]), tags, total)
