"""The tags of one repository: size, exclusive bytes, push time, platforms, use."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.deletion.artifacts import Artifacts, artifacts_of
from exporter.analysis.deletion.order import newest_first
from exporter.analysis.reachability import RepositoryReach, reach_of, reachable_from
from exporter.analysis.repository_figures import targets_of
from exporter.domain.artifacts import ArtifactState
from exporter.domain.digests import BlobNumber, Digest, format_digest
from exporter.domain.holders import BlobHolders
from exporter.domain.model import Inventory, Repository, Tag
from exporter.domain.snapshot import (
    BrokenTag,
    Integrity,
    PartialTag,
    Snapshot,
    StoreReading,
)
from exporter.domain.uses import Use, UseFigures
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


def digests_of_tags(inventory: Inventory, repository: Repository) -> list[Digest]:
    """Return what a repository's tags point to."""
    return [inventory.digests[tag.target] for tag in repository.tags if tag.target is not None]


@dataclass(frozen=True, slots=True)
class RepositoryTags:
    """What is known of all tags of a repository without reading from the store.

    Attributes:
        repository: the repository.
        bytes: bytes on disk of everything that each tag reaches, by its name.
        exclusive_bytes: the part of it that nothing else reaches, likewise.
        artifacts: signatures and the like.
        broken: why tags cannot be pulled.
        partial: why only some of the images of tags can be pulled.

    """

    repository: Repository
    bytes: Mapping[str, int]
    exclusive_bytes: Mapping[str, int]
    artifacts: Artifacts
    broken: Mapping[str, str]
    partial: Mapping[str, str]


def repository_tags(
    inventory: Inventory,
    repository: Repository,
    reach: RepositoryReach,
    holders: BlobHolders,
    integrity: Integrity | None,
) -> RepositoryTags:
    """Return what is known of a repository's tags; ``holders`` are those of all blobs."""
    manifests, counts = inventory.manifests, holders.counts
    pointing = targets_of(repository)
    blobs = {target: reachable_from(manifests, target) for target in pointing}
    needed = Counter(reach.untagged)
    for target, tags in pointing.items():
        # two tags of one manifest need the same: neither has it alone
        needed.update(blobs[target] if tags == 1 else list(blobs[target]) * 2)
    sizes = {target: bytes_on_disk(inventory, found) for target, found in blobs.items()}
    exclusive = {
        target: bytes_on_disk(
            inventory, [each for each in found if needed[each] == 1 and counts[each] == 1]
        )
        for target, found in blobs.items()
    }
    integrity = integrity or Integrity((), ())
    return RepositoryTags(
        repository,
        {each.name: _of(sizes, each) for each in repository.tags},
        {each.name: _of(exclusive, each) for each in repository.tags},
        artifacts_of(inventory, repository, reach),
        _reasons(integrity.broken_tags, repository),
        _reasons(integrity.partial_tags, repository),
    )


def tag_row(
    inventory: Inventory,
    tags: RepositoryTags,
    tag: Tag,
    platforms: tuple[str, ...],
    uses: UseFigures | None,
    lookup: AppLookup | None,
) -> TagRow:
    """Return one tag; ``lookup`` is None while it is unknown which images apps use."""
    name = tags.repository.name
    return TagRow(
        tag=tag.name,
        digest=None if tag.target is None else format_digest(inventory.digests[tag.target]),
        bytes=tags.bytes[tag.name],
        exclusive_bytes=tags.exclusive_bytes[tag.name],
        pushed_at=tag.updated_at,
        platforms=platforms,
        use=None if uses is None else uses.repositories[name].get(tag.name),
        apps=None if lookup is None else lookup.of_tag(name, tag),
        broken=tags.broken.get(tag.name),
        partial=tags.partial.get(tag.name),
        artifact=_state(tags.artifacts, tag),
    )


def tag_rows(
    reading: StoreReading, snapshot: Snapshot, repository: Repository, platforms: Platforms
) -> tuple[TagRow, ...]:
    """Return the tags of a repository, newest first."""
    inventory = reading.inventory
    holders = reading.holders or BlobStates.of(inventory).holders
    reach = reach_of(inventory.manifests, repository)
    tags = repository_tags(inventory, repository, reach, holders, snapshot.integrity)
    images = None if snapshot.platform is None else snapshot.platform.images
    lookup = None if images is None else AppLookup(inventory, images)

    def row(tag: Tag) -> TagRow:
        digest = None if tag.target is None else inventory.digests[tag.target]
        known = () if digest is None else platforms.get(digest, ())
        return tag_row(inventory, tags, tag, known, snapshot.uses, lookup)

    return tuple(map(row, newest_first(repository)))


def _of(figures: Mapping[BlobNumber, int], tag: Tag) -> int:
    return 0 if tag.target is None else figures[tag.target]


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
