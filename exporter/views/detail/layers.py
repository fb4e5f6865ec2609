"""The layers of an image: size, what each was made by, and how many others share it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.domain.digests import BlobNumber, format_digest, parse_digest
from exporter.domain.model import ABSENT, Inventory
from exporter.views.blob_answer import size_of
from exporter.views.detail.image_text import ImageText, PartText, Step
from exporter.views.detail.listed import Listed
from exporter.views.snapshot_view import SnapshotView

_MOST = 300


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer.

    Attributes:
        digest: its digest.
        media_type: as the manifest states it; empty if it does not.
        bytes: on disk; None if it is not there, or its size is unknown.
        stated_bytes: as the manifest states it; None if it does not.
        is_missing: whether it should be on disk and is not.
        is_elsewhere: whether it has download URLs, and need not be on disk.
        other_repositories: how many repositories need it that do not hold this image.
        other_manifests: how many other manifests reference it.

    """

    digest: str
    media_type: str
    bytes: int | None
    stated_bytes: int | None
    is_missing: bool
    is_elsewhere: bool
    other_repositories: int
    other_manifests: int


@dataclass(frozen=True, slots=True)
class Making:
    """One step in which an image was made.

    Attributes:
        step: what was run; None if nothing says so.
        layer: what it made; None if it made no layer.

    """

    step: Step | None
    layer: Layer | None


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of an image, from the lowest to the highest.

    Attributes:
        makings: each layer, with the steps that made it or made none; the first ones of many.
        layers: how many layers there are.
        unmatched: the steps, if their number does not fit that of the layers, and nothing says
            which of them made which.

    """

    makings: tuple[Making, ...]
    layers: int
    unmatched: Listed[Step]


def layers_of(view: SnapshotView, number: BlobNumber, text: ImageText | None) -> Layers:
    """Return the layers of a manifest; ``text`` is what it says, None if that is not known."""
    inventory = view.inventory
    if text is None:
        manifest = inventory.manifests.get(number)
        blobs = () if manifest is None else manifest.blobs
        digests = (format_digest(inventory.digests[each]) for each in blobs[:_MOST])
        parts = [PartText(digest, "", None) for digest in digests]
        found = _layers(view, number, parts)
        return Layers(tuple(Making(None, each) for each in found), len(blobs), Listed())
    layers = list(_layers(view, number, text.layers.shown))
    steps: Listed[Step] = Listed()
    if text.configuration is not None:
        steps = text.configuration.steps
    made = 0 if text.configuration is None else text.configuration.layer_steps
    if made == text.layers.total and made:
        return Layers(tuple(_makings(layers, steps)), made, Listed())
    return Layers(tuple(Making(None, each) for each in layers), text.layers.total, steps)


def _makings(layers: list[Layer], steps: Listed[Step]) -> Iterator[Making]:
    following = iter(layers)
    for step in steps.shown:
        yield Making(step, None if step.is_empty else next(following, None))
    for layer in following:  # after so many steps that these are not shown
        yield Making(None, layer)


def _layers(view: SnapshotView, number: BlobNumber, parts: Sequence[PartText]) -> Iterator[Layer]:
    inventory, counts = view.inventory, view.holders.counts
    numbers = {each.digest: _number(inventory, each.digest) for each in parts}
    shared = _count_references(inventory, {each for each in numbers.values() if each is not None})
    own = 1 if number in inventory.manifests else 0
    for part in parts:
        blob = numbers[part.digest]
        is_missing = blob is None or inventory.sizes[blob] == ABSENT
        yield Layer(
            digest=part.digest,
            media_type=part.media_type,
            bytes=None if blob is None else size_of(inventory, blob),
            stated_bytes=part.bytes,
            is_missing=is_missing and not part.has_urls,
            is_elsewhere=part.has_urls,
            other_repositories=0 if blob is None else max(counts[blob] - counts[number], 0),
            other_manifests=0 if blob is None else max(shared[blob] - own, 0),
        )


def _number(inventory: Inventory, digest: str) -> BlobNumber | None:
    packed = parse_digest(digest)
    return None if packed is None else inventory.digests.find(packed)


def _count_references(inventory: Inventory, wanted: set[BlobNumber]) -> Mapping[BlobNumber, int]:
    """Count the manifests that reference each blob: one pass over all."""
    counts: Counter[BlobNumber] = Counter()
    is_apart = wanted.isdisjoint
    for manifest in inventory.manifests.values():
        if not is_apart(manifest.blobs):
            counts.update(wanted.intersection(manifest.blobs))
    return counts
