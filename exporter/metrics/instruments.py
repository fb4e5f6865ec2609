"""Metrics of the exporter itself, counted as things happen.

Each is declared once, as an :class:`Instrument`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from exporter.metrics.groups.api import SECTION as API
from exporter.metrics.groups.exporter import SECTION as EXPORTER


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument as documented.

    Attributes:
        name: as exposed.
        kind: its type.
        help: what it is.
        labels: names of its labels.
        section: title in the documentation.

    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    section: str = EXPORTER


REQUESTS = Instrument(
    "docker_registry_api_requests_total",
    "counter",
    "The exporter's own requests to the registry's HTTP API, by endpoint (ping, catalog, tags, "
    "token) and by status code; code error if there was no answer.",
    ("endpoint", "code"),
    API,
)
REQUEST_DURATION = Instrument(
    "docker_registry_api_request_duration_seconds",
    "histogram",
    "How long the exporter's own requests to the registry's HTTP API took.",
    ("endpoint",),
    API,
)
WATCH_ACTIVE = Instrument(
    "docker_registry_watch_active",
    "gauge",
    "1 while all directories of the store that show changes are watched; 0 if some or all changes "
    "show only at the next scan, every scan.interval. The log says why.",
)
WATCHED = Instrument(
    "docker_registry_watched_directories",
    "gauge",
    "Directories of the store that are watched for changes.",
)
OVERFLOWS = Instrument(
    "docker_registry_watch_overflows_total",
    "counter",
    "How often more changes came than the kernel's queue holds. The whole store is scanned then.",
)
CACHE_LOADED = Instrument(
    "docker_registry_cache_loaded",
    "gauge",
    "1 if the first scan used what was kept over the restart; 0 if it read everything, and until "
    "that is known. The log says why the cache was not used.",
)
CACHE_WRITE_SUCCESS = Instrument(
    "docker_registry_cache_write_success",
    "gauge",
    "1 if the last attempt to keep what the scan knows for the next start succeeded, else 0; "
    "absent before the first attempt. The log says why not.",
)
SCAN_PROGRESS = Instrument(
    "docker_registry_scan_progress_ratio",
    "gauge",
    "How much of the full scan that runs right now is done, 0 to 1: the first scan if nothing was "
    "kept over the restart, and one an hour. Absent while none runs; scans that read only what "
    "has changed do not count.",
)
INSTRUMENTS = (
    REQUESTS,
    REQUEST_DURATION,
    WATCH_ACTIVE,
    WATCHED,
    OVERFLOWS,
    CACHE_LOADED,
    CACHE_WRITE_SUCCESS,
    SCAN_PROGRESS,
)


class ScanProgressCollector(Collector):
    """Yields the progress of the running full scan, and nothing while none runs."""

    def __init__(self, registry: CollectorRegistry, read_ratio: Callable[[], float | None]) -> None:
        self._read_ratio = read_ratio
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the family without a sample."""
        yield GaugeMetricFamily(SCAN_PROGRESS.name, SCAN_PROGRESS.help)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the family if there is a sample."""
        ratio = self._read_ratio()
        if ratio is not None:
            yield GaugeMetricFamily(SCAN_PROGRESS.name, SCAN_PROGRESS.help, ratio)


class WatchInstruments:
    """Counts what watching the store does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._active = Gauge(WATCH_ACTIVE.name, WATCH_ACTIVE.help, registry=registry)
        self._watched = Gauge(WATCHED.name, WATCHED.help, registry=registry)
        self._overflows = Counter(OVERFLOWS.name, OVERFLOWS.help, registry=registry)

    def record_watches(self, watches: int, *, is_whole: bool) -> None:
        """Record how many directories are watched, and whether those are all that should be."""
        self._watched.set(watches)
        self._active.set(is_whole)

    def record_overflow(self) -> None:
        """Record that changes were lost."""
        self._overflows.inc()


class CacheInstruments:
    """Records whether the cache was of use at the start, and whether it can be written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._loaded = Gauge(CACHE_LOADED.name, CACHE_LOADED.help, registry=registry)
        self._written: Gauge | None = None

    def record_loaded(self, *, is_loaded: bool) -> None:
        """Record whether the first scan used what was kept."""
        self._loaded.set(is_loaded)

    def record_written(self, *, is_written: bool) -> None:
        """Record whether the last attempt to keep what is known succeeded."""
        if self._written is None:
            name, text = CACHE_WRITE_SUCCESS.name, CACHE_WRITE_SUCCESS.help
            self._written = Gauge(name, text, registry=self._registry)
        self._written.set(is_written)


class ApiInstruments:
    """Counts requests to the registry's API; call it with each request."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(REQUESTS.name, REQUESTS.help, REQUESTS.labels, registry=registry)
        self._durations = Histogram(
            REQUEST_DURATION.name,
            REQUEST_DURATION.help,
            REQUEST_DURATION.labels,
            registry=registry,
        )

    def __call__(self, endpoint: str, code: str, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(endpoint, code).inc()
        self._durations.labels(endpoint).observe(seconds)


def process_registry() -> CollectorRegistry:
    """Return a registry with the metrics of this process: ``process_*`` and ``python_*``."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
