"""The demonstration as a newcomer runs it: a process with its servers as children.

Knows how to run, ask and stop it; what it should say and do is the business of the tests.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from tests.exporter_process import REPOSITORY, environment_of
from tests.servers import START_SECONDS, free_port, wait_until

STOP_SECONDS = 5.0

_FIRING = re.compile(r"^Firing: (\w+) \((\w+)\): (.+) - runbook (\S+)$", re.MULTILINE)


class Demo:
    """``python -m demo`` in a directory of its own, on free ports unless told otherwise."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        path: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.exporter, self.prometheus, self.alertmanager = (free_port() for _ in range(3))
        self._output = directory.with_name(f"{directory.name}.{free_port()}.output")
        ports = ["--port", str(self.exporter), "--prometheus-port", str(self.prometheus)]
        ports += ["--alertmanager-port", str(self.alertmanager)]
        self._command = [sys.executable, "-m", "demo", "--directory", str(directory), *ports]
        self._command += flags
        state = {"XDG_STATE_HOME": str(directory.with_name(f"{directory.name}.state"))}
        self._environment = environment_of(state | dict(variables or {}))
        self._environment |= {} if path is None else {"PATH": path}

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self.process = psutil.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env=self._environment,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(2 * STOP_SECONDS)
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait(STOP_SECONDS)

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def firing(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Summary and runbook of each alert and severity that it says fires."""
        found = _FIRING.findall(self.output)
        return {
            (alert, severity): (summary, runbook) for alert, severity, summary, runbook in found
        }

    def wait_for_output(self, text: str, seconds: float = START_SECONDS) -> None:
        wait_until(lambda: text in self.output, f"no {text!r} in the output", seconds)

    def wait_until_serving(self) -> None:
        """Wait until the exporter serves and, in a stack, all have started."""
        wait_until(lambda: self._running(answers(self.exporter)), "no exporter", START_SECONDS)

    def children(self) -> dict[str, psutil.Process]:
        """Its servers, by what they are."""
        return {server_of(child.cmdline()): child for child in self.process.children()}

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return exit status and seconds."""
        started = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(2 * STOP_SECONDS)
        return status, time.monotonic() - started

    def _running(self, condition: bool) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the demonstration has ended:\n{self.output}")
        return condition


def server_of(command: Sequence[str]) -> str:
    name = Path(command[0]).name if command else ""
    if name.startswith("python"):
        return "exporter"
    return {"prometheus-alertmanager": "alertmanager"}.get(name, name)


def answers(port: int, path: str = "/") -> bool:
    try:
        return get(f"http://127.0.0.1:{port}{path}").is_success
    except httpx.TransportError:
        return False


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=5)


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE  # of whoever took it over
    except psutil.NoSuchProcess:
        return True
