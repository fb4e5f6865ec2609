"""Which apps use a tag or a manifest, and what for."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from exporter.analysis.reachability import with_listed
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import Inventory, Repository, Tag
from exporter.domain.uses import Use


@dataclass(frozen=True, slots=True)
class AppUse:
    """An app, and what it uses a tag for."""

    app: str
    use: Use

    def __str__(self) -> str:
        return f"{self.app} ({self.use})"


@dataclass(frozen=True, slots=True)
class AppNeed:
    """An app, what it uses an image for, and that image as the app names it."""

    app: str
    use: Use
    image: str


class AppLookup:
    """Finds the apps that use an image of this store. Domains are not compared."""

    def __init__(self, inventory: Inventory, images: AppImages | None) -> None:
        """Look in ``images``; None if they are unknown."""
        self._inventory = inventory
        self._images: defaultdict[str, list[tuple[ImageName, Mapping[str, Use]]]]
        self._images = defaultdict(list)
        self._pinned: list[tuple[ImageName, Mapping[str, Use]]] = []
        for image, users in ({} if images is None else images.users).items():
            self._images[image.repository].append((image, users))
            if image.digest is not None:
                self._pinned.append((image, users))

    def of_tag(self, repository: str, tag: Tag) -> tuple[AppUse, ...]:
        """Return the apps that use a tag, by its name or by a digest that it reaches.

        An app that uses it for several things has the strongest use.
        """
        named = self._images.get(repository)
        if not named:
            return ()
        reached = set() if tag.target is None else with_listed(self._inventory, (tag.target,))
        found: dict[str, Use] = {}
        for image, users in named:
            if image.tag == tag.name or self._number(image) in reached:
                for app, use in users.items():
                    found[app] = _stronger(use, found.get(app, use))
        return tuple(AppUse(app, found[app]) for app in sorted(found))

    def needing(
        self, reaching: Collection[BlobNumber], repositories: Iterable[Repository] | None = None
    ) -> tuple[AppNeed, ...]:
        """Return the apps that use one of the manifests ``reaching``, and the images they name.

        ``repositories`` are those in which a tag points to one of them, and perhaps more; without
        them, all are searched.
        """
        found = dict(self._tagged(reaching, repositories))
        found |= {
            image: users
            for image, users in self._pinned
            if self._number(image) in reaching and self._exists(image.repository)
        }
        needs = (
            AppNeed(app, use, _text(image))
            for image, users in found.items()
            for app, use in users.items()
        )
        return tuple(sorted(needs, key=lambda each: (each.app, each.image)))

    def _tagged(
        self, reaching: Collection[BlobNumber], repositories: Iterable[Repository] | None
    ) -> Iterator[tuple[ImageName, Mapping[str, Use]]]:
        searched = self._inventory.repositories if repositories is None else repositories
        for repository in searched:
            named = self._images.get(repository.name)
            if not named:
                continue
            targets = {tag.name: tag.target for tag in repository.tags}
            for image, users in named:
                target = None if image.tag is None else targets.get(image.tag)
                if target is not None and target in reaching:
                    yield image, users

    def _exists(self, repository: str) -> bool:
        repositories = self._inventory.repositories
        place = bisect_left(repositories, repository, key=lambda each: each.name)
        return place < len(repositories) and repositories[place].name == repository

    def _number(self, image: ImageName) -> BlobNumber | None:
        return None if image.digest is None else self._inventory.digests.find(image.digest)


def _text(image: ImageName) -> str:
    tag = "" if image.tag is None else f":{image.tag}"
    digest = "" if image.digest is None else f"@{format_digest(image.digest)}"
    return f"{image.repository}{tag}{digest}"


_STRENGTH = {use: place for place, use in enumerate(Use)}


def _stronger(first: Use, second: Use) -> Use:
    return min(first, second, key=_STRENGTH.__getitem__)
