"""What is published: figures, and the one immutable :class:`Snapshot` that holds them all."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporter.domain.artifacts import ArtifactFigures
from exporter.domain.census import Census
from exporter.domain.holders import BlobHolders
from exporter.domain.images import AppImages
from exporter.domain.last_runs import LastBackup, LastMaintenance
from exporter.domain.model import ApiView, FilesystemUsage, Inventory, IssueCause, Strays
from exporter.domain.uses import PolicyFigures, UseFigures


class BlobState(enum.StrEnum):
    """The state of a blob.

    ``tagged``: reachable from a tag of any repository. ``untagged``: else a manifest that some
    repository holds, or reachable from one. ``unreferenced``: neither.
    """

    TAGGED = "tagged"
    UNTAGGED = "untagged"
    UNREFERENCED = "unreferenced"


@dataclass(frozen=True, slots=True)
class BlobTotal:
    """A number of blobs and their bytes on disk."""

    blobs: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RepositoryFigures:
    """One repository in numbers.

    Attributes:
        name: with slashes.
        tags: how many.
        manifests: revisions, tagged or not.
        untagged_manifests: revisions that no tag of this repository reaches.
        referenced_bytes: distinct blobs that its manifests reference, shared ones included.
        exclusive_bytes: the part of it that no other repository references.
        last_push_at: newest link of a tag or revision, Unix seconds; None if there is none.

    """

    name: str
    tags: int
    manifests: int
    untagged_manifests: int
    referenced_bytes: int
    exclusive_bytes: int
    last_push_at: float | None


Dialect = Literal[2, 3]
"""Major version of the registry whose garbage collector is simulated."""

VERSION_2: Dialect = 2
"""The version with the cruder collector: most rules distinguish it from the other."""


class GcMode(enum.StrEnum):
    """How the registry's collector is run: ``registry garbage-collect [--delete-untagged]``."""

    DEFAULT = "default"
    DELETE_UNTAGGED = "delete_untagged"


@dataclass(frozen=True, slots=True)
class TagName:
    """A tag of a repository."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something on which a run of the collector aborts before it frees anything.

    Attributes:
        path: below ``docker/registry/v2``, safe to print.
        reason: what is wrong with it.

    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class CollectorRun:
    """What one run of the registry's collector would do now.

    Attributes:
        frees: blobs it would delete; none while there are blockers.
        endangered: tags that can be pulled now and could not after it.
        blockers: what it would abort on.

    """

    frees: BlobTotal
    endangered: tuple[TagName, ...]
    blockers: tuple[Blocker, ...]


@dataclass(frozen=True, slots=True)
class BrokenTag:
    """A tag that cannot be pulled whole, and the first reason that was found."""

    repository: str
    tag: str
    reason: str


@dataclass(frozen=True, slots=True)
class PartialTag:
    """A tag of an index of which some images can be pulled whole, and the rest cannot.

    Attributes:
        repository: its repository.
        tag: its name.
        reason: the first fault that was found.
        platforms: of the images that can be pulled whole, sorted; without those not stated.
        lacks: platforms of the images that cannot, sorted. Empty if only attestations cannot, or
            the platforms are not stated.

    """

    repository: str
    tag: str
    reason: str
    platforms: tuple[str, ...]
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Integrity:
    """What is broken.

    Attributes:
        missing_blobs: digests referenced but not on disk, those with download URLs aside.
        broken_tags: tags of which no image can be pulled whole.
        partial_tags: tags of which some images can be pulled whole, and others cannot.

    """

    missing_blobs: tuple[str, ...]
    broken_tags: tuple[BrokenTag, ...]
    partial_tags: tuple[PartialTag, ...] = ()

    def with_broken(self, tags: Mapping[str, frozenset[str]]) -> "Integrity":
        """Return it with some of the partial tags, named by repository, as broken ones."""
        moved = [each for each in self.partial_tags if each.tag in tags.get(each.repository, ())]
        if not moved:
            return self
        broken = [BrokenTag(each.repository, each.tag, each.reason) for each in moved]
        return Integrity(
            self.missing_blobs,
            tuple(
                sorted((*self.broken_tags, *broken), key=lambda each: (each.repository, each.tag))
            ),
            tuple(each for each in self.partial_tags if each not in moved),
        )


@dataclass(frozen=True, slots=True)
class UploadFigures:
    """Unfinished uploads in numbers.

    Attributes:
        uploads: how many.
        bytes: received so far.
        unpurgeable: those that the registry's own purging never removes.
        oldest_start_at: Unix seconds; None if there is no upload.

    """

    uploads: int = 0
    bytes: int = 0
    unpurgeable: int = 0
    oldest_start_at: float | None = None


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """The store in numbers, all of one scan.

    Attributes:
        blobs: by state; together all blobs on disk, each once.
        logical_bytes: what all tags would take if nothing were shared between them.
        shared_bytes: of blobs that two or more repositories reference.
        repositories: largest first, by referenced bytes.
        uploads: unfinished uploads.
        strays: files that are not part of the layout.
        issues: how many by cause; every cause is there.
        complete: whether all that was found could be read.
        integrity: what is not whole, whatever runs; None of a pull-through cache, which fetches
            what is absent when it is asked for.
        collector: what the collector would do in each mode; None while something is unread.
        artifacts: signatures, attestations, SBOMs and their kind.
        is_untagged_needless: whether deleting all untagged manifests frees the untagged bytes.

    """

    blobs: Mapping[BlobState, BlobTotal]
    logical_bytes: int
    shared_bytes: int
    repositories: tuple[RepositoryFigures, ...]
    uploads: UploadFigures
    strays: Strays
    issues: Mapping[IssueCause, int]
    complete: bool
    integrity: Integrity | None
    collector: Mapping[GcMode, CollectorRun] | None
    artifacts: ArtifactFigures = field(default_factory=ArtifactFigures)
    is_untagged_needless: bool = False

    @property
    def total_bytes(self) -> int:
        """Bytes of all blobs."""
        return sum(total.bytes for total in self.blobs.values())


@dataclass(frozen=True, slots=True)
class StoreReading:
    """One successful scan: what was found, and the figures drawn from it.

    Attributes:
        inventory: what was found.
        figures: drawn from it.
        holders: how many repositories reach each blob; None if not counted since a restart.

    """

    inventory: Inventory
    figures: StoreFigures
    holders: BlobHolders | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ScanStatus:
    """How scanning goes.

    Attributes:
        scans: scans that ended so far, successful or not.
        failures: those of them that failed.
        succeeded: whether the last one did; None before the first has ended.
        duration_seconds: of the last one that succeeded, wall clock.
        last_success_at: when that one ended, Unix seconds.
        began_at: when that one began, Unix seconds: what was pushed later may not be in it.
        failure: why the last one failed; None if it did not.

    """

    scans: int = 0
    failures: int = 0
    succeeded: bool | None = None
    duration_seconds: float | None = None
    last_success_at: float | None = None
    began_at: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class ApiStatus:
    """What is known of the registry's HTTP API.

    Attributes:
        view: its answer; None if it gave no complete answer.
        certificate_not_after: end of the certificate served, Unix seconds; None without TLS.
        failure: why it gave no complete answer; None if it did.

    """

    view: ApiView | None
    certificate_not_after: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class PlatformStatus:
    """What is known from a platform's configuration.

    Attributes:
        name: the platform's name, for messages.
        images: from the last good reading; None if there was none.
        failure: why the last reading failed; None if it did not.
        read_at: when the last good reading began, Unix seconds: it knows nothing that was pushed
            later. None if there was none.
        changed_at: when the configuration of that reading last changed, likewise.

    """

    name: str
    images: AppImages | None
    failure: str | None = None
    read_at: float | None = None
    changed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that ``/metrics`` and the pages say, at one moment. None means not known.

    Attributes:
        store: the last scan that succeeded.
        scan: how scanning goes.
        filesystem: the filesystem that holds the store.
        api: the registry's HTTP API; None also where none is configured.
        tag_differences: (repository, tag) pairs that only one of disk and API has.
        platform: the platform's configuration; None also if no platform is configured.
        uses: which tagged bytes are in use, and what for.
        policies: what each configured retention policy would do; None while unknown.
        census: the last census of the store's disk.
        untagged_reclaimable_bytes: what deleting all needless untagged manifests would free.
        backup: the newest complete backup; None also where no place of backups is configured.
        maintenance: its last successful run; None also where no result file is configured.

    """

    store: StoreReading | None = None
    scan: ScanStatus = field(default_factory=ScanStatus)
    filesystem: FilesystemUsage | None = None
    api: ApiStatus | None = None
    tag_differences: int | None = None
    platform: PlatformStatus | None = None
    uses: UseFigures | None = None
    policies: tuple[PolicyFigures, ...] | None = None
    census: Census | None = None
    untagged_reclaimable_bytes: int | None = None
    backup: LastBackup | None = None
    maintenance: LastMaintenance | None = None

    @property
    def integrity(self) -> Integrity | None:
        """What is broken, also for the apps that run it; None if that is unknown."""
        integrity = None if self.store is None else self.store.figures.integrity
        if integrity is None or self.uses is None:
            return integrity
        return integrity.with_broken(self.uses.lacking_platform)
