"""A census: what a store takes on its disk, by kind, and what nothing needs any more."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class DiskKind(enum.StrEnum):
    """The kind of a file or directory; each has exactly one.

    ``tag_history``: the entries that every change of a tag adds to the tag's ``index``.
    ``stray``: everything that is not part of the registry's layout, its directories too.
    ``directories``: all directories of the layout.
    """

    BLOBS = "blobs"
    MANIFEST_LINKS = "manifest_links"
    TAG_LINKS = "tag_links"
    TAG_HISTORY = "tag_history"
    LAYER_LINKS = "layer_links"
    UPLOADS = "uploads"
    STRAY = "stray"
    DIRECTORIES = "directories"


class LeftoverKind(enum.StrEnum):
    """A kind of entry that the registry leaves behind and no longer needs.

    ``stale_layer_links``: entries of a repository for layers whose blob is gone.
    ``old_tag_history``: manifests that a tag pointed to before.
    ``deleted_manifests``: directories of manifests whose link was deleted.
    """

    STALE_LAYER_LINKS = "stale_layer_links"
    OLD_TAG_HISTORY = "old_tag_history"
    DELETED_MANIFESTS = "deleted_manifests"


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What files and directories take on disk; hard links to one file count once.

    Attributes:
        inodes: how many.
        allocated_bytes: what the filesystem allocates for them.
        apparent_bytes: the content of the files; 0 for directories.

    """

    inodes: int = 0
    allocated_bytes: int = 0
    apparent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Entries of one kind that nothing needs; the kinds of :class:`DiskKind` contain them.

    Attributes:
        entries: how many; each is a directory, mostly with one link in it.
        inodes: of the directories and what is in them.
        allocated_bytes: likewise.

    """

    entries: int = 0
    inodes: int = 0
    allocated_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LinkedCopy:
    """A directory beside the layout whose files are hard links to files of the store.

    Attributes:
        path: below the root directory, safe to print.
        files: how many have links elsewhere too.
        linked_bytes: what these files take on disk; deleting the directory does not free them.
        frees_bytes: what deleting it frees on disk: its directories, and what only it holds.

    """

    path: str
    files: int
    linked_bytes: int
    frees_bytes: int


@dataclass(frozen=True, slots=True)
class Census:
    """The result of one census.

    Attributes:
        kinds: by kind; every kind is there.
        leftovers: by kind; every kind is there.
        unread: files and directories that could not be read: the rest is then too small.
        other_filesystems: directories not entered because another filesystem is mounted there.
        taken_at: when it ended, Unix seconds.
        duration_seconds: wall clock.
        copies: hard-linked copies of the store, or of parts of it, largest first.

    """

    kinds: Mapping[DiskKind, DiskUse]
    leftovers: Mapping[LeftoverKind, Leftovers]
    unread: int
    other_filesystems: int
    taken_at: float
    duration_seconds: float
    copies: tuple[LinkedCopy, ...] = ()

    @property
    def total(self) -> DiskUse:
        """All kinds together."""
        uses = self.kinds.values()
        return DiskUse(
            sum(each.inodes for each in uses),
            sum(each.allocated_bytes for each in uses),
            sum(each.apparent_bytes for each in uses),
        )
