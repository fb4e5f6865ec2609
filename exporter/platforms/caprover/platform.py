"""CapRover as a platform: its configuration, its repository names, its operator's commands."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from exporter.domain.images import AppImages, ImageName, images_used
from exporter.domain.snapshot import PlatformStatus
from exporter.domain.uses import Use
from exporter.platforms.caprover.configuration import CaproverReader
from exporter.platforms.caprover.naming import NAME, ownership_rules
from exporter.platforms.port import OperatorCommands

_COMMANDS = OperatorCommands(
    container="$(docker ps -q -f name=captain-registry)",
    restart="docker service update --force captain-registry",
)


class Caprover:
    """One CapRover or several, whose configurations are in directories of this host."""

    def __init__(self, directories: Sequence[Path], image_prefix: str) -> None:
        """Read from ``directories``; ``image_prefix`` is as for :func:`ownership_rules`.

        The first belongs to the server that has the registry.
        """
        self.ownership = ownership_rules(image_prefix)
        self.commands = _COMMANDS
        self._host, *self._others = [CaproverReader(each) for each in directories]

    def read(self) -> PlatformStatus:
        """Read the configurations now; after a failure the last good reading stays in use."""
        host = self._host.read()
        domains = self._host.domains
        return merged([host, *(reader.read(domains) for reader in self._others)])


def merged(statuses: Sequence[PlatformStatus]) -> PlatformStatus:
    """Return what several CapRovers use together.

    Which images are used is unknown while it is unknown of one of them.
    """
    if len(statuses) == 1:
        return statuses[0]
    failures = [each.failure for each in statuses if each.failure is not None]
    readings = [each.read_at for each in statuses if each.read_at is not None]
    changes = [each.changed_at for each in statuses if each.changed_at is not None]
    images = [each.images for each in statuses if each.images is not None]
    is_known = len(images) == len(statuses)
    return PlatformStatus(
        NAME,
        _together(images) if is_known else None,
        "; ".join(failures) or None,
        read_at=min(readings) if is_known else None,
        # the oldest: a copy that was not renewed knows no app of what was pushed since
        changed_at=min(changes) if is_known else None,
    )


def _together(images: Sequence[AppImages]) -> AppImages:
    """Return the apps of several servers, which may have the same names, as one."""
    users: defaultdict[ImageName, dict[str, Use]] = defaultdict(dict)
    for each in images:
        for image, by_app in each.users.items():
            for app, use in by_app.items():
                if users[image].get(app) is not Use.RUNNING:
                    users[image][app] = use
    return images_used(frozenset().union(*(each.apps for each in images)), users)
