"""Turns for answers that may take seconds: few at a time, in threads of their own."""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, fail_after, to_thread

Result = TypeVar("Result")

RETRY_AFTER = {"Retry-After": "5"}
"""A header for those who have waited in vain."""

_AT_A_TIME = 2
_PATIENCE_SECONDS = 10.0
_BUSY = "two other answers about what can go are being computed; try again in a few seconds"


class BusyError(Exception):
    """Others were computed for so long that this one had no turn."""


class Turns:
    """Computes a few laborious answers at a time, so that nothing else waits for them."""

    def __init__(self, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """Let each wait for others for at most ``patience_seconds``."""
        self._patience_seconds = patience_seconds
        self._turns = CapacityLimiter(_AT_A_TIME)
        self._threads = CapacityLimiter(_AT_A_TIME)

    async def compute(self, asker: object, compute: Callable[[], Result]) -> Result:
        """Return what ``compute`` returns. Raises BusyError; ``asker`` is one for each call."""
        try:
            with fail_after(self._patience_seconds):
                await self._turns.acquire_on_behalf_of(asker)
        except TimeoutError as error:
            raise BusyError(_BUSY) from error
        try:
            return await to_thread.run_sync(compute, limiter=self._threads)
        finally:
            self._turns.release_on_behalf_of(asker)
