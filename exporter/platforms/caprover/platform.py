"""CapRover as a platform: its configuration, its repository names, its operator's commands."""

from pathlib import Path

from exporter.domain.snapshot import PlatformStatus
from exporter.platforms.caprover.configuration import CaproverReader
from exporter.platforms.caprover.naming import ownership_rules
from exporter.platforms.port import OperatorCommands

_COMMANDS = OperatorCommands(
    container="$(docker ps -q -f name=captain-registry)",
    restart="docker service update --force captain-registry",
)


class Caprover:
    """CapRover, whose configuration is in a directory of this host."""

    def __init__(self, directory: Path, image_prefix: str) -> None:
        """Read from ``directory``; ``image_prefix`` is as for :func:`ownership_rules`."""
        self.ownership = ownership_rules(image_prefix)
        self.commands = _COMMANDS
        self._reader = CaproverReader(directory)

    def read(self) -> PlatformStatus:
        """Read the configuration now; after a failure the last good reading stays in use."""
        return self._reader.read()
