"""The store on a mount that hangs: a real filesystem whose server stops answering."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.child_process import wait_until
from exporter.serve.stall import CHECK_SECONDS
from tests.exporter_process import STOPPED_WITHIN_SECONDS, Exporter
from tests.faults import (
    INTERVAL_SECONDS,
    LAST_SUCCESS,
    OFTEN,
    SCANS,
    SUCCESS,
    Scrapes,
    assert_answers,
    build_store,
    lines,
    of_the_store,
    seconds_until,
    succeeds,
)
from tests.mirror_filesystem import MirrorFilesystem
from tests.mounts import Mounts
from tests.reliability import Record

pytestmark = pytest.mark.reliability("faults")

HANGS = "does not answer; is its mount hanging?"


@pytest.fixture
def mirror(mounts: Mounts, tmp_path: Path) -> Iterator[MirrorFilesystem]:
    """Yield a filesystem that can hang, with a store, at ``registry`` in the test's directory."""
    build_store(tmp_path / "disk")
    place = tmp_path / "registry"
    place.mkdir()
    with MirrorFilesystem(tmp_path / "disk", place, mounts) as filesystem:
        yield filesystem


def test_a_hanging_mount_blocks_neither_scrapes_nor_stopping_and_recovers(
    mirror: MirrorFilesystem, tmp_path: Path, record: Record
) -> None:
    flags = ("--storage.root", tmp_path / "registry", *OFTEN, "--alerts.scan-stale.critical", "3s")
    with Exporter(*flags) as exporter:
        before = exporter.wait_for(lambda page: page.total(SCANS) > 1)
        mirror.hang()
        with Scrapes(exporter) as scrapes:
            wait_until(lambda: HANGS in exporter.log, "the hanging mount is not logged")
            hung = exporter.metrics()
            stale = exporter.metrics()
            age = time.time() - stale.total(LAST_SUCCESS)
        healthy = exporter.get("/-/healthy")
        mirror.answer()
        scans = stale.total(SCANS)
        seconds = seconds_until(
            exporter,
            lambda page: (
                succeeds(page)
                and page.total(SCANS) > scans
                and page.value("docker_registry_filesystem_size_bytes") is not None
            ),
            "scans do not continue",
        )
        after = exporter.metrics()
        mirror.hang()
        scans = exporter.metrics().total(SCANS)
        time.sleep(3 * INTERVAL_SECONDS)  # so that a scan hangs
        stopped = exporter.terminate()
        log = exporter.log
    assert_answers(scrapes)
    assert healthy.status_code == httpx.codes.OK
    assert of_the_store(hung) == of_the_store(stale) == of_the_store(before) == of_the_store(after)
    assert stale.value(LAST_SUCCESS) == hung.value(LAST_SUCCESS)
    threshold = stale.value(
        "docker_registry_alert_threshold", alert="ScanStale", severity="critical"
    )
    assert threshold is not None
    assert age > threshold  # the condition of the alert
    assert stale.value("docker_registry_filesystem_size_bytes") is None  # unknown, not old
    assert len(lines(log, f"the filesystem of {tmp_path / 'registry'} {HANGS}")) == 1
    assert len(lines(log, "answers again")) == 1
    assert stopped.exit_code == 0
    assert stopped.seconds < STOPPED_WITHIN_SECONDS
    assert "Traceback" not in log
    record(
        "While the store's mount hangs, /metrics and /-/healthy answer",
        f"{scrapes.count} times, the slowest in {1000 * scrapes.slowest:.0f} ms",
    )
    record("When the mount answers again, scans go on by themselves", f"after {seconds:.2f} s")
    record("SIGTERM ends it while a scan hangs, with exit code 0", f"in {stopped.seconds:.1f} s")


@pytest.mark.parametrize("hanging", ["", "shop"])
def test_a_mount_that_hangs_at_the_start_is_the_reason_for_not_ready(
    hanging: str, mirror: MirrorFilesystem, tmp_path: Path, record: Record, *, at_length: bool
) -> None:
    place = tmp_path / "registry"
    mirror.hang(hanging)
    started = time.monotonic()
    with Exporter("--storage.root", place, *OFTEN, until_ready=False) as exporter:
        listens = time.monotonic() - started
        with Scrapes(exporter) as scrapes:
            wait_until(
                lambda: "is the store's mount hanging?" in exporter.get("/-/ready").text,
                "the reason is not shown",
                20,
            )
            if at_length and hanging:
                stalled = (
                    f"the scan of {place} has read nothing more for 60 s; is a disk or a mount"
                )
                wait_until(lambda: stalled in exporter.log, "the stalled scan is not logged", 90)
                time.sleep(2 * CHECK_SECONDS)
                assert len(lines(exporter.log, stalled)) == 1
            ready, metrics, log = exporter.get("/-/ready"), exporter.metrics(), exporter.log
        mirror.answer()
        seconds = seconds_until(exporter, succeeds, "scans do not continue")
        again = exporter.get("/-/ready")
    assert_answers(scrapes)
    assert ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
    how_far = r" \(\d+ %, blobs \d+ of \d+\)" if hanging else ""
    reason = rf"the first scan is not done yet{how_far}; it has read nothing more for \d+ s: "
    assert re.match(f"not ready: {reason}", ready.text)
    assert metrics.value(SUCCESS) is None
    assert (
        metrics.value("process_start_time_seconds") is not None
    )  # the start of ScanStale's waiting time
    assert len(lines(log, HANGS)) <= (0 if hanging else 1)  # the rest of the mount answers
    assert again.status_code == httpx.codes.OK
    what = "One directory of the store" if hanging else "The store's mount"
    record(
        f"{what} hangs at the start: it listens, says that it is not ready and why, and becomes "
        "ready when it answers",
        f"listens after {listens:.1f} s, ready {seconds:.2f} s after it answers",
    )


def test_sigterm_stops_it_during_a_hanging_first_scan(
    mirror: MirrorFilesystem, tmp_path: Path, record: Record
) -> None:
    mirror.hang()
    with Exporter("--storage.root", tmp_path / "registry", until_ready=False) as exporter:
        stopped = exporter.terminate()
        log = exporter.log
    assert stopped.exit_code == 0
    assert stopped.seconds < STOPPED_WITHIN_SECONDS
    assert "msg=stopped" in log
    assert "Traceback" not in log
    record("SIGTERM ends it while the first scan hangs", f"in {stopped.seconds:.1f} s")
