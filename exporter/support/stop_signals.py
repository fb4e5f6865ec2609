"""Stop signals: SIGTERM and SIGINT."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopWish:
    """Whether the process was asked to stop; call it to ask."""

    def __init__(self) -> None:
        self._has_come = False
        self._callbacks: list[Callable[[], object]] = []

    def __call__(self) -> bool:
        """Return whether the process was asked to stop."""
        return self._has_come

    def then(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` when the process is asked to stop; at once if it was already.

        The main thread calls it between any two instructions, and perhaps more than once.
        """
        self._callbacks.append(callback)
        if self._has_come:
            callback()

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Record the request: a signal handler."""
        self._has_come = True
        for callback in self._callbacks:
            callback()


@contextmanager
def stop_signals() -> Iterator[StopWish]:
    """Treat SIGTERM and SIGINT as requests to stop; yield whether one has come.

    Enter it before anything starts and leave it after everything has stopped: the first process of
    a container loses signals that it has no handler for. After the first request, further ones are
    ignored until the process ends.
    """
    wish = StopWish()
    before = {
        number: signal.signal(number, wish.note) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if wish() else handler)
