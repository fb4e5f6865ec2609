"""The clock is set while the exporter runs: figures and scan intervals do not depend on it."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from demo.store import StoreBuilder
from tests.exporter_process import Exporter
from tests.reliability import Record
from tests.servers import require
from tests.test_cache import state_variables
from tests.test_faults_process import figures_of, freshly_collected
from tests.test_rescan import small_store

pytestmark = pytest.mark.reliability("faults")

DAY = 86400.0
SHOWN_WITHIN_SECONDS = 60.0
SCANS_AWAITED = 3
FAILURES = "docker_registry_scan_failures_total"
SCANS = "docker_registry_scans_total"
SUCCEEDED_AT = "docker_registry_scan_last_success_timestamp_seconds"
TAGS = "docker_registry_tags"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return small_store(tmp_path / "registry")


class Clock:
    """A settable time of day for processes; their monotonic clock is unchanged."""

    def __init__(self, directory: Path) -> None:
        """Keep the offset in a file that Debian's ``faketime`` reads."""
        wrapped = [require("faketime"), "-f", "+0", "printenv", "LD_PRELOAD"]
        library = subprocess.run(wrapped, check=True, capture_output=True, text=True).stdout.strip()
        self._file = directory / "clock"
        self.environment = {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set(0.0)

    def set(self, offset: float) -> None:
        """Set the clock to an offset from the true time, in seconds."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+.0f}\n")
        new.replace(self._file)
        self.offset = offset

    def now(self) -> float:
        """Return the time that processes see."""
        return time.time() + self.offset


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


class Shop:
    """A store that is pushed to under a settable clock, and assertions on its exporters.

    Attributes:
        slowest: the longest time until a push showed, in seconds.
        lowest: the smallest number on any page.

    """

    def __init__(self, store: StoreBuilder, clock: Clock) -> None:
        self.slowest = 0.0
        self.lowest = 0.0
        self._store = store
        self._clock = clock
        self._pushes = 0

    def push(self) -> None:
        """Push as the registry does: every written file gets the time of the clock."""
        before = set(self._store.root.rglob("*"))
        self._pushes += 1
        self._store.image("app", f"push-{self._pushes}", at=self._clock.now())
        written = set(self._store.root.rglob("*")) - before
        for place in {*written, *(each.parent for each in written)}:
            os.utime(place, (self._clock.now(),) * 2)

    def assert_seen(self, *exporters: Exporter) -> None:
        """Push; assert that each exporter shows it; note the time and the lowest number."""
        self.push()
        started = time.monotonic()
        expected = freshly_collected(self._store.root)
        for exporter in exporters:
            page = exporter.wait_for(lambda page: figures_of(page) == figures_of(expected))
            self.lowest = min(self.lowest, *page.values())
        self.slowest = max(self.slowest, time.monotonic() - started)

    def assert_scanning(self, exporter: Exporter, scans: int) -> float:
        """Wait for more scans, assert the time of the last one; return the seconds it took."""
        started = time.monotonic()
        before = exporter.value(SCANS) or 0.0
        page = exporter.wait_for(lambda page: (page.value(SCANS) or 0) >= before + scans)
        succeeded_at = page.value(SUCCEEDED_AT)
        assert succeeded_at is not None
        assert abs(succeeded_at - self._clock.now()) < 60.0  # the clock is set by days
        assert page.value(FAILURES) == 0
        self.lowest = min(self.lowest, *page.values())
        return time.monotonic() - started


def test_setting_the_clock_hides_no_push_and_stops_no_scan(
    store: StoreBuilder, clock: Clock, tmp_path: Path, record: Record
) -> None:
    shop = Shop(store, clock)
    clock.set(DAY)  # so that new files count as settled
    root = ("--storage.root", store.root)
    sweeping = (*root, "--no-scan.watch", "--scan.interval", "300ms")
    watching = (*root, "--scan.interval", "1h")
    rhythm = []
    with (
        Exporter(*sweeping, environment=clock.environment) as sweeper,
        Exporter(*watching, environment=clock.environment | state_variables(tmp_path)) as watcher,
    ):
        watcher.wait_for(lambda page: page.value("docker_registry_watch_active") == 1)
        for offset in (-DAY, 30 * DAY, 0.0):
            clock.set(offset)
            rhythm.append(shop.assert_scanning(sweeper, SCANS_AWAITED))
            shop.assert_seen(sweeper, watcher)
            assert watcher.get("/-/healthy").status_code == 200
        for exporter in (sweeper, watcher):
            assert exporter.complaints == []
        clock.set(DAY)
        shop.push()
        watcher.wait_for(lambda page: page.value(TAGS) == sweeper.value(TAGS))
        watcher.terminate()
    clock.set(-DAY)
    with Exporter(
        *watching, environment=clock.environment | state_variables(tmp_path)
    ) as restarted:
        shop.assert_seen(restarted)
        assert restarted.value("docker_registry_cache_loaded") == 0
        (line,) = restarted.complaints
        assert "was written in the future; was the clock set back?: everything is" in line
    assert shop.lowest >= 0.0
    assert shop.slowest < SHOWN_WITHIN_SECONDS
    assert max(rhythm) < SHOWN_WITHIN_SECONDS
    record(
        "The clock set forward and back while it runs: scans keep their rhythm, pushes show, with "
        "and without watching, and no number is negative",
        f"from a day ahead to a day back, 30 days ahead, right: {SCANS_AWAITED} scans at 300 ms in "
        f"{min(rhythm):.1f} to {max(rhythm):.1f} s, pushes shown within {shop.slowest:.1f} s, "
        f"smallest number {shop.lowest:g}",
    )
    record(
        "The clock set back while it was down: the cache is not used",
        "1 warning, everything read, figures equal a fresh scan's",
    )
