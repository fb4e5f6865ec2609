"""Scan a whole store: the walk that returns an :class:`~exporter.domain.model.Inventory`.

Blobs are measured first and repositories are read after them, so that a push in between never
leaves a blob without the manifest that references it. What vanishes meanwhile is not an error.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from exporter.domain.digests import BlobNumber
from exporter.domain.errors import ScanCancelledError, StoreUnreadableError
from exporter.domain.layer_links import LayerLinkFaults
from exporter.domain.model import (
    Inventory,
    IssueCause,
    Repository,
    StoreLayout,
)
from exporter.domain.scan_progress import Advance, ScanProgress
from exporter.store.filesystem.readers.blob_reader import BlobReader
from exporter.store.filesystem.readers.safe_files import IssueLog
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.filesystem.rescan.known_manifests import KnownManifests, doubtful_manifests
from exporter.store.filesystem.rescan.scan_memory import (
    EVERYWHERE,
    Known,
    Places,
    Recollection,
    StoreMemory,
)
from exporter.store.filesystem.root import identities, open_store
from exporter.store.filesystem.walk.blob_walk import BlobWalk
from exporter.store.filesystem.walk.layer_link_walk import LayerLinkWalk, Manifests
from exporter.store.filesystem.walk.manifest_walk import ManifestWalk
from exporter.store.filesystem.walk.repository_walk import RepositoryWalk
from exporter.store.filesystem.walk.workers import Workers
from exporter.store.format.layout import BLOBS, CACHE_STATE, REPOSITORIES
from exporter.store.port import ScanControl
from exporter.support.rate_limit import RateLimit

_SAVED_SECONDS = 1.0
"""Operations that were allowed and not used may be made up for within this time."""
_GONE_REMEDY = "is it unmounted? If it was emptied on purpose, restart the exporter"


def scan_store(
    root: Path,
    previous: Inventory | None = None,
    *,
    memory: StoreMemory | None = None,
    places: Places = EVERYWHERE,
    control: ScanControl | None = None,
    max_ops_per_second: int | None = None,
    layer_links_later: bool = False,
) -> Inventory:
    """Read the whole store below ``root``, the registry's root directory.

    A place that cannot be read now keeps its state in ``previous``, so that it does not look
    empty. With a ``memory`` that knows ``previous``, only changes are read; if there are none, the
    result is ``previous`` itself. With ``places``, changes are looked for only there, without a
    limit; otherwise with at most ``max_ops_per_second``: each stat, each small file and each
    listing is one operation. With ``layer_links_later``, a scan that knows of no layer links does
    not look at them; the next one that looks everywhere does.

    Raises StoreUnreadableError if the store as a whole cannot be read, ScanCancelledError soon
    after ``control`` says to stop.
    """
    control = control or ScanControl()
    should_stop = control.should_stop

    def report(progress: ScanProgress) -> None:
        if should_stop():
            raise ScanCancelledError("the scan was stopped")
        control.on_progress(progress)

    issues = IssueLog()
    strays = StrayCounter(issues)
    store = open_store(root, strays)
    if store is None:
        if previous is not None and previous.repositories:
            raise StoreUnreadableError(f"{root} held a store and holds none now: {_GONE_REMEDY}")
        return Inventory(layout=StoreLayout(strays.total()), issues=issues.sorted())
    limit = RateLimit(max_ops_per_second, time.monotonic, time.sleep, _SAVED_SECONDS)
    is_paced = max_ops_per_second is not None and places.everywhere
    workers = Workers((lambda amount: limit.spend(amount, should_stop)) if is_paced else None)
    is_cache = os.path.exists(root / CACHE_STATE)
    recollection = Recollection() if memory is None else memory.recall(previous, places)
    try:
        scan = _Scan(store, issues, strays, previous or Inventory(), recollection, workers)
        advance = Advance(report, is_full=recollection.is_full)
        halves = identities(store)
        knows_none = recollection.is_full or not recollection.known.has_layer_links
        looks = not (is_cache or (layer_links_later and knows_none))
        inventory = scan.run(advance, looks_at_layer_links=looks)
        pairs = zip(halves, identities(store), strict=True)
        if any(before not in {None, now} for before, now in pairs):
            message = "was replaced or unmounted while it was read; the next scan looks again"
            raise StoreUnreadableError(f"{root} {message}")
        advance.finish()
        if inventory.is_cache != is_cache:
            inventory = replace(inventory, is_cache=is_cache)
        if memory is not None:
            memory.keep(scan.to_be_known(inventory))
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
        recollection: Recollection,
        workers: Workers,
    ) -> None:
        self._issues = issues
        self._strays = strays
        self._previous = previous
        self._recollection = recollection
        self._known = recollection.known
        self._store = store
        self._workers = workers
        self._blob_reader = BlobReader(store, issues, strays, recollection.settled_before)
        self._blobs = BlobWalk(self._blob_reader, previous, recollection)
        self._table = self._blobs.table
        self._continues = False
        self._looks_at_layer_links = False
        self._walk = RepositoryWalk(store, self._table, previous, recollection, continues=False)

    def run(self, advance: Advance, *, looks_at_layer_links: bool) -> Inventory:
        """Run the scan."""
        self._looks_at_layer_links = looks_at_layer_links
        layer_links = partial(advance.report, "layer links")
        try:
            self._blobs.run(self._workers, partial(advance.report, "blobs"))
            self._table, self._continues = self._blobs.table, self._blobs.continues
            self._scan_repositories(partial(advance.report, "repositories"))
            walk = None
            broken: Mapping[str, LayerLinkFaults] = {}
            if not self._nothing_changed(layer_links):
                walk = self._read_manifests(partial(advance.report, "manifests"))
                broken = self._look_at_layer_links(walk.manifests, layer_links)
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
            issues=self._issues.sorted(),
            references_known=not (self._issues.hides_references or walk.has_missing),
            unread=self._issues.unread,
            unreadable=frozenset(walk.unreadable),
            indexes=frozenset(walk.indexes),
            unusual=frozenset(walk.unusual),
            with_subject=frozenset(walk.with_subject),
            senseless=frozenset(walk.senseless),
            misfits=walk.misfits(),
            broken_layer_links=broken,
            layout=self._layout(),
        )

    def _layout(self) -> StoreLayout:
        return StoreLayout(
            strays=self._strays.total(),
            misplaced=tuple(sorted(self._strays.misplaced, key=lambda each: each.path)),
            walk_ends=tuple(sorted(self._walk.found.walk_ends)),
        )

    def _nothing_changed(self, report: Callable[[int, int], None]) -> bool:
        """Return whether the scan has found exactly what ``previous`` holds."""
        previous = self._previous
        return (
            self._continues
            and self._known.inventory is previous
            and len(self._table.digests) == len(previous.digests)
            and not doubtful_manifests(previous)
            and self._layout() == previous.layout
            and self._walk.in_order() == previous.repositories
            # looked at last: it needs all of the above, and may add issues
            and self._look_at_layer_links(previous.manifests, report) == previous.broken_layer_links
            and self._issues.sorted() == previous.issues
        )

    def to_be_known(self, inventory: Inventory) -> Known:
        """Return what the next scan need not read again while its stamps are unchanged."""
        prefixes = self._blobs.to_be_known(inventory)
        has_layer_links = self._known.has_layer_links or self._looks_at_all_layer_links
        return Known(inventory, prefixes, *self._walk.to_be_known(), has_layer_links)

    def _refuse_vanished(self) -> None:
        """Raise StoreUnreadableError if a part of the store is gone, perhaps unmounted."""
        has_blobs = any(size >= 0 for size in self._table.sizes)
        has_revisions = any(each.revisions for each in self._walk.repositories.values())
        if has_blobs and self._walk.found.is_missing:
            self._issues.add(IssueCause.IO_ERROR, REPOSITORIES, f"missing: {_GONE_REMEDY}")
        if has_revisions and not has_blobs:
            for issue in self._issues.sorted():
                if issue.path.startswith(f"{BLOBS}/"):
                    raise StoreUnreadableError(f"cannot read {issue.path}: {issue.detail}")
            raise StoreUnreadableError(f"repositories with manifests, but no blobs: {_GONE_REMEDY}")
        # one repository may have been removed by hand; all of several at once are a lost mount
        is_bare = (
            self._walk.found.is_missing or not has_blobs or len(self._previous.repositories) > 1
        )
        if self._previous.repositories and not self._walk.repositories and is_bare:
            raise StoreUnreadableError(f"held a store and holds none now: {_GONE_REMEDY}")

    # repositories

    def _scan_repositories(self, report: Callable[[int, int], None]) -> None:
        self._walk = RepositoryWalk(
            self._store, self._table, self._previous, self._recollection, continues=self._continues
        )
        self._walk.run(self._issues, self._strays, self._workers, report)

    # layer links

    def _look_at_layer_links(
        self, manifests: Manifests, report: Callable[[int, int], None]
    ) -> Mapping[str, LayerLinkFaults]:
        if not self._looks_at_layer_links:
            return {}
        walk = LayerLinkWalk(
            self._store,
            self._table,
            self._previous,
            continues=self._continues,
            is_full=self._looks_at_all_layer_links,
        )
        repositories, unchanged = self._walk.repositories.values(), self._walk.unchanged
        return walk.run(repositories, unchanged, manifests, self._issues, self._workers, report)

    @property
    def _looks_at_all_layer_links(self) -> bool:
        is_first = self._recollection.is_full or not self._known.has_layer_links
        return self._looks_at_layer_links and is_first and self._recollection.places.everywhere

    # manifests

    def _read_manifests(self, report: Callable[[int, int], None]) -> ManifestWalk:
        find_known = KnownManifests(
            self._known.inventory, self._table, same_numbers=self._continues
        ).find
        walk = ManifestWalk(
            self._table, self._blob_reader, self._workers, self._previous, find_known
        )
        new = None
        if self._continues and self._known.inventory is self._previous:
            new = self._newly_named()
        named = self._named_manifests() if new is None else walk.continue_from_previous(new)
        walk.run(named, report)
        walk.measure_late()
        return walk

    def _named_manifests(self) -> dict[BlobNumber, None]:
        """Return every manifest that a revision or a tag names, once, in a stable order."""
        named: dict[BlobNumber, None] = {}
        for repository in self._walk.repositories.values():
            named.update(dict.fromkeys(_names_of(repository)))
        return named

    def _newly_named(self) -> dict[BlobNumber, None] | None:
        """Return what changed repositories name; None if a manifest is no longer named.

        Most repositories have not changed, and may name a million manifests.
        """
        gone = {each.name: each for each in self._previous.repositories}
        same: list[Repository] = []
        new: dict[BlobNumber, None] = {}
        for repository in self._walk.repositories.values():
            if gone.get(repository.name) is repository:
                same.append(gone.pop(repository.name))
            else:
                new.update(dict.fromkeys(_names_of(repository)))
        unnamed = {number for each in gone.values() for number in _names_of(each)} - new.keys()
        for repository in same if unnamed else ():
            unnamed.difference_update(_names_of(repository))
        return None if unnamed else new


def _names_of(repository: Repository) -> Iterator[BlobNumber]:
    """Yield the manifests that a repository names, some more than once."""
    yield from (revision.manifest for revision in repository.revisions)
    for numbers in ((tag.target for tag in repository.tags), repository.layout.mislinked.values()):
        yield from (number for number in numbers if number is not None)
