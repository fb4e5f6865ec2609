"""The cache keeps scan results over a restart and never changes what a scan finds."""

import logging
import math
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given, settings

from demo.store import StoreBuilder, digest_of, noise
from exporter import __version__
from exporter.analysis.kept_figures import FiguresCodec
from exporter.analysis.store_figures import analyse
from exporter.domain.digests import format_digest
from exporter.domain.errors import CacheUnfitError, StoreUnreadableError
from exporter.domain.model import Inventory
from exporter.domain.snapshot import StoreFigures
from exporter.store.filesystem.cache import packing
from exporter.store.filesystem.cache.cache_file import CacheContent
from exporter.store.filesystem.cache.keeper import CacheKeeper
from exporter.store.filesystem.cache.packing import (
    KnownReader,
    pack_known,
)
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.rescan.change_stamps import stamp_of
from exporter.store.filesystem.rescan.scan_memory import FULL_SECONDS, Known, StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import REPOSITORY, STOPPED_WITHIN_SECONDS, Exporter, collect
from tests.followed_store import FollowedStore, figures_cache
from tests.random_stores import (
    STEPS,
    STEPS_WITH_LOSSES,
    Step,
    build,
    build_stepwise,
    temporary_directory,
)
from tests.registry_writers import random_changes
from tests.servers import DockerRegistry, RegistryClient
from tests.test_rescan import SETTLED_SECONDS, described, small_store

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
NOBODY = 65534
REBUILT = "everything is read again"


class Restarted:
    """A store scanned as if by a new process each time."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        self.is_loaded = False
        self.is_written: bool | None = None
        self.kept_figures = False

    def record_loaded(self, *, is_loaded: bool) -> None:
        self.is_loaded = is_loaded

    def record_written(self, *, is_written: bool) -> None:
        self.is_written = is_written

    def scan(self) -> Inventory:
        """Scan with the cache, save the result, and compare it with a scan without a cache."""
        time.sleep(2 * SETTLED_SECONDS)
        memory = StoreMemory(SETTLED_SECONDS)
        keeper = CacheKeeper(figures_cache(self.path, self.root), self)
        inventory = keeper.first_scan(
            memory, lambda previous: scan_store(self.root, previous, memory=memory)
        )
        assert described(inventory) == described(scan_store(self.root))
        figures = keeper.kept_with(inventory)
        self.kept_figures = figures is not None
        computed = analyse(inventory)
        assert figures in (None, computed)
        keeper.note(memory, inventory, computed)
        keeper.finish()
        return inventory


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return small_store(tmp_path / "registry")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "inventory.sqlite"


@pytest.fixture
def restarted(store: StoreBuilder, path: Path) -> Restarted:
    """Return a store that was scanned once and has a cache."""
    restarted = Restarted(store.root, path)
    restarted.scan()
    assert not restarted.is_loaded
    assert path.is_file()
    return restarted


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Yield a list that collects the logged warnings."""
    caplog.set_level(logging.WARNING)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("exporter").addHandler(handler)
    yield messages
    logging.getLogger("exporter").removeHandler(handler)


def kept_in(path: Path, root: Path) -> CacheContent[StoreFigures]:
    kept = figures_cache(path, root).load()
    assert kept is not None
    return kept


# Contents of the cache


def test_an_unchanged_store_is_neither_read_nor_analysed_again(restarted: Restarted) -> None:
    written = restarted.path.stat().st_mtime_ns
    for _ in range(3):
        restarted.scan()
        assert restarted.is_loaded
        assert restarted.kept_figures
    assert restarted.path.stat().st_mtime_ns == written


def test_loading_returns_what_was_saved(store: StoreBuilder, restarted: Restarted) -> None:
    sha512 = f"sha512:{'ab' * 64}"
    blob = store.blob_path(sha512)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"1234")
    store.index("app", "both", [store.image("app", None), store.image("app", None)])
    store.delete_revision("app", store.image("app", None, [noise("gone", 10)]))
    store.upload("app", b"half", started_at=1.5)
    store.stray("repositories/app/_manifests/tags/stray", b"1")
    store.tag_link("app", "2").write_bytes(b"nothing")
    time.sleep(2 * SETTLED_SECONDS)
    memory = StoreMemory(SETTLED_SECONDS)
    inventory = scan_store(store.root, memory=memory)
    assert inventory.issues
    figures = analyse(inventory, 3)
    cache = figures_cache(restarted.path, store.root, 3)
    assert cache.save(CacheContent(memory.known, 12.5, figures))
    kept = cache.load()
    assert kept is not None
    assert (kept.full_at, kept.kept) == (12.5, figures)
    assert described(kept.known.inventory) == described(inventory)
    assert [*kept.known.inventory.digests] == [*inventory.digests]
    assert sha512 in map(format_digest, kept.known.inventory.digests)
    assert kept.known == replace(memory.known, inventory=kept.known.inventory)


def test_only_the_owner_may_read_the_file(restarted: Restarted) -> None:
    assert stat.S_IMODE(restarted.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(restarted.path.parent.stat().st_mode) == 0o700
    restarted.path.chmod(0o644)
    StoreBuilder(restarted.root).image("app", "3")
    restarted.scan()
    assert stat.S_IMODE(restarted.path.stat().st_mode) == 0o600


def test_the_file_size_follows_the_size_of_the_store(
    store: StoreBuilder, restarted: Restarted
) -> None:
    before = restarted.path.stat().st_size
    sizes = []
    large = [store.unlinked_blob(noise(str(number), 20)) for number in range(1000)]
    for number in range(10):
        store.image("app", "latest", [noise(str(number % 2), 10)])
        restarted.scan()
        sizes.append(restarted.path.stat().st_size)
    assert max(sizes) < min(sizes) + 4 * 4096
    assert min(sizes) > before + 1000 * 32
    for digest in large:
        shutil.rmtree(store.blob_path(digest).parent)
    restarted.scan()
    assert restarted.path.stat().st_size < 2 * before
    assert [each.name for each in restarted.path.parent.iterdir()] == [restarted.path.name]


def test_a_stamp_is_the_same_in_every_process(store: StoreBuilder) -> None:
    link = store.tag_link("app", "1")
    code = (
        "import os, sys\n"
        "from exporter.store.filesystem.cache.packing import MACHINE\n"
        "from exporter.store.filesystem.rescan.change_stamps import stamp_of\n"
        "print(stamp_of(os.stat(sys.argv[1])), MACHINE)"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, link],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "random")
    }
    assert answers == {f"{stamp_of(link.stat())} {packing.MACHINE}\n"}


def test_file_names_that_are_not_utf8_disable_the_cache_with_one_warning(
    store: StoreBuilder, restarted: Restarted, warnings: list[str]
) -> None:
    (store.root / "docker/registry/v2/repositories" / os.fsdecode(b"_\xff")).touch()
    memory = StoreMemory(SETTLED_SECONDS)
    inventory = scan_store(store.root, memory=memory)
    assert inventory.layout.walk_ends
    cache = figures_cache(restarted.path, store.root)
    assert [cache.save(CacheContent(memory.known, 1.0)) for _ in range(2)] == [False, False]
    assert warnings == [
        (
            f"the cache {restarted.path} is not used: "
            "the store holds files with names that are not UTF-8"
        )
    ]
    restarted.scan()


# Equality with a full scan


@settings(max_examples=20)
@given(STEPS)
def test_the_first_scan_after_any_changes_equals_a_full_scan(
    steps: list[Step],
) -> None:
    with temporary_directory() as directory:
        store = StoreBuilder(directory / "registry")
        store.image("app", "1")
        restarted = Restarted(store.root, directory / "state" / "inventory.sqlite")
        restarted.scan()
        for number, _ in enumerate(build_stepwise(store, steps)):
            if number % 2:
                restarted.scan()
        restarted.scan()


@settings(max_examples=10)
@given(STEPS_WITH_LOSSES)
def test_a_cached_scan_of_a_damaged_store_equals_a_full_scan(steps: list[Step]) -> None:
    with temporary_directory() as directory:
        store = StoreBuilder(directory / "registry")
        store.image("app", "1")
        build(store, steps)
        restarted = Restarted(store.root, directory / "state" / "inventory.sqlite")
        for _ in range(2):
            restarted.scan()


def test_changes_by_a_real_registry_between_starts_are_found(
    registry: DockerRegistry, registry_client: RegistryClient, path: Path
) -> None:
    restarted = Restarted(registry.root, path)
    for step in random_changes(registry, registry_client, repositories=3, seed=30, steps=40):
        if step % 2:
            restarted.scan()
    restarted.scan()
    assert restarted.is_loaded


def test_unreadable_parts_at_the_start_are_not_replaced_by_cached_ones(
    store: StoreBuilder, restarted: Restarted
) -> None:
    tags = store.repository_path("app") / "_manifests" / "tags"
    away = tags.with_name("away")
    tags.rename(away)
    tags.symlink_to(away)
    assert restarted.scan().issues
    assert not restarted.is_loaded
    tags.unlink()
    away.rename(tags)
    restarted.scan()
    assert not restarted.scan().issues
    assert restarted.is_loaded


def test_a_store_emptied_while_the_exporter_is_down_is_empty_after_a_restart(
    store: StoreBuilder, restarted: Restarted
) -> None:
    for part in ("blobs", "repositories"):
        shutil.rmtree(store.version_path / part)
        (store.version_path / part).mkdir()
    assert restarted.scan().repositories == ()
    assert not restarted.is_loaded
    shutil.rmtree(store.root / "docker")
    assert restarted.scan().repositories == ()


# When a scan or a write is due


@pytest.mark.parametrize(
    ("age", "is_due"),
    [(10.0, False), (FULL_SECONDS - 5, False), (FULL_SECONDS + 5, True), (-5.0, True)],
)
def test_a_full_scan_is_due_an_hour_after_the_last_even_over_a_restart(
    store: StoreBuilder, age: float, *, is_due: bool
) -> None:
    time.sleep(2 * SETTLED_SECONDS)
    before = StoreMemory(SETTLED_SECONDS)
    inventory = scan_store(store.root, memory=before)
    memory = StoreMemory(SETTLED_SECONDS)
    memory.restore(before.known, time.time() - age)
    assert memory.is_full_due == is_due
    first = scan_store(store.root, inventory, memory=memory)
    assert first is inventory
    assert (scan_store(store.root, first, memory=memory) is not first) == is_due
    assert not memory.is_full_due


def test_a_full_scan_that_failed_is_still_due(store: StoreBuilder, tmp_path: Path) -> None:
    memory = StoreMemory(SETTLED_SECONDS, full_seconds=0.0)
    inventory = scan_store(store.root, memory=memory)
    full_at = memory.full_at
    shutil.move(store.version_path / "blobs", tmp_path / "blobs")
    with pytest.raises(StoreUnreadableError):
        scan_store(store.root, inventory, memory=memory)
    assert memory.full_at == full_at
    assert memory.is_full_due


def test_a_full_scan_due_at_the_start_follows_the_first_scan_at_once(
    store: StoreBuilder, restarted: Restarted
) -> None:
    kept = kept_in(restarted.path, store.root)
    cache = figures_cache(restarted.path, store.root)
    cache.save(replace(kept, full_at=time.time() - FULL_SECONDS - 1))
    os.truncate(store.blob_path(digest_of(noise("one", 100))), 40)  # only a full scan notices
    followed = FollowedStore(store.root, FollowOptions(3600.0, cache_path=restarted.path))
    found = []
    for _ in range(2):
        followed.refresh()
        assert followed.snapshot.store is not None
        found.append(len(followed.snapshot.store.inventory.misfits))
        started = time.monotonic()
        if len(found) == 1:
            followed.follower.wait(3600.0)
        assert time.monotonic() - started < 60  # of an hour
    assert found == [0, 1]


def test_figures_for_another_collector_dialect_are_computed_again(
    store: StoreBuilder, restarted: Restarted
) -> None:
    memory = StoreMemory(SETTLED_SECONDS)
    keeper = CacheKeeper(figures_cache(restarted.path, store.root, 3), restarted)
    inventory = keeper.first_scan(
        memory, lambda previous: scan_store(store.root, previous, memory=memory)
    )
    assert restarted.is_loaded
    assert keeper.kept_with(inventory) is None


def test_writes_are_a_minute_apart_and_the_last_is_at_exit(store: StoreBuilder, path: Path) -> None:
    followed = FollowedStore(store.root, FollowOptions(0.0, cache_path=path))
    followed.refresh()
    for number in range(3):
        store.image("app", f"more-{number}")
        followed.refresh()
        assert len(kept_in(path, store.root).known.inventory.repositories[0].tags) == 2
    followed.refresher.finish()
    assert len(kept_in(path, store.root).known.inventory.repositories[0].tags) == 5
    written = path.stat().st_mtime_ns
    followed.refresher.finish()
    assert path.stat().st_mtime_ns == written


# Caches that cannot be used


def assert_rebuilt(restarted: Restarted, warnings: list[str], reason: str) -> None:
    """Assert that the first of two starts rebuilds the cache and logs the reason once."""
    loaded = []
    for _ in range(2):
        restarted.scan()
        loaded.append(restarted.is_loaded)
    assert loaded == [False, True]
    assert warnings == [f"the cache {restarted.path} {reason}: {REBUILT}"]


def flip(path: Path, *offsets: int) -> None:
    content = bytearray(path.read_bytes())
    for offset in offsets:
        content[offset] ^= 0xFF
    path.write_bytes(content)


def flip_a_digest(path: Path) -> None:
    flip(path, path.read_bytes().index(bytes.fromhex(digest_of(noise("base", 300))[7:])))


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(b""), "is empty"),
    (
        lambda path: path.write_text("a shopping list\n" * 100),
        "is damaged (file is not a database)",
    ),
    (lambda path: os.truncate(path, 50), "is damaged (database disk image is malformed)"),
    (
        lambda path: os.truncate(path, path.stat().st_size // 2),
        "is damaged (database disk image is malformed)",
    ),
    (flip_a_digest, "is damaged (checksum of known)"),
    (lambda path: flip(path, 3), "is damaged (file is not a database)"),
    (
        lambda path: edit(path, "DELETE FROM part WHERE name = 'known'"),
        "is damaged (without known)",
    ),
    (lambda path: edit(path, "UPDATE part SET content = 'text'"), "is damaged (without about)"),
    (lambda path: edit(path, "UPDATE part SET checksum = 0"), "is damaged (checksum of about)"),
    (lambda path: edit(path, "DROP TABLE part; VACUUM"), "is empty"),
    (
        lambda path: edit(path, "DROP TABLE part; CREATE TABLE part (x)"),
        "is damaged (no such column: checksum)",
    ),
]


def edit(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=[reason for _, reason in DAMAGES])
def test_a_damaged_file_is_rebuilt_and_logged_once(
    restarted: Restarted, warnings: list[str], damage: Callable[[Path], object], reason: str
) -> None:
    damage(restarted.path)
    assert_rebuilt(restarted, warnings, reason)


def test_every_harmful_flipped_byte_is_noticed(restarted: Restarted) -> None:
    content = restarted.path.read_bytes()
    whole = kept_in(restarted.path, restarted.root)
    chance = random.Random(7)  # noqa: S311 - reproducible
    outcomes = set()
    for offset in [*range(0, 128, 3), *chance.sample(range(len(content)), 200)]:
        restarted.path.write_bytes(content)
        flip(restarted.path, offset)
        kept = figures_cache(restarted.path, restarted.root).load()
        outcomes.add(kept is None)
        if kept is not None:
            assert described(kept.known.inventory) == described(whole.known.inventory)
            assert kept == replace(
                whole, known=replace(whole.known, inventory=kept.known.inventory)
            )
    assert outcomes == {True, False}


def about_of(path: Path) -> dict[str, object]:
    with closing(sqlite3.connect(path)) as database:
        (content,) = database.execute("SELECT content FROM part WHERE name = 'about'").fetchone()
    about = msgspec.msgpack.decode(content)
    assert isinstance(about, dict)
    return about


def put(path: Path, name: str, content: bytes) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE part SET content = ?, checksum = ? WHERE name = ?",
            (content, zlib.crc32(content), name),
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 1}, "was written by another version of this program"),
        ({"format": 1, "program": None}, "was written by another version of this program"),
        ({"program": "0.0.9"}, "was written by version 0.0.9 of this program"),
        ({"machine": "big 5"}, "was written by another build of Python"),
        ({"root": "/srv/other"}, "is of another store, /srv/other"),
        ({"inode": 3}, "is of another store"),
        ({"device": 3}, "is of another store"),
        (
            {"saved_at": time.time() + 86400},
            "was written in the future; was the clock set back?",
        ),
        (
            {"saved_at": float("nan")},
            "was written in the future; was the clock set back?",
        ),
        ({"saved_at": "now"}, "is damaged (Expected `float`, got `str` - at `$.saved_at`)"),
        (
            {"more": 1},
            "is damaged (Object contains unknown field `more`)",
        ),
    ],
)
def test_a_cache_of_another_program_or_store_is_rebuilt_and_logged_once(
    restarted: Restarted, warnings: list[str], changes: dict[str, object], reason: str
) -> None:
    about = about_of(restarted.path)
    assert about["program"] == __version__
    put(restarted.path, "about", msgspec.msgpack.encode(about | changes))
    assert_rebuilt(restarted, warnings, reason)


@pytest.mark.parametrize("part", ["about", "known", "figures"])
@pytest.mark.parametrize(
    "content",
    [
        *(b"\x00", b"garbage", msgspec.msgpack.encode({"digests": 1})),
        msgspec.msgpack.encode({"format": 4, "program": "x"}).replace(b"\xa1x", b"\xa1\xff"),
        b"\x81\xa6format" + b"\x91" * 20_000,
    ],
    ids=["number", "garbage", "field", "text", "depth"],
)
def test_a_part_with_other_content_is_noticed(
    restarted: Restarted, warnings: list[str], part: str, content: bytes
) -> None:
    put(restarted.path, part, content)
    restarted.scan()
    assert not restarted.is_loaded
    (warning,) = warnings
    assert warning.startswith(f"the cache {restarted.path} is damaged (")
    assert warning.endswith(f"): {REBUILT}")


def number_out_of_range(content: dict[str, object]) -> None:
    manifests = rest_of(content)["manifests"]
    assert isinstance(manifests, dict)
    next(iter(manifests.values()))["blobs"] = [10**6]


def rest_of(content: dict[str, object]) -> dict[str, object]:
    rest = content["rest"]
    assert isinstance(rest, dict)
    return rest


def first_repository(content: dict[str, object]) -> dict[str, object]:
    repositories = rest_of(content)["repositories"]
    assert isinstance(repositories, list)
    first = repositories[0]
    assert isinstance(first, dict)
    return first


def bytes_of(content: dict[str, object], name: str) -> bytes:
    value = content[name]
    assert isinstance(value, bytes)
    return value


def set_stamps(content: dict[str, object], place: int, value: object) -> None:
    repositories = content["repositories"]
    assert isinstance(repositories, dict)
    repositories["app"][place] = value


def set_tag(content: dict[str, object], name: str, value: object) -> None:
    tags = first_repository(content)["tags"]
    assert isinstance(tags, list)
    tags[0][name] = value


NO_DIGEST = "something that is not a digest"
NO_NUMBER = "the number of a blob that is not there"
NO_PLACE = "something that is not a path in a repository"
INVALID_CONTENT: list[tuple[str, Callable[[dict[str, object]], object]]] = [
    ("a digest is cut off", lambda c: c.update(digests=bytes_of(c, "digests")[:-1])),
    (
        "a digest has two numbers",
        lambda c: c.update(digests=bytes_of(c, "digests")[:32] + bytes_of(c, "digests")[:-32]),
    ),
    ("a digest has a number out of range", lambda c: c.update(others={500: b"sha512:00"})),
    (NO_DIGEST, lambda c: c.update(others={0: b"sha512:00"})),
    (NO_DIGEST, lambda c: c.update(others={0: b"\xff"})),
    ("not one size for each digest", lambda c: c.update(sizes=bytes_of(c, "sizes")[:-8])),
    (
        "a size below zero",
        lambda c: c.update(
            sizes=bytes_of(c, "sizes")[:-8] + (-3).to_bytes(8, "little", signed=True)
        ),
    ),
    ("half a number", lambda c: c.update(sizes=bytes_of(c, "sizes")[:-1])),
    (NO_NUMBER, number_out_of_range),
    (NO_NUMBER, lambda c: set_tag(c, "target", -1)),
    (
        "repositories twice, or in no order",
        lambda c: rest_of(c).update(repositories=[first_repository(c)] * 2),
    ),
    ("not one stamp for each tag", lambda c: set_stamps(c, 1, b"")),
    ("not one stamp for each revision", lambda c: set_stamps(c, 2, bytes(800))),
    ("half a number", lambda c: set_stamps(c, 1, b"123")),
    (NO_DIGEST, lambda c: set_stamps(c, 3, [b"\xff"])),
    (NO_PLACE, lambda c: set_stamps(c, 0, {"../..": 5})),
    (NO_PLACE, lambda c: set_stamps(c, 0, {"tags\0": 5})),
    (
        "something that is not a repository name",
        lambda c: first_repository(c).update(name=".."),
    ),
    ("something that is not a tag", lambda c: set_tag(c, "name", "a\0b")),
    ("something that is not a tag", lambda c: set_tag(c, "name", "../../b")),
    (NO_NUMBER, lambda c: rest_of(c).update(broken_layer_links={"app": {10**6: "unusable"}})),
    (
        "something that is not a repository name",
        lambda c: rest_of(c).update(broken_layer_links={"..": {0: "unusable"}}),
    ),
    ("a time that is not a number", lambda c: set_tag(c, "updated_at", float("nan"))),
]


@pytest.mark.parametrize(("reason", "change"), INVALID_CONTENT)
def test_invalid_content_is_rejected(
    store: StoreBuilder,
    restarted: Restarted,
    reason: str,
    change: Callable[[dict[str, object]], object],
) -> None:
    (packed,) = pack_known(kept_in(restarted.path, store.root).known)
    content = msgspec.msgpack.decode(packed)
    change(content)
    with pytest.raises(CacheUnfitError, match=f"^{reason}$"):
        read_known([msgspec.msgpack.encode(content)])


def read_known(pieces: Iterable[bytes]) -> Known:
    reader = KnownReader()
    for each in pieces:
        reader.add(each)
    return reader.known()


def test_the_cache_of_a_large_store_is_saved_in_pieces(
    store: StoreBuilder, restarted: Restarted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PIECE_BLOBS", 3)
    other = noise("other", 10)
    store.blob(other, algorithm="sha512")
    memory = StoreMemory(0.01)
    scan_store(store.root, memory=memory)
    pieces = list(pack_known(memory.known))
    assert len(pieces) > 2
    known = read_known(pieces)
    assert described(known.inventory) == described(memory.known.inventory)
    assert list(known.inventory.digests) == list(memory.known.inventory.digests)
    assert (known.prefixes, known.repositories, known.found) == (
        memory.known.prefixes,
        memory.known.repositories,
        memory.known.found,
    )
    cache = figures_cache(restarted.path, store.root)
    assert cache.save(CacheContent(memory.known, 1.0))
    kept = cache.load()
    assert kept is not None
    assert described(kept.known.inventory) == described(memory.known.inventory)
    edit(restarted.path, "DELETE FROM part WHERE name = 'known-1'")
    assert cache.load() is None


def test_incomplete_figures_are_rejected(store: StoreBuilder) -> None:
    inventory = scan_store(store.root)
    figures, codec = analyse(inventory), FiguresCodec(2)
    for wrong in (
        replace(figures, blobs={}),
        replace(figures, issues={}),
        replace(figures, collector={}),
        replace(figures, repositories=()),
    ):
        with pytest.raises(CacheUnfitError, match="figures of something else"):
            codec.unpack(codec.pack(wrong), inventory)
    (first, *others) = figures.repositories
    timeless = replace(figures, repositories=(replace(first, last_push_at=math.nan), *others))
    with pytest.raises(CacheUnfitError, match="a time that is not a number"):
        codec.unpack(codec.pack(timeless), inventory)


# Caches that cannot be written


def unusable(restarted: Restarted, reason: str) -> list[str]:
    return [f"the cache {restarted.path} is not used: {reason}"]


def one_life(root: Path, path: Path) -> None:
    """Do what one process does: load, scan, save, and save again at the end."""
    followed = FollowedStore(root, FollowOptions(0.0, cache_path=path, save_seconds=0.0))
    for number in range(3):
        followed.refresh()
        StoreBuilder(root).image("app", f"more-{number}")
    followed.refresher.finish()
    assert followed.snapshot.scan.succeeded


def test_another_programs_database_is_left_alone(
    store: StoreBuilder, path: Path, warnings: list[str]
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE bookmarks (url)")
        database.execute("INSERT INTO bookmarks VALUES ('https://example.com')")
    content = path.read_bytes()
    one_life(store.root, path)
    assert path.read_bytes() == content
    assert warnings == [
        (
            f"the cache {path} is not used: it is a database of another program; "
            "give another --cache.path, or remove it"
        )
    ]


def test_a_directory_as_the_cache_is_rejected(
    store: StoreBuilder, path: Path, warnings: list[str]
) -> None:
    path.mkdir(parents=True)
    one_life(store.root, path)
    assert warnings == [
        f"the cache {path} is not used: it is not a regular file; give another --cache.path"
    ]


def test_a_file_in_place_of_a_parent_directory_is_logged_once(
    store: StoreBuilder, tmp_path: Path, warnings: list[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "inventory.sqlite"
    one_life(store.root, path)
    assert warnings == [
        (
            f"the cache {path} is not used: Not a directory; "
            f"give a --cache.path that uid {os.geteuid()} may write to"
        )
    ]


@contextmanager
def as_nobody() -> Iterator[None]:
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public_store() -> Iterator[StoreBuilder]:
    """Yield a world-readable store beside a directory ``state``."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        (Path(directory) / "state").mkdir()
        store = StoreBuilder(Path(directory) / "registry")
        store.image("app", "1")
        yield store


@needs_root
def test_a_read_only_directory_is_logged_once(
    public_store: StoreBuilder, warnings: list[str]
) -> None:
    path = public_store.root.with_name("state") / "inventory.sqlite"
    memory = StoreMemory(SETTLED_SECONDS)
    scan_store(public_store.root, memory=memory)
    cache = figures_cache(path, public_store.root)
    with as_nobody():
        assert [cache.save(CacheContent(memory.known, 1.0)) for _ in range(2)] == [False, False]
        assert cache.load() is None
    assert warnings == [
        (
            f"the cache {path} is not used: Permission denied; "
            f"give a --cache.path that uid {NOBODY} may write to"
        )
    ]


@needs_root
def test_a_read_only_file_is_loaded(public_store: StoreBuilder, warnings: list[str]) -> None:
    path = public_store.root.with_name("state") / "inventory.sqlite"
    restarted = Restarted(public_store.root, path)
    restarted.scan()
    path.chmod(0o644)
    public_store.image("app", "2")
    with as_nobody():
        for _ in range(2):
            restarted.scan()
            assert restarted.is_loaded
    assert set(warnings) == {
        (
            f"the cache {path} is not used: attempt to write a readonly database; "
            f"is there room in its directory, and may uid {NOBODY} write to it?"
        )
    }


def test_a_file_locked_by_another_process_is_left_alone(
    store: StoreBuilder, restarted: Restarted, warnings: list[str]
) -> None:
    content = restarted.path.read_bytes()
    with closing(sqlite3.connect(restarted.path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        one_life(store.root, restarted.path)
    assert restarted.path.read_bytes() == content
    assert warnings == unusable(
        restarted,
        "another process has locked it; if that lasts, give another --cache.path",
    )
    restarted.scan()
    assert restarted.is_loaded


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Make writes beyond a size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_previous_cache(
    store: StoreBuilder, restarted: Restarted, warnings: list[str]
) -> None:
    kept = kept_in(restarted.path, store.root)
    for number in range(300):
        store.unlinked_blob(noise(f"more {number}", 10))
    memory = StoreMemory(SETTLED_SECONDS)
    scan_store(store.root, memory=memory)
    cache = figures_cache(restarted.path, store.root)
    with limit_file_size(restarted.path.stat().st_size):
        assert [cache.save(CacheContent(memory.known, 1.0)) for _ in range(3)] == [False] * 3
    assert warnings == unusable(
        restarted,
        f"disk I/O error; is there room in its directory, and may uid {os.geteuid()} write to it?",
    )
    assert described(kept_in(restarted.path, store.root).known.inventory) == described(
        kept.known.inventory
    )
    restarted.scan()
    assert restarted.is_loaded


@pytest.mark.parametrize("step", ["docker", "docker/registry", "docker/registry/v2"])
def test_a_path_that_leads_into_the_store_through_links_is_not_written(
    store: StoreBuilder, tmp_path: Path, warnings: list[str], step: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(store.root / step, elsewhere)
    (store.root / step).symlink_to(elsewhere)
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    path = link / "inventory.sqlite"
    one_life(store.root, path)
    assert not path.exists()
    assert warnings == [
        (
            f"the cache {path} is not used: it is in the store {store.root}, "
            "which is never written to; give another --cache.path"
        )
    ]


KILLED = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from tests.followed_store import figures_cache
cache = figures_cache(Path(sys.argv[1]), Path(sys.argv[2]))
kept = cache.load()
print("begun", flush=True)
for number in itertools.count(1):
    if not cache.save(replace(kept, full_at=float(number))):
        sys.exit(1)
"""


def test_a_kill_during_a_write_loses_nothing(
    store: StoreBuilder, restarted: Restarted, warnings: list[str]
) -> None:
    for number in range(3000):
        store.unlinked_blob(noise(f"more {number}", 10))
    restarted.scan()
    expected = described(kept_in(restarted.path, store.root).known.inventory)
    chance = random.Random(9)  # noqa: S311 - roughly reproducible
    for _ in range(10):
        command = [sys.executable, "-c", KILLED, str(restarted.path), str(store.root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            time.sleep(chance.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
        assert described(kept_in(restarted.path, store.root).known.inventory) == expected
    assert warnings == []


# In the running program


def state_variables(tmp_path: Path) -> dict[str, str]:
    """Return variables that name a state directory, in which nothing but the cache is kept."""
    return {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "REGISTRY_EXPORTER_HISTORY_MAX_SIZE": "0",
        "REGISTRY_EXPORTER_SCAN_CENSUS_INTERVAL": "0",
    }


def cache_path_in(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry-storage-exporter" / "inventory.sqlite"


def of_the_store(
    metrics: dict[tuple[str, frozenset[tuple[str, str]]], float],
) -> dict[object, float]:
    changing = ("process_", "python_", "docker_registry_filesystem_", "docker_registry_scan")
    elsewhere = ("docker_registry_disk_", "docker_registry_api_")
    own = ("docker_registry_watch", "docker_registry_cache_", *elsewhere)
    return {
        series: value
        for series, value in metrics.items()
        if not series[0].startswith((*changing, *own))
    }


def test_a_restarted_exporter_shows_the_cached_figures_and_later_changes(
    registry: DockerRegistry, registry_client: RegistryClient, tmp_path: Path
) -> None:
    registry_client.push_image("app", "1", [noise("base", 1000)])
    flags, environment = ("--storage.root", registry.root), state_variables(tmp_path)
    with Exporter(*flags, environment=environment) as exporter:
        assert exporter.value("docker_registry_cache_loaded") == 0
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_watch_active") == 1)
        registry_client.push_image("app", "2", [noise("two", 100)])
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_tags") == 2)
        stopped = exporter.terminate()
        assert stopped.exit_code == 0
        assert stopped.seconds < STOPPED_WITHIN_SECONDS
    tags = kept_in(cache_path_in(tmp_path), registry.root).known.inventory.repositories[0].tags
    assert [tag.name for tag in tags] == ["1", "2"]
    for number in range(3, 5):
        with Exporter(*flags, environment=environment) as exporter:
            assert exporter.value("docker_registry_cache_loaded") == 1
            assert exporter.log.count('msg="read what was known before the restart"') == 1
            assert exporter.complaints == []
            assert of_the_store(exporter.metrics()) == of_the_store(collect(registry.root))
            assert exporter.value("docker_registry_tags") == number - 1
            exporter.kill()
        registry_client.push_image("app", str(number), [noise(str(number), 100)])


def test_cached_figures_are_published_only_after_a_scan(
    store: StoreBuilder, tmp_path: Path
) -> None:
    flags, environment = ("--storage.root", store.root), state_variables(tmp_path)
    with Exporter(*flags, environment=environment) as exporter:
        exporter.terminate()
    store.root.rename(tmp_path / "away")
    with Exporter(*flags, environment=environment, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        assert exporter.get("/-/ready").status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert exporter.value("docker_registry_tags") is None
        assert "logger=store.filesystem.cache.cache_file" not in exporter.log


def test_a_damaged_file_is_logged_in_one_line(store: StoreBuilder, tmp_path: Path) -> None:
    flags, environment = ("--storage.root", store.root), state_variables(tmp_path)
    path = cache_path_in(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text("nonsense" * 100)
    for expected in (1, 0):
        with Exporter(*flags, environment=environment) as exporter:
            exporter.terminate()
            lines = exporter.complaints
            assert len(lines) == expected
            if expected:
                assert lines[0].endswith(
                    f'logger=store.filesystem.cache.cache_file msg="the cache {path} is damaged '
                    f'(file is not a database): {REBUILT}"'
                )


def test_a_missing_state_directory_is_logged_in_one_line(store: StoreBuilder) -> None:
    nowhere = {"XDG_STATE_HOME": "", "HOME": ""}
    with Exporter("--storage.root", store.root, environment=nowhere) as exporter:
        exporter.terminate()
        (line,) = exporter.complaints
    assert line.endswith(
        'logger=compose_serve msg="nothing is kept over a restart: '
        'neither XDG_STATE_HOME nor HOME is set; give a --cache.path"'
    )


def test_other_commands_do_not_use_the_cache(store: StoreBuilder, tmp_path: Path) -> None:
    collect(store.root, environment=state_variables(tmp_path))
    assert not (tmp_path / "state").exists()
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"  # coverage measurement imports sqlite3
        "import exporter.cli\n"
        "sys.exit(any(each == 'sqlite3' or 'cache' in each for each in sys.modules.keys() - before"
        " if each.startswith(('sqlite3', 'exporter.'))))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
