"""Show on a terminal how many steps of a known number are done."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class StepProgress(Protocol):
    """Shows how many steps are done."""

    def advance(self) -> None:
        """Show that one more step is done."""

    def aside(self) -> AbstractContextManager[None]:
        """Keep the terminal clear while something else is written."""

    def close(self) -> None:
        """Show nothing any more."""


@contextmanager
def step_progress(description: str, total: int) -> Iterator[StepProgress]:
    """Yield a progress bar on standard error; without a terminal it shows nothing.

    The bar disappears at the end.
    """
    if not sys.stderr.isatty():
        yield _Silence()
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


class _Silence:
    """Shows nothing."""

    def advance(self) -> None:
        return

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
