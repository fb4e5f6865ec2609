"""The domain: digests, manifests, repositories, and what a scan found.

All types are immutable once published. Types with tens of thousands of instances are msgspec
structs, which are built in a fraction of a dataclass's time.
"""

import enum
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exporter.domain.digests import BlobNumber, Digest, DigestTable
from exporter.domain.layer_links import LayerLinkFaults

ABSENT = -1
"""Stands in :attr:`Inventory.sizes` for a digest that has no blob on disk."""

UNKNOWN = -2
"""Stands in :attr:`Inventory.sizes` for a blob that may be there but could not be looked at."""

USUAL_SCHEMA = 2
"""``schemaVersion`` of all manifests except those that Docker before 1.10 pushed."""


NO_PLATFORM = "unknown/unknown"
"""Platform that build tools state for attestations, which are not images."""


class Manifest(msgspec.Struct, frozen=True, gc=False):
    """What one manifest or index references.

    Attributes:
        schema: version of its format, 2 or 1; 0 if no registry recognizes it.
        children: manifests listed by an index.
        platforms: of each of ``children``, such as ``linux/arm64/v8``; an empty name if it is not
            stated, :data:`NO_PLATFORM` for an attestation. Empty if none is stated.
        blobs: configuration, layers, and anything else that it references.
        foreign: those of ``blobs`` that have download URLs and need not be on disk.
        unmarked: references in fields that the registry does not read in a manifest of this type;
            its collector does not follow them.
        subject: the manifest that it is an artifact of, such as a signature; not a reference.

    """

    schema: int = USUAL_SCHEMA
    children: tuple[BlobNumber, ...] = ()
    platforms: tuple[str, ...] = ()
    blobs: tuple[BlobNumber, ...] = ()
    foreign: tuple[BlobNumber, ...] = ()
    unmarked: tuple[BlobNumber, ...] = ()
    subject: Digest | None = None


def linked_parts(manifest: Manifest) -> set[BlobNumber]:
    """Return the blobs that a repository can serve only by links of its own, below ``_layers``."""
    return set(manifest.blobs).difference(manifest.foreign, manifest.unmarked)


class Tag(msgspec.Struct, frozen=True, gc=False):
    """A tag of a repository.

    Attributes:
        name: the tag.
        target: the manifest it points to; None if its link cannot be understood.
        updated_at: modification time of its link, Unix seconds; None if there is no link.

    """

    name: str
    target: BlobNumber | None
    updated_at: float | None


class Revision(msgspec.Struct, frozen=True, gc=False):
    """A manifest that a repository holds, tagged or not.

    Attributes:
        manifest: the blob.
        linked_at: modification time of its link, Unix seconds; None if it is unreadable.

    """

    manifest: BlobNumber
    linked_at: float | None


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished upload.

    Attributes:
        size: bytes received so far.
        started_at: when it began, Unix seconds: as the registry recorded it, else the oldest
            modification time found.
        purgeable: whether the registry's own purging will ever remove it: only if it has a
            readable ``startedat``.

    """

    size: int
    started_at: float
    purgeable: bool


LAYERS = "_layers"
MANIFESTS = "_manifests"
TAGS_DIRECTORY = "_manifests/tags"
ALL_DIRECTORIES = frozenset({LAYERS, MANIFESTS, TAGS_DIRECTORY})
"""Directories of a repository that the registry creates with the first push."""


@dataclass(frozen=True, slots=True)
class RepositoryLayout:
    """Where a repository's files and directories differ from the usual layout.

    Only a store in a filesystem can differ; others leave this as it is.

    Attributes:
        directories: which of ``_layers``, ``_manifests`` and ``_manifests/tags`` exist.
        mislinked: revisions whose link does not hold the digest that its directory is named
            after, with the digest it holds; None if that is not a digest.
        tag_obstacles: names of entries among the tags on which the collector aborts if it looks
            for untagged manifests: files, and directories with a name that it cannot read.
        stray_links: files below ``revisions`` that the collector takes for the link of a manifest
            and cannot read as one: paths below ``docker/registry/v2``, safe to print.

    """

    directories: frozenset[str] = ALL_DIRECTORIES
    mislinked: Mapping[BlobNumber, BlobNumber | None] = field(default_factory=dict)
    tag_obstacles: tuple[str, ...] = ()
    stray_links: tuple[str, ...] = ()


USUAL_LAYOUT = RepositoryLayout()
"""The layout that the registry itself makes."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as the store has it.

    Attributes:
        name: with slashes.
        tags: sorted by name.
        revisions: the manifests that it holds.
        uploads: unfinished uploads.
        layout: where its files differ from the usual layout.

    """

    name: str
    tags: tuple[Tag, ...] = ()
    revisions: tuple[Revision, ...] = ()
    uploads: tuple[Upload, ...] = ()
    layout: RepositoryLayout = USUAL_LAYOUT


class IssueCause(enum.StrEnum):
    """Why something in the store could not be read as what it should be."""

    PERMISSION = "permission"
    IO_ERROR = "io_error"
    INVALID_LINK = "invalid_link"
    UNREADABLE_MANIFEST = "unreadable_manifest"
    SYMLINK = "symlink"
    BAD_NAME = "bad_name"


NOT_READ = frozenset({IssueCause.PERMISSION, IssueCause.IO_ERROR, IssueCause.SYMLINK})
"""Causes for which something could not be read at all."""

LEAVES_UNREAD = NOT_READ | {IssueCause.UNREADABLE_MANIFEST}
"""Causes that leave something unread; the others are oddities that were read and understood."""


@dataclass(frozen=True, slots=True)
class ScanIssue:
    """One thing that could not be read.

    Attributes:
        cause: the kind.
        path: where, below ``docker/registry/v2``, safe to print.
        detail: what is wrong with it.

    """

    cause: IssueCause
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Something that the registry's collector trips over because of where it is.

    Attributes:
        path: below ``docker/registry/v2``, safe to print.
        directories: for a directory below ``repositories`` with an illegal name, which of
            ``_layers`` and ``_manifests`` it holds; empty for a ``data`` file that is not a blob.
        copy_of: the blob that the collector takes a ``data`` file in the wrong place for.

    """

    path: str
    directories: frozenset[str] = frozenset()
    copy_of: Digest | None = None


@dataclass(frozen=True, slots=True)
class Strays:
    """Files in the store that are not part of its layout.

    Attributes:
        files: how many.
        bytes: their sizes added up; hard links to one file count once.
        frees_bytes: what deleting all of them frees: files that have a link elsewhere too, for
            instance in the store, are left out.

    """

    files: int
    bytes: int
    frees_bytes: int


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """Where a store's files and directories differ from the registry's layout.

    Only a store in a filesystem can differ; others leave this empty.

    Attributes:
        strays: files that are not part of the layout.
        misplaced: what the registry's collector trips over because of where it is.
        walk_ends: files below ``repositories`` at which version 2 of the registry ends its walk of
            their directory: it overlooks whatever sorts after them there.

    """

    strays: Strays = Strays(0, 0, 0)
    misplaced: tuple[Misplaced, ...] = ()
    walk_ends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything one scan found in the store.

    Attributes:
        digests: names of the blobs, also of blobs that are only referenced.
        sizes: bytes by blob number; :data:`ABSENT` for what is not on disk, :data:`UNKNOWN` for
            what could not be looked at.
        manifests: the manifests that could be read.
        repositories: sorted by name.
        issues: what could not be read.
        references_known: False while something unread may reference blobs: then no blob may be
            called unreferenced.
        unread: whether this program could not read something that may reference blobs. The
            registry may be able to read it: what its collector would do is unknown.
        unreadable: blobs that should be manifests and cannot be understood as such.
        indexes: manifests that list others.
        unusual: manifests of another schema than 2, or with references that are not marked.
        with_subject: manifests that name the image of which they are an artifact.
        senseless: manifests with references that are not digests; no registry follows those.
        misfits: manifests that state a size which a blob on disk does not have, with those blobs.
        broken_layer_links: blobs that a repository's tags need and that it has no usable link to
            below ``_layers``, with the reason, by the name of the repository; only those with such
            blobs.
        layout: where its files differ from the registry's layout.
        is_cache: whether the registry is a pull-through cache of another one.
        all_measured: whether it is known that no size is :data:`ABSENT` or :data:`UNKNOWN`.

    """

    digests: DigestTable = field(default_factory=DigestTable)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    manifests: Mapping[BlobNumber, Manifest] = field(default_factory=dict)
    repositories: tuple[Repository, ...] = ()
    issues: tuple[ScanIssue, ...] = ()
    references_known: bool = True
    unread: bool = False
    unreadable: frozenset[BlobNumber] = frozenset()
    indexes: frozenset[BlobNumber] = frozenset()
    unusual: frozenset[BlobNumber] = frozenset()
    with_subject: frozenset[BlobNumber] = frozenset()
    senseless: frozenset[BlobNumber] = frozenset()
    misfits: Mapping[BlobNumber, tuple[BlobNumber, ...]] = field(default_factory=dict)
    broken_layer_links: Mapping[str, LayerLinkFaults] = field(default_factory=dict)
    layout: StoreLayout = StoreLayout()
    is_cache: bool = False
    all_measured: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything that was found could be read."""
        return LEAVES_UNREAD.isdisjoint(issue.cause for issue in self.issues)


@dataclass(frozen=True, slots=True)
class ApiView:
    """What the registry's HTTP API answered.

    Attributes:
        tags: the tags of every repository in the catalog.

    """

    tags: Mapping[str, frozenset[str]]


class DeletionAnswer(enum.StrEnum):
    """Whether the registry's API allows deletions, as far as it says so.

    ``switched_off``: its configuration does not allow them. ``not_allowed``: its API has no
    deletions now, as in read-only mode, or a proxy in front of it refuses them.
    """

    SWITCHED_OFF = "switched_off"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """The filesystem that holds the store, as ``statvfs`` reports it.

    Attributes:
        size_bytes: size of the filesystem.
        free_bytes: free for root.
        avail_bytes: free for everybody else.
        files: inodes in all.
        files_free: inodes free.
        readonly: whether the filesystem as a whole is read-only; None if unknown.

    """

    size_bytes: int
    free_bytes: int
    avail_bytes: int
    files: int
    files_free: int
    readonly: bool | None
