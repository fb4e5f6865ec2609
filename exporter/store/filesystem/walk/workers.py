"""Mapping a function over pieces of a walk, with threads only where they help.

A store whose inodes are in the page cache is read fastest by one thread: threads then fight for
the interpreter lock, and a scan takes twice as long. A store that has to come from the disk is read
four times faster by sixteen. Which of the two it is shows in how much of its time a thread waits,
and whether for the disk or for its turn on a busy processor.
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_COLD_BELOW = 0.7
"""Share of its time that a thread spends on the processor, below which it waits for the disk."""
_SAMPLE_SECONDS = 0.001
"""A shorter sample says nothing: the clocks' own noise is a tenth of it."""
_THREADS = 16
_COLD_ITEMS = 4 * _THREADS


class Workers:
    """Runs a function over items, inline or in threads, as a sample of the work suggests."""

    def __init__(self, spend: Callable[[int], bool] | None = None) -> None:
        """Begin; ``spend`` is told of operations on the store once they are done.

        It waits until more are due, and tells whether it had to. None: they are not bounded.
        """
        self._spend = spend
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Let go of the threads; those that hang in a system call are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        cost: Callable[[Item, Result], int] = lambda *_: 1,
    ) -> Iterator[tuple[Item, Result]]:
        """Give each item with the function's result, in order.

        ``cost`` tells how many operations on the store an item took.
        """

        def paced(item: Item) -> Result:
            result = function(item)
            if self._spend is not None:
                self._spend(cost(item, result))
            return result

        position = 0
        while position < len(items):
            sample = _Sample()
            item = items[position]
            result = function(item)
            is_cold = sample.is_cold()
            position += 1
            # where one thread does more than it may, more threads only make bursts
            is_ahead = self._spend is not None and self._spend(cost(item, result))
            yield item, result
            if is_cold and not is_ahead:
                batch = items[position : position + _COLD_ITEMS]
                position += len(batch)
                yield from zip(batch, self._threads().map(paced, batch), strict=True)

    def _threads(self) -> ThreadPoolExecutor:
        # they have the priority of the thread that makes them here
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
        return self._pool


class _Sample:
    """Looks at how the calling thread spends its time from now on."""

    def __init__(self) -> None:
        self._usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._started, self._worked = time.perf_counter(), time.thread_time()

    def is_cold(self) -> bool:
        """Tell whether it mostly waited for the disk."""
        elapsed = time.perf_counter() - self._started
        worked = time.thread_time() - self._worked
        if elapsed <= _SAMPLE_SECONDS or worked >= _COLD_BELOW * elapsed:
            return False
        before, now = self._usage, resource.getrusage(resource.RUSAGE_THREAD)
        # who waits for the disk gives the processor away, who waits for his turn was made to
        return now.ru_nvcsw - before.ru_nvcsw > now.ru_nivcsw - before.ru_nivcsw
