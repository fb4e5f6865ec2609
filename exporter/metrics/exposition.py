"""The bytes of ``/metrics``: rendered when something is published, not during a scrape.

A scrape joins what was rendered and compressed before with the few lines that change between
publications: the exporter's own counters and process metrics.
"""

import logging
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_TYPE
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.domain.snapshot import Snapshot
from exporter.metrics.catalogue import GROUPS
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.metric import MetricGroup, Subject

_log = logging.getLogger(__name__)

_OPENMETRICS_END = b"# EOF\n"
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: deflate, no time, any system
_COMPRESSION = 5
_RAW = -15


@dataclass(frozen=True, slots=True)
class Format:
    """An exposition format that Prometheus understands."""

    content_type: str
    generate: Callable[[CollectorRegistry], bytes]


TEXT = Format(CONTENT_TYPE_PLAIN_0_0_4, generate_text)
OPENMETRICS = Format(OPENMETRICS_TYPE, generate_openmetrics)
_MEDIA_TYPES = {
    "application/openmetrics-text": OPENMETRICS,
    "text/plain": TEXT,
    "text/*": TEXT,
    "*/*": TEXT,
}


def warn_of_patterns(subject: Subject) -> None:
    """Log if the patterns include no repository: perhaps one is mistyped."""
    store = subject.snapshot.store
    if store is not None and subject.selector.includes_nothing_of(store.figures):
        _log.warning(
            "no repository matches metrics.include-repositories, so none has series of its own; "
            "the whole name must match, e.g. team/.*"
        )


def choose_format(accept: str) -> Format:
    """Return the format that an ``Accept`` header prefers; plain text if it names none of ours."""
    best, best_weight = TEXT, 0.0
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in media_range.split(";"))
        weight = quality(parameters)
        if media_type in _MEDIA_TYPES and weight > best_weight:
            best, best_weight = _MEDIA_TYPES[media_type], weight
    return best


def accepts_gzip(accept_encoding: str) -> bool:
    """Return whether an ``Accept-Encoding`` header allows gzip."""
    for coding in accept_encoding.split(","):
        name, *parameters = (part.strip().lower() for part in coding.split(";"))
        if name == "gzip":
            return quality(parameters) > 0
    return False


def quality(parameters: Sequence[str]) -> float:
    """Return the weight of one item of an ``Accept`` header: 1 if it has none, 0 if malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the page, plain and deflated, with what it was rendered from."""

    key: tuple[object, ...]
    plain: bytes
    deflated: bytes


class Exposition:
    """Holds the page of the last published snapshot in every format that was requested."""

    def __init__(self, subject: Subject, instruments: Sequence[CollectorRegistry] = ()) -> None:
        self._subject = subject
        self._instruments = instruments
        self._lock = threading.Lock()
        self._pages: dict[str, tuple[_Part, ...]] = {}
        self.publish(subject.snapshot)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was published last."""
        return self._subject.snapshot

    def publish(self, snapshot: Snapshot) -> None:
        """Render a snapshot; until that is done, scrapes get the previous one."""
        with self._lock:
            subject = replace(self._subject, snapshot=snapshot)
            formats = [each for each in (TEXT, OPENMETRICS) if each.content_type in self._pages]
            pages = {each.content_type: self._render(subject, each) for each in formats}
            is_first_scan = self._subject.snapshot.store is None
            self._subject, self._pages = subject, pages
        if is_first_scan:
            warn_of_patterns(subject)

    def page(self, page_format: Format, *, gzip: bool) -> bytes:
        """Return the whole page."""
        return b"".join(self.pieces(page_format, gzip=gzip))

    def pieces(self, page_format: Format, *, gzip: bool) -> Sequence[bytes]:
        """Return the pieces of the page; all clients share the large ones."""
        parts = self._pages.get(page_format.content_type)
        if parts is None:
            with self._lock:
                parts = self._render(self._subject, page_format)
                self._pages = self._pages | {page_format.content_type: parts}
        tail = b"".join(_body(page_format, registry) for registry in self._instruments)
        if page_format is OPENMETRICS:
            tail += _OPENMETRICS_END
        return _gzip(parts, tail) if gzip else [*(part.plain for part in parts), tail]

    def _render(self, subject: Subject, page_format: Format) -> tuple[_Part, ...]:
        before = self._pages.get(page_format.content_type, ())
        known = dict(enumerate(before))
        return tuple(
            _render_part(subject, page_format, group, known.get(place))
            for place, group in enumerate(GROUPS)
        )


def _render_part(
    subject: Subject, page_format: Format, group: MetricGroup, before: _Part | None
) -> _Part:
    key = group.depends_on(subject.snapshot)
    if before is not None and all(a is b for a, b in zip(before.key, key, strict=True)):
        return before
    registry = CollectorRegistry()
    registry.register(SubjectCollector(group.metrics, subject))
    plain = _body(page_format, registry)
    compressor = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, _RAW)
    deflated = compressor.compress(plain) + compressor.flush(zlib.Z_FULL_FLUSH)
    return _Part(key, plain, deflated)


def _body(page_format: Format, registry: CollectorRegistry) -> bytes:
    return page_format.generate(registry).removesuffix(_OPENMETRICS_END)


def _gzip(parts: Sequence[_Part], tail: bytes) -> Sequence[bytes]:
    """Join deflated parts and a tail to one gzip member.

    A full flush ends each part on a byte boundary, and no later part refers back into it: so they
    can be concatenated (RFC 1951, RFC 1952).
    """
    compressor = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, _RAW)
    end = compressor.compress(tail) + compressor.flush()
    checksum, length = 0, len(tail)
    for part in parts:
        checksum = zlib.crc32(part.plain, checksum)
        length += len(part.plain)
    checksum = zlib.crc32(tail, checksum)
    trailer = struct.pack("<LL", checksum, length & 0xFFFFFFFF)
    return [_GZIP_HEADER, *(part.deflated for part in parts), end, trailer]
