"""A host on which an operator runs the commands of the runbooks: a shell and a platform."""

import os
import subprocess
from pathlib import Path

from tests.container_platform import ContainerPlatform
from tests.deployments import DEPLOY
from tests.servers import DockerRegistry

_STORE = "/captain/data/registry"
_ADDRESS = "https://registry.root.example.com:996"


class OperatorHost:
    """A shell in its own directory, whose commands act on the registry of a platform."""

    def __init__(self, home: Path, registry: DockerRegistry, platform: ContainerPlatform) -> None:
        """Prepare the host."""
        home.mkdir()
        self._home = home
        self._registry = registry
        self._variables = platform.variables | {"HOME": str(home)}
        (platform.programs / "collect-garbage.sh").symlink_to(
            DEPLOY / "caprover/collect-garbage.sh"
        )

    def write(self, name: str, content: str) -> None:
        """Write a file into the operator's home directory."""
        (self._home / name).write_text(content)

    def read(self, name: str) -> str:
        """Read a file of the operator's home directory."""
        return (self._home / name).read_text()

    def type(self, *commands: str) -> str:
        """Run commands in one shell, and return the output.

        Raises RuntimeError if a command, or a part of a pipeline, fails.
        """
        script = "\n".join(commands).replace(_ADDRESS, self._registry.url)
        script = script.replace(_STORE, str(self._registry.root))
        script = script.replace("/root/", f"{self._home}/")
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
