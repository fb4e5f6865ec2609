"""What is known of one blob: what it is, its state, and what needs it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporter.analysis.reverse_references import ReverseReferences
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import ABSENT, Inventory
from exporter.domain.snapshot import BlobState, Snapshot
from exporter.domain.uses import Use, UseFigures
from exporter.views.app_uses import AppLookup, AppNeed
from exporter.views.blob_kind import BlobKind, BlobType

MISSING = "missing"
"""State of a blob that something references and that is not on disk."""


@dataclass(frozen=True, slots=True)
class RepositoryLinks:
    """A repository that links a blob: as a ``manifest``, a ``layer``, or both.

    Version 2 and 3 of the registry link a configuration like a layer.
    """

    repository: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedingManifest:
    """A manifest or index that needs a blob, itself or through others.

    Attributes:
        digest: its own.
        kind: ``manifest`` or ``index``.
        repositories: those that hold it, sorted.

    """

    digest: str
    kind: BlobKind
    repositories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedingTag:
    """A tag that needs a blob.

    Attributes:
        repository: its repository.
        tag: its name.
        digest: of what it points to.
        use: what apps use it for; None without a platform.

    """

    repository: str
    tag: str
    digest: str
    use: Use | None


@dataclass(frozen=True, slots=True)
class BlobAnswer:
    """One blob.

    Attributes:
        digest: its digest.
        kind: what it is.
        media_type: as a manifest or it itself states; None if neither can be read.
        bytes: on disk; None if it is not there or its size is unknown.
        state: a :class:`BlobState`, or :data:`MISSING`; None if unknown.
        repositories: those that link it, by name.
        manifests: those that need it, by digest.
        tags: those that need it, by repository and name.
        apps: those that need it, by name; None while it is unknown which images apps use.

    """

    digest: str
    kind: BlobKind
    media_type: str | None
    bytes: int | None
    state: str | None
    repositories: tuple[RepositoryLinks, ...]
    manifests: tuple[NeedingManifest, ...]
    tags: tuple[NeedingTag, ...]
    apps: tuple[AppNeed, ...] | None


def answer_of(
    inventory: Inventory,
    snapshot: Snapshot,
    number: BlobNumber,
    blob_type: BlobType,
    layer_links: Collection[str],
) -> BlobAnswer:
    """Return what is known of a blob; ``layer_links``: repositories that link it as a layer."""
    reaching = ReverseReferences(inventory).reaching(number)
    tags = tuple(_tags(inventory, reaching, snapshot.uses))
    size = inventory.sizes[number]
    images = None if snapshot.platform is None else snapshot.platform.images
    return BlobAnswer(
        digest=format_digest(inventory.digests[number]),
        kind=blob_type.kind,
        media_type=blob_type.media_type,
        bytes=size if size >= 0 else None,
        state=MISSING if size == ABSENT else _state(inventory, reaching, is_tagged=bool(tags)),
        repositories=tuple(_links(inventory, number, layer_links)),
        manifests=tuple(_manifests(inventory, reaching - {number})),
        tags=tags,
        apps=None if images is None else AppLookup(inventory, images).needing(reaching),
    )


def _state(inventory: Inventory, reaching: set[BlobNumber], *, is_tagged: bool) -> str | None:
    if is_tagged:
        return BlobState.TAGGED
    if any(_holders(inventory, number) for number in reaching):
        return BlobState.UNTAGGED
    return BlobState.UNREFERENCED if inventory.references_known else None


def _tags(
    inventory: Inventory, reaching: set[BlobNumber], uses: UseFigures | None
) -> Iterator[NeedingTag]:
    for repository in inventory.repositories:
        for tag in repository.tags:
            if tag.target is not None and tag.target in reaching:
                digest = format_digest(inventory.digests[tag.target])
                use = None if uses is None else uses.repositories[repository.name][tag.name]
                yield NeedingTag(repository.name, tag.name, digest, use)


def _links(
    inventory: Inventory, number: BlobNumber, layer_links: Collection[str]
) -> Iterator[RepositoryLinks]:
    holders = _holders(inventory, number)
    for name in sorted({*holders, *layer_links}):
        links = ("manifest",) * (name in holders) + ("layer",) * (name in layer_links)
        yield RepositoryLinks(name, links)


def _manifests(inventory: Inventory, reaching: set[BlobNumber]) -> Iterator[NeedingManifest]:
    by_digest = {format_digest(inventory.digests[number]): number for number in reaching}
    for digest, number in sorted(by_digest.items()):
        kind = BlobKind.INDEX if number in inventory.indexes else BlobKind.MANIFEST
        yield NeedingManifest(digest, kind, tuple(_holders(inventory, number)))


def _holders(inventory: Inventory, number: BlobNumber) -> list[str]:
    """Return the repositories that hold a manifest, by name."""
    return [
        repository.name
        for repository in inventory.repositories
        if any(revision.manifest == number for revision in repository.revisions)
    ]
