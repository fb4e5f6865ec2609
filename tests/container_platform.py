"""A stand-in for what runs an operator's registry: Docker, systemd or Kubernetes.

It understands the commands that scripts of `deploy/` give to these programs, records them, and does
what they ask to a real registry: starts it again with another environment, and runs its collector.
Like a daemon, it finishes what it was asked for even if the program that asked is killed.
"""

import json
import os
import re
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.exporter_container import IMAGE, run_in_container
from tests.exporter_process import REPOSITORY
from tests.in_process import run_command
from tests.servers import CachingRegistry, require_registry_v3

READ_ONLY = "REGISTRY_STORAGE_MAINTENANCE_READONLY"
CLOSED = '{"enabled":true}'
OPEN = '{"enabled":false}'
CONFIGURATIONS = {2: "/etc/docker/registry/config.yml", 3: "/etc/distribution/config.yml"}

_CLIENT = """#!{python} -IS
import json, os, socket, sys
request = {{"program": os.path.basename(sys.argv[0]), "words": sys.argv[1:], "step": 0,
           "closes": os.environ.get("REGISTRY_READ_ONLY") == "true"}}
code = None
while code is None:  # some commands consist of several requests
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect({address!r})
        connection.sendall(json.dumps(request).encode() + b"\\n")
        code, output = json.loads(connection.makefile("rb").read())
    request["step"] += 1
print(output, end="", file=sys.stderr if code else sys.stdout)
sys.exit(code)
"""
_COLLECTOR = """#!/bin/sh
"{client}" before-collecting
"{program}" "$1" {config}; code=$?
"{client}" after-collecting
exit $code
"""
_DROP_IN = re.compile(r"^Environment='(\w+)=(.*)'$", re.MULTILINE)
_SLEEP = "#!/bin/sh\n"  # the platform is never late
_RUNUSER = '#!/bin/sh\nshift 3; exec "$@"\n'
_EXPORTER = '#!/bin/sh\nexport {settings}; PYTHONPATH={repository} exec {python} -m exporter "$@"\n'


class Answer(NamedTuple):
    """How a command ended, and what it printed; without a code, the client asks again."""

    code: int | None = 0
    output: str = ""


REFUSED = Answer(1, "refused by the test\n")


def _nothing() -> None:
    pass


class _Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers each command in a thread of its own."""


class PlatformRegistry(CachingRegistry):
    """A registry whose process a platform starts."""

    @property
    def program(self) -> str:
        """The registry's program, which is its collector too."""
        return self._program

    @property
    def process_id(self) -> int:
        """The id of its process, which must run."""
        assert self._child is not None
        return self._child.pid


class ContainerPlatform:
    """Runs a registry as it is asked to.

    Attributes:
        asked: the commands that change something, in order.
        environment: variables of the registry beside those of its configuration.
        exporter_runs: whether the exporter's container is there.
        can_restart: whether the registry can be restarted.
        before_collecting: called before the collector runs.
        after_collecting: called after the collector has run, before the script learns of it.

    """

    def __init__(
        self,
        registry: PlatformRegistry,
        home: Path,
        version: int = 2,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare the platform for a registry that does not run yet, with its files in ``home``.

        ``settings`` are variables of the exporter, ``environment`` those of the registry.
        """
        self.asked: list[str] = []
        self._base = dict(environment or {})
        self.environment = dict(self._base)
        self.exporter_runs = True
        self.can_restart = True
        self.before_collecting: Callable[[], None] = _nothing
        self.after_collecting: Callable[[], None] = _nothing
        self._registry = registry
        self._settings = {"REGISTRY_EXPORTER_STORAGE_ROOT": str(registry.root), **(settings or {})}
        self._configuration = CONFIGURATIONS[version]
        self._instance = 0
        self._started: dict[str, str] = {}
        self._is_up = False
        self._collectors: set[subprocess.Popen[str]] = set()
        self._lock = threading.RLock()
        self._one_scan = threading.Lock()
        self._home = home
        self._drop_in = home / "docker-registry.service.d/collect-garbage.conf"
        self._write_programs()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the registry and answer commands meanwhile."""
        platform = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionError):  # a program that was killed
                    if line := self.rfile.readline():
                        answer = platform._answer(json.loads(line))
                        self.wfile.write(json.dumps(answer).encode())

        with _Daemon(str(self._address), Handler) as daemon, ExitStack() as stack:
            stack.push(self._registry)
            thread = threading.Thread(target=daemon.serve_forever, args=(0.02,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(daemon.shutdown)
            self.restart()
            yield

    @property
    def _address(self) -> Path:
        return self._home / "socket"

    @property
    def programs(self) -> Path:
        """Directory of the programs that a script finds here."""
        return self._home / "bin"

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a script that runs here."""
        return {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "GC_LOCK": str(self._home / "lock"),
            "GC_LOG": str(self._home / "collector.log"),
            "GC_DROP_IN": str(self._drop_in),
            "GC_STORE": str(self._registry.root),
            "GC_EXPORTER": "registry-storage-exporter",
        }

    @property
    def is_closed(self) -> bool:
        """Whether the registry that runs refuses pushes."""
        return self._is_up and self._started.get(READ_ONLY) == CLOSED

    @property
    def instance(self) -> str:
        """The name of the container or pod that runs; another one after each restart."""
        return f"registry-{self._instance}"

    def restart(self) -> None:
        """Stop the registry and all that runs beside it, and start it with its environment."""
        with self._lock:
            self._stop()
            self._start()

    def open_and_restart(self) -> None:
        """Forget the variables that were added, as CapRover does when it starts."""
        self.environment = dict(self._base)
        self._drop_in.unlink(missing_ok=True)
        self.restart()

    def _start(self) -> None:
        with self._lock, mock.patch.dict(os.environ, self.environment):
            self._registry.start()
            self._started = dict(self.environment)
            self._is_up = True
            self._instance += 1

    def _stop(self) -> None:
        with self._lock:
            for collector in tuple(self._collectors):
                collector.kill()
            self._registry.stop()
            self._is_up = False

    def _answer(self, request: Mapping[str, Any]) -> Answer:
        program, words = request["program"], request["words"]
        line = shlex.join([program, *words])
        match [program, *words]:
            case ["hook", name]:
                return self._hook(name)
            case ["docker", "compose", "--progress", "quiet", *command]:
                return self._compose(line, command, request)
            case ["docker", "service", *command]:
                return self._service(line, command)
            case ["docker", *command]:
                return self._docker(line, command)
            case ["kubectl", "--namespace", "registry", *command]:
                return self._kubectl(line, command)
            case ["systemctl", *command]:
                return self._systemctl(line, command)
        raise NotImplementedError(line)

    def _docker(self, line: str, command: list[str]) -> Answer:
        match command:
            case ["ps", "--quiet" | "-q", "--filter" | "-f", which]:
                is_exporter = which.endswith("exporter")
                return self._exporter_container() if is_exporter else self._running()
            case ["ps", "-f", "name=registry-exporter", "--format", "{{.Image}}"]:
                return self._exporter_container(IMAGE)
            case ["inspect", "--format", "{{.Config.Env}}", name] if name == self.instance:
                return Answer(0, f"{[f'{each}={value}' for each, value in self._started.items()]}")
            case ["run", *words]:
                return self._new_container(line, words)
            case ["exec", name, *words]:
                is_exporter = name == "exporter"
                return self._exporter(words) if is_exporter else self._execute(name, words)
            case ["inspect", *_]:
                return Answer(1, "no such container")
        raise NotImplementedError(line)

    def _compose(self, line: str, command: list[str], request: Mapping[str, Any]) -> Answer:
        match command:
            case ["up", *options, "registry"]:
                return self._compose_up(line, options, request)
            case ["ps", "--quiet", "registry"]:
                return self._running()
            case ["exec", "-T", _, *words]:
                return self._exporter(words)
        raise NotImplementedError(line)

    def _service(self, line: str, command: list[str]) -> Answer:
        match command:
            case ["inspect", "--format", "{{json .Spec}}", _]:
                return Answer(0, json.dumps(self.environment))
            case ["update", *options, _]:
                return self._service_update(line, options)
        raise NotImplementedError(line)

    def _service_update(self, line: str, options: list[str]) -> Answer:
        values = dict(pairwise(options))
        removed = f"{values.get('--env-rm', 'none')}-"
        variable = values.get("--env-add", removed)
        return self._set(line, variable, force="--force" in options)

    def _kubectl(self, line: str, command: list[str]) -> Answer:
        match command:
            case ["get", "pods", "--selector", _, "--output", _] | ["rollout", "status", *_]:
                return self._running()
            case ["get", "deployment/registry", "--output", _]:
                return Answer(0, json.dumps(self.environment))
            case ["set", "env", "deployment/registry", "--containers", "registry", variable]:
                return self._set(line, variable)
            case ["rollout", "restart", "deployment/registry"]:
                return self._set(line, "none-", force=True)
            case ["exec", _, "--container", "exporter", "--", *words]:
                return self._exporter(words)
            case ["exec", name, "-c", "registry", "--", *words]:
                return self._execute(name, words)
        raise NotImplementedError(line)

    def _systemctl(self, line: str, command: list[str]) -> Answer:
        match command:
            case ["show", "--property", "MainPID", "--value", "docker-registry"]:
                return Answer(0, f"{self._registry.process_id if self._is_up else 0}\n")
            case ["daemon-reload"]:
                text = self._drop_in.read_text() if self._drop_in.exists() else ""
                self.environment = dict(_DROP_IN.findall(text))
                return Answer()
            case ["restart", "docker-registry"]:
                return self._set(line, "none-", force=True)
            case ["-q", "is-active", "docker-registry"]:
                return Answer(0 if self._is_up else 3)
        raise NotImplementedError(line)

    def _compose_up(self, line: str, options: list[str], request: Mapping[str, Any]) -> Answer:
        """Replace the container as Compose does: a client that is killed may leave none."""
        wanted = {READ_ONLY: CLOSED if request["closes"] else OPEN}
        if request["step"] == 0:
            self.asked.append(line)
            if not self.can_restart:
                return REFUSED
            if not self._is_up or self._started != wanted or "--force-recreate" in options:
                self._stop()
            return Answer(None)
        with self._lock:
            if not self._is_up:
                self.environment = wanted
                self._start()
        return Answer()

    def _set(self, line: str, variable: str, *, force: bool = False) -> Answer:
        self.asked.append(line)
        if not self.can_restart:
            return REFUSED
        with self._lock:
            name, _, value = variable.partition("=")
            if value:
                self.environment[name] = value
            else:
                self.environment.pop(name.removesuffix("-"), None)
            if force or self.environment != self._started:
                self.restart()
        return Answer()

    def _running(self) -> Answer:
        with self._lock:  # a restart that was asked for before ends first
            return Answer(0, f"{self.instance}\n" if self._is_up else "")

    def _exporter_container(self, name: str = "exporter") -> Answer:
        return Answer(0, f"{name}\n" if self.exporter_runs else "")

    def _new_container(self, line: str, words: list[str]) -> Answer:
        match words:
            case ["--rm", "-v", _, "registry:3", *command]:
                return self._collect(require_registry_v3(), command[:-1])
            case _ if IMAGE in words:
                image = words.index(IMAGE)
                done = run_in_container(words[:image], words[image + 1 :])
                return Answer(done.returncode, done.stderr if done.returncode else done.stdout)
        raise NotImplementedError(line)

    def _execute(self, name: str, command: list[str]) -> Answer:
        if name != self.instance or not self._is_up:
            return Answer(1, f"no such container: {name}\n")
        match command:
            case ["printenv", variable]:
                value = self._started.get(variable)
                return Answer(1) if value is None else Answer(0, f"{value}\n")
            case ["ls", *paths]:
                found = [path for path in paths if path == self._configuration]
                return Answer(0, "".join(f"{each}\n" for each in found))
            case ["registry", *collect, path] if path == self._configuration:
                return self._collect(self._registry.program, collect)
        raise NotImplementedError(shlex.join(command))

    def _collect(self, program: str, command: list[str]) -> Answer:
        self.asked.append(shlex.join(command))
        self.before_collecting()
        with self._lock:
            config = str(self._registry.home / "config.yml")
            collector = subprocess.Popen(
                [program, *command, config],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self._collectors.add(collector)
        output = collector.communicate()[0]
        self._collectors.discard(collector)
        self.after_collecting()
        return Answer(collector.returncode % 256, output)

    def _hook(self, name: str) -> Answer:
        if name == "before-collecting":
            self.asked.append("garbage-collect")
            self.before_collecting()
        else:
            self.after_collecting()
        return Answer()

    def _exporter(self, command: list[str]) -> Answer:
        if not self.exporter_runs:
            return Answer(1, "no such container: exporter\n")
        with self._one_scan:  # which captures the output of this process
            code, output, complaints = run_command(*command[1:], environment=self._settings)
        return Answer(code, output if code == 0 else complaints)

    def _write_programs(self) -> None:
        """Write the programs that a script finds on its PATH."""
        programs = self.programs
        programs.mkdir(parents=True)
        client = _CLIENT.format(python=sys.executable, address=str(self._address))
        collector = _COLLECTOR.format(
            client=programs / "hook",
            config=self._registry.home / "config.yml",
            program=self._registry.program,
        )
        exporter = _EXPORTER.format(
            settings=" ".join(
                f"{name}={shlex.quote(value)}" for name, value in self._settings.items()
            ),
            python=sys.executable,
            repository=REPOSITORY,
        )
        texts = dict.fromkeys(("docker", "systemctl", "kubectl", "hook"), client)
        texts |= {"docker-registry": collector, "runuser": _RUNUSER, "sleep": _SLEEP}
        texts["registry-storage-exporter"] = exporter
        for name, text in texts.items():
            path = programs / name
            path.write_text(text)
            path.chmod(0o755)
