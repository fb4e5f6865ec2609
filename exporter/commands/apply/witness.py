"""What a repository looks like now: its tags, one manifest's link, and what apps run."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.analysis.applying.still_right import RepositoryNow, Running
from exporter.domain.digests import Digest
from exporter.domain.images import AppImages
from exporter.domain.model import Inventory
from exporter.platforms.port import Platform
from exporter.store.port import Looker, TagLinks

_NOTHING_RUNS = Running()


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen.

    Attributes:
        now: the repository.
        linked_at: when the manifest's link was written, Unix seconds; None if it is gone.
        doubt: why it is unknown what apps run; None if that is known.

    """

    now: RepositoryNow
    linked_at: float | None
    doubt: str | None


class Witness:
    """Looks at the store and the platform before and after each deletion."""

    def __init__(self, looker: Looker, platform: Platform | None, inventory: Inventory) -> None:
        self._looker = looker
        self._platform = platform
        self._images: AppImages | None = None
        self._running: Mapping[str, Running] = {}
        self._last: Mapping[str, TagLinks] = {}
        self._damaged = {
            each.name: frozenset(tag.name for tag in each.tags if tag.target is None)
            for each in inventory.repositories
        }

    def recall(self, repository: str, digest: Digest) -> Sight:
        """Look at a manifest, and at its repository only if the last look was at another one.

        Raises StoreUnreadableError.
        """
        known = self._last.get(repository)
        return (
            self.look(repository, digest) if known is None else self._see(repository, digest, known)
        )

    def look(self, repository: str, digest: Digest) -> Sight:
        """Look at a repository and one of its manifests. Raises StoreUnreadableError."""
        tags = self._looker.tags(repository)
        self._last = {repository: tags}
        return self._see(repository, digest, tags)

    def _see(self, repository: str, digest: Digest, tags: TagLinks) -> Sight:
        doubt = self._read_platform()
        was_pushed = self._looker.was_pushed(repository, digest)
        # last: a push writes this link before its tag, so that one which is under way shows here
        linked_at = self.linked_at(repository, digest)
        now = RepositoryNow(
            tags,
            linked_at or 0.0,
            self._running.get(repository, _NOTHING_RUNS),
            self._damaged.get(repository, frozenset()),
            self._looker.created(),
            was_pushed=was_pushed,
        )
        return Sight(now, linked_at, doubt)

    def linked_at(self, repository: str, digest: Digest) -> float | None:
        """Return when a manifest's link was written, Unix seconds; None if it is gone.

        Raises StoreUnreadableError.
        """
        return self._looker.linked_at(repository, digest)

    def _read_platform(self) -> str | None:
        """Read again what apps run; return why that is unknown."""
        if self._platform is None:
            return None
        status = self._platform.read()
        if status.failure is not None or status.images is None:
            return f"what apps run cannot be read: {status.failure or 'unknown'}"
        if status.images is not self._images:
            self._images = status.images
            self._running = _by_repository(status.images)
        return None


def _by_repository(images: AppImages) -> Mapping[str, Running]:
    """Return what apps run, by repository, whatever its domain: that may have changed."""
    tags: defaultdict[str, set[str]] = defaultdict(set)
    digests: defaultdict[str, set[Digest]] = defaultdict(set)
    for image in images.running:
        if image.tag is not None:
            tags[image.repository].add(image.tag)
        if image.digest is not None:
            digests[image.repository].add(image.digest)
    return {
        name: Running(frozenset(tags[name]), frozenset(digests[name]))
        for name in tags.keys() | digests.keys()
    }
