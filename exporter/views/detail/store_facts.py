"""Platforms and dates of the few images that a page lists, read from the store in limited time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from exporter.domain.digests import BlobNumber
from exporter.domain.errors import NotReadInTimeError, StoreUnreadableError
from exporter.views.image_platforms import read_platforms
from exporter.views.snapshot_view import SnapshotView


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What some images say of themselves.

    Attributes:
        platforms: by manifest, of those that could be read.
        created: when images were created, Unix seconds, of those that say so.
        failure: why nothing was read; None if it was.

    """

    platforms: Mapping[BlobNumber, tuple[str, ...]] = field(default_factory=dict)
    created: Mapping[BlobNumber, float] = field(default_factory=dict)
    failure: str | None = None


def read_facts(view: SnapshotView, manifests: Collection[BlobNumber]) -> StoreFacts:
    """Return what manifests say of themselves."""
    numbers = {number for number in manifests if view.inventory.sizes[number] >= 0}
    if not numbers:
        return StoreFacts()
    try:
        return view.options.reader.read(lambda: _read(view, numbers))
    except (NotReadInTimeError, StoreUnreadableError) as error:
        return StoreFacts(failure=str(error))


def _read(view: SnapshotView, numbers: Collection[BlobNumber]) -> StoreFacts:
    inventory, kept = view.inventory, view.options.reader.platforms
    platforms, unknown = {}, []
    for number in numbers:
        found = kept.get(inventory.digests[number])
        if found is None:
            unknown.append(number)
        else:
            platforms[number] = found
    if unknown:
        with view.options.store.open_blobs() as blobs:
            for number in unknown:
                digest = inventory.digests[number]
                platforms[number] = read_platforms(blobs, digest)
                if platforms[number]:
                    kept.put(digest, platforms[number])
    created = view.options.analysis.dating.read(inventory, numbers)
    return StoreFacts(platforms, created)
