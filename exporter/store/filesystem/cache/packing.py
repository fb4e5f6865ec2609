"""Pack what a scan leaves into bytes, and unpack it again, trusting nothing in them.

Numbers are stored as in memory, the rest as MessagePack: 100,000 blobs take about 8 MB, and a tenth
of a second to read.
"""

import gc
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain, islice
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from exporter.domain.digests import (
    BlobNumber,
    Digest,
    DigestTable,
    parse_digest,
)
from exporter.domain.errors import CacheUnfitError, CacheUnusableError
from exporter.domain.model import (
    UNKNOWN,
    Inventory,
    Manifest,
    Repository,
)
from exporter.store.filesystem.readers.blob_reader import Prefix
from exporter.store.filesystem.readers.repository_content import RepositoryStamps
from exporter.store.filesystem.readers.repository_names import FoundRepositories
from exporter.store.filesystem.rescan.scan_memory import Known, PrefixStamp
from exporter.store.format.layout import is_repository_name

_SHA256_BYTES = 32

MACHINE = f"{sys.byteorder} {hash((1, 2**40, -3, 2**62 + 1, 5))}"
"""Byte order, and how stamps are hashed: another build of Python may differ."""

PIECE_BLOBS = 16_384
"""Blobs in a piece, which then takes about 1.3 MB."""

_PACKED = ("digests", "sizes")
_UNPACKED = tuple(each.name for each in fields(Inventory) if each.name not in _PACKED)
_NOTHING = Inventory()
_Item = TypeVar("_Item")
if TYPE_CHECKING:
    _Rest = Any
else:
    _Rest = msgspec.defstruct(
        "_Rest",
        [(each.name, each.type) for each in fields(Inventory) if each.name not in _PACKED],
    )
"""An inventory without its packed fields: every other field is kept, also future ones."""


class _Stamps(msgspec.Struct, array_like=True):
    """:class:`RepositoryStamps` with packed arrays."""

    directories: dict[str, int]
    tags: bytes
    revisions: bytes
    deleted: tuple[Digest, ...]
    is_clean: bool


class _Content(msgspec.Struct):
    """:class:`Known`, packed.

    ``digests`` are the joined sha256 digests, ``others`` all others by number.
    """

    digests: bytes
    others: dict[BlobNumber, Digest]
    sizes: bytes
    rest: _Rest
    prefixes: dict[Prefix, PrefixStamp]
    repositories: dict[str, _Stamps]
    found: FoundRepositories | None
    has_layer_links: bool


def pack_known(known: Known) -> Iterator[bytes]:
    """Yield what a scan left in pieces: all at once would take more memory than the scan.

    Raises CacheUnusableError if it holds names that are not UTF-8.
    """
    pieces = max(-(-len(known.inventory.digests) // PIECE_BLOBS), 1)
    try:
        for piece in range(pieces):
            yield msgspec.msgpack.encode(_content(known, piece, pieces))
    except UnicodeEncodeError as error:
        raise CacheUnusableError("the store holds files with names that are not UTF-8") from error


def _content(known: Known, piece: int, pieces: int) -> _Content:
    """Return one piece: a share of the large tables, and in the first piece the rest."""
    inventory = known.inventory
    start, end = piece * PIECE_BLOBS, (piece + 1) * PIECE_BLOBS
    source = _NOTHING if piece else inventory
    rest = _Rest(**{name: getattr(source, name) for name in _UNPACKED})
    rest.manifests = dict(_share(inventory.manifests.items(), piece, pieces))
    rest.repositories = tuple(_share(inventory.repositories, piece, pieces))
    digests = list(islice(inventory.digests, start, end))
    return _Content(
        digests=b"".join([each for each in digests if len(each) == _SHA256_BYTES]),
        others={
            number: each for number, each in enumerate(digests, start) if len(each) != _SHA256_BYTES
        },
        sizes=inventory.sizes[start:end].tobytes(),
        rest=rest,
        prefixes={} if piece else dict(known.prefixes),
        repositories={
            name: _Stamps(
                dict(each.directories),
                each.tags.tobytes(),
                each.revisions.tobytes(),
                each.deleted,
                each.is_clean,
            )
            for name, each in _share(known.repositories.items(), piece, pieces)
        },
        found=None if piece else known.found,
        has_layer_links=known.has_layer_links,
    )


def _share(items: Collection[_Item], piece: int, pieces: int) -> Iterator[_Item]:
    start, end = (len(items) * part // pieces for part in (piece, piece + 1))
    return islice(items, start, end)


class KnownReader:
    """Reads what :func:`pack_known` wrote, piece by piece."""

    def __init__(self) -> None:
        self._digests: list[Digest] = []
        self._sizes = array("q")
        self._manifests: dict[BlobNumber, Manifest] = {}
        self._repositories: list[Repository] = []
        self._stamps: dict[str, RepositoryStamps] = {}
        self._first: _Content | None = None

    def add(self, packed: bytes) -> None:
        """Add the next piece. Raises CacheUnfitError if it makes no sense."""
        with _collector_off(), _raised_as_unfit():
            content = msgspec.msgpack.decode(packed, type=_Content)
            self._digests += _digests_of(content, len(self._digests))
            self._sizes += _numbers_of(content.sizes)
            self._manifests.update(content.rest.manifests)
            self._repositories += content.rest.repositories
            self._stamps |= {name: _stamps_of(each) for name, each in content.repositories.items()}
        self._first = self._first or content

    def known(self) -> Known:
        """Return everything, once. Raises CacheUnfitError if it makes no sense."""
        with _collector_off(), _raised_as_unfit():
            if self._first is None:
                raise ValueError("nothing is there")
            rest = msgspec.structs.asdict(self._first.rest)
            rest["manifests"], rest["repositories"] = self._manifests, tuple(self._repositories)
            if len({*self._digests}) < len(self._digests):
                raise ValueError("a digest has two numbers")
            known = Known(
                inventory=Inventory(digests=DigestTable(self._digests), sizes=self._sizes, **rest),
                prefixes=self._first.prefixes,
                repositories=self._stamps,
                found=self._first.found,
                has_layer_links=self._first.has_layer_links,
            )
            _check(known)
        return known


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep Python's garbage collector from traversing new objects again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _raised_as_unfit() -> Iterator[None]:
    try:
        yield
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CacheUnfitError(str(error)) from error


def _digests_of(content: _Content, first: BlobNumber) -> list[Digest]:
    """Return the digests of one piece; their numbers begin with ``first``."""
    joined, others = content.digests, content.others
    if len(joined) % _SHA256_BYTES:
        raise ValueError("a digest is cut off")
    starts = range(0, len(joined), _SHA256_BYTES)
    usual = cast("list[Digest]", [joined[start : start + _SHA256_BYTES] for start in starts])
    if not others:
        return usual
    numbers = range(first, first + len(usual) + len(others))
    if not all(each in numbers and len(others[each]) != _SHA256_BYTES for each in others):
        raise ValueError("a digest has a number out of range")
    _check_digests(others.values())
    remaining = iter(usual)
    return [others[number] if number in others else next(remaining) for number in numbers]


def _numbers_of(packed: bytes) -> "array[int]":
    numbers = array("q")
    if len(packed) % numbers.itemsize:
        raise ValueError("half a number")
    numbers.frombytes(packed)
    return numbers


def _stamps_of(packed: _Stamps) -> RepositoryStamps:
    return RepositoryStamps(
        directories=packed.directories,
        tags=_numbers_of(packed.tags),
        revisions=_numbers_of(packed.revisions),
        deleted=packed.deleted,
        is_clean=packed.is_clean,
    )


def _check(known: Known) -> None:
    """Raise ValueError if a scan could fail on the content, or confuse one thing with another."""
    inventory = known.inventory
    if len(inventory.sizes) != len(inventory.digests):
        raise ValueError("not one size for each digest")
    if min(inventory.sizes, default=0) < UNKNOWN:
        raise ValueError("a size below zero")
    _check_times(_times_in(inventory))
    if any(
        len(each.platforms) not in {0, len(each.children)} for each in inventory.manifests.values()
    ):
        raise ValueError("not one platform for each child")
    numbers = _numbers_in(inventory)
    if numbers and not 0 <= min(numbers) <= max(numbers) < len(inventory.digests):
        raise ValueError("the number of a blob that is not there")
    by_name = {each.name: each for each in inventory.repositories}
    if list(by_name) != sorted(each.name for each in inventory.repositories):
        raise ValueError("repositories twice, or in no order")
    for name in by_name.keys() & known.repositories.keys():
        _check_stamps(by_name[name], known.repositories[name])
    _check_names(inventory, known)


def _numbers_in(inventory: Inventory) -> set[BlobNumber]:
    """Return every number that identifies a blob."""
    numbers: set[BlobNumber] = {*inventory.manifests, *inventory.misfits}
    for manifest in inventory.manifests.values():
        numbers.update(manifest.children, manifest.blobs, manifest.foreign, manifest.unmarked)
    numbers.update(inventory.unreadable, inventory.indexes, inventory.unusual, inventory.senseless)
    numbers.update(inventory.with_subject)
    numbers.update(*inventory.misfits.values(), *inventory.broken_layer_links.values())
    for repository in inventory.repositories:
        numbers.update(each.manifest for each in repository.revisions)
        optional = chain(
            (each.target for each in repository.tags), _links_of(repository.layout.mislinked)
        )
        numbers.update(number for number in optional if number is not None)
    return numbers


def _times_in(inventory: Inventory) -> Iterator[float | None]:
    for repository in inventory.repositories:
        yield from (tag.updated_at for tag in repository.tags)
        yield from (revision.linked_at for revision in repository.revisions)
        yield from (upload.started_at for upload in repository.uploads)


def _check_times(times: Iterable[float | None]) -> None:
    if not isfinite(sum(each for each in times if each is not None)):
        raise ValueError("a time that is not a number")


def _links_of(mislinked: Mapping[BlobNumber, BlobNumber | None]) -> Iterable[BlobNumber | None]:
    return chain(mislinked, mislinked.values())


def _check_stamps(repository: Repository, stamps: RepositoryStamps) -> None:
    if len(stamps.tags) != len(repository.tags):
        raise ValueError("not one stamp for each tag")
    if len(stamps.revisions) != len(repository.revisions):
        raise ValueError("not one stamp for each revision")
    _check_digests(stamps.deleted)


def _check_digests(digests: Iterable[Digest]) -> None:
    for digest in digests:
        if len(digest) != _SHA256_BYTES and not (
            digest.isascii() and parse_digest(digest.decode("ascii")) == digest
        ):
            raise ValueError("something that is not a digest")


def _check_names(inventory: Inventory, known: Known) -> None:
    """Raise ValueError for names that would leave the store as paths, or hold NUL."""
    repositories = chain(
        (each.name for each in inventory.repositories),
        known.repositories,
        inventory.broken_layer_links,
        () if known.found is None else known.found.marks,
    )
    if not all(map(is_repository_name, repositories)):
        raise ValueError("something that is not a repository name")
    tags = (each.name for repository in inventory.repositories for each in repository.tags)
    if not {*chain.from_iterable(tags)}.isdisjoint("/\0"):
        raise ValueError("something that is not a tag")
    places = chain.from_iterable(each.directories for each in known.repositories.values())
    if any("\0" in place or ".." in place for place in places):
        raise ValueError("something that is not a path in a repository")
