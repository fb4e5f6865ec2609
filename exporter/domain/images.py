"""Images as a platform names them, and which of them its apps use."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.domain.digests import Digest
from exporter.domain.uses import Use


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
        users: by image, the apps that use it, and what each uses it for.

    """

    apps: frozenset[str]
    running: frozenset[ImageName]
    rollback: frozenset[ImageName]
    users: Mapping[ImageName, Mapping[str, Use]] = field(default_factory=dict)


def images_used(apps: frozenset[str], users: Mapping[ImageName, Mapping[str, Use]]) -> AppImages:
    """Return the apps and their images; an image that any app runs is a running one."""
    running = frozenset(image for image, by_app in users.items() if Use.RUNNING in by_app.values())
    return AppImages(apps, running, frozenset(users.keys() - running), dict(users))
