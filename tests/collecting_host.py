"""A host with a registry that contains garbage, and the script that collects it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.container_platform import OPEN, READ_ONLY, ContainerPlatform, PlatformRegistry
from tests.deployments import DEPLOY
from tests.servers import RegistryClient, require_registry

NAME = "collect-garbage.sh"
PLACES = ("caprover", "compose", "kubernetes", "swarm", "systemd")
APP = "team/app"
GARBAGE = b"garbage" * 1000
DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3


class Host:
    """A host with a registry, and garbage in it."""

    def __init__(self, home: Path, place: str, version: int = 2) -> None:
        self.registry = PlatformRegistry(home / "store", program=require_registry(version))
        environment = {READ_ONLY: OPEN} if place == "compose" else {}
        self.platform = ContainerPlatform(self.registry, home, version, environment=environment)
        self.script = DEPLOY / place / NAME
        self.client = RegistryClient(self.registry.url)

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the script."""
        return self.platform.variables

    def fill(self) -> None:
        """Push an image that stays, and one that is deleted."""
        self.client.push_image(APP, "1", [b"kept" * 1000])
        self.add_garbage(GARBAGE)

    def add_garbage(self, content: bytes) -> None:
        self.client.delete_manifest(APP, self.client.push_image(APP, "old", [content]))

    def blob_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.registry.root.rglob("blobs/**/data"))

    def start(self, *arguments: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", self.script, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            env=os.environ | self.variables,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the script to its end; return its exit code and what it printed."""
        output, errors = (process := self.start(*arguments)).communicate(timeout=60)
        return process.returncode, output + errors

    def assert_open(self) -> None:
        """Pushes are possible, and the registry knows which blobs it has."""
        assert not self.platform.is_closed
        self.client.push_image(APP, "new", [b"new"])


@contextmanager
def host_with(home: Path, place: str, version: int = 2) -> Iterator[Host]:
    host = Host(home, place, version)
    with host.platform.running(), host.client:
        host.fill()
        yield host
