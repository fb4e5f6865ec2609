"""The walk over the repositories of a store, into numbered tables."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from exporter.model import (
    ALL_DIRECTORIES,
    TAGS_DIRECTORY,
    BlobNumber,
    Inventory,
    Repository,
    Revision,
    Tag,
)
from exporter.storage.blob_table import BlobTable
from exporter.storage.layout import REVISIONS, TAGS, UPLOADS
from exporter.storage.memory import Known
from exporter.storage.reading import IssueLog
from exporter.storage.repositories import RepositoryReader
from exporter.storage.repository_content import RepositoryContent
from exporter.storage.repository_names import FoundRepositories, find_repositories
from exporter.storage.strays import StrayCounter
from exporter.storage.workers import Workers


class RepositoryWalk:
    """Reads repositories, or takes those over of which nothing has changed.

    Attributes:
        found: what lies below ``repositories``.
        repositories: by name.

    """

    def __init__(
        self, store: int, table: BlobTable, previous: Inventory, known: Known, *, goes_on: bool
    ) -> None:
        """Walk the store that is open as ``store``, numbering digests in ``table``.

        ``goes_on`` tells whether that table has the numbers of ``previous``. What cannot be read
        now is taken from there.
        """
        self._store = store
        self._table = table
        self._previous = previous
        self._known = known
        self._goes_on = goes_on
        self._reads: list[_RepositoryRead] = []
        self.found = FoundRepositories()
        self.repositories: dict[str, Repository] = {}

    def run(
        self,
        issues: IssueLog,
        strays: StrayCounter,
        workers: Workers,
        report: Callable[[int, int], None],
    ) -> None:
        """Do it all; ``report`` is told how many are done, of how many."""
        before = {repository.name: repository for repository in self._previous.repositories}
        self.found = find_repositories(self._store, issues, strays)
        names = self.found.names
        for done, (name, read) in enumerate(workers.map(self._read_repository, names), 1):
            self._reads.append(read)
            issues.merge(read.issues)
            strays.merge(read.strays)
            self.repositories[name] = self._as_repository(read, before.get(name))
            report(done, len(names))
        for name, repository in before.items():
            if name not in self.repositories and _is_below(name, self.found.unlisted):
                self.repositories[name] = self._renumbered(repository)

    def in_order(self) -> tuple[Repository, ...]:
        """Give the repositories sorted by name."""
        return tuple(sorted(self.repositories.values(), key=lambda each: each.name))

    def to_be_known(self, settled_before: int) -> dict[str, RepositoryContent]:
        """Give what the next scan need not read again unless its stamps have changed."""
        return {
            each.content.name: each.content
            for each in self._reads
            if each.is_whole and each.content.newest < settled_before
        }

    def _read_repository(self, name: str) -> "_RepositoryRead":
        issues = IssueLog()
        strays = StrayCounter(issues)
        reader = RepositoryReader(self._store, issues, strays)
        marks = self.found.marks[name]
        known = self._known.repositories.get(name)
        if known is not None and known.directories - {TAGS_DIRECTORY} == marks & ALL_DIRECTORIES:
            content = reader.reread(known)
            if content is not None:
                return _RepositoryRead(content, issues, strays, is_known=True)
        return _RepositoryRead(reader.read(name, marks), issues, strays)

    def _as_repository(self, read: "_RepositoryRead", before: Repository | None) -> Repository:
        content = read.content
        if before is None:
            return self._repository(content)
        if self._goes_on and read.is_known:
            uploads = tuple(content.uploads)
            return before if uploads == before.uploads else replace(before, uploads=uploads)
        return self._keep_unread(self._repository(content), content, before)

    def _repository(self, content: RepositoryContent) -> Repository:
        intern = self._table.digests.intern
        directories = frozenset(content.directories)
        tags = [
            Tag(name, None if target is None else intern(target), updated_at)
            for name, target, updated_at in sorted(content.tags, key=lambda tag: tag[0])
        ]
        revisions = [Revision(intern(digest), linked) for digest, linked in content.revisions]
        return Repository(
            name=content.name,
            tags=tuple(tags),
            revisions=tuple(revisions),
            uploads=tuple(content.uploads),
            directories=directories,
            mislinked={
                intern(digest): None if target is None else intern(target)
                for digest, target in content.mislinked.items()
            },
            tag_obstacles=tuple(sorted(content.tag_obstacles)),
        )

    def _keep_unread(
        self, repository: Repository, content: RepositoryContent, before: Repository
    ) -> Repository:
        """Take from the previous scan what of a repository could not be read in this one."""
        if not (content.unlisted or content.unread_tags):
            return repository
        known = self._renumbered(before)
        known_tags = {tag.name: tag for tag in known.tags}
        tags = [
            known_tags.get(tag.name, tag) if tag.name in content.unread_tags else tag
            for tag in repository.tags
        ]
        return replace(
            repository,
            tags=known.tags if TAGS in content.unlisted else tuple(tags),
            revisions=known.revisions if REVISIONS in content.unlisted else repository.revisions,
            uploads=known.uploads if UPLOADS in content.unlisted else repository.uploads,
        )

    def _renumbered(self, repository: Repository) -> Repository:
        """Give a repository of the previous scan with this scan's numbers."""
        tags = [
            tag if tag.target is None else replace(tag, target=self._renumber(tag.target))
            for tag in repository.tags
        ]
        revisions = [
            replace(revision, manifest=self._renumber(revision.manifest))
            for revision in repository.revisions
        ]
        # what is kept could not be read, and the collector is not foretold then
        return replace(repository, tags=tuple(tags), revisions=tuple(revisions), mislinked={})

    def _renumber(self, number: BlobNumber) -> BlobNumber:
        return self._table.digests.intern(self._previous.digests[number])


@dataclass(frozen=True, slots=True)
class _RepositoryRead:
    """A repository, and what was to be said of it.

    Attributes:
        content: what it holds.
        issues: of this repository alone.
        strays: likewise.
        is_known: whether nothing below ``_manifests`` had changed.

    """

    content: RepositoryContent
    issues: IssueLog
    strays: StrayCounter
    is_known: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all could be read, and nothing of it needs to be said again."""
        return (
            self.issues.is_empty
            and self.strays.is_empty
            and "" in self.content.stamps
            and (self.is_known or not self.content.adrift())
        )


def _is_below(name: str, directories: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in directories)
