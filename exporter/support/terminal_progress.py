"""Show the progress of a command on a terminal."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, get_args

from exporter.domain.scan_progress import ProgressListener, ScanProgress, Stage
from exporter.support.logs import fields
from exporter.support.quantities import format_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_log = logging.getLogger(__name__)

_LOG_SECONDS = 30.0
_PERCENT = 100


@contextmanager
def terminal_progress() -> Iterator[ProgressListener]:
    """Yield a listener that draws bars on standard error; it does nothing without a terminal.

    The bars disappear when the scan is done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
    )

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        whole = bars.add_task("Scanning, percent", total=_PERCENT)
        tasks = {stage: bars.add_task(f"Reading {stage}", total=None) for stage in get_args(Stage)}

        def show(progress: ScanProgress) -> None:
            bars.update(whole, completed=int(_PERCENT * progress.ratio))
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)

        yield show


@contextmanager
def count_progress(description: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows a growing number, of which nobody knows how far it goes.

    It is shown on standard error, and disappears at the end; without a terminal nothing is shown.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    number = TextColumn("{task.completed:,}")
    columns = (SpinnerColumn(), "{task.description}", number, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=None)
        yield lambda count: bars.update(task, completed=count)


class ByteProgress(Protocol):
    """Shows how many bytes of a known number are done."""

    def advance(self, size: int) -> None:
        """Show that ``size`` more bytes are done."""

    def aside(self) -> AbstractContextManager[None]:
        """Keep the terminal clear while something else is written."""


@contextmanager
def byte_progress(
    done: int, total: int, clock: Callable[[], float], doing: str = "verifying"
) -> Iterator[ByteProgress]:
    """Yield a progress bar on standard error; without a terminal it logs now and then.

    The bar disappears at the end. ``clock`` returns seconds, for the log; ``doing`` says what is
    done with the bytes.
    """
    if not sys.stderr.isatty():
        yield _ByteLog(done, total, clock, doing)
        return
    from rich.console import Console  # noqa: PLC0415 - only terminals need it
    from rich.progress import (  # noqa: PLC0415 - the same
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text  # noqa: PLC0415 - the same

    class RateColumn(ProgressColumn):
        """The rate in the units that ``--max-rate`` is given in; rich's own counts in thousands."""

        def render(self, task: Task) -> Text:
            return Text(f"{format_size(task.speed or 0)}/s")

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(binary_units=True),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _ByteBar(bars, bars.add_task(doing.capitalize(), completed=done, total=total))


class _ByteBar:
    """A bar on a terminal."""

    def __init__(self, bars: "Progress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self, size: int) -> None:
        self._bars.advance(self._task, size)

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()


class _ByteLog:
    """A line in the log, now and then."""

    def __init__(self, done: int, total: int, clock: Callable[[], float], doing: str) -> None:
        self._before = self._done = done
        self._total = total
        self._clock = clock
        self._doing = doing
        self._started = clock()
        self._due = self._started + _LOG_SECONDS

    def advance(self, size: int) -> None:
        self._done += size
        now = self._clock()
        if now < self._due:
            return
        self._due = now + _LOG_SECONDS
        rate = (self._done - self._before) / (now - self._started)
        details = fields(
            bytes=self._done,
            total_bytes=self._total,
            bytes_per_second=round(rate),
            seconds_left=round(max(self._total - self._done, 0) / rate),
        )
        _log.info("%s blobs", self._doing, extra=details)

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()
