"""Run several servers as children: tell when one ends, and leave none behind.

Knows nothing of what they serve. A child gets a session of its own, so that Ctrl-C in a terminal
reaches the supervisor alone, which then stops all of them; and where the supervisor is killed
outright, the kernel stops them in its place.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from demo.child_process import spawn, stop_all
from demo.errors import DemoError

TICK_SECONDS = 0.1
STOP_SECONDS = 3.0
"""What a child gets before it is killed; with what is under way, the whole stop keeps below 5 s."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIGNALLED = 128
_PR_SET_PDEATHSIG = 1
_LINUX_LIBRARY = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Program:
    """A server to run.

    Attributes:
        name: what people call it.
        command: the program's path and its arguments.
        log: where its output goes; None: where the supervisor's goes.

    """

    name: str
    command: tuple[str, ...]
    log: Path | None = None


class Supervisor:
    """Children that end with this context, at SIGTERM, SIGINT and SIGHUP too."""

    def __init__(self) -> None:
        self._children: dict[subprocess.Popen[bytes], Program] = {}
        self._signals: list[int] = []
        self._handlers: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        # Before the first child: a signal from now on can only end in a stop of all of them.
        self._handlers = {each: signal.signal(each, self._note) for each in _STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal has come that ends everything."""
        return bool(self._signals)

    def start(self, program: Program) -> subprocess.Popen[bytes] | None:
        """Start it, unless everything is to stop already.

        Raises:
            DemoError: the program cannot be run, or its log not be written.

        """
        if self.asked_to_stop:
            return None
        try:
            process = spawn(
                program.command,
                program.log,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # safe: there is one thread
            )
        except OSError as error:
            raise DemoError(f"cannot start {' '.join(program.command)}: {error}") from error
        self._children[process] = program
        return process

    def wait_for(self, condition: Callable[[], bool], program: Program, seconds: float) -> bool:
        """Wait until ``condition`` holds, so long at most; tell whether ``program`` still runs."""
        deadline = time.monotonic() + seconds
        while not self.asked_to_stop:
            self._bury()
            if program not in self._children.values():
                return False
            if condition() or time.monotonic() > deadline:
                return True
            time.sleep(TICK_SECONDS)
        return False

    def run(self, vital: Program, tick: Callable[[], None]) -> int:
        """Start ``vital``, and let all serve until it ends or a signal comes.

        Call ``tick`` all the while. Return the exit status of ``vital``, as a shell gives it: 128
        and the signal's number where a signal ended it. 0 where it was not to start any more.

        Raises:
            DemoError: it cannot be run.

        """
        process = self.start(vital)
        if process is None:
            return 0
        while not self.asked_to_stop:
            self._bury()
            if process not in self._children:
                break
            tick()
            time.sleep(TICK_SECONDS)
        self._stop()
        status = process.wait()
        return status if status >= 0 else _SIGNALLED - status

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _bury(self) -> None:
        """Say which children have ended, and forget them."""
        for process in [each for each in self._children if each.poll() is not None]:
            program = self._children.pop(process)
            print(f"{program.name} has ended ({_ending(process.returncode)})", end="")
            print("" if program.log is None else f": see {program.log}", flush=True)

    def _stop(self) -> None:
        stop_all(self._children, STOP_SECONDS)
        self._children.clear()


def _die_with(parent: int) -> Callable[[], None] | None:
    """Make what a child does before it becomes its program: ask to be stopped with its parent."""
    library = _LINUX_LIBRARY
    if library is None:
        return None

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the request
            os._exit(1)

    return ask


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
