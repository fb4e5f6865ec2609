"""Prometheus and Alertmanager beside the exporter: which are installed, and how they are set up.

They write only below one directory of the demonstration, which each start empties: samples and
silences of another day would only confuse. The rules are the shipped ones, with one change: every
``for`` is short enough to watch. Alertmanager routes as the shipped example does, to receivers that
notify nobody.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.errors import DemoError
from demo.ports import HOST
from demo.supervisor import Program

JOB = "registry-storage"
INTERVAL = "2s"
FOR_SECONDS = 5

_ALERTS = Path(__file__).parent.parent / "alerts"
RULES = _ALERTS / "registry-storage.rules.yml"
ROUTING = _ALERTS / "alertmanager.example.yml"

_MARKER = "written-by-the-demo"
_LOCK = "stack.lock"
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_PART = re.compile(r"(\d+)(ms|[smhdwy])")


@dataclass(frozen=True, slots=True)
class Installed:
    """Paths of the programs; None: not on ``PATH``."""

    prometheus: str | None
    alertmanager: str | None
    amtool: str | None

    @classmethod
    def find(cls) -> "Installed":
        """Look on ``PATH``; Debian names Alertmanager's program differently."""
        return cls(
            prometheus=shutil.which("prometheus"),
            alertmanager=shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"),
            amtool=shutil.which("amtool"),
        )

    def what_is_missing(self) -> str | None:
        """Return one line on what is missing, what that means, and how to get it, or None."""
        if self.prometheus is None and self.alertmanager is None:
            return _missing("Prometheus and Alertmanager are", "the exporter serves alone", self)
        if self.prometheus is None:
            return _missing("Prometheus is", "the exporter serves alone", self)
        if self.alertmanager is None:
            return _missing("Alertmanager is", "alerts fire in Prometheus only", self)
        return None


def _missing(subject: str, meaning: str, installed: Installed) -> str:
    programs = {"prometheus": installed.prometheus, "alertmanager": installed.alertmanager}
    names = [name for name, path in programs.items() if path is None]
    packages = " ".join({"alertmanager": "prometheus-alertmanager"}.get(n, n) for n in names)
    return (
        f"{subject} not installed: {meaning}. To see it all: apt-get install {packages} "
        f"(need not run as services), or put {' and '.join(names)} on PATH"
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """The servers of one run.

    Attributes:
        home: the directory of their files.
        exporter, prometheus, alertmanager: ports; None without Alertmanager.

    """

    home: Path
    exporter: int
    prometheus: int
    alertmanager: int | None

    @property
    def prometheus_url(self) -> str:
        """Where Prometheus serves."""
        return f"http://{HOST}:{self.prometheus}"

    @property
    def alertmanager_url(self) -> str | None:
        """Where Alertmanager serves."""
        return None if self.alertmanager is None else f"http://{HOST}:{self.alertmanager}"

    def write(self) -> None:
        """Write the configurations again, and remove what an earlier run left.

        Raises:
            DemoError: the directory holds other files or cannot be written, or a shipped file is
                missing or invalid.

        """
        rules, routing = _load(RULES), _load(ROUTING)
        try:
            _clear(self.home)
            for part in ("prometheus", "alertmanager", "logs"):
                (self.home / part).mkdir()
            origin = f"alerts/{RULES.name}, each `for` at most {FOR_SECONDS}s"
            _dump(self._rules_path, shorten_for(rules), origin)
            _dump(self._prometheus_path, self._prometheus_config(), "the demonstration")
            origin = f"alerts/{ROUTING.name}, with receivers that notify nobody"
            _dump(self._alertmanager_path, silence_receivers(routing), origin)
        except OSError as error:
            raise DemoError(f"cannot write {self.home} ({error})") from error

    def prometheus_program(self, path: str) -> Program:
        """Return the program that runs Prometheus with what :meth:`write` has written."""
        command = (
            path,
            f"--config.file={self._prometheus_path}",
            f"--storage.tsdb.path={self.home / 'prometheus' / 'data'}",
            f"--web.listen-address={HOST}:{self.prometheus}",
            f"--web.external-url={self.prometheus_url}/",
        )
        return Program("Prometheus", command, self.home / "logs" / "prometheus.log")

    def alertmanager_program(self, path: str) -> Program:
        """Return the program that runs one Alertmanager with what :meth:`write` has written."""
        command = (
            path,
            f"--config.file={self._alertmanager_path}",
            f"--storage.path={self.home / 'alertmanager' / 'data'}",
            f"--web.listen-address={HOST}:{self.alertmanager}",
            f"--web.external-url={self.alertmanager_url}/",
            "--cluster.listen-address=",
        )
        return Program("Alertmanager", command, self.home / "logs" / "alertmanager.log")

    @property
    def _rules_path(self) -> Path:
        return self.home / "prometheus" / "rules.yml"

    @property
    def _prometheus_path(self) -> Path:
        return self.home / "prometheus" / "prometheus.yml"

    @property
    def _alertmanager_path(self) -> Path:
        return self.home / "alertmanager" / "alertmanager.yml"

    def _prometheus_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": [self._rules_path.name],
            "scrape_configs": [_scrape(JOB, self.exporter)],
        }
        if self.alertmanager is not None:
            targets = [{"targets": [f"{HOST}:{self.alertmanager}"]}]
            config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
        return config


@contextmanager
def only_one(directory: Path) -> Iterator[bool]:
    """Lock the servers of this directory; yield False if another process has locked them.

    Raises:
        DemoError: the directory cannot be written.

    """
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DemoError(
            f"--directory {directory}: cannot write to it ({error}); "
            "name another directory, or use --exporter-only"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def shorten_for(rules: dict[str, Any]) -> dict[str, Any]:
    """Return the rules with every ``for`` at most :data:`FOR_SECONDS`, and nothing else changed."""
    return rules | {"groups": [_shorten_group(group) for group in rules["groups"]]}


def _shorten_group(group: dict[str, Any]) -> dict[str, Any]:
    short = {"for": f"{FOR_SECONDS}s"}
    return group | {
        "rules": [
            rule | short if _seconds(rule.get("for", "0s")) > FOR_SECONDS else rule
            for rule in group["rules"]
        ]
    }


def _seconds(duration: str | int) -> float:
    return sum(int(count) * _UNIT_SECONDS[unit] for count, unit in _PART.findall(str(duration)))


def silence_receivers(routing: dict[str, Any]) -> dict[str, Any]:
    """Return the routing with receivers of the same names that send nothing."""
    # Global settings and templates are for sending, and may name files that are missing here.
    kept = {key: part for key, part in routing.items() if key not in {"global", "templates"}}
    return kept | {"receivers": [{"name": each["name"]} for each in routing["receivers"]]}


def _scrape(job: str, port: int) -> dict[str, Any]:
    return {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}


def _clear(home: Path) -> None:
    """Empty the directory but for its marker; one without the marker must be empty already."""
    if home.exists() and not (home / _MARKER).is_file() and any(home.iterdir()):
        raise DemoError(f"{home} holds files that the demo did not write; name another --directory")
    if home.exists():
        # The marker goes last: after an interruption the rest is still known to be ours.
        for path in sorted(home.iterdir(), key=lambda each: each.name == _MARKER):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    home.mkdir(exist_ok=True)
    (home / _MARKER).touch()


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DemoError(f"cannot read {path} ({error})") from error
    if not isinstance(loaded, dict):
        raise DemoError(f"{path}: not a YAML mapping")
    return loaded


def _dump(path: Path, content: dict[str, Any], origin: str) -> None:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(f"# Written by each start of the demonstration, from {origin}.\n{text}")
