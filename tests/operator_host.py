"""A host on which an operator runs the commands of the runbooks: a shell and a platform."""

import os
import re
import subprocess
from pathlib import Path

from tests.container_platform import ContainerPlatform
from tests.deployments import DEPLOY
from tests.servers import DockerRegistry

_ADDRESS = "https://registry.root.example.com:996"


class OperatorHost:
    """A shell in its own directory, whose commands act on the registry of a platform."""

    def __init__(self, home: Path, registry: DockerRegistry, platform: ContainerPlatform) -> None:
        """Prepare the host."""
        home.mkdir()
        self._home = home
        self._places = {
            _ADDRESS: registry.url,
            "/captain/data": str(registry.root.parent),
            "/etc/registry-storage-exporter": str(home / "settings"),
            "/var/lib/registry-maintenance": str(home / "maintenance"),
            "/root/": f"{home}/",
        }
        self._variables = platform.variables | {"HOME": str(home)}
        (platform.programs / "collect-garbage.sh").symlink_to(
            DEPLOY / "caprover/collect-garbage.sh"
        )

    def write(self, name: str, content: str) -> None:
        """Write a file, by default into the operator's home directory."""
        path = self._home / self._here(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(self._here(content))

    def read(self, name: str) -> str:
        """Read a file of the operator's home directory."""
        return (self._home / name).read_text()

    def type(self, *commands: str) -> str:
        """Run commands in one shell, and return the output.

        Raises RuntimeError if a command, or a part of a pipeline, fails.
        """
        script = self._here("\n".join(commands))
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self._home,
            env=os.environ | self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script}\nended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def _here(self, text: str) -> str:
        """Replace the addresses and paths of the pages by those of this host."""
        pattern = "|".join(map(re.escape, self._places))
        return re.sub(pattern, lambda match: self._places[match[0]], text)
