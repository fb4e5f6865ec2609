"""When no more files can be opened, answers and figures stay, and the log stays readable."""

import contextlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.errors import ExporterError
from exporter.domain.model import Inventory
from exporter.domain.snapshot import BlobState
from exporter.store.filesystem.disk_space import read_usage
from exporter.store.filesystem.rescan.scan_memory import StoreMemory
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Exporter, Metrics
from tests.faults import ANSWERED_WITHIN_SECONDS
from tests.in_process import run_command
from tests.mounts import Mounts
from tests.reliability import Record
from tests.small_filesystem import small_filesystem
from tests.test_cache import of_the_store
from tests.test_rescan import described, small_store

pytestmark = pytest.mark.reliability("faults")

STARVED_SECONDS = 3.0
FAILURES = "docker_registry_scan_failures_total"
SUCCESS = "docker_registry_scan_success"
TAGS = "docker_registry_tags"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return small_store(tmp_path / "registry")


def freshly_collected(root: Path) -> Metrics:
    """Return the metrics of a scan by a new process."""
    return Metrics.parse(run_command("collect", "--storage.root", root).output)


def figures_of(page: Metrics) -> dict[object, float]:
    """Return the metrics of the store, without the thresholds, which depend on flags."""
    threshold = "docker_registry_alert_threshold"
    return of_the_store({key: value for key, value in page.items() if key[0] != threshold})


def open_files(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


@contextmanager
def limit_open_files(limit: int, process_id: int = 0) -> Iterator[None]:
    """Limit the file descriptors of a process."""
    before = resource.prlimit(process_id, resource.RLIMIT_NOFILE)
    resource.prlimit(process_id, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process_id, resource.RLIMIT_NOFILE, before)


def cpu_seconds(process_id: int) -> float:
    times = psutil.Process(process_id).cpu_times()
    return times.user + times.system


def test_without_file_descriptors_it_answers_waits_and_recovers(
    store: StoreBuilder, record: Record
) -> None:
    store.unlinked_blob(noise("garbage", 10))
    with (
        Exporter("--storage.root", store.root, "--scan.interval", "500ms") as exporter,
        contextlib.ExitStack() as clients,
    ):
        before = exporter.wait_for(lambda page: page.value("docker_registry_watch_active") == 1)
        process_id = exporter.process_id
        logged = len(exporter.log)
        with limit_open_files(3, process_id):
            failed = exporter.wait_for(lambda page: (page.value(FAILURES) or 0) >= 1)
            assert failed.value(SUCCESS) == 0
            assert figures_of(failed) == figures_of(before)
            host, _, port = exporter.address.partition(":")
            for _ in range(50):
                clients.enter_context(socket.create_connection((host, int(port)), timeout=5))
            used, started = cpu_seconds(process_id), time.monotonic()
            slowest = 0.0
            while time.monotonic() < started + STARVED_SECONDS:
                asked = time.monotonic()
                assert exporter.get("/-/healthy").status_code == 200
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.2)
            share = (cpu_seconds(process_id) - used) / (time.monotonic() - started)
            lines = exporter.log[logged:].splitlines()
        raised = time.monotonic()
        exporter.wait_for(lambda page: page.value(SUCCESS) == 1)
        with socket.create_connection((host, int(port)), timeout=5) as newcomer:
            newcomer.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert newcomer.recv(4096).startswith(b"HTTP/1.1 200 ")
        recovered = time.monotonic() - raised
        store.image("app", "3")
        exporter.wait_for(lambda page: page.value(TAGS) == 4)
        assert "bug" not in exporter.log
        assert figures_of(exporter.metrics()) == figures_of(freshly_collected(store.root))
    limit = "Too many open files; raise this process's limit of open files (ulimit -n, LimitNOFILE"
    scans = [line for line in lines if "reading the store failed: cannot " in line]
    accepts = [line for line in lines if "no connection can be accepted" in line]
    assert all(limit in line for line in (*scans, *accepts))
    assert scans
    assert len(accepts) == 1
    histories = [line for line in lines if "the history " in line]
    assert len(histories) <= 1
    assert len(lines) <= len(scans) + len(accepts) + len(histories) + 2, lines
    assert share < 0.5  # a loop that retries at once takes all of it
    assert slowest < ANSWERED_WITHIN_SECONDS
    record(
        "No file can be opened any more: kept connections are answered, figures stay, the log says "
        "why, and it recovers by itself",
        f"50 new connections waiting: slowest answer {slowest * 1000:.0f} ms, {share:.0%} of a "
        f"processor, {len(lines)} lines in {STARVED_SECONDS:g} s; scanned and answered again "
        f"{recovered:.1f} s after the limit was raised",
    )


def live_figures(inventory: Inventory) -> dict[str, int]:
    """Return the figures on which an operator bases deletions."""
    figures = analyse(inventory)
    return {
        "unreferenced": figures.blobs[BlobState.UNREFERENCED].blobs,
        "blobs": sum(total.blobs for total in figures.blobs.values()),
        "tags": sum(len(each.tags) for each in inventory.repositories),
    }


@pytest.mark.parametrize("changed", [False, True], ids=["unchanged", "changed"])
def test_with_few_file_descriptors_no_scan_reports_a_live_blob_as_garbage(
    store: StoreBuilder, record: Record, *, changed: bool
) -> None:
    memory = StoreMemory(0.0)
    before = scan_store(store.root, memory=memory)
    if changed:
        store.image("app", "3", [noise("three", 10)])
        store.image("new", "1")
    truth = live_figures(scan_store(store.root))
    outcomes = {"failed": 0, "in part": 0, "whole": 0}
    known = memory.known
    for left in range(30):
        memory = StoreMemory(0.0)
        memory.restore(known, time.time())
        with limit_open_files(next_file() + left), reported() as failure:
            inventory = scan_store(store.root, before, memory=memory)
        if failure:
            assert "Too many open files" in failure[0]
            outcomes["failed"] += 1
            continue
        found = live_figures(inventory)
        assert found["unreferenced"] == 0
        assert found["blobs"] >= live_figures(before)["blobs"]
        assert found["tags"] >= live_figures(before)["tags"]
        outcomes["in part" if inventory.issues else "whole"] += 1
        assert inventory.issues or found == truth
        again = scan_store(store.root, inventory, memory=memory)
        assert described(again) == described(scan_store(store.root))
    assert all(outcomes[each] for each in ("failed", "whole"))
    record(
        f"A scan of a store that has {'' if changed else 'not '}changed, with 0 to 29 files left "
        "to open: no live blob is called unreferenced",
        ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        + "; each next scan equals a fresh one",
    )


@contextmanager
def reported() -> Iterator[list[str]]:
    """Yield a list that receives the message of an error raised inside."""
    messages: list[str] = []
    try:
        yield messages
    except ExporterError as error:
        messages.append(str(error))


def next_file() -> int:
    """Return the descriptor of the next file to be opened."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def test_read_only_is_unknown_when_no_file_can_be_opened(mounts: Mounts, tmp_path: Path) -> None:
    with small_filesystem(mounts, tmp_path / "store") as mounted:
        assert read_usage(mounted.place).readonly is False
        mounted.make_read_only()
        assert read_usage(mounted.place).readonly is True
        with limit_open_files(next_file()):
            assert read_usage(mounted.place).readonly is None
