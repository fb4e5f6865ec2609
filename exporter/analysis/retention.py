"""What deletions would free: retention policies, and any other choice of tags."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.analysis.garbage import Dialect, Reaches, mark
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import expand
from exporter.analysis.repositories import bytes_on_disk
from exporter.model import BlobNumber, Inventory, Repository, Tag
from exporter.snapshot import GcMode, PolicyFigures, Use, UseFigures

Choice = Callable[[Repository], Iterable[Tag]]
"""Chooses the tags of a repository that shall go, all others stay."""


def policy_name(keep_last: int) -> str:
    """Give the name of the policy that keeps so many tags."""
    return f"keep-last-{keep_last}"


def newest_first(repository: Repository) -> list[Tag]:
    """Give all tags of a repository in the order of their age.

    A tag is as old as its link; those of one moment are told apart by name, and one of which the
    time is not known is the oldest.
    """
    # tags are sorted by name, and stay so where they are of one moment
    return sorted(repository.tags, key=lambda tag: tag.updated_at or 0.0, reverse=True)


def beyond_last(repository: Repository, keep: int) -> list[Tag]:
    """Give all tags but the ``keep`` newest, newest first."""
    if len(repository.tags) <= keep:
        return []
    return newest_first(repository)[keep:]


@dataclass(frozen=True, slots=True)
class Deletions:
    """What a choice of tags comes to.

    Attributes:
        tags: how many tags were chosen.
        manifests: by repository, the manifests to delete, each with the tags that point to it.

    """

    tags: int
    manifests: Mapping[str, Mapping[BlobNumber, tuple[str, ...]]]


def running_manifests(uses: UseFigures | None, repository: str) -> set[BlobNumber]:
    """Give the manifests of a repository that run under their digest, whether tagged or not."""
    pinned = {} if uses is None else uses.pinned.get(repository, {})
    return {number for number, use in pinned.items() if use is Use.RUNNING}


def choose(
    inventory: Inventory, reaches: Reaches, choice: Choice, uses: UseFigures | None
) -> Deletions:
    """Tell which manifests can be deleted so that the chosen tags go and all others stay whole.

    Deleting a manifest deletes every tag that points to it: one that a tag that stays points to,
    or reaches through an index, is kept. A running tag always stays. ``uses`` is None where nobody
    asks CapRover.
    """
    count = 0
    chosen: dict[str, Mapping[BlobNumber, tuple[str, ...]]] = {}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        known = {} if uses is None else uses.repositories[repository.name]
        going = {tag.name for tag in choice(repository) if known.get(tag.name) is not Use.RUNNING}
        if not going:
            continue
        count += len(going)
        kept = {tag.target for tag in repository.tags if tag.name not in going} - {None}
        kept |= running_manifests(uses, repository.name)
        staying = expand(inventory.manifests, (each for each in kept if each is not None))[1]
        free = (reach.targets & sound_links(repository, reach)) - staying
        by_target: dict[BlobNumber, list[str]] = {target: [] for target in free}
        for tag in repository.tags:
            if tag.target in by_target:
                by_target[tag.target].append(tag.name)
        chosen[repository.name] = {target: tuple(names) for target, names in by_target.items()}
    return Deletions(count, chosen)


class CollectorAfter:
    """Foretells a run of the collector after deletions, beyond what it frees without them."""

    def __init__(self, inventory: Inventory, reaches: Reaches, dialect: Dialect) -> None:
        self._inventory = inventory
        self._reaches = reaches
        self._dialect = dialect
        self._before = mark(inventory, reaches, dialect, GcMode.DEFAULT)

    @property
    def blockers(self) -> Mapping[str, str]:
        """On what it aborts, by path; then it frees nothing."""
        return self._before.blockers

    def freed(self, deleted: Mapping[str, Collection[BlobNumber]]) -> set[BlobNumber]:
        """Give the blobs that it frees; ``deleted`` are manifests, by repository."""
        if self._before.blockers:
            return set()
        after = mark(self._inventory, self._reaches, self._dialect, GcMode.DEFAULT, deleted)
        return self._before.blobs - after.blobs


def price_policies(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    keep_last: Sequence[int],
    uses: UseFigures | None,
) -> Iterator[PolicyFigures]:
    """Tell what each policy would delete and free; ``keep_last`` are their numbers of tags.

    What it would free is not known while something could not be read that may change it.
    """
    if not keep_last:
        return
    collector = CollectorAfter(inventory, reaches, dialect)
    for keep in keep_last:
        deletions = choose(inventory, reaches, partial(beyond_last, keep=keep), uses)
        freed = None
        if not inventory.unread:
            freed = bytes_on_disk(inventory, collector.freed(deletions.manifests))
        yield PolicyFigures(policy_name(keep), deletions.tags, freed)
