"""Fast path of the collector simulation for a consistent store.

In a consistent store every link is correct, every manifest that another lists is linked in the same
repository, nothing is missing, and nothing obstructs the collector. What it marks then follows from
what each repository reaches. :mod:`exporter.analysis.collector_simulation` walks all other stores
link by link, and names the source of the rules.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain

from exporter.analysis.reachability import Reaches, RepositoryReach, referenced_by
from exporter.domain.digests import BlobNumber
from exporter.domain.layer_links import LayerLinkFault
from exporter.domain.model import (
    ALL_DIRECTORIES,
    Inventory,
    Repository,
)
from exporter.domain.snapshot import TagName


def is_plain(repository: Repository, reach: RepositoryReach, odd: frozenset[BlobNumber]) -> bool:
    """Return whether what the collector marks follows from what a repository reaches."""
    return (
        not repository.layout.mislinked
        and not repository.layout.tag_obstacles
        and not repository.layout.stray_links
        and repository.layout.directories == ALL_DIRECTORIES
        and reach.all_manifests == reach.held
        # version 3 follows a manifest that is named as a layer too
        and reach.tagged.isdisjoint(reach.untagged_manifests - reach.tagged_manifests)
        and odd.isdisjoint(reach.held)
        and not reach.has_lost_tags
    )


def is_orderly(inventory: Inventory, reaches: Reaches) -> bool:
    """Return whether a store is consistent."""
    odd = inventory.unreadable | inventory.unusual
    return (
        not inventory.layout.misplaced
        and not inventory.layout.walk_ends
        and not has_links_without_digest(inventory)
        and all(map(is_plain, inventory.repositories, reaches, [odd] * len(reaches)))
    )


def has_oddities(inventory: Inventory) -> bool:
    """Return whether anything outside the repositories may make a store inconsistent."""
    odd = (
        inventory.layout.misplaced,
        inventory.layout.walk_ends,
        inventory.unreadable,
        inventory.unusual,
        has_links_without_digest(inventory),
    )
    return any(odd)


def has_links_without_digest(inventory: Inventory) -> bool:
    """Return whether version 3 aborts on a layer link of a repository."""
    faults = chain.from_iterable(each.values() for each in inventory.broken_layer_links.values())
    return LayerLinkFault.NO_DIGEST in faults


def names_over_untagged(
    inventory: Inventory, repository: Repository, reach: RepositoryReach
) -> Iterator[TagName]:
    """Yield the tags of indexes that list, at any depth, a manifest without a tag of its own."""
    indexes, manifests = inventory.indexes, inventory.manifests
    suspects = reach.targets & indexes
    found = {each for each in suspects if not reach.targets.issuperset(manifests[each].children)}
    outer: set[BlobNumber] = set()
    if not indexes.isdisjoint(reach.below):
        outer = {each for each in suspects if not indexes.isdisjoint(manifests[each].children)}
    while more := {each for each in outer - found if found & {*manifests[each].children}}:
        found |= more
    if found:
        names = [tag.name for tag in repository.tags if tag.target in found]
        yield from (TagName(repository.name, name) for name in names)


def kept_after_untagging(
    inventory: Inventory, reaches: Reaches, staying: Mapping[str, AbstractSet[BlobNumber]]
) -> set[BlobNumber]:
    """Return what a run without ``--delete-untagged`` still marks after deletions.

    All tagged manifests are deleted except ``staying``, by repository; in a repository that is not
    named, all stay.
    """
    kept: set[BlobNumber] = set()
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        stays = staying.get(repository.name)
        if stays is None:
            kept |= reach.all
        elif (reach.below | reach.untagged_manifests) & reach.targets <= stays:
            # untagged manifests stay, with everything that they reference; none of that is
            # deleted through another tag
            left = reach.targets & stays
            kept.update(reach.below, reach.untagged, left)
            kept |= referenced_by(inventory.manifests, left)[0]
        else:
            left = reach.held - (reach.targets - stays)
            kept.update(left, referenced_by(inventory.manifests, left)[0])
    return kept
