"""Twenty minutes beside a busy registry, scraped every second: memory and answers are stable."""

import gzip
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil
import pytest

from benchmarks.measure import percentile
from benchmarks.serve_process import Connection
from tests.exporter_process import Exporter, Metrics, collect
from tests.registry_load import Load
from tests.reliability import Record
from tests.servers import DockerRegistry

SECONDS = float(os.environ.get("SOAK_SECONDS", "1200"))
MINUTE = min(60.0, SECONDS / 20)
"""A minute, or a twentieth of a shorter run."""

SCRAPE_INTERVAL_SECONDS = 1.0
COLLECT_SECONDS = 30.0
PAUSE_SECONDS = 0.5
"""Pause after each push and deletion. The store should keep its size, but grows a little: the
registry leaves a directory for each deleted manifest."""

MOST_CHANGE = 0.05
_MEBIBYTE = 1 << 20

Print = Callable[[str], None]


@dataclass(slots=True)
class Watch:
    """Measurements of a process, once a second.

    Attributes:
        seconds: duration of each scrape.
        memory: bytes in RAM after each scrape, with the time since the start.

    """

    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)

    def resident_bytes(self, begin: float, end: float) -> float:
        """Return the median between two times, in seconds since the start."""
        return median(size for at, size in self.memory if begin <= at < end)

    def note(self, at: float, seconds: float, resident: int) -> None:
        self.seconds.append(seconds)
        self.memory.append((at, resident))


@pytest.fixture
def print_line(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Print:
    """Return a function that prints a line while the test runs."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    assert isinstance(reporter, pytest.TerminalReporter)

    def line(text: str) -> None:
        with capfd.disabled():
            reporter.write_line(text)
            reporter.flush()

    return line


def ticks(seconds: float) -> Iterator[float]:
    """Yield the time of each scrape in seconds, and sleep until the next one is due."""
    started = time.monotonic()
    at = 0.0
    while at < seconds:
        yield at
        passed = time.monotonic() - started
        at = max(at + SCRAPE_INTERVAL_SECONDS, passed)
        time.sleep(at - passed)


def watch(exporter: Exporter, load: Load, print_line: Print) -> Watch:
    """Scrape on one connection, like Prometheus, until the time is over."""
    process, seen, next_line = psutil.Process(exporter.process_id), Watch(), MINUTE
    with Connection(int(exporter.address.rpartition(":")[2])) as connection:
        for at in ticks(SECONDS):
            load.check()
            seconds, body = connection.scrape()
            page = gzip.decompress(body)
            assert page.endswith(b"# EOF\n"), "the page is not complete OpenMetrics"
            seen.note(at, seconds, process.memory_info().rss)
            if at >= next_line:
                next_line += MINUTE
                print_line(f"{at:5.0f} s: {state_of(seen, load)}")
    return seen


def state_of(seen: Watch, load: Load) -> str:
    resident = seen.memory[-1][1] / _MEBIBYTE
    slowest = 1000 * max(seen.seconds)
    done = ", ".join(f"{times:,} {what}" for what, times in load.done.items())
    return f"{resident:.1f} MiB, {len(seen.seconds):,} scrapes, slowest {slowest:.1f} ms; {done}"


def settled_page(exporter: Exporter, root: Path) -> Metrics:
    """Wait until its figures of the store equal those of a fresh ``collect``."""
    fresh = collect(root).of_the_store()
    return exporter.wait_for(lambda page: page.of_the_store() == fresh)


@pytest.mark.soak
@pytest.mark.reliability("soak")
def test_memory_is_stable_and_every_scrape_and_scan_succeeds(
    tmp_path: Path, record: Record, print_line: Print
) -> None:
    registry = DockerRegistry(tmp_path / "registry")
    registry.root.mkdir()
    flags = ("--storage.root", registry.root, "--registry.url", registry.url)
    with registry, Exporter(*flags, "--scan.interval", "10s") as exporter:
        load = Load(
            registry.url,
            registry.garbage_collect,
            collect_seconds=COLLECT_SECONDS,
            pause_seconds=PAUSE_SECONDS,
        )
        with load:
            seen = watch(exporter, load, print_line)
        page = settled_page(exporter, registry.root)
        stopped = exporter.terminate()
        lines, complaints = len(exporter.log.splitlines()), exporter.complaints
    early = seen.resident_bytes(MINUTE, 2 * MINUTE)
    late = seen.resident_bytes(SECONDS - MINUTE, SECONDS)
    slowest, high = max(seen.seconds), percentile(seen.seconds, 0.99)
    scans = page.value("docker_registry_scans_total")
    shown = {
        "Memory in the last minute is within 5 % of that in minute two": (
            f"{late / early - 1:+.1%}: {late / _MEBIBYTE:.1f} MiB, "
            f"{early / _MEBIBYTE:.1f} MiB in minute two (medians)"
        ),
        "Each scrape is answered before the next one is due, a second later, on one connection": (
            f"{len(seen.seconds):,} scrapes: slowest {1000 * slowest:.1f} ms, "
            f"99th percentile {1000 * high:.1f} ms"
        ),
        "No scan fails, and the log has no warning or error without an explanation": (
            f"{scans:,.0f} scans beside {load.done['pushes']:,} pushes, "
            f"{load.done['deletions']:,} deletions and {load.done['collector runs']} runs of the "
            f"collector; {lines:,} lines"
        ),
    }
    for claim, figure in shown.items():
        print_line(f"{claim}: {figure}")
    assert complaints == []
    assert page.value("docker_registry_scan_failures_total") == 0
    assert page.value("docker_registry_api_up") == 1
    assert stopped.exit_code == 0
    assert slowest < SCRAPE_INTERVAL_SECONDS
    assert abs(late / early - 1) < MOST_CHANGE
    for claim, figure in shown.items():
        record(claim, figure)
