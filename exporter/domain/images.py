"""Images as a platform names them, and which of them its apps use."""

from dataclasses import dataclass

from exporter.domain.digests import Digest


@dataclass(frozen=True, slots=True)
class ImageName:
    """An image as a platform names it.

    Attributes:
        repository: with slashes, without the domain.
        tag: None if only a digest names it.
        digest: None if only a tag names it.
        is_local: whether its domain is that of the registry on this server.

    """

    repository: str
    tag: str | None
    digest: Digest | None
    is_local: bool


@dataclass(frozen=True, slots=True)
class AppImages:
    """The apps of a platform, and the images that they use.

    Attributes:
        apps: names of all apps.
        running: images that apps run.
        rollback: images that apps can be rolled back to, without those of ``running``.

    """

    apps: frozenset[str]
    running: frozenset[ImageName]
    rollback: frozenset[ImageName]
