"""Scans of a store stay correct during pushes, deletions and collector runs."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.reachability import reaches_of
from exporter.domain.digests import format_digest
from exporter.domain.model import Inventory
from exporter.domain.snapshot import BlobState, BlobTotal, GcMode, StoreReading
from exporter.store.filesystem.rescan.scan_memory import StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Exporter, Metrics, collect
from tests.registry_load import Load
from tests.registry_truth import Image, Truth, sizes_of
from tests.reliability import Record
from tests.servers import DockerRegistry
from tests.test_rescan import described

LONG_SECONDS = 120.0
STEPS = 12
"""In a usual run of the tests, and in the run that writes docs/reliability.md."""

SETTLED_SECONDS = (5.0, 0.02)
"""The default, and a value with which a scan reuses far more of the scan before."""

SHOWN_SECONDS = 3.0
"""Maximum time until a watched change shows."""


class Follower:
    """Incremental scanner that compares every scan with the recorded truth."""

    def __init__(
        self, root: Path, truth: Truth, settled_seconds: float = SETTLED_SECONDS[0]
    ) -> None:
        self._root = root
        self._truth = truth
        self._memory = StoreMemory(settled_seconds)
        self._analyst = Analyst(AnalysisOptions())
        self._doubted: set[str] = set()
        self.inventory: Inventory | None = None
        self.scans = 0
        self.doubted_once = 0
        self.compared = 0

    def scan(self) -> StoreReading:
        started = time.time()
        self.inventory = scan_store(self._root, self.inventory, memory=self._memory)
        ended = time.time()
        reading = self._analyst.analyse(self.inventory).store
        held = sizes_of(self._truth.held.throughout(started, ended))
        tagged = self._truth.tagged.throughout(started, ended)
        self._check_sizes(held)
        self._check_states(reading, held, sizes_of(tagged))
        integrity = reading.figures.integrity
        assert integrity is not None
        broken = {(tag.repository, tag.tag) for tag in integrity.broken_tags}
        broken |= {(tag.repository, tag.tag) for tag in integrity.partial_tags}
        assert not broken & tagged.keys()
        self.scans += 1
        self.compared += len(held)
        return reading

    def _check_sizes(self, held: dict[str, int]) -> None:
        assert self.inventory is not None
        digests = map(format_digest, self.inventory.digests)
        sizes = dict(zip(digests, self.inventory.sizes, strict=True))
        assert {digest: sizes.get(digest) for digest in held} == held

    def _check_states(
        self, reading: StoreReading, held: dict[str, int], tagged: dict[str, int]
    ) -> None:
        inventory = reading.inventory
        reaches = reaches_of(inventory)
        reached = set[int]().union(*(each.all for each in reaches))
        needed = set[int]().union(*(each.tagged for each in reaches))
        digests = [format_digest(digest) for digest in inventory.digests]
        assert not tagged.keys() - {digests[number] for number in needed}
        if inventory.references_known:
            loose = [
                number
                for number, size in enumerate(inventory.sizes)
                if size >= 0 and number not in reached
            ]
            total = BlobTotal(len(loose), sum(inventory.sizes[number] for number in loose))
            assert reading.figures.blobs[BlobState.UNREFERENCED] == total
            doubted = held.keys() & {digests[number] for number in loose}
        else:  # then none is called unreferenced
            assert reading.figures.blobs[BlobState.UNREFERENCED] == BlobTotal()
            doubted = set()
        assert not doubted & self._doubted, "unreferenced twice in a row, but needed all the time"
        self.doubted_once += len(doubted)
        self._doubted = doubted


def check_page(page: Metrics, truth: Truth) -> None:
    """Assert that a page counts at least the bytes that existed throughout its scan."""
    ended = page.value("docker_registry_scan_last_success_timestamp_seconds")
    duration = page.value("docker_registry_scan_duration_seconds")
    bytes_by_state = page.by("state", "docker_registry_blob_bytes")
    assert ended is not None
    assert duration is not None
    started = ended - duration - SHOWN_SECONDS
    tagged = sum(sizes_of(truth.tagged.throughout(started, ended)).values())
    held = sum(sizes_of(truth.held.throughout(started, ended)).values())
    assert bytes_by_state["tagged"] >= tagged
    assert bytes_by_state["tagged"] + bytes_by_state["untagged"] >= held


def bytes_on_disk(root: Path) -> int:
    return sum(
        Path(directory, "data").stat().st_size
        for directory, _, files in os.walk(root / "docker" / "registry" / "v2" / "blobs")
        if "data" in files
    )


def total_bytes(reading: StoreReading) -> int:
    return sum(total.bytes for total in reading.figures.blobs.values())


def has_seen_enough(load: Load, followers: Sequence[Follower]) -> bool:
    """Return whether the load and its followers did enough for the result to mean something."""
    steps = min(load.done[each] for each in ("pushes", "deletions", "retags"))
    return (
        steps >= STEPS
        and load.done["collector runs"] >= 3
        and all(each.scans >= STEPS and each.compared > 0 for each in followers)
    )


@pytest.mark.reliability("change")
def test_every_scan_of_a_registry_under_load_is_correct_and_the_last_is_exact(
    tmp_path: Path, at_length: bool, record: Record
) -> None:
    registry = DockerRegistry(tmp_path / "registry")
    root = registry.root
    root.mkdir()  # empty, as before the first push
    flags = ("--storage.root", root, "--scan.interval", "100ms")
    with registry:
        collect_seconds = LONG_SECONDS / 5 if at_length else 2.0
        load = Load(registry.url, registry.garbage_collect, collect_seconds=collect_seconds)
        followers = [Follower(root, load.truth, settled) for settled in SETTLED_SECONDS]
        with Exporter(*flags) as exporter:
            with load:
                started = time.monotonic()
                ends = started + (LONG_SECONDS if at_length else 0)
                while time.monotonic() < ends or not has_seen_enough(load, followers):
                    load.check()
                    for follower in followers:
                        follower.scan()
                    check_page(exporter.metrics(), load.truth)
                seconds = time.monotonic() - started
            fresh = scan_store(root)
            readings = [follower.scan() for follower in followers]
            for reading in readings:
                assert described(reading.inventory) == described(fresh)
                assert total_bytes(reading) == bytes_on_disk(root)
            expected = collect(root).of_the_store()
            page = exporter.wait_for(lambda page: page.of_the_store() == expected)
            complaints = exporter.complaints
    before = bytes_on_disk(root)
    registry.garbage_collect()
    simulated = page.value("docker_registry_gc_reclaimable_bytes", mode=GcMode.DEFAULT)
    assert before - bytes_on_disk(root) == simulated
    assert page.value("docker_registry_scan_failures_total") == 0
    assert complaints == []
    scans = page.value("docker_registry_scans_total")
    assert scans is not None
    done = load.done
    assert has_seen_enough(load, followers)
    assert scans >= STEPS
    doubted = sum(follower.doubted_once for follower in followers)
    read = sum(follower.scans for follower in followers)
    record(
        "Scans beside pushes, retags, deletions and collector runs of a real registry: no failure, "
        "no blob of an image that stays called `unreferenced` twice in a row",
        f"{read + scans:,.0f} scans, {done['pushes']:,} pushes, {done['retags']:,} of them retags, "
        f"{done['deletions']:,} deletions, {done['collector runs']} collector runs in "
        f"{seconds:.0f} s; {doubted} blobs called so once",
    )
    record(
        "Afterwards its figures equal a scan of everything, and the disk to the byte; and the "
        "collector frees what was simulated",
        f"{before:,} bytes, {simulated:,.0f} of them freed",
    )


def test_the_follower_notices_a_needed_blob_reported_unreferenced_twice(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    truth = Truth()
    digest = store.image("app", "1", [noise("layer", 100)])
    store.image("app", "2", [noise("other", 100)])
    size = store.blob_path(digest).stat().st_size
    truth.held.begin(("app", digest), Image(digest, {digest: size}))
    follower = Follower(tmp_path, truth)
    follower.scan()
    store.delete_revision("app", digest)  # without recording it in the truth
    follower.scan()
    with pytest.raises(AssertionError, match="twice in a row"):
        follower.scan()
    assert follower.doubted_once == 1
