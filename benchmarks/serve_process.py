"""A real ``serve`` in its own process, and scrapes as Prometheus sends them."""

import gzip
import re
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from benchmarks.measure import ProgramError, cpu_seconds, first_scan_environment
from demo.child_process import ChildProcess
from demo.ports import HOST, WantedPort, usable_port

_PATIENCE_SECONDS = 3600.0
"""Enough for a store of a million blobs with a cold cache."""

_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.005
_WAIT_SECONDS = 0.1
_QUIET_SECONDS = 1.0
_QUIET_SHARE = 0.05
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_SCANS = re.compile(rb"^docker_registry_scans_total (\S+)$", re.MULTILINE)
_CHUNK = 1 << 20


class Connection:
    """One connection for many requests, as Prometheus keeps it.

    Uses a plain socket: a client library would take longer than the exporter.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{HOST}:{port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str) -> tuple[float, int, bytes]:
        """Return the seconds until a page was complete, its status, and its body as sent."""
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {_ACCEPT}\r\n"
            "Accept-Encoding: gzip\r\nUser-Agent: benchmark\r\n\r\n"
        ).encode()
        started = time.perf_counter()
        self._socket.sendall(request)
        head, separator, body = b"", b"", b""
        while not separator:
            head, separator, body = (head + self._receive()).partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if length is None:
            raise ProgramError(f"{path}: the answer has no Content-Length: {head!r}")
        pieces, missing = [body], int(length[1]) - len(body)
        while missing > 0:
            pieces.append(self._receive())
            missing -= len(pieces[-1])
        seconds = time.perf_counter() - started
        return seconds, int(head.split(maxsplit=2)[1]), b"".join(pieces)

    def scrape(self) -> tuple[float, bytes]:
        """Return the seconds of a scrape, and the page as sent."""
        seconds, status, body = self.get("/metrics")
        if status != 200:  # noqa: PLR2004 - HTTP's own number
            raise ProgramError(f"a scrape was answered with status {status}")
        return seconds, body

    def _receive(self) -> bytes:
        piece = self._socket.recv(_CHUNK)
        if not piece:
            raise ProgramError("the exporter closed the connection")
        return piece


class Serve(ChildProcess):
    """``serve`` on a free loopback port; it is stopped when the context ends."""

    def __init__(
        self, root: Path, state: Path, *flags: str, module: tuple[str, ...] = ("exporter", "serve")
    ) -> None:
        """Prepare the process; its cache and its log are in ``state``."""
        self._port = usable_port(WantedPort("serve", "", 0))
        command = (
            *(sys.executable, "-m", *module, "--storage.root", str(root)),
            *("--web.listen-address", f"{HOST}:{self._port}", "--log.level", "warning", *flags),
        )
        super().__init__(
            " ".join(command),
            command,
            state / "serve.log",
            environment=first_scan_environment(state),
            stop_seconds=_STOP_SECONDS,
        )
        self._started = 0.0

    def start(self) -> None:
        """Start the process, and record when."""
        self._started = time.perf_counter()
        super().start()

    def connect(self) -> Connection:
        """Open a connection."""
        return Connection(self._port)

    def page(self) -> bytes:
        """Scrape once, and return the decompressed page."""
        with self.connect() as connection:
            return gzip.decompress(connection.scrape()[1])

    def wait_until_ready(self) -> float:
        """Wait until the first figures are published; return the seconds since the start."""
        self.wait_until(self._is_ready, "`serve` is not ready", _PATIENCE_SECONDS, _POLL_SECONDS)
        return time.perf_counter() - self._started

    def wait_until_quiet(self) -> None:
        """Wait until the process is idle."""
        taken = float("-inf")

        def is_quiet() -> bool:
            nonlocal taken
            before, taken = taken, cpu_seconds(self.pid)
            return taken - before < _QUIET_SHARE * _QUIET_SECONDS

        self.wait_until(is_quiet, "`serve` is still busy", _PATIENCE_SECONDS, _QUIET_SECONDS)

    def wait_for_scans(self, more: int) -> None:
        """Wait until the process has done this many more scans."""
        enough = self._scans() + more
        otherwise = f"`serve` has not done {more} more scans"
        self.wait_until(
            lambda: self._scans() >= enough, otherwise, _PATIENCE_SECONDS, _WAIT_SECONDS
        )

    def _scans(self) -> float:
        found = _SCANS.search(self.page())
        return 0.0 if found is None else float(found[1])

    def _is_ready(self) -> bool:
        with suppress(OSError), self.connect() as connection:
            return connection.get("/-/ready")[1] == 200  # noqa: PLR2004 - HTTP's own number
        return False
