"""Low priority for threads that scan: other work on the processor or the disk comes first."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_NICE = 5
"""A third of the share of a process of usual priority: a scan ends on a busy host as well.

The thread that scans may hold the interpreter's lock while it waits for the processor, and then a
scrape waits too. With two busy processes for each processor, 1 % of the scrapes during a scan of
100,000 blobs took longer than 0.2 s at usual priority, 0.4 s at 5 and 1.2 s at 10, where one took
3 s: at 19 the exporter's own health check would fail."""


def lower_priority(thread: psutil.Process | None = None) -> None:
    """Lower the priority of the calling thread, and of all that it starts from now on.

    On Linux each thread has its own priority: other threads of this process keep theirs. If it is
    not allowed, that is logged, and the work continues.
    """
    try:
        thread = thread or psutil.Process(threading.get_native_id())
        if thread.nice() < _NICE:  # an even lower one was chosen
            thread.nice(_NICE)
        # The disk schedulers BFQ and mq-deadline respect it, and neither lets it starve: BFQ
        # serves it every 200 ms, mq-deadline after 10 s.
        thread.ionice(psutil.IOPRIO_CLASS_IDLE)
    except (psutil.Error, OSError) as error:
        _log.info("scanning at usual priority, as a lower one is not allowed: %s", error)


def at_low_priority(work: Callable[[Callable[[], bool]], Result]) -> Result:
    """Run ``work`` in a thread of its own at low priority; return or raise its result.

    ``work`` receives a function that returns whether the caller was interrupted; it should end
    then.
    """
    interrupted = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="scan", initializer=lower_priority) as pool:
        try:
            return pool.submit(work, interrupted.is_set).result()
        finally:
            interrupted.set()
