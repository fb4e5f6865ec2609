"""Images as CapRover names them, and what its apps need them for."""

from dataclasses import dataclass

from exporter.domain.digests import Digest


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image as CapRover names it.

    Attributes:
        repository: with slashes, without the domain.
        tag: None where only a digest names it.
        digest: None where only a tag names it.
        is_local: whether its domain is that of the registry on this server.

    """

    repository: str
    tag: str | None
    digest: Digest | None
    is_local: bool


@dataclass(frozen=True, slots=True)
class AppImages:
    """What CapRover's configuration says of apps and their images.

    Attributes:
        apps: names of all apps.
        running: images that apps run.
        rollback: images that apps can be rolled back to, those of ``running`` left out.

    """

    apps: frozenset[str]
    running: frozenset[ImageName]
    rollback: frozenset[ImageName]
