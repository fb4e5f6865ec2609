"""Progress of a running scan: in a scrape, on the page, in the log, on a terminal."""

import logging
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from demo.store import StoreBuilder, noise
from exporter.domain.errors import ScanCancelledError, StoreUnreadableError
from exporter.domain.scan_progress import Advance, RunningScan, ScanProgress
from exporter.metrics.instruments import SCAN_PROGRESS, ScanProgressCollector
from exporter.serve import refresh
from exporter.serve.stall import WARN_SECONDS, StallWarner
from exporter.store.filesystem.rescan.scan_memory import StoreMemory
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import ScanControl
from tests.exporter_process import Exporter
from tests.followed_store import FollowedStore

RATIO = SCAN_PROGRESS.name


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = StoreBuilder(tmp_path / "registry")
    for number in range(8):
        store.image(f"app-{number}", "1", [noise(f"layer {number}", 100)])
    return store


def test_the_ratio_never_falls_and_ends_at_one(store: StoreBuilder) -> None:
    children = [
        store.image("app", None, [noise(each, 64)], platform=each) for each in ("a/b", "c/d")
    ]
    store.index("app", "1", [store.index("app", None, children)])
    seen: list[ScanProgress] = []
    scan_store(store.root, control=ScanControl(seen.append))
    ratios = [each.ratio for each in seen]
    assert ratios == sorted(ratios)
    assert 0 < ratios[0] < 0.3
    assert [ratio for ratio in ratios if ratio == 1] == [1]
    assert ratios[-1] == 1
    assert all(each.is_full for each in seen)


def test_a_growing_total_does_not_make_the_ratio_fall() -> None:
    seen: list[ScanProgress] = []
    advance = Advance(seen.append, is_full=True)
    for done, total in ((5, 10), (6, 100), (60, 100), (100, 100)):
        advance.report("manifests", done, total)
    advance.finish()
    ratios = [each.ratio for each in seen]
    assert ratios == pytest.approx([0.74, 0.74, 0.772, 0.9, 1])


@pytest.mark.parametrize("begun", [False, True])
def test_a_scan_of_an_empty_store_ends_at_one_too(tmp_path: Path, *, begun: bool) -> None:
    seen: list[ScanProgress] = []
    (tmp_path / "docker/registry/v2" / ("blobs" if begun else "")).mkdir(parents=True)
    scan_store(tmp_path, control=ScanControl(seen.append))
    assert [each.ratio for each in seen] == [1]


def test_an_incremental_scan_is_not_a_full_scan(store: StoreBuilder) -> None:
    memory = StoreMemory(settled_seconds=0)
    inventory = scan_store(store.root, memory=memory)
    seen: list[ScanProgress] = []
    scan_store(store.root, inventory, memory=memory, control=ScanControl(seen.append))
    assert {each.is_full for each in seen} == {False}
    assert seen[-1].ratio == 1
    running = RunningScan()
    for each in seen:
        running.record(each)
    assert running.progress is None


class Scrapes(RunningScan):
    """A running scan that is scraped at every report of progress."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = CollectorRegistry()
        ScanProgressCollector(self.registry, lambda: self.ratio)
        self.seen: list[float | None] = []

    def record(self, progress: ScanProgress) -> None:
        super().record(progress)
        self.seen.append(self.registry.get_sample_value(RATIO))


def test_a_scrape_during_a_full_scan_shows_its_progress(store: StoreBuilder) -> None:
    running = Scrapes()
    followed = FollowedStore(store.root, running=running)
    assert generate_latest(running.registry) == b""
    followed.refresh()
    reported = [each for each in running.seen if each is not None]
    assert reported == running.seen == sorted(reported)
    assert reported[-1] == 1
    assert generate_latest(running.registry) == b""


def test_a_failed_or_stopped_scan_is_not_shown_as_running(store: StoreBuilder) -> None:
    running, stop = RunningScan(), threading.Event()
    stop.set()
    with pytest.raises(ScanCancelledError):
        FollowedStore(store.root, stop=stop, running=running).refresh()
    assert running.ratio is None
    store.root.rename(store.root.with_name("away"))
    with pytest.raises(StoreUnreadableError):
        FollowedStore(store.root, running=running).refresh()
    assert running.ratio is None


def test_the_first_scan_shows_everywhere_before_it_is_published(store: StoreBuilder) -> None:
    flags = ("--storage.root", store.root, "--scan.max-ops-per-second", "1")
    with Exporter(*flags, until_ready=False) as exporter:
        metrics = exporter.wait_for(lambda page: page.value(RATIO) is not None, "no scan begins")
        ready, page = exporter.get("/-/ready"), exporter.get("/").text
        stopped = exporter.terminate()
    ratio = metrics.value(RATIO)
    assert ratio is not None
    assert 0 < ratio < 0.3
    assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert ready.text.startswith("not ready: the first scan is not done yet (")
    assert " %, blobs " in ready.text
    assert "<h1>The store is being read</h1>" in page
    assert "<progress" in page
    assert stopped.exit_code == 0
    assert stopped.seconds < 2


def test_the_progress_of_a_long_scan_is_logged(
    store: StoreBuilder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refresh, "_PROGRESS_SECONDS", 0.0)  # as if every part took that long
    with caplog.at_level(logging.INFO):
        FollowedStore(store.root).refresh()
    reported = [each for each in caplog.records if each.msg == "scanning the store"]
    fields = [vars(each)["fields"] for each in reported]
    assert fields[-1]["ratio"] == 1
    assert fields[-1]["stage"] == "manifests"
    assert {"ratio", "stage", "done", "total"} == set(fields[0])


def test_a_stalled_scan_is_logged_once_and_so_is_its_progress(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    running = RunningScan(lambda: now[0])
    warner = StallWarner("/srv", running)

    def logged_after(seconds: float) -> list[str]:
        caplog.clear()
        now[0] += seconds
        warner.check()
        return [each.getMessage() for each in caplog.records]

    with caplog.at_level(logging.INFO):
        assert logged_after(2 * WARN_SECONDS) == []  # no scan runs
        running.begin()
        assert logged_after(WARN_SECONDS - 1) == []
        running.record(ScanProgress("blobs", 1, 256, is_full=False))
        assert logged_after(WARN_SECONDS - 1) == []
        (warning,) = logged_after(1)
        assert logged_after(1) == []
        running.record(ScanProgress("blobs", 2, 256))
        assert logged_after(1) == ["the scan of /srv makes progress again"]
        assert logged_after(WARN_SECONDS) != []
        running.end()
        assert logged_after(WARN_SECONDS) == ["the scan of /srv makes progress again"]
    assert warning.startswith("the scan of /srv has read nothing more for 60 s; is a disk or a")
    assert running.still_seconds == 0
