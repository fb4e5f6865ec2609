"""Rate limit: bound how much is done per second."""

import threading
from collections.abc import Callable

_LONGEST_SLEEP_SECONDS = 0.2
"""So that a request to stop is noticed in time."""


class RateLimit:
    """Bounds how much is done per second; may be used from several threads.

    A rate of None is no bound.
    """

    def __init__(
        self,
        per_second: int | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        saved_seconds: float = 0.0,
    ) -> None:
        """Start without saved allowance.

        Allowance of the last ``saved_seconds`` that was not used may be used later: with 0, a
        pause is never followed by a burst.
        """
        self._rate = per_second
        self._clock = clock
        self._sleep = sleep
        self._saved_seconds = saved_seconds
        self._lock = threading.Lock()
        self._free_at = clock()

    def spend(self, amount: int, should_stop: Callable[[], bool]) -> bool:
        """Wait until ``amount`` more is within the rate, or until it is time to stop.

        Returns whether it had to wait.
        """
        if self._rate is None:
            return False
        with self._lock:
            earliest = self._clock() - self._saved_seconds
            self._free_at = free_at = max(self._free_at, earliest) + amount / self._rate
        has_waited = False
        while (left := free_at - self._clock()) > 0 and not should_stop():
            self._sleep(min(left, _LONGEST_SLEEP_SECONDS))
            has_waited = True
        return has_waited
