"""Save manifests, tags and blobs of a store in a backup directory.

The order makes it safe to stop at any moment: first the blobs and manifests of a repository, then
its ``index.json``, and in the end ``_backup.json``. Whatever names a file is written after it.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from exporter.backup.copying import BlobCopier, CopyStoppedError
from exporter.backup.directory import (
    BLOBS,
    INDEX,
    LAYOUT,
    STATUS,
    blobs_link,
    layout_path,
    locked,
)
from exporter.backup.files import DurableFiles
from exporter.backup.index import OCI_LAYOUT, BackupEntry, encode_index, merge
from exporter.backup.reader import BackupReader
from exporter.backup.room import Need, refuse_unfit, room_needed
from exporter.backup.saving import Saved, Saver, size_in_backup
from exporter.backup.selection import (
    BackupFault,
    BackupSelection,
    SelectedRepository,
    select,
)
from exporter.backup.status import (
    STATUS_MODE,
    BackupStatus,
    SavedRun,
    encode_status,
    read_status,
)
from exporter.domain.digests import Digest, format_digest
from exporter.domain.errors import BackupUnusableError
from exporter.domain.model import Inventory
from exporter.store.port import Blobs, Store

_READABLE_BY_ALL = 0o644


@dataclass(frozen=True, slots=True)
class BackupControl:
    """How a backup reports its progress, and how it is stopped.

    Attributes:
        on_read: called with the number of bytes of each read.
        should_stop: whether it is to end soon; what is saved so far can be used.
        clock: returns Unix seconds.

    """

    on_read: Callable[[int], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What a backup holds of what was asked for.

    Attributes:
        run: the counts.
        copied_blobs: how many files this run has copied, manifests included.
        faults: what is missing.
        was_stopped: whether it was stopped before the end.

    """

    run: SavedRun
    copied_blobs: int
    faults: tuple[BackupFault, ...]
    was_stopped: bool


def back_up(
    store: Store,
    inventory: Inventory,
    wanted: Mapping[str, Collection[str]],
    directory: Path,
    *,
    blobs: Collection[Digest] | None = (),
    same_filesystem: bool = False,
    control: BackupControl | None = None,
) -> BackupResult:
    """Save manifests, by repository and digest, with their tags and the manifests they list.

    ``blobs``: those to save beside them, each once; None for all that they reference. Without
    ``same_filesystem`` a directory on the store's filesystem is refused.

    Raises BackupRefusedError before anything is written, BackupUnusableError, StoreUnreadableError
    and OutputError also later: what is saved by then can be used, and the next run continues.
    """
    backup = Backup(store, inventory, select(inventory, wanted, blobs), directory)
    backup.check(same_filesystem=same_filesystem)
    return backup.run(control or BackupControl())


class Backup:
    """One run of a backup."""

    def __init__(
        self, store: Store, inventory: Inventory, selection: BackupSelection, directory: Path
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._selection = selection
        self._directory = directory
        self._saved = Saved()
        self._listed: dict[str, int] = {}
        self._unlisted: list[tuple[SelectedRepository, str]] = []

    def check(self, *, same_filesystem: bool) -> Need:
        """Return how much is to be written. Raises BackupRefusedError if that is not possible."""
        refuse_unfit(self._store, self._directory, same_filesystem=same_filesystem)
        numbers = self._selection.blobs.union(
            *(each.manifests for each in self._selection.repositories)
        )
        sizes = {}
        for number in numbers:
            size = self._inventory.sizes[number]
            if size < 0 or size_in_backup(self._directory, self._inventory, number) is not None:
                continue
            sizes[number] = size
        descriptors = sum(
            len(each.manifests) + sum(map(len, each.tags.values()))
            for each in self._selection.repositories
        )
        return room_needed(
            self._directory, sizes.values(), descriptors, len(self._selection.repositories)
        )

    def run(self, control: BackupControl) -> BackupResult:
        """Save everything that is not there yet. Raises as :func:`back_up` does."""
        started_at = control.clock()
        was_stopped = False
        with locked(self._directory), DurableFiles(self._directory) as files:
            status = self._begin(files)
            try:
                if self._inventory.sizes:  # else nothing was pushed yet
                    with self._store.open_blobs() as blobs:
                        self._save_all(blobs, files, control)
            except CopyStoppedError:
                was_stopped = True
            files.finish()
            run = self._count(started_at, control.clock(), was_stopped=was_stopped)
            is_whole = run.complete and run.whole_store and run.with_blobs
            status = BackupStatus(
                store=status.store,
                last_complete=run if is_whole else status.last_complete,
                last_run=run,
                repositories=status.repositories | self._listed,
            )
            files.write(self._directory / STATUS, encode_status(status), STATUS_MODE)
            files.finish()
        return BackupResult(run, self._saved.copied_blobs, self._faults(), was_stopped)

    def _begin(self, files: DurableFiles) -> BackupStatus:
        """Mark the directory as a backup of this store."""
        files.make_directory(self._directory / BLOBS, private=True)
        status = read_status(self._directory)
        if status is None:
            status = BackupStatus(store=self._store.identity)
            files.write(self._directory / STATUS, encode_status(status), STATUS_MODE)
            files.finish()
        return status

    def _save_all(self, blobs: Blobs, files: DurableFiles, control: BackupControl) -> None:
        copier = BlobCopier(
            blobs,
            self._directory,
            files,
            should_stop=control.should_stop,
            on_read=control.on_read,
        )
        saver = Saver(self._inventory, self._directory, copier, files, self._saved)
        reader = BackupReader(self._directory)
        for repository in self._selection.repositories:
            if control.should_stop():
                raise CopyStoppedError
            try:
                before = reader.entries_so_far(repository.name)
            except BackupUnusableError as error:  # all others can be saved
                self._save_repository(repository, saver, ())
                self._saved.tags -= sum(map(len, repository.tags.values()))
                self._unlisted.append((repository, str(error)))
                continue
            entries = self._save_repository(repository, saver, before)
            self._write_layout(repository, before, entries, files)
        for number in sorted(self._selection.blobs):
            saver.save(number, "")

    def _save_repository(
        self, repository: SelectedRepository, saver: Saver, before: Sequence[BackupEntry]
    ) -> list[BackupEntry]:
        """Save the blobs and manifests of one repository; return its entries of the index."""
        known = {entry.digest: entry.media_type for entry in before}
        entries = []
        for number in sorted(repository.manifests):
            manifest = self._inventory.manifests.get(number)
            for blob in () if manifest is None else manifest.blobs:
                if blob in self._selection.blobs:
                    saver.save(blob, repository.name)
            digest = format_digest(self._inventory.digests[number])
            media_type = saver.save_manifest(number, repository.name, known.get(digest))
            if media_type is not None:
                tags = repository.tags.get(number, {})
                self._saved.tags += len(tags)
                size, linked_at = self._saved.sizes[number], repository.linked_at.get(number)
                with_blobs = self._selection.with_all_blobs
                entries.append(
                    BackupEntry(digest, media_type, size, tags, linked_at, with_blobs=with_blobs)
                )
        return entries

    def _write_layout(
        self,
        repository: SelectedRepository,
        before: Sequence[BackupEntry],
        entries: Sequence[BackupEntry],
        files: DurableFiles,
    ) -> None:
        """Write the files of an OCI image layout, after the blobs that they name."""
        layout = layout_path(self._directory, repository.name)
        together = merge(before, entries)
        merged = encode_index(together)
        self._listed[repository.name] = sum(len(each.tags) for each in together)
        files.make_directory(layout)
        try:
            files.keep(layout / "oci-layout", OCI_LAYOUT, _READABLE_BY_ALL)
            files.link(layout / "blobs", blobs_link(repository.name))
        except BackupUnusableError as error:  # the index is worth more than they are
            self._unlisted.append((repository, str(error)))
        if before and merged == encode_index(before):
            return
        files.finish()
        files.write(layout / INDEX, merged, _READABLE_BY_ALL)

    def _faults(self) -> tuple[BackupFault, ...]:
        layouts = (
            BackupFault(
                each.name,
                format_digest(self._inventory.digests[number]),
                reason,
                f"{each.name}/{LAYOUT}",
            )
            for each, reason in self._unlisted
            for number in sorted(each.manifests)
        )
        return (*self._selection.faults, *self._saved.faults.values(), *layouts)

    def _count(self, started_at: float, ended_at: float, *, was_stopped: bool) -> SavedRun:
        faults = self._faults()
        return SavedRun(
            started_at=datetime.fromtimestamp(started_at, UTC),
            ended_at=datetime.fromtimestamp(ended_at, UTC),
            whole_store=self._selection.whole_store,
            with_blobs=self._selection.with_all_blobs,
            complete=not faults and not was_stopped,
            repositories=len(self._selection.repositories),
            manifests=len(self._saved.media_types),
            tags=self._saved.tags,
            blobs=len(self._saved.sizes),
            bytes=sum(self._saved.sizes.values()),
            copied_bytes=self._saved.copied_bytes,
            missing=len(faults),
        )
