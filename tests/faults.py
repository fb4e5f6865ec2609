"""Shared by tests of faults: a store without garbage, its metrics, and scrapes in the background.

The scrapes continue whatever a test does, and record how long they took and what they showed.
"""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx

from demo.child_process import PATIENCE_SECONDS
from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter, Metrics

INTERVAL_SECONDS = 0.1
OFTEN = ("--scan.interval", "100ms")
# Wide, for slow machines: what these tests exclude is waiting for a mount that never answers.
ANSWERED_WITHIN_SECONDS = 10.0
GOES_ON_WITHIN_SECONDS = PATIENCE_SECONDS
LAST_SUCCESS = "docker_registry_scan_last_success_timestamp_seconds"
SUCCESS, COMPLETE = "docker_registry_scan_success", "docker_registry_scan_complete"
SCANS = "docker_registry_scans_total"

_PUSHED_AT = 1_700_000_000.0
_PAGES = ("/metrics", "/-/healthy")
_PAUSE_SECONDS = 0.02
_GARBAGE = re.compile(
    r'^docker_registry_(?:blobs\{state="unreferenced"\}|gc_reclaimable_blobs\{mode="\w+"\}) (\S+)$',
    re.MULTILINE,
)
_OF_THE_STORE = re.compile(
    r"docker_registry_(blob|manifest|repositor|tags|logical|shared|upload|stray|missing|broken)"
)


def build_store(root: Path, apps: int = 3) -> StoreBuilder:
    """Write a store without any garbage."""
    store = StoreBuilder(root)
    for number in range(apps):
        for tag in ("1", "2"):
            layers = [noise("base", 500), noise(f"{number} {tag}", 90)]
            store.image(f"shop/app-{number}", tag, layers, at=_PUSHED_AT)
    return store


def of_the_store(metrics: Metrics) -> Metrics:
    """Return the metrics of the store."""
    return Metrics({key: value for key, value in metrics.items() if _OF_THE_STORE.match(key[0])})


def succeeds(metrics: Metrics) -> bool:
    return metrics.value(SUCCESS) == 1 and metrics.value(COMPLETE) == 1


def scanned_again(metrics: Metrics) -> Callable[[Metrics], bool]:
    """Return a predicate: two more scans have ended since these metrics."""
    scans = metrics.total(SCANS)
    return lambda page: page.total(SCANS) >= scans + 2


def lines(log: str, *parts: str) -> list[str]:
    """Return the lines that contain all of these parts."""
    return [line for line in log.splitlines() if all(part in line for part in parts)]


def seconds_until(
    exporter: Exporter,
    holds: Callable[[Metrics], bool],
    otherwise: str,
    patience: float = GOES_ON_WITHIN_SECONDS,
) -> float:
    """Wait until a predicate holds, at most ``patience`` seconds; return the seconds it took."""
    started = time.monotonic()
    exporter.wait_for(holds, otherwise, patience)
    return time.monotonic() - started


class Scrapes:
    """Scrapes an exporter continuously.

    Attributes:
        count: how many complete pages came.
        slowest: the longest time of a page, in seconds.
        most_garbage: the most blobs that a page called unreferenced or reclaimable.
        failures: errors in place of a page.

    """

    def __init__(self, exporter: Exporter) -> None:
        self.count = 0
        self.slowest = 0.0
        self.most_garbage = 0.0
        self.failures: list[str] = []
        self._url = exporter.url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._scrape)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _scrape(self) -> None:
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            while True:
                for page in _PAGES:
                    self._ask(client, page)
                if self._stop.wait(_PAUSE_SECONDS):
                    return

    def _ask(self, client: httpx.Client, page: str) -> None:
        started = time.monotonic()
        try:
            answer = client.get(f"{self._url}{page}").raise_for_status()
        except httpx.HTTPError as error:
            self.failures.append(f"{page}: {error!r}")
            return
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.count += 1
        if page == "/metrics":
            garbage = [float(each) for each in _GARBAGE.findall(answer.text)]
            self.most_garbage = max(self.most_garbage, *garbage, 0.0)


def assert_answers(scrapes: Scrapes) -> None:
    assert scrapes.failures == []
    assert scrapes.count >= len(_PAGES)
    assert scrapes.slowest < ANSWERED_WITHIN_SECONDS
    assert scrapes.most_garbage == 0  # all blobs are tagged
