"""What is known of one blob: what it is, its state, and what needs it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice

from exporter.analysis.reverse_references import manifests_reaching
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import ABSENT, Inventory, Repository, Tag
from exporter.domain.snapshot import BlobState, Snapshot
from exporter.domain.uses import Use, UseFigures
from exporter.views.app_uses import AppLookup, AppNeed
from exporter.views.blob_kind import BlobKind, BlobType
from exporter.views.detail.listed import MOST, Listed

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


@dataclass(frozen=True, slots=True)
class RepositoryNeed:
    """Why a repository needs a blob.

    Attributes:
        repository: the repository.
        manifests: those that it holds and that reach the blob, or are it.
        tags: those that point to such a manifest.

    """

    repository: Repository
    manifests: Sequence[BlobNumber]
    tags: Sequence[Tag]


def needs_of(
    inventory: Inventory, reaching: AbstractSet[BlobNumber], most: int | None = None
) -> list[RepositoryNeed]:
    """Return the repositories that need a blob which ``reaching`` reach, by name.

    ``most``: how many there are, if that is known; then the search ends with the last one.
    """
    found: list[RepositoryNeed] = []
    for repository in inventory.repositories:
        if len(found) == most:
            break
        manifests = [each.manifest for each in repository.revisions if each.manifest in reaching]
        tags = [tag for tag in repository.tags if tag.target in reaching]
        if manifests or tags:
            found.append(RepositoryNeed(repository, manifests, tags))
    return found


def answer_of(
    inventory: Inventory,
    snapshot: Snapshot,
    number: BlobNumber,
    parents: Sequence[BlobNumber],
    blob_type: BlobType,
    layer_links: Collection[str],
) -> BlobAnswer:
    """Return what is known of a blob.

    ``parents`` are the manifests that reference it, ``layer_links`` the repositories that link it
    as a layer.
    """
    reaching = manifests_reaching(inventory, number, parents)
    needs = needs_of(inventory, reaching)
    images = None if snapshot.platform is None else snapshot.platform.images
    return BlobAnswer(
        digest=format_digest(inventory.digests[number]),
        kind=blob_type.kind,
        media_type=blob_type.media_type,
        bytes=size_of(inventory, number),
        state=state_of(inventory, number, needs),
        repositories=tuple(_links(number, needs, layer_links)),
        manifests=tuple(_manifests(inventory, reaching - {number}, needs)),
        tags=tuple(tags_of(inventory, needs, snapshot.uses)),
        apps=None if images is None else AppLookup(inventory, images).needing(reaching),
    )


def size_of(inventory: Inventory, number: BlobNumber) -> int | None:
    """Return the bytes of a blob; None if it is not on disk or its size is unknown."""
    size = inventory.sizes[number]
    return size if size >= 0 else None


def state_of(
    inventory: Inventory, number: BlobNumber, needs: Sequence[RepositoryNeed]
) -> str | None:
    """Return a :class:`BlobState`, or :data:`MISSING`; None if it is unknown."""
    if inventory.sizes[number] == ABSENT:
        return MISSING
    if any(each.tags for each in needs):
        return BlobState.TAGGED
    if needs:
        return BlobState.UNTAGGED
    return BlobState.UNREFERENCED if inventory.references_known else None


def tags_of(
    inventory: Inventory, needs: Sequence[RepositoryNeed], uses: UseFigures | None
) -> Iterator[NeedingTag]:
    """Yield the tags that need a blob, by repository and name."""
    for need in needs:
        name = need.repository.name
        for tag in need.tags:
            if tag.target is not None:
                digest = format_digest(inventory.digests[tag.target])
                use = None if uses is None else uses.repositories[name][tag.name]
                yield NeedingTag(name, tag.name, digest, use)


def _holders_of(needs: Sequence[RepositoryNeed]) -> Mapping[BlobNumber, list[str]]:
    """Return the names of the repositories that hold each manifest that needs a blob, sorted."""
    found: dict[BlobNumber, list[str]] = {}
    for need in needs:
        for number in need.manifests:
            found.setdefault(number, []).append(need.repository.name)
    return found


def _needing_manifest(
    inventory: Inventory, number: BlobNumber, holders: Mapping[BlobNumber, list[str]]
) -> NeedingManifest:
    """Return a manifest that needs a blob, with those that hold it."""
    kind = BlobKind.INDEX if number in inventory.indexes else BlobKind.MANIFEST
    digest = format_digest(inventory.digests[number])
    return NeedingManifest(digest, kind, tuple(holders.get(number, ())))


def first_tags(
    inventory: Inventory, needs: Sequence[RepositoryNeed], uses: UseFigures | None
) -> Listed[NeedingTag]:
    """Return the first tags that need a blob, by repository and name."""
    shown = islice(tags_of(inventory, needs, uses), MOST)
    return Listed(tuple(shown), sum(len(each.tags) for each in needs))


def first_manifests(
    inventory: Inventory, numbers: Collection[BlobNumber], needs: Sequence[RepositoryNeed]
) -> Listed[NeedingManifest]:
    """Return the first of the manifests that need a blob, by digest."""
    shown = nsmallest(MOST, numbers, key=inventory.digests.__getitem__)
    wanted = set(shown)
    holders: dict[BlobNumber, list[str]] = {each: [] for each in shown}
    for need in needs:
        for number in wanted.intersection(need.manifests):
            holders[number].append(need.repository.name)
    found = (_needing_manifest(inventory, each, holders) for each in shown)
    return Listed(tuple(found), len(numbers))


def _links(
    number: BlobNumber, needs: Sequence[RepositoryNeed], layer_links: Collection[str]
) -> Iterator[RepositoryLinks]:
    holders = {each.repository.name for each in needs if number in each.manifests}
    for name in sorted({*holders, *layer_links}):
        links = ("manifest",) * (name in holders) + ("layer",) * (name in layer_links)
        yield RepositoryLinks(name, links)


def _manifests(
    inventory: Inventory, reaching: AbstractSet[BlobNumber], needs: Sequence[RepositoryNeed]
) -> Iterator[NeedingManifest]:
    holders = _holders_of(needs)
    found = (_needing_manifest(inventory, number, holders) for number in reaching)
    yield from sorted(found, key=lambda each: each.digest)
