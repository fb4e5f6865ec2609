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
    Misplaced,
)
from exporter.storage.blob_table import BlobTable
from exporter.storage.blobs import BlobReader, Prefix, PrefixBlobs, prefix_of
from exporter.storage.known_manifests import KnownManifests, doubtful_manifests
from exporter.storage.layout import BLOBS, CACHE_STATE, REPOSITORIES
from exporter.storage.manifest_walk import ManifestWalk
from exporter.storage.memory import Known, StoreMemory
from exporter.storage.reading import IssueLog
from exporter.storage.repository_walk import RepositoryWalk
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
    memory: StoreMemory | None = None,
    on_progress: ProgressListener = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Inventory:
    """Read the whole store below ``root``, the registry's root directory.

    What cannot be read now keeps what ``previous`` knew of it, so that a place that became
    unreadable does not look like one that became empty. With a ``memory`` that knows ``previous``
    only what has changed is read; where nothing has, the result is ``previous`` itself.

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
    known = Known() if memory is None else memory.recall(previous)
    settled_before = 0 if memory is None else memory.settled_before()
    try:
        scan = _Scan(store, issues, strays, previous or Inventory(), known, report)
        inventory = scan.run()
        if inventory.is_cache != is_cache:
            inventory = replace(inventory, is_cache=is_cache)
        if memory is not None:
            memory.known = scan.to_be_known(inventory, settled_before)
        return inventory
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
        known: Known,
        report: ProgressListener,
    ) -> None:
        self._issues = issues
        self._strays = strays
        self._previous = previous
        self._known = known
        self._report = report
        self._store = store
        self._workers = Workers()
        self._blob_reader = BlobReader(store, issues, strays)
        self._table = BlobTable()
        self._goes_on = False
        self._prefixes: dict[Prefix, PrefixBlobs | None] = {}
        self._walk = RepositoryWalk(store, self._table, previous, known, goes_on=False)

    def run(self) -> Inventory:
        """Do it all."""
        try:
            self._scan_blobs()
            self._scan_repositories()
            walk = None if self._nothing_changed() else self._read_manifests()
        finally:
            self._workers.close()
        self._refuse_vanished()
        if walk is None:
            return self._previous
        return Inventory(
            digests=self._table.digests,
            sizes=self._table.sizes,
            all_measured=min(self._table.sizes, default=0) >= 0,
            manifests=walk.manifests,
            repositories=self._walk.in_order(),
            strays=self._strays.total(),
            issues=self._issues.sorted(),
            references_known=not (self._issues.hides_references or walk.has_missing),
            unread=self._issues.unread,
            unreadable=frozenset(walk.unreadable),
            indexes=frozenset(walk.indexes),
            unusual=frozenset(walk.unusual),
            senseless=frozenset(walk.senseless),
            misfits=walk.misfits(),
            misplaced=self._misplaced(),
            walk_ends=tuple(sorted(self._walk.found.walk_ends)),
        )

    def _misplaced(self) -> tuple[Misplaced, ...]:
        return tuple(sorted(self._strays.misplaced, key=lambda each: each.path))

    def _nothing_changed(self) -> bool:
        """Tell whether all that a scan would find is what ``previous`` holds."""
        previous = self._previous
        return (
            self._goes_on
            and len(self._table.digests) == len(previous.digests)
            and not doubtful_manifests(previous)
            and self._strays.total() == previous.strays
            and self._misplaced() == previous.misplaced
            and tuple(sorted(self._walk.found.walk_ends)) == previous.walk_ends
            and self._issues.sorted() == previous.issues
            and self._walk.in_order() == previous.repositories
        )

    def to_be_known(self, inventory: Inventory, settled_before: int) -> Known:
        """Give what the next scan need not read again unless its stamps have changed."""
        doubtful = {*doubtful_manifests(inventory)}
        doubtful.update(part for parts in inventory.misfits.values() for part in parts)
        watched = {prefix_of(inventory.digests[number]) for number in doubtful}
        prefixes = {
            prefix: blobs
            for prefix, blobs in self._prefixes.items()
            if blobs is not None
            and blobs.is_plain
            and blobs.newest < settled_before
            and prefix not in watched
        }
        return Known(inventory, prefixes, self._walk.to_be_known(settled_before))

    def _refuse_vanished(self) -> None:
        """Tell a store of which a part is gone, perhaps unmounted, from one that is empty."""
        has_blobs = any(size >= 0 for size in self._table.sizes)
        has_revisions = any(each.revisions for each in self._walk.repositories.values())
        if has_blobs and self._walk.found.is_missing:
            self._issues.add(IssueCause.IO_ERROR, REPOSITORIES, f"missing: {_GONE_MEND}")
        if has_revisions and not has_blobs:
            for issue in self._issues.sorted():
                if issue.path.startswith(f"{BLOBS}/"):
                    raise StoreUnreadableError(f"cannot read {issue.path}: {issue.detail}")
            raise StoreUnreadableError(f"repositories with manifests, but no blobs: {_GONE_MEND}")
        is_bare = self._walk.found.is_missing or not has_blobs
        if self._previous.repositories and not self._walk.repositories and is_bare:
            raise StoreUnreadableError(f"held a store and holds none now: {_GONE_MEND}")

    # blobs

    def _scan_blobs(self) -> None:
        prefixes = self._blob_reader.prefixes()
        scans = self._workers.map(self._read_prefix, prefixes)
        for done, (prefix, found) in enumerate(scans, 1):
            self._prefixes[prefix] = found
            self._report(ScanProgress("blobs", done, len(prefixes)))
        table = self._previous_table()
        self._goes_on = table is not None
        self._table = table or self._new_table()

    def _read_prefix(self, prefix: Prefix) -> PrefixBlobs | None:
        known = self._known.prefixes.get(prefix)
        if known is not None and self._blob_reader.stamp(prefix) == known.stamp:
            return known
        return self._blob_reader.scan_prefix(prefix)

    def _previous_table(self) -> BlobTable | None:
        """Go on with the previous scan's numbers, where no blob of that is gone or different."""
        before = self._known.inventory
        if not before.all_measured or not before.repositories:
            return None
        table = BlobTable.going_on(before)
        present = 0
        for prefix, blobs in self._prefixes.items():
            if blobs is None or blobs.unknown:
                return None
            present += len(blobs.digests)
            if blobs is self._known.prefixes.get(prefix):
                continue
            for digest, size in zip(blobs.digests, blobs.sizes, strict=True):
                number = before.digests.find(digest)
                if number is None:
                    table.set_size(digest, size)
                elif before.sizes[number] != size:
                    return None
        return table if len(table.digests) == present else None

    def _new_table(self) -> BlobTable:
        table = BlobTable()
        for prefix, found in self._prefixes.items():
            if found is None:
                self._keep_blobs(table, self._previous_blobs.get(prefix, ()))
            else:
                for digest, size in zip(found.digests, found.sizes, strict=True):
                    table.set_size(digest, size)
                self._keep_blobs(table, found.unknown)
        return table

    @cached_property
    def _previous_blobs(self) -> dict[Prefix, list[Digest]]:
        """Digests of the previous scan by their directory: only made where one is unreadable."""
        by_prefix: dict[Prefix, list[Digest]] = {}
        for digest in self._previous.digests:
            by_prefix.setdefault(prefix_of(digest), []).append(digest)
        return by_prefix

    def _keep_blobs(self, table: BlobTable, digests: Iterable[Digest]) -> None:
        """Keep the sizes that the previous scan found; blobs never change theirs."""
        for digest in digests:
            number = self._previous.digests.find(digest)
            if number is not None and self._previous.sizes[number] >= 0:
                table.set_size(digest, self._previous.sizes[number])

    # repositories

    def _scan_repositories(self) -> None:
        self._walk = RepositoryWalk(
            self._store, self._table, self._previous, self._known, goes_on=self._goes_on
        )
        self._walk.run(
            self._issues,
            self._strays,
            self._workers,
            lambda done, total: self._report(ScanProgress("repositories", done, total)),
        )

    # manifests

    def _read_manifests(self) -> ManifestWalk:
        find_known = KnownManifests(
            self._known.inventory, self._table, same_numbers=self._goes_on
        ).find
        walk = ManifestWalk(
            self._table, self._blob_reader, self._workers, self._previous, find_known
        )
        walk.run(
            self._named_manifests(),
            lambda done, known: self._report(ScanProgress("manifests", done, known)),
        )
        walk.measure_late()
        return walk

    def _named_manifests(self) -> dict[BlobNumber, None]:
        """Give all that a revision or a tag names, each once, in a stable order."""
        named: dict[BlobNumber, None] = {}
        for repository in self._walk.repositories.values():
            named.update(dict.fromkeys(revision.manifest for revision in repository.revisions))
            for numbers in (
                (tag.target for tag in repository.tags),
                repository.mislinked.values(),
            ):
                named.update(dict.fromkeys(each for each in numbers if each is not None))
        return named
