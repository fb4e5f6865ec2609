"""Reading a store leaves others in peace: low priority."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from exporter.storage.priority import at_low_priority, lower_priority
from exporter.storage.workers import Workers

IDLE = psutil.IOPRIO_CLASS_IDLE


def priorities(thread: int) -> tuple[int, int]:
    """Give nice value and class of input and output of a thread."""
    return os.getpriority(os.PRIO_PROCESS, thread), psutil.Process(thread).ionice().ioclass


def own_priorities() -> tuple[int, int]:
    return priorities(threading.get_native_id())


def test_only_the_thread_that_asks_and_those_it_starts_get_low_priority() -> None:
    usual = own_priorities()

    def look(_: int) -> tuple[int, int]:
        time.sleep(0.005)  # so slow that threads are taken for the rest
        return own_priorities()

    def scan() -> list[tuple[int, int]]:
        workers = Workers()
        found = [each for _, each in workers.map(look, range(40))]
        workers.close()
        return found

    low = at_low_priority(lambda _: scan())
    assert usual[1] != IDLE
    assert set(low) == {(max(usual[0], 5), IDLE)}
    assert own_priorities() == usual


def test_what_has_lower_priority_already_keeps_it() -> None:
    def lower() -> tuple[int, int]:
        psutil.Process(threading.get_native_id()).nice(15)
        lower_priority()
        return own_priorities()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lower).result() == (15, IDLE)


class Forbidden(psutil.Process):
    def ionice(self, *_: object, **__: object) -> None:  # type: ignore[override]
        raise psutil.AccessDenied(self.pid)


def test_where_low_priority_is_not_allowed_work_goes_on_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def lower() -> str:
        lower_priority(Forbidden(threading.get_native_id()))
        return "goes on"

    with caplog.at_level(logging.INFO), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lower).result() == "goes on"
    assert caplog.text.count("scanning at usual priority, as a lower one is not allowed: ") == 1


def test_who_interrupts_work_at_low_priority_makes_it_end() -> None:
    ended = threading.Event()

    def work(was_interrupted: Callable[[], bool]) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while not was_interrupted():
            time.sleep(0.001)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        at_low_priority(work)
    assert ended.is_set()
