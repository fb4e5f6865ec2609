"""The composition root of the running exporter; see :mod:`exporter.compose`."""

import logging
import sys
import threading
import time

from anyio import CapacityLimiter
from prometheus_client import CollectorRegistry, disable_created_metrics

from exporter.analysis.analyst import Analyst
from exporter.analysis.kept_figures import FiguresCodec
from exporter.compose import (
    analysis_options,
    cache_path,
    command_lines,
    external_path,
    history_path,
    last_runs,
    open_platform,
    open_store,
    registry_question,
    route_prefix,
    subject_of,
)
from exporter.domain.scan_progress import RunningScan
from exporter.domain.snapshot import Snapshot
from exporter.history.late_identity import LateIdentity
from exporter.history.reader import HistoryReader
from exporter.history.recorder import HistoryFile
from exporter.metrics.exposition import Exposition
from exporter.metrics.instruments import (
    ApiInstruments,
    CacheInstruments,
    ScanProgressCollector,
    WatchInstruments,
    process_registry,
)
from exporter.platforms.port import STANDALONE
from exporter.serve.census import MAX_OPS_PER_SECOND, CensusPlan, CensusTaker
from exporter.serve.census_file import CensusFile
from exporter.serve.history import RECORD_SECONDS, HistoryRecorder
from exporter.serve.loop import Loop
from exporter.serve.loops import Sources, reading_loops, stall_loop
from exporter.serve.publisher import Publisher
from exporter.serve.refresh import StoreRefresher
from exporter.serve.run import Service, listen, run
from exporter.settings.model import Settings, WebSettings
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.support.memory_allocator import return_large_blocks
from exporter.support.stop_signals import StopWish
from exporter.views.snapshot_view import Viewer, ViewOptions
from exporter.web.access.policy import access_by
from exporter.web.api.routes import Api
from exporter.web.app import Addresses, create_app
from exporter.web.explorer.links import Links
from exporter.web.explorer.rendering import Renderer
from exporter.web.explorer.routes import Explorer
from exporter.web.explorer.turns import Turns
from exporter.web.server.connections import Bounds, most_connections

_log = logging.getLogger(__name__)

_CENSUS_SUFFIX = ".census.json"  # beside the cache


_PAGE_THREADS = 2
"""Pages made at the same time: more would only compete for the interpreter with scrapes."""

_SWITCH_SECONDS = 0.0005
"""How long a scrape waits beside a scan each time it needs the interpreter's lock: with the usual
5 ms one scrape in a hundred of 10,000 series took 50 ms and more, with this one 20."""


def serve(settings: Settings, program: str, wish: StopWish) -> None:
    """Serve until ``wish`` comes; ``program`` is its own name, for commands on pages.

    Raises OutputError if the address cannot be bound, ConfigurationError if the web configuration
    is wrong.
    """
    return_large_blocks()
    sys.setswitchinterval(_SWITCH_SECONDS)
    run(_service(settings, program), wish)


def _service(settings: Settings, program: str) -> Service:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    prefix = route_prefix(settings.web)
    access = access_by(settings.web.config.file, f"{prefix}/-/healthy")
    bounds = _bounds(settings.web)
    listener = listen(settings.web.listen_address)
    instruments = process_registry()
    running = RunningScan(time.monotonic)
    ScanProgressCollector(instruments, lambda: running.ratio)
    ask = registry_question(settings, ApiInstruments(instruments))
    subject = subject_of(settings, Snapshot())
    exposition = Exposition(subject, [instruments])
    publisher = Publisher(exposition.publish)
    platform = open_platform(settings)
    store = open_store(settings, _follow_options(settings, instruments))
    options = analysis_options(settings, platform, store)
    analyst = Analyst(options)
    follower = store.follow(FiguresCodec(settings.registry.gc_dialect))
    stop = threading.Event()
    interval = settings.scan.interval
    identity, recorded = LateIdentity(lambda: store.identity), history_path(settings)
    sources = Sources(store, platform, ask, analyst, publisher, last_runs(settings))
    refresher = StoreRefresher(follower, analyst, publisher, stop, running)
    loops = [
        *reading_loops(sources, interval, stop),
        Loop("reading the store", refresher, interval, stop),
        stall_loop(store, running, stop),
        *_census_loops(sources, settings, stop),
        *_history_loops(sources, settings, identity, stop),
    ]
    operator = STANDALONE if platform is None else platform.commands
    view_options = ViewOptions(
        store,
        options,
        command_lines(settings, program, operator),
        settings.storage.limit,
        subject.thresholds,
        None if recorded is None else HistoryReader(recorded, lambda: identity.known),
    )
    viewer = Viewer(lambda: publisher.snapshot, view_options, lambda: running.progress, time.time)
    links = _links(settings.web, prefix)
    explorer = None
    if settings.web.explorer:
        limiter, turns = CapacityLimiter(_PAGE_THREADS), Turns()
        pages = Explorer(viewer, Renderer(links), store.location, limiter, turns)
        explorer = pages, Api(viewer, links, limiter, turns)
    app = create_app(
        exposition,
        is_working=lambda: all(loop.is_alive() for loop in loops),
        read_progress=lambda: running.progress,
        guards=access.guards,
        read_stall=lambda: running.still_seconds,
        explorer=explorer,
        addresses=Addresses(prefix, links),
    )
    return Service(store, loops, stop, follower.close, app, listener, bounds, access)


def _links(web: WebSettings, prefix: str) -> Links:
    """Return the writer of addresses, as clients outside of a reverse proxy need them."""
    return Links(prefix if web.external_url is None else external_path(web))


def _census_loops(sources: Sources, settings: Settings, stop: threading.Event) -> list[Loop]:
    """Return the loop that takes censuses of the disk, unless that is switched off."""
    interval, cache = settings.scan.census_interval, cache_path(settings)
    if interval == 0:
        return []
    path = None if cache is None else cache.with_suffix(_CENSUS_SUFFIX)
    limit = min(settings.scan.max_ops_per_second or MAX_OPS_PER_SECOND, MAX_OPS_PER_SECOND)
    file, plan = CensusFile(path, sources.store), CensusPlan(interval, limit)
    job = CensusTaker(sources.store, file, sources.analyst, sources.publisher, plan, stop)
    return [Loop("taking a census of the disk", job, interval, stop)]


def _history_loops(
    sources: Sources, settings: Settings, identity: LateIdentity, stop: threading.Event
) -> list[Loop]:
    """Return the loop that records the history, unless that is switched off."""
    path = history_path(settings)
    if path is None:
        return []
    file = HistoryFile(path, identity.find, settings.history.max_size)
    job = HistoryRecorder(file, sources.store, sources.publisher)
    return [Loop("recording the history", job, RECORD_SECONDS, stop)]


def _follow_options(settings: Settings, instruments: CollectorRegistry) -> FollowOptions:

    watching = WatchInstruments(instruments)
    path = cache_path(settings)
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


def _bounds(web: WebSettings) -> Bounds:

    most = most_connections(web.max_connections)
    return Bounds(most, web.request_timeout, web.response_timeout, web.max_header_bytes)
