"""The port to a platform that runs images: which images are in use, who owns a repository."""

from dataclasses import dataclass
from typing import Protocol

from exporter.domain.snapshot import PlatformStatus
from exporter.domain.uses import OwnershipRules


@dataclass(frozen=True, slots=True)
class OperatorCommands:
    """Shell words for what an operator runs on this platform.

    Attributes:
        container: names the registry's container for ``docker exec``.
        restart: restarts the registry.

    """

    container: str
    restart: str


STANDALONE = OperatorCommands(container="registry", restart="docker restart registry")
"""For a registry that no known platform runs: one container, named ``registry``."""


class Platform(Protocol):
    """A platform that runs images of the registry."""

    @property
    def ownership(self) -> OwnershipRules:
        """Who owns a repository, and which uses of a tag the platform knows."""

    @property
    def commands(self) -> OperatorCommands:
        """What its operator runs to collect garbage and to restart the registry."""

    def read(self) -> PlatformStatus:
        """Read now which images are in use.

        Never raises: after a failure the last good reading stays in use, with the reason.
        """
