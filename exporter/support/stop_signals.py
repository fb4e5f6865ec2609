"""Signals that ask the process to stop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopWish:
    """Whether the process was asked to stop: called, it tells."""

    def __init__(self) -> None:
        self._has_come = False
        self._callbacks: list[Callable[[], object]] = []

    def __call__(self) -> bool:
        """Tell whether the wish has come."""
        return self._has_come

    def then(self, callback: Callable[[], object]) -> None:
        """Have ``callback`` called when the wish comes, at once where it has.

        The main thread calls it between any two of its steps, and perhaps more than once.
        """
        self._callbacks.append(callback)
        if self._has_come:
            callback()

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Take note that it has come: a handler of signals."""
        self._has_come = True
        for callback in self._callbacks:
            callback()


@contextmanager
def stop_signals() -> Iterator[StopWish]:
    """Take SIGTERM and SIGINT as a wish to stop; gives what tells whether one has come.

    To be entered before anything starts and left after everything has stopped: as the first process
    of a container, a signal that nobody has asked for is lost. Once one has come, more of them do
    not matter any more: they are ignored until the process ends.
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
