"""Untagged manifests: which can be deleted, because no tag, app or image needs them."""

from collections.abc import Callable, Mapping

from exporter.analysis.deletion.artifacts import (
    Images,
    artifacts_of,
    followers,
    images_by_artifact,
    targets_of,
)
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import ManifestReach, ManifestReaches, with_listed
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
    reaches: ManifestReaches,
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
        tags, following = followers(inventory, repository, artifacts, chosen)
        names = {tag.name for tag in tags}
        others = targets_of(tag for tag in repository.tags if tag.name not in names)
        going = chosen | ((following & sound) - kept - with_listed(inventory, others))
        images = images_by_artifact(repository, artifacts)
        going = without_needed(inventory, reach, images, going)
        if going:
            found[repository.name] = going
    return found


def without_needed(
    inventory: Inventory, reach: ManifestReach, images: Images, going: set[BlobNumber]
) -> set[BlobNumber]:
    """Leave out what a manifest that stays lists, and the artifacts of ``images`` that stay."""
    while going:
        staying = (reach.held | reach.targets) - going
        needed = going & with_listed(inventory, staying)
        needed |= {each for each in images.keys() & going if not images[each].isdisjoint(staying)}
        if not needed:
            break
        going = going - needed
    return going
