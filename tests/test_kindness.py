"""Scans do not disturb others: low priority, a bounded rate, one scan at a time."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from demo.child_process import PATIENCE_SECONDS, wait_until
from demo.store import StoreBuilder, noise
from exporter.domain.errors import ScanCancelledError
from exporter.domain.scan_progress import RunningScan, ScanProgress
from exporter.metrics.instruments import SCAN_PROGRESS
from exporter.serve.loop import Loop
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.rescan.scan_memory import Places, StoreMemory
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.walk.workers import Workers
from exporter.store.port import ScanControl
from exporter.support.rate_limit import RateLimit
from exporter.support.thread_priority import at_low_priority, lower_priority
from tests.exporter_process import Exporter
from tests.followed_store import FollowedStore

IDLE = psutil.IOPRIO_CLASS_IDLE


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    """Return a store whose scan takes about 100 operations."""
    store = StoreBuilder(tmp_path / "registry")
    for number in range(8):
        store.image("app", f"{number}", [noise(f"layer {number}", 100)])
    return store


# Priority


def priorities(thread: int) -> tuple[int, int]:
    """Return the nice value and I/O class of a thread."""
    return os.getpriority(os.PRIO_PROCESS, thread), psutil.Process(thread).ionice().ioclass


def own_priorities() -> tuple[int, int]:
    return priorities(threading.get_native_id())


def test_only_the_scanning_thread_and_the_threads_it_starts_get_low_priority() -> None:
    usual = own_priorities()

    def look(_: int) -> tuple[int, int]:
        time.sleep(0.005)  # slow enough that threads do the rest
        return own_priorities()

    def scan() -> list[tuple[int, int]]:
        workers = Workers()
        found = [each for _, each in workers.map(look, range(40))]
        workers.close()
        return found

    low = at_low_priority(lambda _: scan())
    assert usual[1] != IDLE
    assert set(low) == {(max(usual[0], 5), IDLE)}
    assert own_priorities() == usual


def test_a_thread_that_already_has_a_lower_priority_keeps_it() -> None:
    def lower() -> tuple[int, int]:
        psutil.Process(threading.get_native_id()).nice(15)
        lower_priority()
        return own_priorities()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lower).result() == (15, IDLE)


class Forbidden(psutil.Process):
    def ionice(self, *_: object, **__: object) -> None:  # type: ignore[override]
        raise psutil.AccessDenied(self.pid)


def test_work_continues_and_logs_once_if_low_priority_is_not_allowed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lower() -> str:
        lower_priority(Forbidden(threading.get_native_id()))
        return "goes on"

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lower).result() == "goes on"
    assert caplog.text.count("scanning at usual priority, as a lower one is not allowed: ") == 1


def test_an_interrupt_ends_work_at_low_priority() -> None:
    # a shell ignores this signal for background jobs
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = threading.Event()

    def work(was_interrupted: Callable[[], bool]) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while not was_interrupted():
            time.sleep(0.001)
        ended.set()

    try:
        with pytest.raises(KeyboardInterrupt):
            at_low_priority(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.wait(PATIENCE_SECONDS)


def test_serve_scans_counts_and_records_at_low_priority_and_answers_at_its_usual_one(
    store: StoreBuilder,
) -> None:
    flags = ("--storage.root", store.root, "--scan.max-ops-per-second", "1")
    with Exporter(*flags, until_ready=False) as exporter:
        process = exporter.process_id
        usual = priorities(os.getpid())

        def threads() -> dict[int, tuple[int, int]]:
            return {each.id: priorities(each.id) for each in psutil.Process(process).threads()}

        exporter.wait_for(lambda page: page.value(SCAN_PROGRESS.name) is not None, "no scan begins")
        low = (max(usual[0], 5), IDLE)
        # those of the scan, of the census and of the history, which are in no hurry to start
        exporter.wait_for(lambda _: list(threads().values()).count(low) == 3, "priority is usual")
        found = threads()
    assert found[process] == usual  # requests are answered there
    assert sorted(each for each in found.values() if each != usual) == [low] * 3


# Rate


class Clock:
    """A clock that advances only during a sleep."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def never() -> bool:
    return False


def test_a_rate_limit_takes_as_long_as_its_rate_requires() -> None:
    clock = Clock()
    limit = RateLimit(100, clock, clock.sleep, saved_seconds=1.0)
    for amount in (0, 1, 49, 250):
        limit.spend(amount, never)
    assert clock.now == pytest.approx(103)


def test_only_the_unused_part_of_the_last_second_may_be_used_later() -> None:
    clock = Clock()
    limit = RateLimit(100, clock, clock.sleep, saved_seconds=1.0)
    clock.now += 60
    assert not limit.spend(100, never)
    assert clock.now == 160
    assert limit.spend(100, never)
    assert clock.now == pytest.approx(161)


def test_a_rate_limit_stops_waiting_when_it_should_stop() -> None:
    clock = Clock()
    RateLimit(1, clock, clock.sleep).spend(10**6, lambda: clock.now >= 101)
    assert clock.now <= 101.2


def test_a_rate_limit_applies_to_all_threads_together() -> None:
    started = time.monotonic()
    limit = RateLimit(1000, time.monotonic, time.sleep)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: limit.spend(25, never), range(16)))
    assert time.monotonic() - started >= 0.4


def test_workers_spend_the_cost_of_each_item_in_threads_too() -> None:
    spent: list[int] = []

    def spend(amount: int) -> bool:
        spent.append(amount)
        return False

    def slowly(item: int) -> int:
        time.sleep(0.005)
        return 10 * item

    workers = Workers(spend)
    found = list(workers.map(slowly, range(30), lambda item, result: item + result))
    workers.close()
    assert found == [(item, 10 * item) for item in range(30)]
    assert sorted(spent) == [11 * item for item in range(30)]


def test_workers_start_no_threads_if_one_reaches_the_rate_limit() -> None:
    threads: set[int] = set()

    def slowly(_: int) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.005)

    workers = Workers(lambda _: True)
    assert len(list(workers.map(slowly, range(30)))) == 30
    assert threads == {threading.get_ident()}


def operations(store: StoreBuilder) -> int:
    """Count the blobs, their directories, the links and the manifests of a store."""
    blobs = len(list(store.version_path.glob("blobs/sha256/??/*/data")))
    prefixes = len(list(store.version_path.glob("blobs/sha256/??")))
    links = len(list(store.version_path.rglob("_manifests/**/current/link")))
    revisions = len(list(store.version_path.rglob("_manifests/revisions/sha256/*/link")))
    return blobs + prefixes + links + 2 * revisions


def test_a_scan_takes_at_least_as_long_as_its_rate_limit_requires(store: StoreBuilder) -> None:
    started = time.monotonic()
    bounded = scan_store(store.root, max_ops_per_second=200)
    elapsed = time.monotonic() - started
    assert operations(store) / 200 <= elapsed
    assert bounded.repositories == scan_store(store.root).repositories


def test_a_scan_that_waits_for_its_rate_limit_can_be_stopped(store: StoreBuilder) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(ScanCancelledError):
        scan_store(store.root, control=ScanControl(should_stop=stop.is_set), max_ops_per_second=1)
    assert time.monotonic() - started < operations(store) / 2


def test_a_sweep_is_rate_limited_and_a_scan_of_a_few_places_is_not(store: StoreBuilder) -> None:
    memory = StoreMemory(settled_seconds=0)
    inventory = scan_store(store.root, memory=memory)
    started = time.monotonic()
    few = Places(repositories=frozenset({"app"}))
    scan_store(store.root, inventory, memory=memory, places=few, max_ops_per_second=1)
    assert time.monotonic() - started < 10  # at that rate it would take longer
    started = time.monotonic()
    again = scan_store(store.root, inventory, memory=memory, max_ops_per_second=100)
    # one stat for each directory of blobs, each tag and each manifest, whatever they contain
    prefixes = len(list(store.version_path.glob("blobs/sha256/??")))
    assert (prefixes + 16) / 100 <= time.monotonic() - started
    assert again is inventory


# One at a time


class Recorder(RunningScan):
    """Records the progress of scans, and the threads that report it."""

    def __init__(self) -> None:
        super().__init__()
        self.scans: list[list[float]] = [[]]
        self.threads: set[int] = set()

    @property
    def done(self) -> list[list[float]]:
        return [scan for scan in self.scans if scan and scan[-1] == 1]

    def record(self, progress: ScanProgress) -> None:
        self.threads.add(threading.get_ident())
        self.scans[-1].append(progress.ratio)
        super().record(progress)

    def end(self) -> None:
        self.threads.add(threading.get_ident())
        self.scans.append([])
        super().end()


def test_scans_never_overlap_however_many_are_due(store: StoreBuilder) -> None:
    running, stop = Recorder(), threading.Event()
    followed = FollowedStore(store.root, FollowOptions(interval=0.001), stop=stop, running=running)
    loop = Loop("reading", followed.refresher, 0.001, stop)
    loop.start()

    def progresses() -> bool:
        followed.changes.note(Places(names=True))
        return len(running.done) >= 8

    wait_until(progresses, "the scans do not continue")
    stop.set()
    followed.follower.close()
    loop.join(5)
    assert running.threads == {loop.ident}
    assert all(scan == sorted(scan) for scan in running.done)
