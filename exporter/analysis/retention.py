"""What deletions would free: retention policies, and any other choice of tags."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.analysis.garbage import Dialect, Reaches, mark
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import expand
from exporter.model import BlobNumber, Inventory, Repository, Tag
from exporter.snapshot import GcMode, PolicyFigures, Use

Uses = Mapping[str, Mapping[str, Use]]
"""Of every repository, the use of each tag; empty where nobody asks CapRover."""

Choice = Callable[[Repository], Iterable[Tag]]
"""Chooses the tags of a repository that shall go, all others stay."""


def policy_name(keep_last: int) -> str:
    """Give the name of the policy that keeps so many tags."""
    return f"keep-last-{keep_last}"


def beyond_last(repository: Repository, keep: int) -> list[Tag]:
    """Give all tags but the ``keep`` newest, newest first.

    A tag is as old as its link; those of one moment are told apart by name, and one of which the
    time is not known is the oldest.
    """
    if len(repository.tags) <= keep:
        return []
    # tags are sorted by name, and stay so where they are of one moment
    return sorted(repository.tags, key=lambda tag: tag.updated_at or 0.0, reverse=True)[keep:]


@dataclass(frozen=True, slots=True)
class Deletions:
    """What a choice of tags comes to.

    Attributes:
        tags: how many tags were chosen.
        manifests: by repository, the manifests to delete, each with the tags that point to it.

    """

    tags: int
    manifests: Mapping[str, Mapping[BlobNumber, tuple[str, ...]]]


def choose(inventory: Inventory, reaches: Reaches, choice: Choice, uses: Uses) -> Deletions:
    """Tell which manifests can be deleted so that the chosen tags go and all others stay whole.

    Deleting a manifest deletes every tag that points to it: one that a tag that stays points to,
    or reaches through an index, is kept. A running tag always stays.
    """
    count = 0
    chosen: dict[str, Mapping[BlobNumber, tuple[str, ...]]] = {}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        known = uses.get(repository.name, {})
        going = {tag.name for tag in choice(repository) if known.get(tag.name) is not Use.RUNNING}
        if not going:
            continue
        count += len(going)
        kept = {tag.target for tag in repository.tags if tag.name not in going}
        staying = expand(inventory.manifests, (each for each in kept if each is not None))[1]
        free = (reach.targets & sound_links(repository, reach)) - staying
        by_target: dict[BlobNumber, list[str]] = {target: [] for target in free}
        for tag in repository.tags:
            if tag.target in by_target:
                by_target[tag.target].append(tag.name)
        chosen[repository.name] = {target: tuple(names) for target, names in by_target.items()}
    return Deletions(count, chosen)


def freed_by(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    deleted: Mapping[str, Collection[BlobNumber]],
) -> int | None:
    """Give the bytes that a run of the collector would free after deletions, beyond those before.

    None while something could not be read that may change it; 0 while the collector is blocked.
    """
    if inventory.unread:
        return None
    before = mark(inventory, reaches, dialect, GcMode.DEFAULT)
    if before.blockers:
        return 0
    after = mark(inventory, reaches, dialect, GcMode.DEFAULT, deleted)
    sizes = map(inventory.sizes.__getitem__, before.blobs - after.blobs)
    return sum(size for size in sizes if size > 0)


def price_policies(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    keep_last: Sequence[int],
    uses: Uses,
) -> Iterator[PolicyFigures]:
    """Tell what each policy would delete and free; ``keep_last`` are their numbers of tags."""
    for keep in keep_last:
        deletions = choose(inventory, reaches, partial(beyond_last, keep=keep), uses)
        freed = freed_by(inventory, reaches, dialect, deletions.manifests)
        yield PolicyFigures(policy_name(keep), deletions.tags, freed)
