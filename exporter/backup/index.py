"""``index.json`` of an OCI image layout: the manifests of one repository, and their tags.

One descriptor for each tag, with the tag as ``org.opencontainers.image.ref.name``, and one without
that annotation for each manifest that has no tag. Two annotations keep times of the store, which
the registry does not take back: everything that is pushed again is new to it. A third one says that
all blobs of a manifest were saved with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from exporter.domain.digests import parse_digest
from exporter.store.format.layout import is_supported, is_tag_name

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of the file ``oci-layout``."""

_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_TAG = "org.opencontainers.image.ref.name"
_TAGGED_AT = "io.github.registry-storage-exporter.tagged-at"
_PUSHED_AT = "io.github.registry-storage-exporter.pushed-at"
_BLOBS = "io.github.registry-storage-exporter.blobs"
_ALL = "all"


@dataclass(frozen=True, slots=True)
class BackupEntry:
    """A manifest of one repository in a backup.

    Attributes:
        digest: its name, ``<algorithm>:<hex>``.
        media_type: as the registry states it, for a push.
        size: bytes.
        tags: those that point to it, each with when it was written in the store, Unix seconds;
            None if that is unknown.
        linked_at: when the repository got it, Unix seconds; None if that is unknown.
        with_blobs: whether a backup has saved it with all blobs that it references.

    """

    digest: str
    media_type: str
    size: int
    tags: Mapping[str, float | None] = field(default_factory=dict)
    linked_at: float | None = None
    with_blobs: bool = False


class _Descriptor(msgspec.Struct, rename="camel", omit_defaults=True):
    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct, rename="camel", kw_only=True):
    schema_version: int = 2
    media_type: str = _OCI_INDEX
    manifests: list[_Descriptor]


def encode_index(entries: Iterable[BackupEntry]) -> bytes:
    """Return the content of ``index.json``: tags sorted by name, then manifests without a tag."""
    named: list[tuple[str, _Descriptor]] = []
    others: list[_Descriptor] = []
    for entry in sorted(entries, key=lambda each: each.digest):
        plain = {_BLOBS: _ALL} if entry.with_blobs else {}
        plain |= _at(_PUSHED_AT, entry.linked_at)
        for tag, tagged_at in entry.tags.items():
            annotations = {_TAG: tag} | plain | _at(_TAGGED_AT, tagged_at)
            named.append((tag, _describe(entry, annotations)))
        if not entry.tags:
            others.append(_describe(entry, plain))
    named.sort(key=lambda each: each[0])
    index = _Index(manifests=[descriptor for _, descriptor in named] + others)
    return msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"


def decode_index(content: bytes) -> list[BackupEntry]:
    """Return the entries of ``index.json``. Raises ValueError with the reason if it is not one."""
    index = msgspec.json.decode(content, type=_Index)
    found: dict[str, BackupEntry] = {}
    for each in index.manifests:
        digest = parse_digest(each.digest)
        if digest is None or not is_supported(digest):
            raise ValueError(f"{each.digest[:200]!r} is not a digest")
        linked_at = _parse_time(each.annotations.get(_PUSHED_AT))
        tag = each.annotations.get(_TAG)
        tags: dict[str, float | None] = {}
        if tag is not None:
            if not is_tag_name(tag):
                raise ValueError(f"{tag[:200]!r} is not a tag")
            tags = {tag: _parse_time(each.annotations.get(_TAGGED_AT))}
        has_blobs = each.annotations.get(_BLOBS) == _ALL
        entry = BackupEntry(
            each.digest, each.media_type, each.size, tags, linked_at, with_blobs=has_blobs
        )
        known = found.get(each.digest)
        found[each.digest] = entry if known is None else _join(known, entry)
    return list(found.values())


def merge(before: Sequence[BackupEntry], now: Sequence[BackupEntry]) -> list[BackupEntry]:
    """Return what a backup holds after a run.

    A tag that has moved is at its new manifest only. What is no longer in the store stays.
    """
    moved = {tag for entry in now for tag in entry.tags}
    merged: dict[str, BackupEntry] = {}
    for entry in before:
        tags = {tag: time for tag, time in entry.tags.items() if tag not in moved}
        merged[entry.digest] = replace(entry, tags=tags)
    for entry in now:
        known = merged.get(entry.digest)
        merged[entry.digest] = entry if known is None else _join(known, entry)
    return list(merged.values())


def _join(known: BackupEntry, entry: BackupEntry) -> BackupEntry:
    linked_at = known.linked_at if entry.linked_at is None else entry.linked_at
    return replace(
        entry,
        tags={**known.tags, **entry.tags},
        linked_at=linked_at,
        with_blobs=known.with_blobs or entry.with_blobs,
    )


def _describe(entry: BackupEntry, annotations: dict[str, str]) -> _Descriptor:
    return _Descriptor(entry.media_type, entry.digest, entry.size, annotations)


def _at(annotation: str, seconds: float | None) -> dict[str, str]:
    """Return a time as an annotation; nothing if it is unknown, or in no year that can be written.

    A file may have any modification time.
    """
    try:
        moment = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return {}
    if moment is None:
        return {}
    return {annotation: moment.isoformat(timespec="microseconds").replace("+00:00", "Z")}


def _parse_time(text: str | None) -> float | None:
    """Return Unix seconds; None if there is no time, or if it makes no sense."""
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()
