"""The tags of one repository: size, exclusive bytes, push time, platforms, use."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.deletion.artifacts import Artifacts, artifacts_of
from exporter.analysis.deletion.order import newest_first
from exporter.analysis.reachability import Reaches, RepositoryReach, reachable, reaches_of
from exporter.domain.artifacts import ArtifactState
from exporter.domain.digests import (
    BlobNumber,
    Digest,
    format_digest,
)
from exporter.domain.model import (
    Inventory,
    Repository,
    Tag,
)
from exporter.domain.snapshot import (
    BrokenTag,
    Integrity,
    PartialTag,
    Snapshot,
    StoreReading,
)
from exporter.domain.uses import Use
from exporter.views.app_uses import AppLookup, AppUse

Platforms = Mapping[Digest, tuple[str, ...]]
"""Platforms by manifest."""


@dataclass(frozen=True, slots=True)
class TagRow:
    """One tag.

    Attributes:
        tag: its name.
        digest: of the manifest it points to; None if unknown.
        bytes: bytes on disk of everything that it reaches.
        exclusive_bytes: bytes of what nothing else in the store reaches, tagged or not.
        pushed_at: when it was written, Unix seconds; None if unknown.
        platforms: such as ``linux/amd64``; empty if that is unknown.
        use: what apps use it for; None without a platform.
        apps: those that use it, by name; None while it is unknown which images apps use.
        broken: why it cannot be pulled; None if it can, whole or in part.
        partial: why only some of its images can be pulled; None if all can, or none.
        artifact: of a signature, attestation, SBOM or their kind: ``attached``, or ``detached`` if
            its image is gone; None of other tags.

    """

    tag: str
    digest: str | None
    bytes: int
    exclusive_bytes: int
    pushed_at: float | None
    platforms: tuple[str, ...]
    use: Use | None
    apps: tuple[AppUse, ...] | None
    broken: str | None
    partial: str | None
    artifact: ArtifactState | None


def repository_named(inventory: Inventory, name: str) -> Repository:
    """Return the repository of that name, which exists."""
    return next(each for each in inventory.repositories if each.name == name)


def targets_of(inventory: Inventory, repository: Repository) -> list[Digest]:
    """Return what a repository's tags point to."""
    return [inventory.digests[tag.target] for tag in repository.tags if tag.target is not None]


def tag_rows(
    reading: StoreReading, snapshot: Snapshot, repository: Repository, platforms: Platforms
) -> tuple[TagRow, ...]:
    """Return the tags of a repository, newest first."""
    inventory = reading.inventory
    reach = _reach_by_tag(inventory, repository)
    reaches = reaches_of(inventory)
    holders = _count_holders(inventory, reaches, repository, list(reach.values()))
    artifacts = artifacts_of(inventory, repository, _reach_of(inventory, reaches, repository))
    integrity = snapshot.integrity or Integrity((), ())
    broken = _reasons(integrity.broken_tags, repository)
    partial = _reasons(integrity.partial_tags, repository)
    images = None if snapshot.platform is None else snapshot.platform.images
    lookup = None if images is None else AppLookup(inventory, images)
    uses = snapshot.uses.repositories[repository.name] if snapshot.uses is not None else {}

    def row(tag: Tag) -> TagRow:
        digest = None if tag.target is None else inventory.digests[tag.target]
        blobs = reach[tag.name]
        return TagRow(
            tag=tag.name,
            digest=None if digest is None else format_digest(digest),
            bytes=bytes_on_disk(inventory, blobs),
            exclusive_bytes=bytes_on_disk(
                inventory, {each for each in blobs if holders[each] == 1}
            ),
            pushed_at=tag.updated_at,
            platforms=() if digest is None else platforms.get(digest, ()),
            use=uses.get(tag.name),
            apps=None if lookup is None else lookup.of_tag(repository.name, tag),
            broken=broken.get(tag.name),
            partial=partial.get(tag.name),
            artifact=_state(artifacts, tag),
        )

    return tuple(map(row, newest_first(repository)))


def _state(artifacts: Artifacts, tag: Tag) -> ArtifactState | None:
    if tag.name in artifacts.tags:
        image = artifacts.tags[tag.name]
    elif tag.target is not None and tag.target in artifacts.manifests:
        image = artifacts.manifests[tag.target]
    else:
        return None
    return ArtifactState.DETACHED if image is None else ArtifactState.ATTACHED


def _reasons(tags: Iterable[BrokenTag | PartialTag], repository: Repository) -> Mapping[str, str]:
    return {each.tag: each.reason for each in tags if each.repository == repository.name}


def _reach_by_tag(inventory: Inventory, repository: Repository) -> dict[str, set[BlobNumber]]:
    return {
        tag.name: set() if tag.target is None else reachable(inventory.manifests, (tag.target,))
        for tag in repository.tags
    }


def _reach_of(inventory: Inventory, reaches: Reaches, repository: Repository) -> RepositoryReach:
    return reaches[inventory.repositories.index(repository)]


def _count_holders(
    inventory: Inventory,
    reaches: Reaches,
    repository: Repository,
    by_tag: Sequence[set[BlobNumber]],
) -> Counter[BlobNumber]:
    """Count what holds each blob: the repository's tags, its untagged manifests, others."""
    holders: Counter[BlobNumber] = Counter()
    for blobs in by_tag:
        holders.update(blobs)
    for other, reach in zip(inventory.repositories, reaches, strict=True):
        if other.name == repository.name:
            untagged = reach.held - reach.tagged_manifests
            holders.update(reachable(inventory.manifests, untagged))
        else:
            holders.update(reach.all)
    return holders
