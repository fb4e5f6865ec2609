"""Show how many steps of a known number are done."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from exporter.support.logs import fields

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


_log = logging.getLogger(__name__)

_LOG_SECONDS = 30.0


class StepProgress(Protocol):
    """Shows how many steps are done."""

    def advance(self) -> None:
        """Show that one more step is done."""

    def aside(self) -> AbstractContextManager[None]:
        """Keep the terminal clear while something else is written."""

    def close(self) -> None:
        """Show nothing any more."""


@contextmanager
def step_progress(
    description: str, total: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[StepProgress]:
    """Yield a progress bar on standard error; without a terminal it logs now and then.

    The bar disappears at the end. ``clock`` returns seconds, for the log.
    """
    if not sys.stderr.isatty():
        yield _Log(description.lower(), total, clock)
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars, bars.add_task(description, total=total))


class _Log:
    """A line in the log, now and then."""

    def __init__(self, description: str, total: int, clock: Callable[[], float]) -> None:
        self._description = description
        self._total = total
        self._clock = clock
        self._done = 0
        self._due = clock() + _LOG_SECONDS

    def advance(self) -> None:
        self._done += 1
        now = self._clock()
        if now >= self._due:
            self._due = now + _LOG_SECONDS
            _log.info(self._description, extra=fields(done=self._done, total=self._total))

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        return


class _Bar:
    """A bar on a terminal."""

    def __init__(self, bars: "Progress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self) -> None:
        self._bars.advance(self._task)

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def close(self) -> None:
        self._bars.stop()
