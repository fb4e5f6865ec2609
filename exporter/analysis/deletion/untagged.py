"""Untagged manifests: which can be deleted, because no tag, app or image needs them."""

from collections.abc import Callable, Mapping

from exporter.analysis.deletion.artifacts import Artifacts, artifacts_of
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import Reaches, RepositoryReach, with_listed
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository, Revision
from exporter.domain.uses import UseFigures

Condition = Callable[[Repository, Revision], bool]
"""Whether an untagged manifest may be chosen."""


def any_revision(_repository: Repository, _revision: Revision) -> bool:
    """Choose every untagged manifest."""
    return True


def untagged_manifests(
    inventory: Inventory,
    reaches: Reaches,
    uses: UseFigures | None,
    condition: Condition = any_revision,
) -> Mapping[str, set[BlobNumber]]:
    """Return, by repository, the manifests that no tag reaches and that nothing else needs.

    Manifests that an app names by their digest stay, with the platforms that they list, as do the
    artifacts of images that stay, and what an untagged index that stays lists. The artifacts of an
    image that is chosen go with it, although they may have tags of their own.
    """
    found = {}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        if reach.held <= reach.tagged_manifests:
            continue
        if reach.has_lost_tags or reach.tagged_manifests & inventory.unreadable:
            continue  # what a damaged tag needs is unknown
        pinned = {} if uses is None else uses.pinned.get(repository.name, {})
        kept = with_listed(inventory, pinned)
        sound = sound_links(repository, reach)
        candidates = sound - kept - reach.tagged_manifests
        chosen = {
            revision.manifest
            for revision in repository.revisions
            if revision.manifest in candidates and condition(repository, revision)
        }
        if not chosen:
            continue
        artifacts = artifacts_of(inventory, repository, reach)
        chosen = _without_needed(inventory, reach, artifacts, chosen)
        if chosen:
            following = _following(inventory, repository, artifacts, chosen) & sound
            found[repository.name] = chosen | (following - kept)
    return found


def _without_needed(
    inventory: Inventory, reach: RepositoryReach, artifacts: Artifacts, chosen: set[BlobNumber]
) -> set[BlobNumber]:
    """Leave out what a manifest that stays lists, and the artifacts of images that stay."""
    images = artifacts.manifests
    while chosen:
        # an artifact that has a tag of its own follows its image, and keeps nothing
        staying = {each for each in reach.held - chosen if images.get(each) not in chosen}
        needed = chosen & with_listed(inventory, staying)
        needed |= {number for number in chosen if images.get(number) in staying}
        if not needed:
            break
        chosen = chosen - needed
    return chosen


def _following(
    inventory: Inventory, repository: Repository, artifacts: Artifacts, chosen: set[BlobNumber]
) -> set[BlobNumber]:
    """Return the artifacts of the chosen images, without those that another tag needs."""
    names = {name for name, image in artifacts.tags.items() if image in chosen}
    own, others = set[BlobNumber](), set[BlobNumber]()
    for tag in repository.tags:
        if tag.target is not None:
            (own if tag.name in names else others).add(tag.target)
    following = {number for number, image in artifacts.manifests.items() if image in chosen}
    return (following | with_listed(inventory, own)) - with_listed(inventory, others)
