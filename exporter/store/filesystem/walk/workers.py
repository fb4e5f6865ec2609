"""Map a function over parts of a walk, with threads only if they help.

A store whose inodes are in the page cache is read fastest by one thread: several compete for the
interpreter lock, and a scan takes twice as long. A store that is read from the disk is read four
times faster by sixteen. How long a thread waits, and whether for the disk or for a busy processor,
shows which case it is.
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_COLD_BELOW = 0.7
"""Share of processor time below which a thread is regarded as waiting for the disk."""
_SAMPLE_SECONDS = 0.001
"""A shorter sample is meaningless: the noise of the clocks is a tenth of this."""
_THREADS = 16
_COLD_ITEMS = 4 * _THREADS


class Workers:
    """Runs a function over items, inline or in threads, as a sample of the work suggests."""

    def __init__(self, spend: Callable[[int], bool] | None = None) -> None:
        """Prepare them; ``spend`` is called with the number of operations that were done.

        It waits until more are allowed, and returns whether it had to. None for no bound.
        """
        self._spend = spend
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Release the threads, without waiting for those that hang in a system call."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        cost: Callable[[Item, Result], int] = lambda *_: 1,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with the function's result, in order.

        ``cost`` returns the number of operations on the store that an item took.
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
            # if one thread exceeds the limit, more threads would only make bursts
            is_ahead = self._spend is not None and self._spend(cost(item, result))
            yield item, result
            if is_cold and not is_ahead:
                batch = items[position : position + _COLD_ITEMS]
                position += len(batch)
                yield from zip(batch, self._threads().map(paced, batch), strict=True)

    def _threads(self) -> ThreadPoolExecutor:
        # they inherit the priority of the thread that starts them
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
        return self._pool


class _Sample:
    """Measures how the calling thread spends its time from now on."""

    def __init__(self) -> None:
        self._usage = resource.getrusage(resource.RUSAGE_THREAD)
        self._started, self._worked = time.perf_counter(), time.thread_time()

    def is_cold(self) -> bool:
        """Return whether it mostly waited for the disk."""
        elapsed = time.perf_counter() - self._started
        worked = time.thread_time() - self._worked
        if elapsed <= _SAMPLE_SECONDS or worked >= _COLD_BELOW * elapsed:
            return False
        before, now = self._usage, resource.getrusage(resource.RUSAGE_THREAD)
        # waiting for the disk is a voluntary switch, waiting for a busy processor is not
        return now.ru_nvcsw - before.ru_nvcsw > now.ru_nivcsw - before.ru_nivcsw
