"""Putting the running exporter together: loops, board, pages, and stopping them all in time."""

import logging
import os
import resource
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from prometheus_client import disable_created_metrics

from exporter import __version__
from exporter.commands.gather import analysis_options, subject_of
from exporter.domain.errors import ApiUnavailableError
from exporter.domain.scan_progress import RunningScan
from exporter.domain.snapshot import Snapshot
from exporter.domain.text import printable
from exporter.metrics.exposition import Exposition
from exporter.metrics.instruments import (
    ApiInstruments,
    CacheInstruments,
    ScanProgressCollector,
    WatchInstruments,
    process_registry,
)
from exporter.platforms.caprover.configuration import CaproverReader
from exporter.serve.publisher import SnapshotBoard
from exporter.serve.refresh import FILESYSTEM_INTERVAL_SECONDS, Loop, StoreRefresher
from exporter.serve.stall import CHECK_SECONDS, StandstillWarner
from exporter.settings.model import Settings, WebSettings
from exporter.store.filesystem.cache.cache_file import InventoryCache
from exporter.store.filesystem.cache.keeper import CacheKeeper
from exporter.store.filesystem.disk_space import FilesystemProbe
from exporter.store.filesystem.privilege import warn_of_privilege
from exporter.store.filesystem.rescan.watcher import Watcher
from exporter.support.logs import fields
from exporter.support.memory_allocator import return_large_blocks
from exporter.support.state_directory import state_file
from exporter.support.stop_signals import StopWish, stop_signals
from exporter.support.thread_priority import lower_priority
from exporter.web.access.policy import access_by
from exporter.web.app import create_app
from exporter.web.server.connections import Bounds
from exporter.web.server.http_server import bind, serve_until

_log = logging.getLogger(__name__)

_CACHE_NAME = "inventory.sqlite"
_STOP_SECONDS = 2.0
_OTHER_FILES = 128
"""Files and directories that are open at the same time while the store is scanned and watched."""

_SWITCH_SECONDS = 0.0005
"""How long a scrape waits beside a scan, each time it needs the interpreter's lock: with the usual
5 ms one scrape in a hundred of 10,000 series took 50 ms and more, with this one 20."""


def serve(settings: Settings) -> None:
    """Serve until told to stop. Raises OutputError where the address cannot be bound."""
    return_large_blocks()
    sys.setswitchinterval(_SWITCH_SECONDS)
    with stop_signals() as wish:
        _serve(settings, wish)


def _serve(settings: Settings, wish: StopWish) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    access = access_by(settings.web.config.file)
    bounds = _bounds(settings.web)
    listener = bind(settings.web.listen_address)
    port = listener.getsockname()[1]
    address = replace(settings.web.listen_address, port=port)
    _log.info("listening", extra=fields(address=address, version=__version__))
    instruments = process_registry()
    observe = ApiInstruments(instruments)
    watching = WatchInstruments(instruments)
    running = RunningScan(time.monotonic)
    warner = StandstillWarner(settings.storage.root, running)
    ScanProgressCollector(instruments, lambda: running.ratio)
    exposition = Exposition(subject_of(settings, Snapshot()), [instruments])
    board = SnapshotBoard(exposition.publish, analysis_options(settings))
    stop = threading.Event()
    keeper = _keeper(settings, CacheInstruments(instruments))
    refresher = _refresher(settings, board, watching, keeper, running, stop)
    loops = _loops(settings, board, observe, refresher, stop)
    loops.append(Loop("watching over scans", warner.check, CHECK_SECONDS, stop))
    for loop in loops:
        loop.start()
    # on a thread of its own, as a mount that hangs would hold up whoever looks
    look = partial(warn_of_privilege, settings.storage.root)
    threading.Thread(target=look, daemon=True, name="looking at its rights").start()
    app = create_app(
        exposition,
        store=printable(str(settings.storage.root)),
        is_working=lambda: all(loop.is_alive() for loop in loops),
        read_progress=lambda: running.progress,
        guards=access.guards,
        read_standstill=lambda: running.still_seconds,
    )
    try:
        serve_until(wish.then, app, listener, bounds, access.context)
    finally:
        stop.set()
        access.close()
        refresher.close()
        _stop(loops)


def _bounds(web: WebSettings) -> Bounds:
    """Give what clients may take: never so many connections that no file could be opened."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = web.max_connections
    if limit != resource.RLIM_INFINITY and most > limit - _OTHER_FILES:
        most = max(limit - _OTHER_FILES, 1)
        _log.warning(
            "no more than %d connections at a time, as a process may open %d files (ulimit -n): "
            "raise that, or lower --web.max-connections",
            most,
            limit,
        )
    return Bounds(most, web.request_timeout, web.response_timeout, web.max_header_bytes)


def _keeper(settings: Settings, listener: CacheInstruments) -> CacheKeeper | None:
    """Give what keeps the scan's knowledge over a restart; None where there is no place for it."""
    path = settings.cache.path or state_file(_CACHE_NAME, os.environ)
    if path is None:
        _log.warning(
            "nothing is kept over a restart: neither XDG_STATE_HOME nor HOME is set; "
            "give a --cache.path"
        )
        return None
    cache = InventoryCache(path, settings.storage.root)
    return CacheKeeper(cache, settings.registry.gc_dialect, listener)


def _refresher(
    settings: Settings,
    board: SnapshotBoard,
    watching: WatchInstruments,
    keeper: CacheKeeper | None,
    running: RunningScan,
    stop: threading.Event,
) -> StoreRefresher:
    root = settings.storage.root
    watch = None
    if settings.scan.watch:
        watch = partial(Watcher, root, listener=watching)
    interval, limit = settings.scan.interval, settings.scan.max_ops_per_second
    return StoreRefresher(root, board, stop, interval, watch, keeper, running, limit)


def _loops(
    settings: Settings,
    board: SnapshotBoard,
    observe: ApiInstruments,
    refresher: StoreRefresher,
    stop: threading.Event,
) -> list[Loop]:
    interval = settings.scan.interval
    probe = FilesystemProbe(settings.storage.root)
    loops = [
        Loop(
            "reading the filesystem",
            lambda: board.post_filesystem(probe.read()),
            min(FILESYSTEM_INTERVAL_SECONDS, interval),
            stop,
        ),
        Loop(
            "reading the store",
            refresher.refresh,
            interval,
            stop,
            refresher.note_failure,
            refresher.pause,
            refresher.finish,
            prepare=lower_priority,
        ),
    ]
    if settings.caprover.config_dir is not None:
        reader = CaproverReader(settings.caprover.config_dir)
        # before the scan's loop: the first figures then know whose the images are
        loops.insert(
            0,
            Loop(
                "reading CapRover's configuration",
                lambda: board.post_caprover(reader.read()),
                interval,
                stop,
            ),
        )
    if settings.registry.url is not None:
        from exporter.registry.status import ask_registry  # noqa: PLC0415 - most do without

        def ask() -> None:
            status = ask_registry(settings.registry, observe)
            board.post_api(status)
            if status.failure is not None:
                # asked again sooner: one restart of the registry must not look like an outage
                raise ApiUnavailableError(status.failure)

        loops.append(Loop("asking the registry's API", ask, interval, stop))
    return loops


def _stop(loops: list[Loop]) -> None:
    """Wait for the loops to end; what hangs in a system call is left to the process's end."""
    deadline = time.monotonic() + _STOP_SECONDS
    loops_ended = _join(loops, deadline)
    # threads of the scan's pool outlive its loop, and would keep the interpreter from ending
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    others_ended = _join(others, deadline)
    _log.info("stopped")
    if not (loops_ended and others_ended):
        logging.shutdown()
        os._exit(0)


def _join(threads: Sequence[threading.Thread], deadline: float) -> bool:
    """Wait for threads until a moment of the monotonic clock; tell whether all have ended."""
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)
