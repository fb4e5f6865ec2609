"""Run several servers as children: report when one ends, and leave none running.

Knows nothing of what they serve. Each child has its own session, so that Ctrl-C in a terminal
reaches only the supervisor, which then stops all children. If the supervisor is killed, the kernel
stops them.
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
"""How long a child may take to end before it is killed; the whole stop takes less than 5 s."""

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SIGNALLED = 128
_PR_SET_PDEATHSIG = 1
_LINUX_LIBRARY = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Program:
    """A server to run.

    Attributes:
        name: for messages.
        command: the program's path and its arguments.
        log: file for its output; None: the output goes where the supervisor's does.

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
        # Before the first child starts, so that a signal always stops all of them.
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
        """Whether a signal to stop has come."""
        return bool(self._signals)

    def start(self, program: Program) -> subprocess.Popen[bytes] | None:
        """Start a program, unless a signal to stop has come.

        Raises:
            DemoError: the program cannot be run, or its log cannot be written.

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
        """Wait for a condition, at most ``seconds``; return whether ``program`` still runs."""
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
        """Start ``vital``, and let all serve until it ends or a signal to stop comes.

        Call ``tick`` again and again meanwhile. Return the exit status of ``vital`` as a shell
        does: 128 plus the signal's number if a signal ended it. Return 0 if the signal to stop came
        before the start.

        Raises:
            DemoError: ``vital`` cannot be run.

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
        """Report the children that have ended, and forget them."""
        for process in [each for each in self._children if each.poll() is not None]:
            program = self._children.pop(process)
            print(f"{program.name} has ended ({_ending(process.returncode)})", end="")
            print("" if program.log is None else f": see {program.log}", flush=True)

    def _stop(self) -> None:
        stop_all(self._children, STOP_SECONDS)
        self._children.clear()


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what a child runs first: a request to the kernel to stop it with its parent."""
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
