"""When images were created, as they say themselves: read on demand, remembered by digest."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from exporter.domain.digests import BlobNumber, Digest, parse_digest
from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import NO_PLATFORM, Inventory
from exporter.store.json_blobs import read_json
from exporter.store.port import Blobs, Store

_FIRST_IMAGES = datetime(2013, 1, 1, tzinfo=UTC).timestamp()
"""Docker's first year. Builds that are to be reproducible state an earlier time: 1, 1970, 1980."""

_ANNOTATION = "org.opencontainers.image.created"
_MAX_DEPTH = 4
_MAX_REMEMBERED = 300_000


class _Descriptor(msgspec.Struct):
    digest: str = ""


class _Manifest(msgspec.Struct):
    config: _Descriptor | None = None
    annotations: dict[str, str] | None = None


class _Configuration(msgspec.Struct):
    created: str | None = None


class ImageDates:
    """Reads when images of a store were created.

    An index was created when the newest of its images was, attestations aside.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Digest, float] = {}

    def read(
        self, inventory: Inventory, manifests: Collection[BlobNumber]
    ) -> Mapping[BlobNumber, float]:
        """Return when some manifests were created, in Unix seconds, of those that say so."""
        found: dict[BlobNumber, float] = {}
        unknown: list[BlobNumber] = []
        for number in manifests:
            date = self._known.get(inventory.digests[number])
            if date is None:
                unknown.append(number)
            else:
                found[number] = date
        if unknown:
            read = dict(self._read(inventory, unknown))
            if len(self._known) > _MAX_REMEMBERED:
                self._known = {}
            self._known.update({inventory.digests[each]: date for each, date in read.items()})
            found.update(read)
        return found

    def _read(
        self, inventory: Inventory, manifests: Collection[BlobNumber]
    ) -> Iterator[tuple[BlobNumber, float]]:
        try:
            with self._store.open_blobs() as blobs:
                for number in manifests:
                    date = _date_of(blobs, inventory, number)
                    if date is not None:
                        yield number, date
        except StoreUnreadableError:
            return


def _date_of(
    blobs: Blobs, inventory: Inventory, number: BlobNumber, depth: int = 0
) -> float | None:
    manifest = inventory.manifests.get(number)
    if manifest is None or depth > _MAX_DEPTH:
        return None
    if manifest.children:
        platforms = manifest.platforms or ("",) * len(manifest.children)
        dates = [
            date
            for child, platform in zip(manifest.children, platforms, strict=True)
            if platform != NO_PLATFORM
            and (date := _date_of(blobs, inventory, child, depth + 1)) is not None
        ]
        if dates:
            return max(dates)
    return _stated(blobs, inventory.digests[number])


def _stated(blobs: Blobs, manifest: Digest) -> float | None:
    """Return what an image's configuration says, else what an annotation of its manifest does."""
    document = read_json(blobs, manifest, _Manifest)
    if document is None:
        return None
    config = None if document.config is None else parse_digest(document.config.digest)
    configuration = None if config is None else read_json(blobs, config, _Configuration)
    date = None if configuration is None else _moment(configuration.created)
    return _moment((document.annotations or {}).get(_ANNOTATION)) if date is None else date


def _moment(text: str | None) -> float | None:
    """Return a time of RFC 3339 in Unix seconds; None if it is none, or only stands for none."""
    try:
        moment = datetime.fromisoformat(text or "")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if seconds >= _FIRST_IMAGES else None
