"""What is reachable from what: tag -> index, of any depth -> manifest -> config and layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.model import BlobNumber, Manifest, Repository


@dataclass(frozen=True, slots=True)
class RepositoryReach:
    """Blobs that one repository accounts for, manifests included, on disk or not.

    Attributes:
        targets: what its tags point to.
        has_lost_tags: whether it has tags of which that is not known.
        held: the manifests that it holds: those with a revision.
        tagged: reachable from its tags.
        tagged_manifests: those of ``tagged`` that are manifests.
        all: reachable from its tags or from any manifest that it holds.
        all_manifests: those of ``all`` that are manifests.

    """

    targets: set[BlobNumber]
    has_lost_tags: bool
    held: set[BlobNumber]
    tagged: set[BlobNumber]
    tagged_manifests: set[BlobNumber]
    all: set[BlobNumber]
    all_manifests: set[BlobNumber]


def expand(
    manifests: Mapping[BlobNumber, Manifest], roots: Iterable[BlobNumber]
) -> tuple[set[BlobNumber], set[BlobNumber]]:
    """Give all that can be reached from ``roots``, and those of it that are manifests.

    The roots belong to both, and so does every child, whether it can be read or not.
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


def reachable(
    manifests: Mapping[BlobNumber, Manifest], roots: Iterable[BlobNumber]
) -> set[BlobNumber]:
    """Give all that can be reached from ``roots``, the roots themselves included."""
    return expand(manifests, roots)[0]


def reach_of(manifests: Mapping[BlobNumber, Manifest], repository: Repository) -> RepositoryReach:
    """Tell what one repository accounts for."""
    named = {tag.target for tag in repository.tags}
    targets = {target for target in named if target is not None}
    held = {revision.manifest for revision in repository.revisions}
    tagged, tagged_manifests = expand(manifests, targets)
    untagged, untagged_manifests = expand(manifests, held - tagged_manifests)
    return RepositoryReach(
        targets=targets,
        has_lost_tags=len(targets) < len(named),
        held=held,
        tagged=tagged,
        tagged_manifests=tagged_manifests,
        all=tagged | untagged,
        all_manifests=tagged_manifests | untagged_manifests,
    )
