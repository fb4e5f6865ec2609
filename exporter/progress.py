"""Showing on a terminal how far a scan is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from exporter.storage.scanner import ProgressListener, ScanProgress


@contextmanager
def terminal_progress() -> Iterator[ProgressListener]:
    """Give a listener that draws bars on standard error, or does nothing where that is no terminal.

    The bars go away when the scan is done.
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
        tasks = {
            stage: bars.add_task(f"Reading {stage}", total=None)
            for stage in ("blobs", "repositories", "manifests")
        }

        def show(progress: ScanProgress) -> None:
            bars.update(tasks[progress.stage], completed=progress.done, total=progress.total)

        yield show
