"""Walk over the repositories of a store, into numbered tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from exporter.domain.digests import BlobNumber
from exporter.domain.model import (
    ALL_DIRECTORIES,
    TAGS_DIRECTORY,
    USUAL_LAYOUT,
    Inventory,
    Repository,
    RepositoryLayout,
    Revision,
    Tag,
    Upload,
)
from exporter.store.filesystem.readers.link_reader import LinkReader
from exporter.store.filesystem.readers.repository_content import (
    KnownLinks,
    RepositoryContent,
    RepositoryStamps,
)
from exporter.store.filesystem.readers.repository_names import FoundRepositories, find_repositories
from exporter.store.filesystem.readers.repository_reader import RepositoryReader
from exporter.store.filesystem.readers.safe_files import IssueLog
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.filesystem.readers.upload_reader import UploadReader
from exporter.store.filesystem.rescan.scan_memory import Recollection
from exporter.store.filesystem.walk.blob_table import BlobTable
from exporter.store.filesystem.walk.workers import Workers
from exporter.store.format.layout import REVISIONS, TAGS

_LISTINGS = 6
"""Its directory, ``_manifests``, ``tags``, ``revisions``, ``revisions/sha256``, ``_uploads``."""
_PER_TAG = 2
"""A stat of ``current``, and reading its link."""
_PER_UPLOAD = 3


class RepositoryWalk:
    """Reads repositories; those that have not changed keep what is known.

    Attributes:
        found: what is below ``repositories``.
        repositories: by name.
        unchanged: those whose content is as in the previous scan.

    """

    def __init__(
        self,
        store: int,
        table: BlobTable,
        previous: Inventory,
        recollection: Recollection,
        *,
        continues: bool,
    ) -> None:
        """Walk the store that is open as ``store``, numbering digests in ``table``.

        ``continues``: the table has the numbers of ``previous``. What cannot be read now is taken
        from there.
        """
        self._store = store
        self._table = table
        self._previous = previous
        self._known = recollection.known
        self._places = recollection.places
        self._settled_before = recollection.settled_before
        self._continues = continues
        self._stamps: dict[str, RepositoryStamps] = {}
        self._has_oddities = True
        self._before = {each.name: each for each in previous.repositories}
        self._links = LinkReader({each.path for each in previous.issues})
        self.found = FoundRepositories()
        self.repositories: dict[str, Repository] = {}
        self.unchanged: set[str] = set()

    def run(
        self,
        issues: IssueLog,
        strays: StrayCounter,
        workers: Workers,
        report: Callable[[int, int], None],
    ) -> None:
        """Walk; ``report`` is called with the number of repositories done, and of all."""
        self._find(issues, strays)
        names = self.found.names
        reads = workers.map(self._read_repository, names, self._operations)
        for done, (name, read) in enumerate(reads, 1):
            issues.merge(read.issues)
            strays.merge(read.strays)
            self.repositories[name] = self._as_repository(read, self._before.get(name))
            report(done, len(names))
        for name, repository in self._before.items():
            if name not in self.repositories and _is_below(name, self.found.unlisted):
                self.repositories[name] = self._renumbered(repository)

    def _find(self, issues: IssueLog, strays: StrayCounter) -> None:
        known = self._known.found
        if known is not None and not (self._places.everywhere or self._places.names):
            self.found, self._has_oddities = known, False
            return
        own_issues = IssueLog()
        own_strays = StrayCounter(own_issues)
        self.found = find_repositories(self._store, own_issues, own_strays)
        self._has_oddities = not (own_issues.is_empty and own_strays.is_empty)
        issues.merge(own_issues)
        strays.merge(own_strays)

    def in_order(self) -> tuple[Repository, ...]:
        """Return the repositories sorted by name."""
        return tuple(sorted(self.repositories.values(), key=lambda each: each.name))

    def to_be_known(self) -> tuple[Mapping[str, RepositoryStamps], FoundRepositories | None]:
        """Return what the next scan need not read again while its stamps are unchanged."""
        return self._stamps, None if self._has_oddities else self.found

    def _read_repository(self, name: str) -> "_RepositoryRead":
        issues = IssueLog()
        strays = StrayCounter(issues)
        stamps, before = self._known.repositories.get(name), self._before.get(name)
        is_looked_at = self._places.everywhere or name in self._places.repositories
        if stamps is not None and stamps.is_clean and before is not None and not is_looked_at:
            return _RepositoryRead(name, None, before.uploads, issues, strays)
        marks, digests = self.found.marks[name], self._previous.digests
        uploads = UploadReader(self._store, issues, strays)
        known = None
        if stamps is not None and before is not None:
            reader = RepositoryReader(self._store, issues, strays, self._links)
            if (
                stamps.is_whole
                and before.layout.directories - {TAGS_DIRECTORY} == marks & ALL_DIRECTORIES
                and reader.is_unchanged(before, stamps, digests)
            ):
                return _RepositoryRead(name, None, uploads.read(name), issues, strays)
            known = KnownLinks(before, stamps, digests)
        reader = RepositoryReader(
            self._store, issues, strays, self._links, known, self._settled_before
        )
        content = reader.read(name, marks)
        return _RepositoryRead(name, content, uploads.read(name), issues, strays)

    def _operations(self, name: str, read: "_RepositoryRead") -> int:
        """Return the operations that finding and reading a repository took."""
        if read.content is not None:
            links = _PER_TAG * len(read.content.tags) + len(read.content.revisions)
            links += len(read.content.deleted)
        else:
            links = len(self._before[name].tags) + len(self._before[name].revisions)
        return _LISTINGS + links + _PER_UPLOAD * len(read.uploads or ())

    def _as_repository(self, read: "_RepositoryRead", before: Repository | None) -> Repository:
        content, uploads = read.content, read.uploads
        if uploads is None:
            uploads = () if before is None else before.uploads
        if content is None and before is not None:
            self.unchanged.add(read.name)
            self._keep_stamps(read, self._known.repositories[read.name])
            repository = before if self._continues else self._renumbered(before)
        else:
            content = content or RepositoryContent(read.name)
            repository = self._repository(content)
            if before is not None and (content.unlisted or content.unread_tags):
                repository = self._keep_unread(repository, content, before)
            else:
                self._keep_stamps(read, RepositoryStamps.of(content, is_clean=read.is_clean))
        if uploads != repository.uploads:
            repository = replace(repository, uploads=uploads)
        return before if self._continues and repository == before else repository

    def _keep_stamps(self, read: "_RepositoryRead", stamps: RepositoryStamps) -> None:
        if stamps.is_clean and not read.is_clean:
            stamps = replace(stamps, is_clean=False)
        if self._settled_before:
            self._stamps[read.name] = stamps

    def _repository(self, content: RepositoryContent) -> Repository:
        intern = self._table.digests.intern
        tags = [
            Tag(name, None if target is None else intern(target), updated_at)
            for name, target, updated_at, _ in sorted(content.tags)
        ]
        revisions = [Revision(intern(digest), linked) for digest, linked, _ in content.revisions]
        layout = RepositoryLayout(
            directories=frozenset(content.directories),
            mislinked={
                intern(digest): None if target is None else intern(target)
                for digest, target in content.mislinked.items()
            },
            tag_obstacles=tuple(sorted(content.tag_obstacles)),
            stray_links=tuple(sorted(content.stray_links)),
        )
        return Repository(
            name=content.name,
            tags=tuple(tags),
            revisions=tuple(revisions),
            layout=USUAL_LAYOUT if layout == USUAL_LAYOUT else layout,  # nearly all share one
        )

    def _keep_unread(
        self, repository: Repository, content: RepositoryContent, before: Repository
    ) -> Repository:
        """Take the parts of a repository that could not be read from the previous scan."""
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
        )

    def _renumbered(self, repository: Repository) -> Repository:
        """Return a repository of the previous scan with this scan's numbers."""
        tags = [
            tag
            if tag.target is None
            else msgspec.structs.replace(tag, target=self._renumber(tag.target))
            for tag in repository.tags
        ]
        revisions = [
            msgspec.structs.replace(revision, manifest=self._renumber(revision.manifest))
            for revision in repository.revisions
        ]
        # it could not be read, and then the collector is not simulated
        layout = replace(repository.layout, mislinked={})
        return replace(repository, tags=tuple(tags), revisions=tuple(revisions), layout=layout)

    def _renumber(self, number: BlobNumber) -> BlobNumber:
        return self._table.digests.intern(self._previous.digests[number])


@dataclass(frozen=True, slots=True)
class _RepositoryRead:
    """A repository as read, with its issues.

    Attributes:
        name: its name.
        content: what it holds below ``_manifests``; None if that has not changed.
        uploads: None if they could not be read.
        issues: of this repository alone.
        strays: likewise.

    """

    name: str
    content: RepositoryContent | None
    uploads: tuple[Upload, ...] | None
    issues: IssueLog
    strays: StrayCounter

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to report again."""
        return self.issues.is_empty and self.strays.is_empty


def _is_below(name: str, directories: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in directories)
