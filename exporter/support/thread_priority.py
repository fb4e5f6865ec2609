"""Reading a store at low priority: whatever else wants the processor or the disk comes first."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_NICE = 5
"""A third of what a process of usual priority gets beside it: so a scan ends on a busy host too.

The thread that scans may hold the interpreter's lock while it waits for its turn, and then a scrape
waits with it. With two busy processes for each processor, 1 % of the scrapes during a scan of
100,000 blobs took longer than 0.2 s at usual priority, 0.4 s at 5 and 1.2 s at 10, where one took
3 s: at 19 the exporter's own health check would fail."""


def lower_priority(thread: psutil.Process | None = None) -> None:
    """Give the calling thread, and all that it starts from now on, low priority.

    On Linux each thread has priorities of its own: the others of this process keep theirs. Where it
    is not allowed that is logged, and the work goes on.
    """
    try:
        thread = thread or psutil.Process(threading.get_native_id())
        if thread.nice() < _NICE:  # to be even lower is somebody's choice
            thread.nice(_NICE)
        # Of the schedulers of disks BFQ and mq-deadline go by it, and neither lets it starve: the
        # one serves it every 200 ms, the other after 10 s.
        thread.ionice(psutil.IOPRIO_CLASS_IDLE)
    except (psutil.Error, OSError) as error:
        _log.info("scanning at usual priority, as a lower one is not allowed: %s", error)


def at_low_priority(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Do ``work`` in a thread of its own at low priority; give or raise what it does.

    ``work`` gets what tells whether the caller was interrupted meanwhile, and should end then.
    """
    interrupted = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="scan", initializer=lower_priority) as pool:
        try:
            return pool.submit(work, interrupted.is_set).result()
        finally:
            interrupted.set()
