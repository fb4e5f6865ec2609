"""What is recorded of a store and of each repository, at one moment. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from exporter.domain.snapshot import BlobState, GcMode, Snapshot
from exporter.domain.uses import Use


@dataclass(frozen=True, slots=True)
class StorePoint:
    """The figures of a store at one moment. None means not known.

    Attributes:
        at: Unix seconds.
        blob_bytes: by state; together all blobs on disk, each once.
        uploads: unfinished uploads.
        upload_bytes: what they have received.
        strays: files that are not part of the layout.
        stray_bytes: their size.
        tags: in all repositories.
        repositories: how many.
        reclaimable_bytes: what the collector would free, by mode; 0 while it would abort.
        size_bytes: size of the filesystem.
        avail_bytes: what is available on it.
        free_bytes: what is free for root.
        files: its inodes.
        files_free: those that are free.
        use_bytes: tagged bytes by use; None also without a platform.

    """

    at: int
    blob_bytes: Mapping[BlobState, int]
    uploads: int
    upload_bytes: int
    strays: int
    stray_bytes: int
    tags: int
    repositories: int
    reclaimable_bytes: Mapping[GcMode, int | None]
    size_bytes: int | None = None
    avail_bytes: int | None = None
    free_bytes: int | None = None
    files: int | None = None
    files_free: int | None = None
    use_bytes: Mapping[Use, int] | None = None

    @property
    def store_bytes(self) -> int:
        """What counts towards a budget: every blob once, and unfinished uploads."""
        return sum(self.blob_bytes.values()) + self.upload_bytes

    def equals(self, other: "StorePoint") -> bool:
        """Return whether nothing but the time differs."""
        return replace(self, at=other.at) == other


class StoreBytes(NamedTuple):
    """The bytes of a store at one moment: what is read of thousands of points at once.

    Attributes:
        at: Unix seconds.
        store_bytes: blobs and unfinished uploads.
        avail_bytes: what is available on the filesystem; None if unknown.

    """

    at: int
    store_bytes: int
    avail_bytes: int | None


@dataclass(frozen=True, slots=True)
class RepositoryPoint:
    """The figures of one repository since one moment.

    Attributes:
        at: Unix seconds.
        referenced_bytes: distinct blobs that its manifests reference.
        exclusive_bytes: the part of it that no other repository references.
        tags: how many; None if there was no such repository, and then all bytes are 0.

    """

    at: int
    referenced_bytes: int
    exclusive_bytes: int
    tags: int | None

    @property
    def exists(self) -> bool:
        """Whether the repository was there."""
        return self.tags is not None


def store_point_of(snapshot: Snapshot, at: float) -> StorePoint | None:
    """Return the figures of a snapshot; None before the first scan."""
    if snapshot.store is None:
        return None
    figures, usage, uses = snapshot.store.figures, snapshot.filesystem, snapshot.uses
    collector = figures.collector or {}
    return StorePoint(
        at=int(at),
        blob_bytes={state: figures.blobs[state].bytes for state in BlobState},
        uploads=figures.uploads.uploads,
        upload_bytes=figures.uploads.bytes,
        strays=figures.strays.files,
        stray_bytes=figures.strays.bytes,
        tags=sum(each.tags for each in figures.repositories),
        repositories=len(figures.repositories),
        reclaimable_bytes={
            mode: collector[mode].frees.bytes if mode in collector else None for mode in GcMode
        },
        size_bytes=None if usage is None else usage.size_bytes,
        avail_bytes=None if usage is None else usage.avail_bytes,
        free_bytes=None if usage is None else usage.free_bytes,
        files=None if usage is None else usage.files,
        files_free=None if usage is None else usage.files_free,
        use_bytes=None if uses is None else {use: uses.totals[use].bytes for use in uses.totals},
    )
