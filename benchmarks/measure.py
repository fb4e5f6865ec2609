"""Measure programs: those that run to their end, and those that keep running."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_KIB = 1024
_TAIL = 2000
_CPU_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED, as clock_getcpuclockid(3) returns it


class ProgramError(Exception):
    """A program could not be started or failed; the message holds the end of its output."""


def run(
    command: Sequence[str], output: Path, errors: Path, environment: Mapping[str, str]
) -> float:
    """Run a command with its output in files; return the wall time of the whole process.

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
    _, status = os.waitpid(process, 0)
    seconds = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise ProgramError(f"{' '.join(command)}: exit code {code}\n{end_of(errors)}")
    return seconds


def end_of(log: Path) -> str:
    """Return the end of a program's output."""
    return log.read_text(errors="replace")[-_TAIL:].strip()


def first_scan_environment(state: Path) -> dict[str, str]:
    """Return an environment without settings, for an exporter that keeps its cache in ``state``.

    If that directory is empty, the scan is a first one.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return own | {"XDG_STATE_HOME": str(state)}


def cpu_seconds(process: int) -> float:
    """Return the processor time of all threads of a process, with nanosecond resolution."""
    return time.clock_gettime((~process << 3) | _CPU_CLOCK_OF_PROCESS)


def peak_bytes(process: int) -> int:
    """Return the peak memory of a process since it began to run its program."""
    status = Path(f"/proc/{process}/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak) * _KIB


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that a ``share`` of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
