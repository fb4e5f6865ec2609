"""A host on which an operator runs the commands of the runbooks: a shell and a real registry.

Docker and systemd are missing. Scripts in their place run the same programs that they would run,
and stop, start and restart the registry with the environment from the command.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.exporter_process import REPOSITORY
from tests.servers import REGISTRY_V3, DockerRegistry, require

_CONFIGURATION = "/etc/d*/config.yml"
_STORES = ("/captain/data/registry", "/var/lib/docker-registry")
_ADDRESS = "https://registry.root.example.com:996"

_DOCKER = """
case "$1 $2" in
"ps -q") echo "${4#name=}" ;;
"exec "*) shift 2; exec "$@" ;;
"compose run") shift 4; exec registry "$@" ;;
"compose "*) echo "$2" >> "$JOURNAL" ;;
"run "*) shift 4; exec "$@" ;;
"service update") shift 2; printf '%s\\n' "$@" | sed '$d' | tr '\\n' '\\t' >> "$JOURNAL"
  echo >> "$JOURNAL" ;;
*) echo "docker $*: not supported here" >&2; exit 1 ;;
esac
"""
_SYSTEMCTL = 'echo "$1" >> "$JOURNAL"\n'
_RUNUSER = 'shift 3; exec "$@"\n'


class OperatorHost:
    """A shell in its own directory, whose commands act on ``registry``."""

    def __init__(
        self,
        home: Path,
        registry: DockerRegistry,
        monkeypatch: pytest.MonkeyPatch,
        settings: Mapping[str, str],
    ) -> None:
        """Prepare the host; ``settings`` are variables of the exporter."""
        self._registry = registry
        self._monkeypatch = monkeypatch
        self._home = home
        self._journal = home / "journal"
        self._variables = {
            "HOME": str(home),
            "JOURNAL": str(self._journal),
            "PYTHONPATH": str(REPOSITORY),
            "REGISTRY_EXPORTER_STORAGE_ROOT": str(registry.root),
            **settings,
        }
        self._programs = home / "bin"
        self._programs.mkdir(parents=True)
        self._journal.touch()
        configuration = registry.home / "config.yml"
        collector = (
            f"for word; do shift\ncase $word in {_CONFIGURATION}) word={configuration} ;; esac\n"
            'set -- "$@" "$word"; done\n'
        )
        self._write("docker", _DOCKER)
        self._write("systemctl", _SYSTEMCTL)
        self._write("runuser", _RUNUSER)
        for name in ("registry", "docker-registry"):
            self._write(name, f'{collector}exec {require("docker-registry")} "$@"\n')
        self._write("registry:3", f'{collector}exec "${{{REGISTRY_V3}:-registry}}" "$@"\n')
        exporter = f'exec {shlex.quote(sys.executable)} -m exporter "$@"\n'
        self._write("registry-storage-exporter", exporter)

    def write(self, name: str, content: str) -> None:
        """Write a file into the operator's home directory."""
        (self._home / name).write_text(content)

    def read(self, name: str) -> str:
        """Read a file of the operator's home directory."""
        return (self._home / name).read_text()

    def type(self, *commands: str) -> str:
        """Run commands in one shell, then apply their requests to the registry; return the output.

        Raises RuntimeError if a command, or a part of a pipeline, fails.
        """
        script = "\n".join(commands).replace(_ADDRESS, self._registry.url)
        for store in _STORES:
            script = script.replace(store, str(self._registry.root))
        script = script.replace("/root/", f"{self._home}/")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self._home,
            env=os.environ | self._variables | {"PATH": f"{self._programs}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script}\nended with {done.returncode}:\n{done.stderr}")
        self._apply_requests()
        return done.stdout

    def _write(self, program: str, script: str) -> None:
        path = self._programs / program
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)

    def _apply_requests(self) -> None:
        requests = self._journal.read_text().splitlines()
        self._journal.write_text("")
        for request in requests:
            match request.strip("\t").split("\t"):
                case ["stop"]:
                    self._registry.stop()
                case ["start"]:
                    self._registry.start()
                case ["--force"]:
                    self._registry.restart()
                case ["--env-add", variable]:
                    name, _, value = variable.partition("=")
                    self._monkeypatch.setenv(name, value)
                    self._registry.restart()
                case ["--env-rm", name]:
                    self._monkeypatch.delenv(name)
                    self._registry.restart()
                case other:
                    raise RuntimeError(f"unknown request: {other}")
