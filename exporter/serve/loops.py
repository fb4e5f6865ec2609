"""The loops that read everything but the store, and the one that watches over scans."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.analysis.analyst import Analyst
from exporter.domain.errors import ApiUnavailableError
from exporter.domain.last_runs import LastRunReading
from exporter.domain.scan_progress import RunningScan
from exporter.domain.snapshot import ApiStatus
from exporter.platforms.port import Platform
from exporter.serve.loop import Job, Loop
from exporter.serve.publisher import Publisher
from exporter.serve.stall import CHECK_SECONDS, StallWarner
from exporter.store.port import Store

_FILESYSTEM_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where readings come from beside the scan, and where they go.

    Attributes:
        store: the store, for the space on its filesystem.
        platform: what runs the images; None if none is configured.
        ask_registry: asks the registry's API; None if no registry is configured.
        analyst: adds each reading to a snapshot.
        publisher: publishes that snapshot.
        last_runs: say when the backup and the maintenance last ended well, where configured.

    """

    store: Store
    platform: Platform | None
    ask_registry: Callable[[], ApiStatus] | None
    analyst: Analyst
    publisher: Publisher
    last_runs: Sequence[LastRunReading] = ()


def reading_loops(sources: Sources, interval: float, stop: threading.Event) -> list[Loop]:
    """Return the loops that read everything but the store, every ``interval`` seconds.

    The platform comes first: the first figures then know which images are in use.
    """
    analyst, update = sources.analyst, sources.publisher.update
    platform, ask = sources.platform, sources.ask_registry
    loops = []
    if platform is not None:

        def read_platform() -> None:
            status = platform.read()
            update(lambda before: analyst.with_platform(before, status))

        name = f"reading {platform.ownership.platform}'s configuration"
        loops.append(Loop(name, Job(read_platform), interval, stop))

    def read_filesystem() -> None:
        usage = sources.store.capacity()
        update(lambda before: analyst.with_filesystem(before, usage))

    pace = min(_FILESYSTEM_SECONDS, interval)
    loops.append(Loop("reading the filesystem", Job(read_filesystem), pace, stop))
    if ask is not None:

        def ask_registry() -> None:
            status = ask()
            update(lambda before: analyst.with_api(before, status))
            if status.failure is not None:
                # asked again sooner: one restart of the registry must not look like an outage
                raise ApiUnavailableError(status.failure)

        loops.append(Loop("asking the registry's API", Job(ask_registry), interval, stop))
    for each in sources.last_runs:
        # a loop of its own: it may be on a mount that hangs
        job = Job(partial(_read_last_run, sources, each))
        loops.append(Loop(f"looking at the {each.name}", job, interval, stop))
    return loops


def _read_last_run(sources: Sources, reading: LastRunReading) -> None:
    run = reading.read()
    sources.publisher.update(lambda before: sources.analyst.with_last_run(before, run))


def stall_loop(store: Store, running: RunningScan, stop: threading.Event) -> Loop:
    """Return the loop that warns of a scan that has stalled."""
    warner = StallWarner(store.location, running)
    return Loop("watching over scans", Job(warner.check), CHECK_SECONDS, stop)
