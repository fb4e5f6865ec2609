"""The snapshot that is published, changed by whoever has read a source anew."""

import threading
from collections.abc import Callable
from dataclasses import replace

from exporter.analysis.analyst import AnalysisOptions, Conclusions, conclude
from exporter.analysis.api_differences import count_tag_differences
from exporter.domain.model import FilesystemUsage
from exporter.domain.snapshot import ApiStatus, CaproverStatus, ScanStatus, Snapshot, StoreReading


class SnapshotBoard:
    """Holds the current snapshot and publishes each new one, whoever changed it."""

    def __init__(
        self, publish: Callable[[Snapshot], None], options: AnalysisOptions | None = None
    ) -> None:
        self.options = options or AnalysisOptions()
        self._publish = publish
        self._lock = threading.Lock()
        self._snapshot = Snapshot()

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that was posted last."""
        return self._snapshot

    def post_scan(
        self,
        store: StoreReading | None,
        scan: ScanStatus,
        conclusions: Conclusions | None = None,
    ) -> None:
        """Publish how a scan went; without a ``store`` the last good one stays.

        ``conclusions`` are taken where they fit what is known of CapRover, else drawn again.
        """
        with self._lock:
            before = self._snapshot
            after = replace(before, store=store or before.store, scan=scan)
            if store is not None:
                after = self._with_conclusions(_with_differences(after), conclusions)
            self._swap(after)

    def post_caprover(self, caprover: CaproverStatus) -> None:
        """Publish what CapRover's configuration says."""
        with self._lock:
            before = self._snapshot
            if caprover == before.caprover:
                return
            after = replace(before, caprover=caprover)
            known = None if before.caprover is None else before.caprover.images
            if caprover.images != known:
                after = _with_missing_of(before, self._with_conclusions(after))
            self._swap(after)

    def post_api(self, api: ApiStatus) -> None:
        """Publish what the registry's API told."""
        with self._lock:
            self._swap(_with_differences(replace(self._snapshot, api=api)))

    def post_filesystem(self, filesystem: FilesystemUsage | None) -> None:
        """Publish the filesystem's usage."""
        with self._lock:
            if filesystem != self._snapshot.filesystem:
                self._swap(replace(self._snapshot, filesystem=filesystem))

    def _with_conclusions(self, snapshot: Snapshot, drawn: Conclusions | None = None) -> Snapshot:
        if snapshot.store is None:
            return snapshot
        caprover = snapshot.caprover
        images = None if caprover is None else caprover.images
        found = drawn
        if found is None or found.images != images:
            found = conclude(snapshot.store, caprover, self.options)
        return replace(snapshot, uses=found.uses, policies=found.policies)

    def _swap(self, snapshot: Snapshot) -> None:
        self._publish(snapshot)
        self._snapshot = snapshot


def _with_missing_of(before: Snapshot, after: Snapshot) -> Snapshot:
    """Leave it to the next scan to say what is missing: what was just deployed is not in the last.

    While scans fail that would be a page for nothing.
    """
    if before.uses is None or after.uses is None:
        return after
    return replace(after, uses=replace(after.uses, missing_images=before.uses.missing_images))


def _with_differences(snapshot: Snapshot) -> Snapshot:
    differences = None
    if snapshot.store is not None and snapshot.api is not None and snapshot.api.view is not None:
        repositories = snapshot.store.inventory.repositories
        differences = count_tag_differences(repositories, snapshot.api.view)
    return replace(snapshot, tag_differences=differences)
