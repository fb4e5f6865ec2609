"""The demonstration as a newcomer runs it: a process with its servers as children.

Knows how to run, query and stop it. The tests know its expected behaviour.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from demo.child_process import ChildProcess, wait_until
from tests.exporter_process import REPOSITORY, environment_of
from tests.servers import START_SECONDS, free_port

STOP_SECONDS = 10.0

_FIRING = re.compile(r"^Firing: (\w+) \((\w+)\): (.+) - runbook (\S+)$", re.MULTILINE)


class Demo(ChildProcess):
    """``python -m demo`` in its own directory, on free ports unless ``flags`` name others."""

    def __init__(
        self,
        directory: Path,
        *flags: str,
        path: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.exporter, self.prometheus, self.alertmanager = (free_port() for _ in range(3))
        ports = ["--port", str(self.exporter), "--prometheus-port", str(self.prometheus)]
        ports += ["--alertmanager-port", str(self.alertmanager)]
        state = {"XDG_STATE_HOME": str(directory.with_name(f"{directory.name}.state"))}
        environment = environment_of(state | dict(variables or {}))
        environment |= {} if path is None else {"PATH": path}
        super().__init__(
            "the demonstration",
            (sys.executable, "-m", "demo", "--directory", str(directory), *ports, *flags),
            directory.with_name(f"{directory.name}.{self.exporter}.output"),
            directory=REPOSITORY,
            environment=environment,
        )

    @property
    def output(self) -> str:
        return self.log

    @property
    def firing(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Summary and runbook of each alert and severity that it reported as firing."""
        found = _FIRING.findall(self.output)
        return {
            (alert, severity): (summary, runbook) for alert, severity, summary, runbook in found
        }

    def wait_for_output(self, text: str, seconds: float = START_SECONDS) -> None:
        wait_until(lambda: text in self.output, f"no {text!r} in the output", seconds)

    def wait_until_serving(self) -> None:
        """Wait until the exporter serves: it starts last."""
        self.wait_until(lambda: answers(self.exporter), "no exporter", START_SECONDS)

    def child_processes(self) -> list[psutil.Process]:
        """List its servers, also those that have not begun to run their program yet."""
        return psutil.Process(self.pid).children()

    def children(self) -> dict[str, psutil.Process]:
        """Return its servers by name."""
        return {server_of(child.cmdline()): child for child in self.child_processes()}


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
        return (
            process.status() == psutil.STATUS_ZOMBIE
        )  # that the process that adopted it has not reaped yet
    except psutil.NoSuchProcess:
        return True
