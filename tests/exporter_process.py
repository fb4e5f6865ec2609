"""The exporter as its users run it: its own process, queried over HTTP.

Knows the flags of ``serve`` and ``collect`` that every test needs, and how to read a page of
metrics. The tests know the expected metrics.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from demo.child_process import PATIENCE_SECONDS, ChildProcess, Stopped, wait_until
from tests.servers import START_SECONDS

REPOSITORY = Path(__file__).parent.parent

STOPPED_WITHIN_SECONDS = 10.0
"""Promised: 5 s, on SIGTERM; a slow machine may take twice as long."""

_COMMAND = (sys.executable, "-W", "error", "-m", "exporter")
_VARIABLES = "REGISTRY_EXPORTER_"
_LISTENING = re.compile(r"logger=serve\.run msg=listening address=(127\.0\.0\.1:\d+)")
_OF_THE_STORE = re.compile(
    r"docker_registry_(?!scan_(duration|last_success|progress)|scans_|filesystem_|disk_|watch|cache_"
    r"|api_)"
)

_UNREMARKABLE = re.compile(r"ts=\S+ level=(debug|info) ")
_EXPLAINED = {
    'msg="running as root: ': "root often runs the tests",
    'msg="the store can be written to, ': "whoever runs the tests made the stores",
}
"""Parts of warnings that tests cannot avoid, and the reasons."""

Series = tuple[str, frozenset[tuple[str, str]]]
"""A sample's name and its pairs of label and value."""


class Metrics(dict[Series, float]):
    """The samples of one page, by series."""

    @classmethod
    def parse(cls, page: str) -> Self:
        """Parse a page in text format; raise ValueError if a series is there twice."""
        metrics = cls()
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                series = sample.name, frozenset(sample.labels.items())
                if series in metrics:
                    raise ValueError(f"{sample.name}: {sample.labels} is there twice")
                metrics[series] = sample.value
        return metrics

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series, or None if it is absent."""
        return self.get((name, frozenset(labels.items())))

    def by(self, label: str, name: str) -> dict[str, float]:
        """Return the values of a metric with one label, by that label's value."""
        return {dict(pairs)[label]: value for (each, pairs), value in self.items() if each == name}

    def of_the_store(self) -> Self:
        """Return the metrics of the store, which do not depend on the time or kind of a scan."""
        return type(self)(
            (series, value) for series, value in self.items() if _OF_THE_STORE.match(series[0])
        )

    def total(self, name: str) -> float:
        """Return the sum of all series of a metric."""
        return sum(value for (each, _), value in self.items() if each == name)


class Exporter:
    """``serve`` on a free loopback port."""

    def __init__(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        until_ready: bool = True,
        scheme: str = "http",
        client: httpx.Client | None = None,
        under: Sequence[str] = (),
    ) -> None:
        """Prepare the process; with ``until_ready`` its start waits for the first scan.

        Its state directory is removed when the context ends, unless ``environment`` names another.
        ``client`` sends the requests, with the certificate and password that it needs; it is closed
        when the context ends. ``under`` is a prefix: a command that executes the one after it.
        """
        self._until_ready = until_ready
        self._scheme = scheme
        self._http = client or httpx.Client(trust_env=False, timeout=10)
        self._home = tempfile.TemporaryDirectory()
        flags = ("serve", "--web.listen-address", "127.0.0.1:0", *map(str, arguments))
        state = {"XDG_STATE_HOME": f"{self._home.name}/state"}
        self._child = ChildProcess(
            "the exporter",
            (*under, *_COMMAND, *flags),
            Path(self._home.name) / "log",
            directory=REPOSITORY,
            environment=environment_of(state | dict(environment or {})),
        )
        self._closing = ExitStack()
        self.address = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._home.cleanup)
            stack.callback(self._http.close)
            stack.enter_context(self._child)
            self._child.wait_until(self._listens, "the exporter does not listen", START_SECONDS)
            self.get("/-/healthy")  # the answer shows that it takes signals, too
            if self._until_ready:
                self._child.wait_until(self._is_ready, "the exporter is not ready", START_SECONDS)
            self._closing = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def url(self) -> str:
        """URL that it serves on."""
        return f"{self._scheme}://{self.address}"

    @property
    def process_id(self) -> int:
        """Id of its process, and of the thread that answers."""
        return self._child.pid

    @property
    def log(self) -> str:
        """Everything that it has printed so far."""
        return self._child.log

    @property
    def complaints(self) -> list[str]:
        """Lines of its log that are neither routine nor unavoidable in tests."""
        return [
            line
            for line in self.log.splitlines()
            if not _UNREMARKABLE.match(line) and not any(each in line for each in _EXPLAINED)
        ]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Get a page; ``accept_encoding="gzip"`` sends ``Accept-Encoding: gzip``."""
        return self.request("GET", path, **headers)

    def request(self, method: str, path: str, **headers: str) -> httpx.Response:
        """Send a request, and follow no redirect."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._http.request(method, f"{self.url}{path}", headers=named)

    def metrics(self) -> Metrics:
        """Scrape the exporter."""
        return Metrics.parse(self.get("/metrics").raise_for_status().text)

    def value(self, name: str, **labels: str) -> float | None:
        """Scrape the value of one series; None if it is absent."""
        return self.metrics().value(name, **labels)

    def wait_for(
        self,
        predicate: Callable[[Metrics], bool],
        otherwise: str = "the metrics are not as expected",
        seconds: float = PATIENCE_SECONDS,
    ) -> Metrics:
        """Scrape until ``predicate`` holds, and return the page for which it does."""
        seen = Metrics()

        def holds() -> bool:
            nonlocal seen
            seen = self.metrics()
            return predicate(seen)

        wait_until(holds, otherwise, seconds)
        return seen

    def has_open(self, path: Path) -> bool:
        """Return whether it has a file or directory open."""
        for descriptor in Path(f"/proc/{self.process_id}/fd").iterdir():
            try:
                if descriptor.readlink() == path:
                    return True
            except FileNotFoundError:  # closed since it was listed
                continue
        return False

    def kill(self) -> None:
        """Kill it, as a crash would end it."""
        self._child.kill()

    def terminate(self, number: signal.Signals = signal.SIGTERM, times: int = 1) -> Stopped:
        """Send a signal, once or several times, and return how the exporter ended."""
        return self._child.terminate(number, times)

    def _listens(self) -> bool:
        listening = _LISTENING.search(self.log)
        if listening is not None:
            self.address = listening[1]
        return listening is not None

    def _is_ready(self) -> bool:
        return self.get("/-/ready").status_code == httpx.codes.OK


def run_exporter(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run any command of the exporter to its end."""
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=REPOSITORY,
        env=environment_of(environment),
    )


def collect(
    root: Path, *flags: str | Path, environment: Mapping[str, str] | None = None
) -> Metrics:
    """Run ``collect`` on a store, with layer links as ``serve`` has them, and parse its output."""
    done = run_exporter(
        "collect", "--layer-links", "--storage.root", root, *flags, environment=environment
    )
    if done.returncode != 0:
        raise RuntimeError(f"collect ended with {done.returncode}:\n{done.stderr}")
    return Metrics.parse(done.stdout)


def environment_of(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without the exporter's settings, but with ``extra``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_VARIABLES)}
    return own | dict(extra or {})
