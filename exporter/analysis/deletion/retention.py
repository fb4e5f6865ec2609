"""Retention policies and other selections of tags: what to delete, and what that would free."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.collector_fast_path import (
    is_orderly,
    kept_after_deleting,
    kept_after_untagging,
)
from exporter.analysis.collector_simulation import Marks, mark
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import Reaches, with_listed
from exporter.domain.digests import BlobNumber
from exporter.domain.model import (
    Inventory,
    Repository,
    Tag,
)
from exporter.domain.snapshot import Dialect, GcMode
from exporter.domain.uses import PolicyFigures, Use, UseFigures

Choice = Callable[[Repository], tuple[Sequence[Tag], Sequence[Tag]]]
"""Divides the tags of a repository into those that are to go, and those that stay."""


def policy_name(keep_last: int) -> str:
    """Return the name of the policy that keeps ``keep_last`` tags."""
    return f"keep-last-{keep_last}"


def newest_first(repository: Repository) -> list[Tag]:
    """Return all tags of a repository, newest first.

    A tag is as old as its link. Tags of the same time are sorted by name; a tag whose time is
    unknown is the oldest.
    """
    # tags are sorted by name, and stay so if their times are equal
    try:
        return sorted(repository.tags, key=attrgetter("updated_at"), reverse=True)
    except TypeError:  # one has no time
        return sorted(repository.tags, key=lambda tag: tag.updated_at or 0.0, reverse=True)


def keep_newest(repository: Repository, keep: int) -> tuple[Sequence[Tag], Sequence[Tag]]:
    """Return the tags beyond the ``keep`` newest, newest first, and the ``keep`` newest."""
    if len(repository.tags) <= keep:
        return (), repository.tags
    tags = newest_first(repository)
    return tags[keep:], tags[:keep]


@dataclass(frozen=True, slots=True)
class Deletions:
    """The result of a selection of tags.

    Attributes:
        tags: how many tags were chosen.
        manifests: the manifests to delete, by repository.

    """

    tags: int
    manifests: Mapping[str, set[BlobNumber]]


def running_manifests(uses: UseFigures | None, repository: str) -> set[BlobNumber]:
    """Return the manifests of a repository that run under their digest, whether tagged or not."""
    pinned = {} if uses is None else uses.pinned.get(repository, {})
    return {number for number, use in pinned.items() if use is Use.RUNNING}


def choose(
    inventory: Inventory, reaches: Reaches, choice: Choice, uses: UseFigures | None
) -> Deletions:
    """Return which manifests can be deleted so that the chosen tags go and all others stay whole.

    Deleting a manifest deletes every tag that points to it: one that a tag that stays points to,
    or reaches through an index, is kept. A running tag always stays. ``uses`` is None without a
    platform.
    """
    tags, staying = _part(inventory, choice, uses)
    return Deletions(tags, _all_but(staying, inventory, reaches))


def _all_but(
    staying: Mapping[str, set[BlobNumber]], inventory: Inventory, reaches: Reaches
) -> Mapping[str, set[BlobNumber]]:
    """Return the tagged manifests that can be deleted, by repository in which tags go."""
    return {
        repository.name: (reach.targets & sound_links(repository, reach)) - staying[repository.name]
        for repository, reach in zip(inventory.repositories, reaches, strict=True)
        if repository.name in staying
    }


def _part(
    inventory: Inventory, choice: Choice, uses: UseFigures | None
) -> tuple[int, Mapping[str, set[BlobNumber]]]:
    """Return how many tags go, and by repository in which some go, the manifests that stay."""
    count = 0
    staying: dict[str, set[BlobNumber]] = {}
    for repository in inventory.repositories:
        going, stay = choice(repository)
        running: set[str] = set()
        if uses is not None:
            running = uses.repositories[repository.name].with_use(Use.RUNNING)
            running.difference_update(tag.name for tag in stay)
        if running:
            stay = [*stay, *(tag for tag in going if tag.name in running)]
            going = [tag for tag in going if tag.name not in running]
        if not going:
            continue
        count += len(going)
        kept = {tag.target for tag in stay if tag.target is not None}
        kept |= running_manifests(uses, repository.name)
        staying[repository.name] = with_listed(inventory, kept)
    return count, staying


class CollectorAfter:
    """Simulates a run of the collector after deletions, beyond what it frees without them."""

    def __init__(self, inventory: Inventory, reaches: Reaches, dialect: Dialect) -> None:
        self._inventory = inventory
        self._reaches = reaches
        self._dialect = dialect
        self._before: Marks | None = None
        if not is_orderly(inventory, reaches):
            self._before = mark(inventory, reaches, dialect, GcMode.DEFAULT)

    @property
    def blockers(self) -> Mapping[str, str]:
        """What it aborts on, by path; then it frees nothing."""
        return {} if self._before is None else self._before.blockers

    def freed(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        """Return the blobs that it frees; ``deleted`` are manifests, by repository."""
        if self._before is None:
            kept = kept_after_deleting(self._inventory, self._reaches, deleted)
            return set[BlobNumber]().union(*[each.all for each in self._reaches]) - kept
        if self._before.blockers:
            return set()
        after = mark(self._inventory, self._reaches, self._dialect, GcMode.DEFAULT, deleted)
        return self._before.blobs - after.blobs

    @property
    def is_orderly(self) -> bool:
        """Whether the store is consistent."""
        return self._before is None


def price_policies(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    keep_last: Sequence[int],
    uses: UseFigures | None,
    sizes: BytesOnDisk,
    referenced_bytes: int | None = None,
) -> Iterator[PolicyFigures]:
    """Yield what each policy would delete and free; ``keep_last`` are their numbers of tags.

    ``referenced_bytes`` are the bytes of all blobs that repositories reference; None if unknown.
    What a policy would free is unknown while something is unread that may change it.
    """
    if not keep_last:
        return
    collector = CollectorAfter(inventory, reaches, dialect)
    for keep in keep_last:
        tags, staying = _part(inventory, partial(keep_newest, keep=keep), uses)
        freed: int | None
        if inventory.unread:
            freed = None
        elif collector.is_orderly and referenced_bytes is not None:
            freed = referenced_bytes - sizes.of(kept_after_untagging(inventory, reaches, staying))
        else:
            freed = sizes.of(collector.freed(_all_but(staying, inventory, reaches)))
        yield PolicyFigures(policy_name(keep), tags, freed)
