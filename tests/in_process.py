"""Run commands in this process, with real files, and capture their output."""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from exporter.cli import main


class Outcome(NamedTuple):
    """How a command ended.

    Attributes:
        exit_code: of the process.
        output: text on standard output.
        complaints: text on standard error, including the log.

    """

    exit_code: int
    output: str
    complaints: str


def run_command(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a command with only the variables of ``environment``."""
    output, complaints = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(complaints), _logging_restored():
        try:
            exit_code: object = main([str(each) for each in arguments], environment or {}, output)
        except SystemExit as end:  # raised by argparse after --help and --version
            exit_code = end.code or 0
    if not isinstance(exit_code, int):
        raise TypeError(f"{exit_code!r} is not an exit code")
    return Outcome(exit_code, output.getvalue(), complaints.getvalue())


@contextmanager
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
