"""Deletion plans: from a selection of tags to the manifests to delete, each with its price."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from exporter.analysis.deletion.retention import (
    CollectorAfter,
    Deletions,
    choose,
    keep_newest,
    newest_first,
    running_manifests,
)
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import Reaches, with_listed
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import (
    Inventory,
    Repository,
    Tag,
)
from exporter.domain.snapshot import Blocker
from exporter.domain.uses import UseFigures


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tags are to go: those for which all given conditions hold.

    Attributes:
        keep_last: not among the ``keep_last`` newest of its repository.
        orphaned: in a repository whose app the platform does not know.
        match: ``repository:tag`` as a whole matches it.
        older_than: seconds since the tag was written.
        changed_at: when the platform's configuration last changed, in Unix seconds: of an orphaned
            repository, what was pushed later stays. None if unknown.

    """

    keep_last: int | None = None
    orphaned: bool = False
    match: "re.Pattern[str] | None" = None
    older_than: float | None = None
    changed_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self == Selection()

    def part(
        self, repository: Repository, uses: UseFigures | None, now: float
    ) -> tuple[Sequence[Tag], Sequence[Tag]]:
        """Return the tags of a repository that are to go, and those that stay.

        ``now`` is in Unix seconds.
        """
        if self.orphaned and (uses is None or repository.name not in uses.orphaned_repositories):
            return (), repository.tags
        old, new = keep_newest(repository, self.keep_last or 0)
        going: list[Tag] = []
        staying = [*new]
        for tag in old:
            (going if self._holds_for(repository, tag, now) else staying).append(tag)
        return going, staying

    def _holds_for(self, repository: Repository, tag: Tag, now: float) -> bool:
        if (
            self.orphaned
            and self.changed_at is not None
            # a configuration that is older than a push may not know its app
            and (tag.updated_at is None or tag.updated_at > self.changed_at)
        ):
            return False
        if self.older_than is not None and not (
            tag.updated_at is not None and now - tag.updated_at > self.older_than
        ):
            return False
        name = f"{repository.name}:{tag.name}"
        return self.match is None or self.match.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Deletion:
    """One manifest to delete.

    Attributes:
        repository: where.
        digest: of the manifest.
        tags: the tags that point to it and go with it; none for the child of a deleted index.
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

    """

    deletions: tuple[Deletion, ...]
    kept_tags: int
    children_left: int
    recent_tags: int
    blockers: tuple[Blocker, ...]


def make_plan(
    inventory: Inventory,
    reaches: Reaches,
    collector: CollectorAfter,
    selection: Selection,
    uses: UseFigures | None,
    *,
    now: float,
    include_children: bool = False,
) -> Plan:
    """Return which manifests to delete so that the selected tags go and all others stay whole."""
    chosen = choose(inventory, reaches, lambda each: selection.part(each, uses, now), uses)
    children = _children(inventory, reaches, chosen, uses)
    lines = list(_lines(inventory, chosen, children if include_children else {}))
    deleted: dict[str, set[BlobNumber]] = {}
    for repository, number, _ in lines:
        deleted.setdefault(repository, set()).add(number)
    gone = sum(len(tags) for _, _, tags in lines)
    return Plan(
        deletions=tuple(_price(inventory, lines, collector.freed(deleted))),
        kept_tags=chosen.tags - gone,
        children_left=0 if include_children else sum(map(len, children.values())),
        recent_tags=_recent(inventory, selection, uses, now),
        blockers=tuple(Blocker(*each) for each in sorted(collector.blockers.items())),
    )


def _recent(inventory: Inventory, selection: Selection, uses: UseFigures | None, now: float) -> int:
    """Return how many tags only the change of the platform's configuration keeps."""
    if not selection.orphaned or selection.changed_at is None:
        return 0
    otherwise = replace(selection, changed_at=None)
    return sum(
        len(otherwise.part(each, uses, now)[0]) - len(selection.part(each, uses, now)[0])
        for each in inventory.repositories
    )


Line = tuple[str, BlobNumber, tuple[str, ...]]


def _children(
    inventory: Inventory, reaches: Reaches, chosen: Deletions, uses: UseFigures | None
) -> Mapping[str, list[BlobNumber]]:
    """Return, by repository, manifests that only indexes to be deleted list, in a stable order."""
    found = {}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        going = chosen.manifests.get(repository.name, set()) & inventory.indexes
        if not going:
            continue
        below = (with_listed(inventory, going) & sound_links(repository, reach)) - going
        kept = reach.targets | reach.held
        kept -= chosen.manifests[repository.name] | (below - reach.targets)
        kept |= running_manifests(uses, repository.name)
        children = below - with_listed(inventory, kept)
        children -= chosen.manifests[repository.name]
        if children:
            found[repository.name] = sorted(children)
    return found


def _lines(
    inventory: Inventory, chosen: Deletions, children: Mapping[str, list[BlobNumber]]
) -> Iterator[Line]:
    """Yield what to delete: repository by repository, the oldest tags first, then children."""
    for repository in inventory.repositories:
        going = chosen.manifests.get(repository.name)
        if not going:
            continue
        newest = {tag.target: tag.updated_at or 0.0 for tag in reversed(newest_first(repository))}
        tags: dict[BlobNumber, list[str]] = {number: [] for number in going}
        for tag in repository.tags:
            if tag.target in tags:
                tags[tag.target].append(tag.name)
        for number in sorted(going, key=lambda each: (newest[each], tags[each])):
            yield repository.name, number, tuple(tags[number])
        for number in children.get(repository.name, ()):
            yield repository.name, number, ()


def _price(inventory: Inventory, lines: list[Line], freed: set[BlobNumber]) -> Iterator[Deletion]:
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
