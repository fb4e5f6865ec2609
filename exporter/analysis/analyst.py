"""The only owner of figures and conclusions: from inventories and platform status to snapshots.

Each ``with_...`` method returns the snapshot that follows from an earlier one and one new reading.
"""

import re
from dataclasses import dataclass, replace

from exporter.analysis.api_differences import count_tag_differences
from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.deletion.order import UNDATED, Dating
from exporter.analysis.deletion.protection import uses_with
from exporter.analysis.deletion.retention import CollectorAfter, price_policies, price_untagged
from exporter.analysis.reachability import Reaches, reaches_of
from exporter.analysis.store_figures import analyse
from exporter.analysis.tag_uses import uses_of_tags
from exporter.domain.census import Census
from exporter.domain.images import AppImages
from exporter.domain.last_runs import LastBackup, LastRun
from exporter.domain.model import FilesystemUsage, Inventory
from exporter.domain.snapshot import (
    ApiStatus,
    BlobState,
    Dialect,
    PlatformStatus,
    ScanStatus,
    Snapshot,
    StoreFigures,
    StoreReading,
)
from exporter.domain.uses import OwnershipRules, PolicyFigures, UseFigures


@dataclass(frozen=True, slots=True)
class AnalysisOptions:
    """What the configuration says about the analysis.

    Attributes:
        dialect: major version of the registry whose collector is simulated.
        ownership: the platform's rules; None without a platform.
        keep_last: retention policies to price, each a number of tags to keep.
        platform: what the hosts of apps run, such as ``linux/amd64``; empty if it is unknown.
        dating: what orders tags whose times cannot.
        protect: what no plan names, by its whole ``repository:tag`` or ``repository@digest``.

    """

    dialect: Dialect = 2
    ownership: OwnershipRules | None = None
    keep_last: tuple[int, ...] = ()
    platform: str = ""
    dating: Dating = UNDATED
    protect: tuple["re.Pattern[str]", ...] = ()

    @property
    def need_conclusions(self) -> bool:
        """Whether anything is to be known that needs what each repository reaches."""
        return self.ownership is not None or bool(self.keep_last or self.protect)


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What follows from a store and the platform's configuration together.

    Attributes:
        images: the platform's images that the rest was concluded from.
        uses: see :class:`exporter.domain.snapshot.Snapshot`.
        policies: likewise.
        untagged_reclaimable_bytes: likewise.

    """

    images: AppImages | None = None
    uses: UseFigures | None = None
    policies: tuple[PolicyFigures, ...] | None = None
    untagged_reclaimable_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysed inventory, and what was concluded when it was analysed."""

    store: StoreReading
    conclusions: Conclusions


class Analyst:
    """Analyses the inventories of one store, each by its difference from the one before."""

    def __init__(self, options: AnalysisOptions | None = None) -> None:
        self.options = options or AnalysisOptions()
        self._states = BlobStates()

    def analyse(
        self,
        inventory: Inventory,
        platform: PlatformStatus | None = None,
        figures: StoreFigures | None = None,
    ) -> Analysis:
        """Compute all figures of an inventory, and the conclusions with a platform's status.

        ``figures`` are those of the inventory if they are already known. Call it from one thread
        at a time.
        """
        if figures is not None:
            store = StoreReading(inventory, figures)
            return Analysis(store, self.conclude(store, platform))
        self._states.follow(inventory)
        figures = analyse(inventory, self.options.dialect, self._states)
        store = StoreReading(inventory, figures, self._states.holders)
        untagged = _plain_untagged(figures)
        # computing what each repository reaches takes as long as all else after a push
        needs_reaches = self.options.need_conclusions or untagged is None
        reaches = self._states.reaches if needs_reaches else None
        conclusions = self.conclude(store, platform, reaches)
        self._states.release()
        return Analysis(store, conclusions)

    def with_scan(self, before: Snapshot, analysis: Analysis, scan: ScanStatus) -> Snapshot:
        """Return the snapshot after a scan.

        If the platform's images have changed since the inventory was analysed, the conclusions are
        drawn again.
        """
        after = _with_differences(replace(before, store=analysis.store, scan=scan))
        if analysis.conclusions.images == _images_of(before.platform):
            return _concluded(after, analysis.conclusions)
        return _concluded(after, self.conclude(analysis.store, before.platform))

    def with_platform(self, before: Snapshot, platform: PlatformStatus) -> Snapshot:
        """Return the snapshot after the platform's configuration was read."""
        if platform == before.platform:
            return before
        after = replace(before, platform=platform)
        if after.store is None or platform.images == _images_of(before.platform):
            return after
        after = _concluded(after, self.conclude(after.store, platform))
        return _with_missing_images_of(before, after)

    def with_api(self, before: Snapshot, api: ApiStatus) -> Snapshot:
        """Return the snapshot after the registry's API was asked."""
        return _with_differences(replace(before, api=api))

    def with_filesystem(self, before: Snapshot, usage: FilesystemUsage | None) -> Snapshot:
        """Return the snapshot after the filesystem's usage was read."""
        return before if usage == before.filesystem else replace(before, filesystem=usage)

    def with_census(self, before: Snapshot, census: Census) -> Snapshot:
        """Return the snapshot after a census of the store's disk."""
        return replace(before, census=census)

    def with_last_run(self, before: Snapshot, run: LastRun) -> Snapshot:
        """Return the snapshot after it was read when a backup or the maintenance last ended."""
        if run in (before.backup, before.maintenance):
            return before
        if isinstance(run, LastBackup):
            return replace(before, backup=run)
        return replace(before, maintenance=run)

    def conclude(
        self,
        store: StoreReading,
        platform: PlatformStatus | None,
        reaches: Reaches | None = None,
    ) -> Conclusions:
        """Conclude what needs both; while the platform's images are unknown, nothing is."""
        options, images = self.options, _images_of(platform)
        plain_untagged = _plain_untagged(store.figures)
        if plain_untagged is not None and not options.need_conclusions:
            return Conclusions(images, None, (), plain_untagged)
        inventory = store.inventory
        reaches = reaches or reaches_of(inventory)
        sizes = BytesOnDisk(inventory)
        uses = None
        if options.ownership is not None:
            if images is None:
                return Conclusions()
            read_at = None if platform is None else platform.read_at
            uses = uses_of_tags(
                store, reaches, images, options.ownership, sizes, read_at, options.platform
            )
        blobs = store.figures.blobs
        referenced = None
        if inventory.references_known:  # else unreferenced blobs count as untagged
            referenced = blobs[BlobState.TAGGED].bytes + blobs[BlobState.UNTAGGED].bytes
        collector = CollectorAfter(inventory, reaches, options.dialect)
        staying = uses_with(inventory, uses, options.protect, collector.unlisted)
        policies = price_policies(
            inventory,
            reaches,
            collector,
            options.keep_last,
            staying,
            sizes,
            referenced,
            options.dating,
        )
        untagged = plain_untagged
        if untagged is None or (staying is not None and any(staying.pinned.values())):
            untagged = price_untagged(inventory, reaches, collector, staying, sizes)
        return Conclusions(images, uses, tuple(policies), untagged)


def _plain_untagged(figures: StoreFigures) -> int | None:
    """Return what deleting all untagged manifests would free, if nothing speaks against one."""
    return figures.blobs[BlobState.UNTAGGED].bytes if figures.is_untagged_needless else None


def _images_of(platform: PlatformStatus | None) -> AppImages | None:
    return None if platform is None else platform.images


def _concluded(snapshot: Snapshot, conclusions: Conclusions) -> Snapshot:
    return replace(
        snapshot,
        uses=conclusions.uses,
        policies=conclusions.policies,
        untagged_reclaimable_bytes=conclusions.untagged_reclaimable_bytes,
    )


def _with_missing_images_of(before: Snapshot, after: Snapshot) -> Snapshot:
    """Leave the count of missing images to the next scan: the last one knows no new deployment.

    While scans fail, a new count would page somebody for nothing.
    """
    if before.uses is None or after.uses is None:
        return after
    uses = replace(
        after.uses,
        missing_images=before.uses.missing_images,
        lacking_platform=before.uses.lacking_platform,
    )
    return replace(after, uses=uses)


def _with_differences(snapshot: Snapshot) -> Snapshot:
    differences = None
    if snapshot.store is not None and snapshot.api is not None and snapshot.api.view is not None:
        repositories = snapshot.store.inventory.repositories
        differences = count_tag_differences(repositories, snapshot.api.view)
    return replace(snapshot, tag_differences=differences)
