"""Promises of the readers of the cache, for any bytes."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from demo.store import noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.kept_figures import FiguresCodec
from exporter.analysis.store_figures import analyse
from exporter.domain.errors import CacheUnfitError
from exporter.domain.model import Inventory
from exporter.domain.snapshot import Dialect
from exporter.platforms.caprover.naming import ownership_rules
from exporter.store.filesystem.cache.packing import (
    KnownReader,
    pack_known,
)
from exporter.store.filesystem.rescan.scan_memory import Known, StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.fuzzing import Check, Target
from tests.test_rescan import described, small_store

_DIALECT: Dialect = 2
_ODD: tuple[object, ...] = (-1, 10**6, 2**63 - 1, float("nan"), "", "../..", b"", [], {}, None)
_OPTIONS = AnalysisOptions(_DIALECT, ownership_rules("captain"), keep_last=(1,))
_CODEC = FiguresCodec(_DIALECT)


def _seeds(directory: Path) -> Sequence[bytes]:
    """Return packed scans and figures of two stores; they follow changes of the code."""
    store = small_store(directory / "kept")
    plain = _scanned(store.root)
    image = store.image("app", None, [noise("untagged", 10)])
    store.index("app", "both", [image, store.image("app", None)])
    store.delete_revision("app", store.image("app", None, [noise("gone", 10)]))
    store.delete_tag("app", "1")
    odd = _scanned(store.root)
    figures = [analyse(each.inventory, _DIALECT) for each in (plain, odd)]
    packed = [*pack_known(plain), *pack_known(odd), *map(_CODEC.pack, figures)]
    return [each for whole in packed for each in (whole, *_altered(whole))]


def _altered(packed: bytes) -> Iterator[bytes]:
    """Yield copies with one part replaced by something odd."""
    content = msgspec.msgpack.decode(packed, strict=False)
    for holder, key in list(_parts(content)):
        before = holder[key]
        for odd in _ODD:
            holder[key] = odd
            yield msgspec.msgpack.encode(content)
        holder[key] = before


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - MessagePack
    """Yield the container and the key of each part."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inner:
        yield value, key
        if isinstance(part, dict | list):
            yield from _parts(part)


def _scanned(root: Path) -> Known:
    memory = StoreMemory(settled_seconds=0.0)
    scan_store(root, memory=memory)
    return memory.known


@contextmanager
def _checking(directory: Path) -> Iterator[Check]:
    root = small_store(directory / "store").root
    yield partial(_check, root, scan_store(root))


def _check(root: Path, inventory: Inventory, content: bytes) -> None:
    """Read the bytes as figures and as a scan; assert that both are usable or refused."""
    try:
        kept = _CODEC.unpack(content, inventory)
    except CacheUnfitError as error:
        assert str(error)
    else:
        assert kept is None or _CODEC.unpack(_CODEC.pack(kept), inventory) == kept
    try:
        known = _read([content])
    except CacheUnfitError as error:
        assert str(error)
        return
    assert len(known.inventory.digests) <= len(content)
    again = _read(pack_known(known))
    assert described(again.inventory) == described(known.inventory)
    assert (again.prefixes, again.found) == (known.prefixes, known.found)
    assert again.repositories == known.repositories
    Analyst(_OPTIONS).analyse(known.inventory)
    memory = StoreMemory(settled_seconds=0.0)
    memory.restore(known, time.time())
    scan_store(root, known.inventory, memory=memory)


def _read(pieces: Iterable[bytes]) -> Known:
    reader = KnownReader()
    for piece in pieces:
        reader.add(piece)
    return reader.known()


CACHE = Target(
    "cache",
    "Any bytes in the cache that pass its checksum give something that a scan can use, or are "
    "refused",
    _checking,
    st.binary(max_size=200),
    _seeds,
)
