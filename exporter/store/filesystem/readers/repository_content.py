"""One repository as it was read, in digests, and the stamps that show whether it has changed."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from exporter.domain.digests import Digest, DigestTable
from exporter.domain.model import Repository
from exporter.store.filesystem.rescan.change_stamps import NO_STAMP, Stamp


class LinkedTag(NamedTuple):
    """A tag as read.

    Attributes:
        name: the tag.
        target: see :class:`exporter.domain.model.Tag`, but as a digest.
        updated_at: likewise.
        stamp: of its link.

    """

    name: str
    target: Digest | None
    updated_at: float | None
    stamp: Stamp = NO_STAMP


class LinkedRevision(NamedTuple):
    """A revision as read.

    Attributes:
        digest: that of the manifest.
        linked_at: see :class:`exporter.domain.model.Revision`.
        stamp: of its link.

    """

    digest: Digest
    linked_at: float | None
    stamp: Stamp = NO_STAMP


@dataclass(slots=True)
class RepositoryContent:
    """One repository as read.

    Attributes:
        name: with slashes.
        directories: see :attr:`exporter.domain.model.RepositoryLayout.directories`.
        tags: in any order.
        revisions: in any order.
        deleted: digests that have a directory without a link.
        mislinked: see :attr:`exporter.domain.model.RepositoryLayout.mislinked`.
        tag_obstacles: see :attr:`exporter.domain.model.RepositoryLayout.tag_obstacles`.
        stray_links: see :attr:`exporter.domain.model.RepositoryLayout.stray_links`.
        unlisted: which of ``revisions`` and ``tags`` could not be listed completely.
        unread_tags: tags whose link could not be read.
        stamps: of the directories that were listed, by their path below ``_manifests``.

    """

    name: str
    directories: set[str] = field(default_factory=set)
    tags: list[LinkedTag] = field(default_factory=list)
    revisions: list[LinkedRevision] = field(default_factory=list)
    deleted: list[Digest] = field(default_factory=list)
    mislinked: dict[Digest, Digest | None] = field(default_factory=dict)
    tag_obstacles: list[str] = field(default_factory=list)
    stray_links: list[str] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    unread_tags: set[str] = field(default_factory=set)
    stamps: dict[str, Stamp] = field(default_factory=dict)

    def adrift(self) -> set[Digest]:
        """Return the targets of tags that the repository has no link to."""
        targets = {tag.target for tag in self.tags if tag.target is not None}
        return targets.difference(revision.digest for revision in self.revisions)


@dataclass(frozen=True, slots=True)
class RepositoryStamps:
    """The change stamps of a repository; NO_STAMP if one may not be relied on.

    Attributes:
        directories: stamps by path below ``_manifests``.
        tags: stamps of their links, in the order of the repository's tags.
        revisions: likewise.
        deleted: digests that have a directory without a link.
        is_clean: whether everything was read, and there is nothing to report again.

    """

    directories: Mapping[str, Stamp]
    tags: "array[int]"
    revisions: "array[int]"
    deleted: tuple[Digest, ...]
    is_clean: bool

    @classmethod
    def of(cls, content: RepositoryContent, *, is_clean: bool) -> "RepositoryStamps":
        """Return the stamps of what was read; tags are sorted by name, as in the repository."""
        tags = array("q", [tag.stamp for tag in sorted(content.tags)])
        revisions = array("q", [revision.stamp for revision in content.revisions])
        return cls(
            directories=content.stamps,
            tags=tags,
            revisions=revisions,
            deleted=tuple(content.deleted),
            is_clean=is_clean and "" in content.stamps and not content.adrift(),
        )

    @property
    def is_whole(self) -> bool:
        """Whether it is clean and every stamp may be relied on."""
        return (
            self.is_clean
            and NO_STAMP not in self.directories.values()
            and NO_STAMP not in self.tags
            and NO_STAMP not in self.revisions
        )


class KnownLinks:
    """Links that need not be read again while their stamps are the same."""

    def __init__(
        self, repository: Repository, stamps: RepositoryStamps, digests: DigestTable
    ) -> None:
        """Collect the links of ``repository``, numbered as in ``digests``."""
        self.tags = {
            tag.name: LinkedTag(
                tag.name, None if tag.target is None else digests[tag.target], tag.updated_at, stamp
            )
            for tag, stamp in zip(repository.tags, stamps.tags, strict=True)
            if stamp != NO_STAMP
        }
        self.revisions = {
            (digest := digests[revision.manifest]): LinkedRevision(
                digest, revision.linked_at, stamp
            )
            for revision, stamp in zip(repository.revisions, stamps.revisions, strict=True)
            if stamp != NO_STAMP
        }
