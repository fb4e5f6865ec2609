"""What is reachable from what: tag -> index, of any depth -> manifest -> config and layers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.model import BlobNumber, Manifest, Repository


@dataclass(frozen=True, slots=True)
class RepositoryReach:
    """Blobs that one repository accounts for, manifests included, on disk or not.

    Attributes:
        tagged: reachable from its tags.
        all: reachable from its tags or from any manifest that it holds.

    """

    tagged: set[BlobNumber]
    all: set[BlobNumber]


def reachable(
    manifests: Mapping[BlobNumber, Manifest], roots: Iterable[BlobNumber]
) -> set[BlobNumber]:
    """Give all that can be reached from ``roots``, the roots themselves included."""
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
    return reached


def reach_of(manifests: Mapping[BlobNumber, Manifest], repository: Repository) -> RepositoryReach:
    """Tell what one repository accounts for."""
    tagged = reachable(manifests, _targets(repository))
    untagged = {revision.manifest for revision in repository.revisions} - tagged
    return RepositoryReach(tagged, tagged | reachable(manifests, untagged))


def _targets(repository: Repository) -> set[BlobNumber]:
    """Give the manifests that the repository's tags point to."""
    return {tag.target for tag in repository.tags if tag.target is not None}
