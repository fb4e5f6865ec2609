"""From tags that are to go to manifests that can be deleted, without anything that stays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from exporter.analysis.deletion.artifacts import (
    Artifacts,
    artifacts_of,
    followers,
    targets_of,
)
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import ManifestReach, ManifestReaches, with_listed
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository, Tag
from exporter.domain.uses import Use, UseFigures

Parts = tuple[Sequence[Tag], Sequence[Tag]]
"""Tags that are to go, and tags that stay."""

Choice = Callable[[Repository], Parts]
"""Divides the tags of a repository, which has none of the artifacts' tags."""


def keep_all(repository: Repository) -> Parts:
    """Let no tag go."""
    return (), repository.tags


@dataclass(frozen=True, slots=True)
class RepositoryDeletion:
    """What can be deleted in one repository.

    Attributes:
        tags: how many tags were chosen, with those of the artifacts that go with their image.
        tagged: the manifests to delete that tags point to.
        children: the manifests that only deleted indexes list.
        artifacts: the artifacts without a tag whose image goes.
        staying: the manifests that tags which stay need.

    """

    tags: int
    tagged: AbstractSet[BlobNumber] = field(default_factory=frozenset)
    children: AbstractSet[BlobNumber] = field(default_factory=frozenset)
    artifacts: AbstractSet[BlobNumber] = field(default_factory=frozenset)
    staying: AbstractSet[BlobNumber] = field(default_factory=frozenset)

    def deleted(self, *, include_children: bool = False) -> AbstractSet[BlobNumber]:
        """Return all manifests to delete."""
        if not self.artifacts and not include_children:
            return self.tagged  # most have nothing else: a copy of thousands is spared
        return self.tagged | self.artifacts | (self.children if include_children else frozenset())


def running_manifests(uses: UseFigures | None, repository: str) -> set[BlobNumber]:
    """Return the manifests of a repository that run under their digest, whether tagged or not."""
    pinned = {} if uses is None else uses.pinned.get(repository, {})
    return {number for number, use in pinned.items() if use is Use.RUNNING}


@dataclass(frozen=True, slots=True)
class Chooser:
    """Finds what can be deleted so that chosen tags go, and all others stay whole.

    Deleting a manifest deletes every tag that points to it: one that a tag that stays points to,
    or reaches through an index, is kept. A running tag always stays. An artifact is not chosen:
    it shares the fate of its image.

    Attributes:
        inventory: of the store.
        reaches: what its repositories reach.
        uses: of its tags; None without a platform.
        include_children: whether the manifests that only deleted indexes list are deleted too.
        choose_detached: divides the tags of artifacts whose image is gone.

    """

    inventory: Inventory
    reaches: ManifestReaches
    uses: UseFigures | None = None
    include_children: bool = False
    choose_detached: Choice = keep_all

    def deletions(self, choice: Choice) -> Mapping[str, RepositoryDeletion]:
        """Return what can be deleted, by repository in which tags were chosen."""
        return dict(self._each(choice))

    def _each(self, choice: Choice) -> Iterator[tuple[str, RepositoryDeletion]]:
        for repository, reach in zip(self.inventory.repositories, self.reaches, strict=True):
            deletion = self.deletion_in(repository, reach, choice)
            if deletion is not None:
                yield repository.name, deletion

    def deletion_in(
        self, repository: Repository, reach: ManifestReach, choice: Choice
    ) -> RepositoryDeletion | None:
        """Return what can be deleted in one repository; None if no tag was chosen."""
        artifacts = artifacts_of(self.inventory, repository, reach)
        images = repository
        loose: Parts = ((), ())
        if artifacts.tags:
            tags = [tag for tag in repository.tags if tag.name not in artifacts.tags]
            images = replace(repository, tags=tuple(tags))
            detached = [tag for tag in repository.tags if artifacts.tags.get(tag.name, 0) is None]
            if detached:
                loose = self.choose_detached(replace(repository, tags=tuple(detached)))
        parts = self._without_running(repository, choice(images))
        if not parts[0] and not loose[0]:
            return None
        return self._delete(repository, reach, artifacts, parts, loose[0])

    def _without_running(self, repository: Repository, parts: Parts) -> Parts:
        """Let running tags stay."""
        going, staying = parts
        if self.uses is None or not going:
            return parts
        running = self.uses.repositories[repository.name].with_use(Use.RUNNING)
        if running.isdisjoint(tag.name for tag in going):
            return parts
        kept = [tag for tag in going if tag.name in running]
        return [tag for tag in going if tag.name not in running], [*staying, *kept]

    def _delete(
        self,
        repository: Repository,
        reach: ManifestReach,
        artifacts: Artifacts,
        parts: Parts,
        detached: Sequence[Tag],
    ) -> RepositoryDeletion:
        inventory, (going, staying) = self.inventory, parts
        sound = sound_links(repository, reach)
        running = running_manifests(self.uses, repository.name)
        kept = with_listed(inventory, targets_of(staying) | running)
        tagged = (targets_of(going) & sound) - kept
        children = self._children(reach, tagged, sound, running)
        if not artifacts:
            return RepositoryDeletion(len(going), tagged, children, staying=kept)
        images = tagged | children if self.include_children else tagged
        following, own = followers(inventory, repository, artifacts, images, detached)
        names = {tag.name for tag in following}
        others = [t for t in repository.tags if t.name in artifacts.tags and t.name not in names]
        kept |= with_listed(inventory, targets_of(others))
        tagged = ((tagged | targets_of(following)) & sound) - kept
        own = (own & sound) - kept - tagged - children
        return RepositoryDeletion(len(going) + len(following), tagged, children - kept, own, kept)

    def _children(
        self,
        reach: ManifestReach,
        going: set[BlobNumber],
        sound: set[BlobNumber],
        running: set[BlobNumber],
    ) -> set[BlobNumber]:
        """Return the manifests that only indexes to be deleted list."""
        indexes = going & self.inventory.indexes
        if not indexes:
            return set()
        below = (with_listed(self.inventory, indexes) & sound) - indexes
        lists = self.inventory.indexes
        staying = (below & reach.targets) | (lists & reach.targets) | (lists & reach.held)
        kept = staying - going - (below - reach.targets)
        return below - with_listed(self.inventory, kept | running) - going
