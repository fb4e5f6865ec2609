"""The walk over a whole store, giving an :class:`~exporter.model.Inventory`.

Blobs are measured first and repositories read after them, so that a push in between never leaves
a blob without the manifest that references it. What vanishes meanwhile is no error.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from exporter.errors import ScanCancelledError, StoreUnreadableError
from exporter.model import (
    BlobNumber,
    Digest,
    Inventory,
    IssueCause,
    Repository,
    Revision,
    Tag,
    format_digest,
)
from exporter.storage.blob_table import BlobTable
from exporter.storage.blobs import BlobReader, Prefix
from exporter.storage.layout import BLOBS, CACHE_STATE, REPOSITORIES, REVISIONS, TAGS, UPLOADS
from exporter.storage.manifest_walk import ManifestWalk
from exporter.storage.reading import IssueLog
from exporter.storage.repositories import RepositoryContent, RepositoryReader
from exporter.storage.repository_names import FoundRepositories, find_repositories
from exporter.storage.root import open_store
from exporter.storage.strays import StrayCounter
from exporter.storage.workers import Workers

_MANIFEST_BATCH = 64
_GONE_MEND = "is it unmounted? Where it was emptied on purpose, restart the exporter"


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        stage: ``blobs``, ``repositories`` or ``manifests``.
        done: parts done of this stage.
        total: parts known so far.

    """

    stage: str
    done: int
    total: int


ProgressListener = Callable[[ScanProgress], None]


def scan_store(
    root: Path,
    previous: Inventory | None = None,
    *,
    on_progress: ProgressListener = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Inventory:
    """Read the whole store below ``root``, the registry's root directory.

    What cannot be read now keeps what ``previous`` knew of it, so that a place that became
    unreadable does not look like one that became empty.

    Raises StoreUnreadableError where the store as a whole cannot be read, ScanCancelledError soon
    after ``should_stop`` says so.
    """

    def report(progress: ScanProgress) -> None:
        if should_stop():
            raise ScanCancelledError("the scan was told to stop")
        on_progress(progress)

    issues = IssueLog()
    strays = StrayCounter(issues)
    store = open_store(root, strays)
    if store is None:
        if previous is not None and previous.repositories:
            raise StoreUnreadableError(f"{root} held a store and holds none now: {_GONE_MEND}")
        return Inventory(strays=strays.total(), issues=issues.sorted())
    is_cache = (root / CACHE_STATE).exists()
    try:
        inventory = _Scan(store, issues, strays, previous or Inventory(), report).run()
        return replace(inventory, is_cache=is_cache)
    finally:
        os.close(store)


class _Scan:
    """One scan: collects blobs, repositories and manifests into numbered tables."""

    def __init__(
        self,
        store: int,
        issues: IssueLog,
        strays: StrayCounter,
        previous: Inventory,
        report: ProgressListener,
    ) -> None:
        self._issues = issues
        self._strays = strays
        self._previous = previous
        self._report = report
        self._store = store
        self._workers = Workers()
        self._blob_reader = BlobReader(store, issues, strays)
        self._repository_reader = RepositoryReader(store, issues, strays)
        self._table = BlobTable()
        self._manifests = ManifestWalk(self._table, self._blob_reader, self._workers, previous)
        self._found = FoundRepositories()
        self._repositories: dict[str, Repository] = {}

    def run(self) -> Inventory:
        """Do it all."""
        try:
            self._scan_blobs()
            self._scan_repositories()
            self._read_manifests()
        finally:
            self._workers.close()
        self._refuse_vanished()
        walk = self._manifests
        return Inventory(
            digests=self._table.digests,
            sizes=self._table.sizes,
            all_measured=min(self._table.sizes, default=0) >= 0,
            manifests=walk.manifests,
            repositories=tuple(sorted(self._repositories.values(), key=lambda each: each.name)),
            strays=self._strays.total(),
            issues=self._issues.sorted(),
            references_known=not (self._issues.hides_references or walk.has_missing),
            unread=self._issues.unread,
            unreadable=frozenset(walk.unreadable),
            indexes=frozenset(walk.indexes),
            unusual=frozenset(walk.unusual),
            senseless=frozenset(walk.senseless),
            misfits=walk.misfits(),
            misplaced=tuple(sorted(self._strays.misplaced, key=lambda each: each.path)),
            walk_ends=tuple(sorted(self._found.walk_ends)),
        )

    def _refuse_vanished(self) -> None:
        """Tell a store of which a part is gone, perhaps unmounted, from one that is empty."""
        has_blobs = any(size >= 0 for size in self._table.sizes)
        has_revisions = any(each.revisions for each in self._repositories.values())
        if has_blobs and self._found.is_missing:
            self._issues.add(IssueCause.IO_ERROR, REPOSITORIES, f"missing: {_GONE_MEND}")
        if has_revisions and not has_blobs:
            for issue in self._issues.sorted():
                if issue.path.startswith(f"{BLOBS}/"):
                    raise StoreUnreadableError(f"cannot read {issue.path}: {issue.detail}")
            raise StoreUnreadableError(f"repositories with manifests, but no blobs: {_GONE_MEND}")
        is_bare = self._found.is_missing or not has_blobs
        if self._previous.repositories and not self._repositories and is_bare:
            raise StoreUnreadableError(f"held a store and holds none now: {_GONE_MEND}")

    # blobs

    def _scan_blobs(self) -> None:
        prefixes = self._blob_reader.prefixes()
        scans = self._workers.map(self._blob_reader.scan_prefix, prefixes)
        for done, (prefix, found) in enumerate(scans, 1):
            if found is None:
                self._keep_blobs(self._previous_blobs.get(prefix, ()))
            else:
                for digest, size in zip(found.digests, found.sizes, strict=True):
                    self._table.set_size(digest, size)
                self._keep_blobs(found.unknown)
            self._report(ScanProgress("blobs", done, len(prefixes)))

    @cached_property
    def _previous_blobs(self) -> dict[Prefix, list[Digest]]:
        """Digests of the previous scan by their directory: only made where one is unreadable."""
        by_prefix: dict[Prefix, list[Digest]] = {}
        for digest in self._previous.digests:
            algorithm, _, hexadecimal = format_digest(digest).partition(":")
            by_prefix.setdefault((algorithm, hexadecimal[:2]), []).append(digest)
        return by_prefix

    def _keep_blobs(self, digests: Iterable[Digest]) -> None:
        """Keep the sizes that the previous scan found; blobs never change theirs."""
        for digest in digests:
            number = self._previous.digests.find(digest)
            if number is not None and self._previous.sizes[number] >= 0:
                self._table.set_size(digest, self._previous.sizes[number])

    # repositories

    def _scan_repositories(self) -> None:
        before = {repository.name: repository for repository in self._previous.repositories}
        self._found = find_repositories(self._store, self._issues, self._strays)
        names = self._found.names
        contents = self._workers.map(self._read_repository, names)
        for done, (name, content) in enumerate(contents, 1):
            repository = self._repository(content)
            if name in before:
                repository = self._keep_unread(repository, content, before[name])
            self._repositories[name] = repository
            self._report(ScanProgress("repositories", done, len(names)))
        for name, repository in before.items():
            if name not in self._repositories and _is_below(name, self._found.unlisted):
                self._repositories[name] = self._renumbered(repository)

    def _read_repository(self, name: str) -> RepositoryContent:
        return self._repository_reader.read(name, self._found.marks[name])

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

    # manifests

    def _read_manifests(self) -> None:
        walk = self._manifests
        walk.run(
            self._named_manifests(),
            lambda done, known: self._report(ScanProgress("manifests", done, known)),
        )
        walk.measure_late()

    def _named_manifests(self) -> dict[BlobNumber, None]:
        """Give all that a revision or a tag names, each once, in a stable order."""
        named: dict[BlobNumber, None] = {}
        for repository in self._repositories.values():
            named.update(dict.fromkeys(revision.manifest for revision in repository.revisions))
            for numbers in (
                (tag.target for tag in repository.tags),
                repository.mislinked.values(),
            ):
                named.update(dict.fromkeys(each for each in numbers if each is not None))
        return named


def _is_below(name: str, directories: Iterable[str]) -> bool:
    return any(name == each or name.startswith(f"{each}/") for each in directories)
