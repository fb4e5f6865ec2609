"""The composition root: the only place that turns settings into objects.

Modules that only some commands need are imported by their functions, so that ``collect`` starts
fast.
"""

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.deletion.order import Dating
from exporter.commands.one_scan import scan_once
from exporter.domain.model import DeletionAnswer
from exporter.domain.snapshot import ApiStatus, Snapshot
from exporter.domain.text import printable
from exporter.metrics.metric import Subject
from exporter.metrics.repository_selection import RepositorySelector
from exporter.platforms.port import STANDALONE, OperatorCommands, Platform
from exporter.settings.model import Settings, WebSettings
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import Store
from exporter.support.host_platform import host_platform
from exporter.support.state_directory import state_file
from exporter.support.terminal_progress import terminal_progress

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from exporter.domain.census import Census
    from exporter.registry.http import RegistryEndpoint, RequestObserver
    from exporter.serve.loop import Loop
    from exporter.serve.loops import Sources
    from exporter.serve.run import Service
    from exporter.web.server.connections import Bounds

_log = logging.getLogger(__name__)

_CACHE_NAME = "inventory.sqlite"
_CENSUS_SUFFIX = ".census.json"  # beside the cache

_SWITCH_SECONDS = 0.0005
"""How long a scrape waits beside a scan each time it needs the interpreter's lock: with the usual
5 ms one scrape in a hundred of 10,000 series took 50 ms and more, with this one 20."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """One scan, and what it was made with.

    Attributes:
        store: the store.
        options: how it was analysed.
        operator: the commands of its operator.
        subject: the snapshot, and what else metrics are read from.

    """

    store: Store
    options: AnalysisOptions
    operator: OperatorCommands
    subject: Subject


def open_store(settings: Settings, follow: FollowOptions | None = None) -> Store:
    """Return the store that the settings name."""
    return FilesystemStore(settings.storage.root, follow)


def open_platform(settings: Settings) -> Platform | None:
    """Return the platform that runs the images; None if none is configured."""
    if not settings.caprover.config_dir:
        return None
    from exporter.platforms.caprover.platform import Caprover

    return Caprover(settings.caprover.config_dir, settings.caprover.image_prefix)


def analysis_options(
    settings: Settings, platform: Platform | None, store: Store
) -> AnalysisOptions:
    """Return what the settings say about the analysis; dates of images are read from ``store``."""
    from exporter.platforms.caprover.naming import counts_versions
    from exporter.store.image_dates import ImageDates

    return AnalysisOptions(
        dialect=settings.registry.gc_dialect,
        ownership=None if platform is None else platform.ownership,
        keep_last=settings.retention.keep_last,
        platform=host_platform(),
        dating=Dating(ImageDates(store).read, counts_versions),
    )


def subject_of(settings: Settings, snapshot: Snapshot) -> Subject:
    """Return what metrics are read from."""
    return Subject(
        snapshot=snapshot,
        thresholds=tuple(settings.alerts.thresholds(settings.scan.interval)),
        storage_limit=settings.storage.limit,
        selector=RepositorySelector(
            settings.metrics.max_repositories,
            settings.metrics.include_repositories,
            settings.metrics.exclude_repositories,
        ),
    )


def registry_question(
    settings: Settings, observer: "RequestObserver"
) -> Callable[[], ApiStatus] | None:
    """Return a function that asks the registry's API; None if no registry is configured."""
    endpoint = _endpoint(settings)
    if endpoint is None:
        return None
    from exporter.registry.status import ask_registry

    return lambda: ask_registry(endpoint, settings.registry.password_file, observer)


def deletion_question(settings: Settings) -> Callable[[str], DeletionAnswer] | None:
    """Return a function that asks whether a repository's manifests can be deleted.

    Only for ``plan``: it sends a DELETE that can delete nothing. None if no registry is configured.
    """
    endpoint = _endpoint(settings)
    if endpoint is None:
        return None
    from exporter.registry.deletion import ask_deletion

    file = settings.registry.password_file
    return lambda repository: ask_deletion(endpoint, file, repository, lambda *_: None)


def _endpoint(settings: Settings) -> "RegistryEndpoint | None":
    registry = settings.registry
    if registry.url is None:
        return None
    from exporter.registry.http import RegistryEndpoint

    return RegistryEndpoint(
        url=registry.url,
        username=registry.username,
        password=registry.password,
        ca_file=registry.ca_file,
        insecure_skip_verify=registry.insecure_skip_verify,
        timeout=registry.timeout,
    )


def scan(settings: Settings) -> Scanned:
    """Scan once, with progress on the terminal. Raises StoreUnreadableError."""
    platform = open_platform(settings)
    limit = settings.scan.max_ops_per_second
    store = open_store(settings, FollowOptions(max_ops_per_second=limit))
    options = analysis_options(settings, platform, store)
    ask = registry_question(settings, lambda *_: None)
    with terminal_progress() as on_progress:
        snapshot = scan_once(
            store, platform, Analyst(options), ask_registry=ask, on_progress=on_progress
        )
    operator = STANDALONE if platform is None else platform.commands
    return Scanned(store, options, operator, subject_of(settings, snapshot))


def census(settings: Settings) -> tuple[Store, "Census | None"]:
    """Take a census of the disk, with progress on the terminal. Raises StoreUnreadableError."""
    from exporter.commands.one_scan import take_census_once
    from exporter.support.terminal_progress import count_progress

    store = open_store(settings)
    with count_progress("Counting files and directories") as show:
        return store, take_census_once(store, show, settings.scan.max_ops_per_second)


def plan_command(settings: Settings, program: str) -> str:
    """Return how to run ``plan`` with these settings: without CapRover's it names what runs."""
    usual = Settings()
    flags = (
        ("--storage.root", settings.storage.root, usual.storage.root),
        ("--registry.gc-dialect", settings.registry.gc_dialect, usual.registry.gc_dialect),
        *(("--caprover.config-dir", each, None) for each in settings.caprover.config_dir),
        ("--caprover.image-prefix", settings.caprover.image_prefix, usual.caprover.image_prefix),
    )
    words = [program, "plan"]
    for flag, value, default in flags:
        if value != default:
            words += [flag, printable(str(value))]
    return shlex.join(words)


def serve(settings: Settings) -> None:
    """Serve until a stop is requested.

    Raises OutputError if the address cannot be bound, ConfigurationError if the web configuration
    is wrong.
    """
    from exporter.support.memory_allocator import return_large_blocks
    from exporter.support.stop_signals import stop_signals

    return_large_blocks()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with stop_signals() as wish:
        from exporter.serve.run import run

        run(_service(settings), wish)


def _service(settings: Settings) -> "Service":
    from prometheus_client import disable_created_metrics

    from exporter.analysis.kept_figures import FiguresCodec
    from exporter.domain.scan_progress import RunningScan
    from exporter.metrics.exposition import Exposition
    from exporter.metrics.instruments import (
        ApiInstruments,
        ScanProgressCollector,
        process_registry,
    )
    from exporter.serve.loop import Loop
    from exporter.serve.loops import Sources, reading_loops, stall_loop
    from exporter.serve.publisher import Publisher
    from exporter.serve.refresh import StoreRefresher
    from exporter.serve.run import Service, listen
    from exporter.web.access.policy import access_by
    from exporter.web.app import create_app

    disable_created_metrics()  # type: ignore[no-untyped-call]
    access = access_by(settings.web.config.file)
    bounds = _bounds(settings.web)
    listener = listen(settings.web.listen_address)
    instruments = process_registry()
    running = RunningScan(time.monotonic)
    ScanProgressCollector(instruments, lambda: running.ratio)
    ask = registry_question(settings, ApiInstruments(instruments))
    exposition = Exposition(subject_of(settings, Snapshot()), [instruments])
    publisher = Publisher(exposition.publish)
    platform = open_platform(settings)
    store = open_store(settings, _follow_options(settings, instruments))
    analyst = Analyst(analysis_options(settings, platform, store))
    follower = store.follow(FiguresCodec(settings.registry.gc_dialect))
    stop = threading.Event()
    interval = settings.scan.interval
    sources = Sources(store, platform, ask, analyst, publisher)
    refresher = StoreRefresher(follower, analyst, publisher, stop, running)
    loops = [
        *reading_loops(sources, interval, stop),
        Loop("reading the store", refresher, interval, stop),
        stall_loop(store, running, stop),
        *_census_loops(sources, settings, stop),
    ]
    app = create_app(
        exposition,
        store=store.location,
        is_working=lambda: all(loop.is_alive() for loop in loops),
        read_progress=lambda: running.progress,
        guards=access.guards,
        read_stall=lambda: running.still_seconds,
    )
    return Service(store, loops, stop, follower.close, app, listener, bounds, access)


def _census_loops(sources: "Sources", settings: Settings, stop: threading.Event) -> list["Loop"]:
    """Return the loop that takes censuses of the disk, unless that is switched off."""
    from exporter.serve.census import MAX_OPS_PER_SECOND, CensusPlan, CensusTaker
    from exporter.serve.census_file import CensusFile
    from exporter.serve.loop import Loop

    interval, cache = settings.scan.census_interval, _cache_path(settings)
    if interval == 0:
        return []
    path = None if cache is None else cache.with_suffix(_CENSUS_SUFFIX)
    limit = min(settings.scan.max_ops_per_second or MAX_OPS_PER_SECOND, MAX_OPS_PER_SECOND)
    file, plan = CensusFile(path, sources.store), CensusPlan(interval, limit)
    job = CensusTaker(sources.store, file, sources.analyst, sources.publisher, plan, stop)
    return [Loop("taking a census of the disk", job, interval, stop)]


def _cache_path(settings: Settings) -> Path | None:
    return settings.cache.path or state_file(_CACHE_NAME, os.environ)


def _follow_options(settings: Settings, instruments: "CollectorRegistry") -> FollowOptions:
    from exporter.metrics.instruments import CacheInstruments, WatchInstruments

    watching = WatchInstruments(instruments)
    path = _cache_path(settings)
    if path is None:
        _log.warning(
            "nothing is kept over a restart: neither XDG_STATE_HOME nor HOME is set; "
            "give a --cache.path"
        )
    return FollowOptions(
        interval=settings.scan.interval,
        max_ops_per_second=settings.scan.max_ops_per_second,
        watching=watching if settings.scan.watch else None,
        cache_path=path,
        caching=CacheInstruments(instruments),
    )


def _bounds(web: WebSettings) -> "Bounds":
    from exporter.web.server.connections import Bounds, most_connections

    most = most_connections(web.max_connections)
    return Bounds(most, web.request_timeout, web.response_timeout, web.max_header_bytes)
