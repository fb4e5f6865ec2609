"""Monitoring servers: Prometheus, Alertmanager, and a receiver of notifications."""

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from demo.child_process import wait_until
from tests.servers import START_SECONDS, Server, free_port, require


class Prometheus(Server):
    """A Prometheus that scrapes ``targets`` (``host:port``) every second."""

    def __init__(
        self,
        config_dir: Path,
        targets: Sequence[str],
        *,
        job: str = "registry-storage",
        rule_files: Sequence[Path] = (),
        alertmanagers: Sequence[str] = (),
        scrape: Mapping[str, object] | None = None,
    ) -> None:
        """Prepare the server; its configuration and its data go to ``config_dir``.

        ``scrape`` is added to the scrape configuration, for example a password.
        """
        self.config_dir = config_dir
        self._program = require("prometheus")
        self._targets = targets
        self._job = job
        self._rule_files = rule_files
        self._alertmanagers = alertmanagers
        self._scrape = scrape or {}
        self._port = free_port()
        super().__init__(f"http://127.0.0.1:{self._port}")

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Evaluate an expression now; return the vector."""
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": promql}, trust_env=False, timeout=10
        )
        answer.raise_for_status()
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def wait_for(self, promql: str, seconds: float = START_SECONDS) -> list[dict[str, Any]]:
        """Evaluate an expression until the result is not empty; return the result."""
        wait_until(lambda: bool(self.query(promql)), f"{promql} stays empty", seconds)
        return self.query(promql)

    def alerts(self) -> list[dict[str, Any]]:
        """Return the active alerts, with their labels and annotations."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", trust_env=False, timeout=10)
        answer.raise_for_status()
        alerts: list[dict[str, Any]] = answer.json()["data"]["alerts"]
        return alerts

    def _configure(self, home: Path) -> None:  # noqa: ARG002 - its files are in config_dir
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in self._rule_files],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": list(self._alertmanagers)}]}]
            },
            "scrape_configs": [
                {
                    "job_name": self._job,
                    "static_configs": [{"targets": list(self._targets)}],
                    **self._scrape,
                }
            ],
        }
        self.config_dir.mkdir(parents=True, exist_ok=True)
        (self.config_dir / "prometheus.yml").write_text(json.dumps(config, indent=2))

    def _arguments(self, home: Path) -> list[str]:  # noqa: ARG002 - the same
        return [
            self._program,
            f"--config.file={self.config_dir / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.config_dir / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--log.level=warn",
        ]

    def _ready_path(self) -> str:
        return "/-/ready"


class Alertmanager(Server):
    """A single Alertmanager with a configuration (a mapping as in its file)."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._program = require("prometheus-alertmanager")
        self._config = config
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(f"http://{self.address}")

    def alerts(self) -> list[dict[str, Any]]:
        """Return all of its alerts, also those without a notification."""
        answer = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False, timeout=10)
        answer.raise_for_status()
        alerts: list[dict[str, Any]] = answer.json()
        return alerts

    def post(self, alerts: Sequence[dict[str, Any]]) -> None:
        """Send alerts, as Prometheus does."""
        answer = httpx.post(
            f"{self.url}/api/v2/alerts", json=list(alerts), trust_env=False, timeout=10
        )
        answer.raise_for_status()

    def _configure(self, home: Path) -> None:
        (home / "alertmanager.yml").write_text(yaml.safe_dump(self._config))

    def _arguments(self, home: Path) -> list[str]:
        return [
            self._program,
            f"--config.file={home / 'alertmanager.yml'}",
            f"--storage.path={home / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]

    def _ready_path(self) -> str:
        return "/-/ready"


class Webhook:
    """Receives the notifications of Alertmanager; each path stands for a receiver."""

    def __init__(self) -> None:
        self._received: list[tuple[str, dict[str, Any]]] = []
        received = self._received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def notified(self, path: str, status: str) -> dict[tuple[str, str], dict[str, str]]:
        """Return the annotations that ``path`` has received, by name and severity of the alert."""
        return {
            (alert["labels"]["alertname"], alert["labels"]["severity"]): alert["annotations"]
            for where, message in list(self._received)
            if where == path
            for alert in message["alerts"]
            if alert["status"] == status
        }

    def wait_for(self, path: str, status: str, alert: tuple[str, str]) -> dict[str, str]:
        """Wait until ``path`` receives an alert; return its annotations."""
        wait_until(
            lambda: alert in self.notified(path, status),
            f"{path} does not receive {alert} as {status}: {self._received}",
            START_SECONDS,
        )
        return self.notified(path, status)[alert]
