"""One manifest or index: what it is, what it is made of, who needs it, whether it is whole."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.deletion.artifacts import Artifacts, artifacts_of
from exporter.analysis.integrity import PullCheck, sound_links
from exporter.analysis.reachability import reach_of, reachable_from
from exporter.analysis.reverse_references import listing, manifests_reaching, referencing
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.errors import NotReadInTimeError, StoreUnreadableError
from exporter.domain.model import ABSENT, NO_PLATFORM, Inventory
from exporter.views.app_uses import AppNeed
from exporter.views.blob_answer import (
    NeedingManifest,
    NeedingTag,
    RepositoryNeed,
    first_manifests,
    first_tags,
    needs_of,
    size_of,
)
from exporter.views.detail.image_text import ImageText, read_image
from exporter.views.detail.layers import Layers, layers_of
from exporter.views.detail.listed import MOST, Listed, first
from exporter.views.detail.repository import ManifestKind, kind_of
from exporter.views.snapshot_view import SnapshotView

_REPOSITORIES_CHECKED = 20


@dataclass(frozen=True, slots=True)
class Holding:
    """A repository that holds a manifest.

    Attributes:
        repository: its name.
        fault: why it cannot be pulled whole from there; None if it can, or that is unknown.

    """

    repository: str
    fault: str | None


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index lists.

    Attributes:
        digest: its digest.
        platform: as the index states it; empty if it does not.
        is_attestation: whether it says how another one was built, and is no image.
        bytes: bytes on disk of everything that it reaches.
        is_missing: whether it is not on disk.
        fault: why it cannot be pulled whole from a repository that holds the index; None if it can,
            or that is unknown.

    """

    digest: str
    platform: str
    is_attestation: bool
    bytes: int
    is_missing: bool
    fault: str | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A signature, attestation, SBOM or the like.

    Attributes:
        repository: where it is.
        digest: its own digest.
        tags: those that point to it.

    """

    repository: str
    digest: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageDetail:
    """One manifest or index.

    Attributes:
        digest: its digest.
        kind: what it is.
        own_bytes: its own size; None if it is not on disk.
        bytes: bytes on disk of everything that it reaches, itself included.
        text: what it and its configuration say; None if that cannot be read.
        unread: why that was not read in time; None if it was.
        layers: of an image.
        children: of an index.
        holdings: the repositories that hold it.
        is_pullable: whether it can be pulled whole from all of them; None if that is unknown.
        is_partial: whether it is an index of which some images can be pulled whole, and others not.
        missing: digests of what it needs and that is not on disk.
        tags: those that point to it, or to an index that lists it.
        indexes: those that list it.
        apps: those that need it; None while it is unknown which images apps use.
        artifacts: those that belong to it.
        belongs_to: of an artifact, the digest of its image; None of others, or if that is gone.

    """

    digest: str
    kind: ManifestKind
    own_bytes: int | None
    bytes: int
    text: ImageText | None
    unread: str | None
    layers: Layers
    children: Listed[Child]
    holdings: Listed[Holding]
    is_pullable: bool | None
    is_partial: bool
    missing: Listed[str]
    tags: Listed[NeedingTag]
    indexes: Listed[NeedingManifest]
    apps: Listed[AppNeed] | None
    artifacts: Listed[Artifact]
    belongs_to: str | None


@dataclass(frozen=True, slots=True)
class _Pointers:
    """Who points to a manifest, and what belongs to it."""

    holdings: Listed[Holding]
    tags: Listed[NeedingTag]
    indexes: Listed[NeedingManifest]
    apps: Listed[AppNeed] | None
    artifacts: Listed[Artifact]
    belongs_to: str | None
    children: Listed[Child]


def is_manifest(inventory: Inventory, number: BlobNumber) -> bool:
    """Return whether anything has a blob as a manifest, on disk or not."""
    if number in inventory.manifests or number in inventory.unreadable:
        return True
    if any(number in inventory.manifests[each].children for each in inventory.indexes):
        return True
    return any(
        number == revision.manifest
        for repository in inventory.repositories
        for revision in repository.revisions
    ) or any(
        number == tag.target for repository in inventory.repositories for tag in repository.tags
    )


def image_detail(view: SnapshotView, number: BlobNumber) -> ImageDetail:
    """Return what is known of a manifest or index. Raises NotReadYetError."""
    inventory = view.inventory
    text, unread = _read(view, number)
    pointers = view.memo.get(("image", number), lambda: _pointers(view, number))
    reached = reachable_from(inventory.manifests, number)
    missing = sorted(_missing(inventory, reached))
    layers = view.memo.get(("layers", number, text is None), lambda: layers_of(view, number, text))
    return ImageDetail(
        digest=format_digest(inventory.digests[number]),
        kind=kind_of(inventory, number),
        own_bytes=size_of(inventory, number),
        bytes=bytes_on_disk(inventory, reached),
        text=text,
        unread=unread,
        layers=layers,
        children=pointers.children,
        holdings=pointers.holdings,
        is_pullable=_is_pullable(view, pointers),
        is_partial=_is_partial(pointers.children),
        missing=first(missing),
        tags=pointers.tags,
        indexes=pointers.indexes,
        apps=pointers.apps,
        artifacts=pointers.artifacts,
        belongs_to=pointers.belongs_to,
    )


def _read(view: SnapshotView, number: BlobNumber) -> tuple[ImageText | None, str | None]:
    """Return what a manifest says, and why that is not known."""
    options, digest = view.options, view.inventory.digests[number]
    kept = options.reader.texts.get(digest)
    if kept is not None:
        return kept, None

    def read() -> ImageText | None:
        with options.store.open_blobs() as blobs:
            return read_image(blobs, digest)

    try:
        text = options.reader.read(read)
    except (NotReadInTimeError, StoreUnreadableError) as error:
        return None, str(error)
    if text is not None and (text.config is None or text.configuration is not None):
        options.reader.texts.put(digest, text)
    return text, None


@dataclass(frozen=True, slots=True)
class _Holder:
    """A repository that holds a manifest, and what it takes to check what can be pulled."""

    need: RepositoryNeed
    sound: set[BlobNumber]
    artifacts: Artifacts

    def fault(self, view: SnapshotView, number: BlobNumber) -> str | None:
        """Return why a manifest cannot be pulled whole from it; None if it can, or is unknown."""
        inventory = view.inventory
        if inventory.is_cache:
            return None  # it fetches what is missing when it is asked for
        check = view.memo.get("pull-check", lambda: PullCheck(inventory))
        return check.fault(self.need.repository, number, self.sound)


def _pointers(view: SnapshotView, number: BlobNumber) -> _Pointers:
    inventory, apps = view.inventory, view.apps
    reaching = manifests_reaching(inventory, number, _parents(view, number), view.unlisted)
    needs = needs_of(inventory, reaching, view.holders.counts[number])
    holding = [need for need in needs if number in need.manifests]
    holders = [_holder(inventory, need) for need in holding[:_REPOSITORIES_CHECKED]]
    artifacts = [each for holder in holders for each in _artifacts(inventory, holder, number)]
    images = [holder.artifacts.manifests.get(number) for holder in holders]
    image = next((each for each in images if each is not None), None)
    holdings = [Holding(each.need.repository.name, each.fault(view, number)) for each in holders]
    return _Pointers(
        holdings=Listed(tuple(holdings), len(holding)),
        tags=first_tags(inventory, needs, view.snapshot.uses),
        indexes=first_manifests(inventory, reaching - {number}, needs),
        apps=None
        if apps is None
        else first(apps.needing(reaching, (each.repository for each in needs))),
        artifacts=first(artifacts),
        belongs_to=None if image is None else format_digest(inventory.digests[image]),
        children=_children(view, holders, number),
    )


def _parents(view: SnapshotView, number: BlobNumber) -> Sequence[BlobNumber]:
    is_listed_only = number in view.inventory.manifests and number not in view.unlisted
    return (listing if is_listed_only else referencing)(view.inventory, {number})


def _holder(inventory: Inventory, need: RepositoryNeed) -> _Holder:
    repository = need.repository
    reach = reach_of(inventory.manifests, repository)
    sound = sound_links(repository, reach)
    return _Holder(need, sound, artifacts_of(inventory, repository, reach))


def _children(view: SnapshotView, holders: Sequence[_Holder], number: BlobNumber) -> Listed[Child]:
    inventory = view.inventory
    manifest = inventory.manifests.get(number)
    if manifest is None:
        return Listed()
    platforms = manifest.platforms or ("",) * len(manifest.children)
    pairs = list(zip(manifest.children, platforms, strict=True))

    def child(each: BlobNumber, platform: str) -> Child:
        is_attestation = platform == NO_PLATFORM
        faults = (holder.fault(view, each) for holder in holders)
        return Child(
            format_digest(inventory.digests[each]),
            "" if is_attestation else platform,
            is_attestation,
            bytes_on_disk(inventory, reachable_from(inventory.manifests, each)),
            inventory.sizes[each] == ABSENT,
            next((fault for fault in faults if fault is not None), None),
        )

    return Listed(tuple(child(*each) for each in pairs[:MOST]), len(pairs))


def _artifacts(inventory: Inventory, holder: _Holder, number: BlobNumber) -> Iterator[Artifact]:
    repository = holder.need.repository
    for each, image in sorted(holder.artifacts.manifests.items()):
        if image == number:
            tags = tuple(tag.name for tag in repository.tags if tag.target == each)
            yield Artifact(repository.name, format_digest(inventory.digests[each]), tags)


def _missing(inventory: Inventory, reached: Collection[BlobNumber]) -> Iterator[str]:
    absent = {each for each in reached if inventory.sizes[each] == ABSENT}
    if not absent:
        return
    found = (inventory.manifests.get(each) for each in reached)
    manifests = [each for each in found if each is not None]
    elsewhere = {each for manifest in manifests for each in manifest.foreign}
    needed = {e for m in manifests for e in {*m.blobs, *m.children}.difference(m.foreign)}
    for each in absent - (elsewhere - needed):
        yield format_digest(inventory.digests[each])


def _is_pullable(view: SnapshotView, pointers: _Pointers) -> bool | None:
    """Return whether it can be pulled whole from every repository that holds it."""
    if view.inventory.is_cache or not pointers.holdings.total:
        return None
    if any(each.fault is not None for each in pointers.holdings.shown):
        return False
    # what could not be read may be what is missing
    return None if view.inventory.unread else True


def _is_partial(children: Listed[Child]) -> bool:
    images = [each for each in children.shown if not each.is_attestation]
    return {each.fault is None for each in images} == {True, False}
