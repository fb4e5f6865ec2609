"""Reachability: tag -> index, at any depth -> manifest -> configuration and layers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.domain.digests import BlobNumber
from exporter.domain.model import (
    Inventory,
    Manifest,
    Repository,
)


@dataclass(frozen=True, slots=True)
class RepositoryReach:
    """The blobs that one repository reaches, manifests included, on disk or not.

    Attributes:
        targets: what its tags point to.
        has_lost_tags: whether the target of a tag is unknown.
        held: the manifests that it holds: those with a revision.
        direct: ``targets`` and their own references.
        below: the manifests that ``targets`` list, and what is reachable from them.
        tagged: reachable from its tags.
        untagged: reachable from the other manifests that it holds.
        tagged_manifests: those of ``tagged`` that are manifests.
        untagged_manifests: those of ``untagged`` that are.
        all: reachable from its tags or from any manifest that it holds.
        all_manifests: those of ``all`` that are manifests.

    """

    targets: set[BlobNumber]
    has_lost_tags: bool
    held: set[BlobNumber]
    direct: set[BlobNumber]
    below: set[BlobNumber]
    tagged: set[BlobNumber]
    untagged: set[BlobNumber]
    tagged_manifests: set[BlobNumber]
    untagged_manifests: set[BlobNumber]
    all: set[BlobNumber]
    all_manifests: set[BlobNumber]


Reaches = Sequence[RepositoryReach]
"""What each repository of an inventory reaches, in the inventory's order."""


class ManifestReach(Protocol):
    """The manifests that one repository reaches; see :class:`RepositoryReach`."""

    @property
    def targets(self) -> set[BlobNumber]:
        """What its tags point to."""

    @property
    def has_lost_tags(self) -> bool:
        """Whether the target of a tag is unknown."""

    @property
    def held(self) -> set[BlobNumber]:
        """The manifests that it holds."""

    @property
    def tagged_manifests(self) -> set[BlobNumber]:
        """The manifests that are reachable from its tags."""


ManifestReaches = Sequence[ManifestReach]
"""The manifests that each repository of an inventory reaches, in the inventory's order."""


def expand(
    manifests: Mapping[BlobNumber, Manifest], roots: Iterable[BlobNumber]
) -> tuple[set[BlobNumber], set[BlobNumber]]:
    """Return everything reachable from ``roots``, and the manifests among it.

    The roots and every child belong to both, whether they can be read or not.
    """
    pending = set(roots)
    expanded: set[BlobNumber] = set()
    reached = set(pending)
    while pending:
        expanded |= pending
        children: set[BlobNumber] = set()
        for number in pending:
            manifest = manifests.get(number)
            if manifest is not None:
                reached.update(manifest.blobs)
                children.update(manifest.children)
        reached |= children
        # a blob may be met as a layer first and as a manifest later: expanded, not reached, counts
        pending = children - expanded
    return reached, expanded


def with_listed(inventory: Inventory, roots: Iterable[BlobNumber]) -> set[BlobNumber]:
    """Return ``roots`` and the manifests that they list, at any depth."""
    found = set(roots)
    pending = found & inventory.indexes
    while pending:
        children = set[BlobNumber]().union(*[inventory.manifests[n].children for n in pending])
        pending = (children - found) & inventory.indexes
        found |= children
    return found


def referenced_by(
    manifests: Mapping[BlobNumber, Manifest], numbers: Iterable[BlobNumber]
) -> tuple[set[BlobNumber], set[BlobNumber]]:
    """Return the direct references of manifests, and those that they list as manifests."""
    found = [manifests[number] for number in numbers if number in manifests]
    children = set[BlobNumber]().union(*[manifest.children for manifest in found])
    return children.union(*[manifest.blobs for manifest in found]), children


def reached_by_many(
    manifests: Mapping[BlobNumber, Manifest], roots: set[BlobNumber]
) -> set[BlobNumber]:
    """Return the same as :func:`reachable`, faster for many roots."""
    reached, children = referenced_by(manifests, roots)
    if children:
        reached |= expand(manifests, children)[0]
    return reached | roots


def reachable_from(manifests: Mapping[BlobNumber, Manifest], root: BlobNumber) -> set[BlobNumber]:
    """Return everything reachable from one manifest, itself included."""
    manifest = manifests.get(root)
    if manifest is not None and not manifest.children:  # most are such, and this is much faster
        return {root, *manifest.blobs}
    return expand(manifests, (root,))[0]


def reach_of(manifests: Mapping[BlobNumber, Manifest], repository: Repository) -> RepositoryReach:
    """Return what one repository reaches."""
    named = {tag.target for tag in repository.tags}
    targets = {target for target in named if target is not None}
    held = {revision.manifest for revision in repository.revisions}
    direct, children = referenced_by(manifests, targets)
    below, below_manifests = expand(manifests, children)
    direct |= targets
    tagged, tagged_manifests = _union(direct, below), _union(targets, below_manifests)
    untagged, untagged_manifests = expand(manifests, held - tagged_manifests)
    all_manifests = _union(tagged_manifests, untagged_manifests)
    return RepositoryReach(
        targets=targets,
        has_lost_tags=len(targets) < len(named),
        held=held,
        direct=direct,
        below=below,
        tagged=tagged,
        untagged=untagged,
        tagged_manifests=tagged_manifests,
        untagged_manifests=untagged_manifests,
        all=_union(tagged, untagged),
        all_manifests=held if all_manifests == held else all_manifests,
    )


def reaches_of(inventory: Inventory) -> Reaches:
    """Return what each repository reaches, in the inventory's order."""
    return [reach_of(inventory.manifests, each) for each in inventory.repositories]


def _union(numbers: set[BlobNumber], others: set[BlobNumber]) -> set[BlobNumber]:
    """Return the union; if ``others`` is empty, the same set, as these sets never change."""
    return numbers | others if others else numbers


NOTHING = reach_of({}, Repository(""))
"""What a missing repository reaches."""
