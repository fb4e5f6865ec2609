"""Runs a program to its end and measures it: wall time and peak memory."""

import os
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_KIB = 1024
_TAIL = 2000


class ProgramError(Exception):
    """A program could not be started or failed; the message holds the end of what it said."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a program.

    Attributes:
        seconds: wall time of the whole process.
        peak_bytes: largest resident memory of the process or of one of its children.

    """

    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of one program.

    Attributes:
        median_seconds: the middle one.
        min_seconds: the quickest.
        peak_bytes: the largest of all rounds.

    """

    median_seconds: float
    min_seconds: float
    peak_bytes: int


def memory_floor() -> int:
    """Give the bytes below which no peak can be told.

    Linux counts what a process had before ``exec`` in its peak, and that was this process's
    memory: smaller programs all seem to take this much.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB


def run(command: Sequence[str], output: Path, errors: Path, environment: Mapping[str, str]) -> Run:
    """Run a command with its output in files, and measure it.

    Raises:
        ProgramError: it could not be started, or its exit code was not 0.

    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, descriptor, str(path), flags, 0o644)
        for descriptor, path in ((1, output), (2, errors))
    ]
    started = time.perf_counter()
    try:
        process = os.posix_spawnp(command[0], list(command), environment, file_actions=actions)
    except OSError as error:
        raise ProgramError(f"{' '.join(command)}: {error}") from error
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code:
        said = errors.read_text(errors="replace")[-_TAIL:].strip()
        raise ProgramError(f"{' '.join(command)}: exit code {code}\n{said}")
    return Run(seconds, usage.ru_maxrss * _KIB)


def summarise(runs: Sequence[Run]) -> Summary:
    """Put the rounds of one program together."""
    seconds = [one.seconds for one in runs]
    return Summary(median(seconds), min(seconds), max(one.peak_bytes for one in runs))
