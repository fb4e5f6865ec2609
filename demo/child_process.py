"""Child processes whose output goes to a log: start them, wait until they answer, stop them.

Knows nothing of the programs it runs. The demonstration, the benchmarks and the tests share it.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

POLL_SECONDS = 0.02
PATIENCE_SECONDS = 60.0
"""How long to wait for a condition. Only a defect takes so long, however slow the machine is."""

STOP_SECONDS = 10.0
"""How long a process may take to end before it is killed."""

_BETWEEN_SIGNALS_SECONDS = 0.01
_KILL_SECONDS = 10.0


class ChildEndedError(RuntimeError):
    """A child process does not run; the message holds its log."""


class Stopped(NamedTuple):
    """How a process ended, and how long that took."""

    exit_code: int
    seconds: float


class ChildProcess:
    """A program that runs as a child until the context ends."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        """Prepare the process; ``name`` is for messages.

        Output is appended to ``log``. Without ``directory`` and ``environment`` the child has
        those of this process.
        """
        self.name = name
        self._command = command
        self._log = log
        self._options = {"cwd": directory, "env": environment}
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What the child has printed so far, in all its runs."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            ChildEndedError: the child does not run.

        """
        return self._running().pid

    def start(self) -> None:
        """Start the child, which must not run yet."""
        if self._process is not None:
            raise RuntimeError(f"{self.name} runs already")
        self._process = spawn(self._command, self._log, **self._options)

    def wait_until(
        self,
        condition: Callable[[], bool],
        otherwise: str,
        seconds: float,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Wait until a condition holds.

        Raises:
            ChildEndedError: the child does not run, or has ended meanwhile.
            TimeoutError: the condition does not hold after ``seconds``; the message is
                ``otherwise``.

        """

        def holds() -> bool:
            self._running()
            return condition()

        wait_until(holds, otherwise, seconds, poll_seconds)

    def wait(self, seconds: float) -> int:
        """Wait until the child has ended, and return its exit code."""
        if self._process is None:
            raise ChildEndedError(f"{self.name} does not run")
        return self._process.wait(seconds)

    def terminate(self, number: signal.Signals = signal.SIGTERM, times: int = 1) -> Stopped:
        """Send a signal to the running child, wait for its end, and return how it ended.

        ``times`` sends the signal more than once, whether the first has ended the child or not.
        """
        process = self._running()
        started = time.monotonic()
        for _ in range(times):
            process.send_signal(number)
            time.sleep(_BETWEEN_SIGNALS_SECONDS)
        exit_code = process.wait(self._stop_seconds)
        return Stopped(exit_code, time.monotonic() - started)

    def kill(self) -> None:
        """Kill the child if it runs; :meth:`start` may start it again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_KILL_SECONDS)
            self._process = None

    def stop(self) -> None:
        """Stop the child if it runs; :meth:`start` may start it again."""
        if self._process is not None:
            stop_all([self._process], self._stop_seconds)
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ChildEndedError(f"{self.name} does not run")
        if self._process.poll() is not None:
            raise ChildEndedError(f"{self.name} ended by itself:\n{self.log}")
        return self._process


def spawn(command: Sequence[str], log: Path | None, **options: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - those of Popen
    """Start a command without standard input, with its output appended to a log.

    Without a log the output goes to that of this process.
    """
    with ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        return subprocess.Popen(  # noqa: S603 - fixed commands
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
        )


def stop_all(processes: Collection[subprocess.Popen[bytes]], seconds: float) -> None:
    """Terminate all processes, and kill those that have not ended after ``seconds``."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_KILL_SECONDS)


def wait_until(
    condition: Callable[[], bool],
    otherwise: str,
    seconds: float = PATIENCE_SECONDS,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Wait until a condition holds; raise TimeoutError with ``otherwise`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} after {seconds:g} s")
        time.sleep(poll_seconds)
