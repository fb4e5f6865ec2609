"""Read one repository: its tags and revisions. How a deleted tag or manifest is noticed."""

import os
import stat
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import count

from exporter.domain.digests import (
    Digest,
    DigestTable,
    format_digest,
    is_sha256,
    parse_digest,
)
from exporter.domain.model import (
    ALL_DIRECTORIES,
    MANIFESTS,
    TAGS_DIRECTORY,
    IssueCause,
    Repository,
)
from exporter.store.filesystem.readers.link_reader import LinkReader
from exporter.store.filesystem.readers.repository_content import (
    KnownLinks,
    LinkedRevision,
    LinkedTag,
    RepositoryContent,
    RepositoryStamps,
)
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    IssueLog,
    is_directory,
    look_at,
    open_directory,
    refuse_symlink,
)
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.filesystem.rescan.change_stamps import (
    NO_STAMP,
    Stamp,
    settled_stamp,
    stamp_at,
    stamp_of,
)
from exporter.store.format.foreign_directories import is_foreign
from exporter.store.format.layout import (
    LINK,
    REPOSITORIES,
    REVISIONS,
    TAGS,
    is_algorithm,
    is_storage_name,
    is_supported,
    is_tag_name,
    parse_link,
)

_CURRENT = "current"
_DELETION_SECONDS = 0.02
"""Far longer than the registry takes between deleting a manifest and its tags."""
_NEVER = 0.0
"""The time of a link that exists but is not a file of a link's size."""


class RepositoryReader:
    """Reads a repository of the store whose version directory is open as ``store``."""

    def __init__(
        self,
        store: int,
        issues: IssueLog,
        strays: StrayCounter,
        links: LinkReader,
        known: KnownLinks | None = None,
        settled_before: int = 0,
    ) -> None:
        """Prepare it; ``known`` links are not read again while their stamps are unchanged.

        Stamps are kept for what has not changed since ``settled_before``, nanoseconds since 1970.
        """
        self._store = store
        self._issues = issues
        self._strays = strays
        self._links = links
        self._known = known
        self._settled_before = settled_before

    def read(self, name: str, marks: AbstractSet[str]) -> RepositoryContent:
        """Read a repository; ``marks`` are the directories that it was found by."""
        content = RepositoryContent(name, set(marks & ALL_DIRECTORIES))
        manifests = f"{REPOSITORIES}/{name}/{MANIFESTS}"
        parts: set[str] = set()
        # listed first: a symbolic link would be followed unnoticed
        for parent, entry in self._entries(content, manifests, REVISIONS, TAGS):
            if entry.name not in (REVISIONS, TAGS):
                self._strays.add_misplaced(entry, parent, f"{manifests}/{entry.name}")
            elif is_directory(entry):
                parts.add(entry.name)
            else:
                where = f"{manifests}/{entry.name}"
                self._strays.add(entry.name, parent, where)
                self._issues.add(IssueCause.IO_ERROR, where, "not a directory")
        # a push writes the tag last: if tags are read first, each has its revision
        if TAGS in parts:
            content.directories.add(TAGS_DIRECTORY)
            self._read_tags(content, f"{manifests}/{TAGS}")
        if REVISIONS in parts:
            self._read_revisions(content, f"{manifests}/{REVISIONS}")
        self._look_again(content, manifests)
        content.stray_links = self._strays.links
        return content

    def is_unchanged(
        self, repository: Repository, stamps: RepositoryStamps, digests: DigestTable
    ) -> bool:
        """Return whether nothing below ``_manifests`` has changed; numbers are of ``digests``.

        Each link is checked: the registry writes links in place, which no directory shows.
        """
        directory = f"{REPOSITORIES}/{repository.name}/{MANIFESTS}"
        tags = (f"{tag.name}/{_CURRENT}/{LINK}" for tag in repository.tags)
        revisions = (_link_of(digests[each.manifest]) for each in repository.revisions)
        try:
            with open_directory(directory, self._store) as parent:
                return (
                    all(
                        stamp_at(place or ".", parent) == stamp
                        for place, stamp in stamps.directories.items()
                    )
                    and _are_unchanged(TAGS, parent, tags, stamps.tags)
                    and _are_unchanged(REVISIONS, parent, revisions, stamps.revisions)
                    and all(
                        stamp_at(f"{REVISIONS}/{_link_of(each)}", parent) is None
                        for each in stamps.deleted
                    )
                )
        except OSError:
            return False

    def _look_again(self, content: RepositoryContent, manifests: str) -> None:
        """Read again the tags that point to a missing manifest: it may just have been deleted.

        The registry deletes a manifest first and its tags afterwards.
        """
        lost = content.adrift()
        if REVISIONS in content.unlisted or not lost:
            return
        time.sleep(_DELETION_SECONDS)
        self._known = None
        doubtful = [tag.name for tag in content.tags if tag.target in lost]
        content.tags = [tag for tag in content.tags if tag.target not in lost]
        try:
            with open_directory(f"{manifests}/{TAGS}", self._store) as parent:
                for tag in doubtful:
                    self._read_tag(content, tag, parent, f"{manifests}/{TAGS}")
        except GONE:
            return
        except OSError as error:
            self._issues.add_error(error, f"{manifests}/{TAGS}")
            content.unlisted.add(TAGS)
        for digest in content.adrift():  # the tag may have moved to a new manifest
            algorithm, _, name = format_digest(digest).partition(":")
            directory = f"{manifests}/{REVISIONS}/{algorithm}"
            with suppress(OSError), open_directory(directory, self._store) as parent:
                self._read_revision(content, digest, name, parent, directory)

    def _entries(
        self, content: RepositoryContent, path: str, *parts: str
    ) -> Iterator[tuple[int, "os.DirEntry[str]"]]:
        """Yield a directory's descriptor with each of its entries.

        If it is unreadable, that is recorded, and ``parts`` of the repository are unknown.
        """
        try:
            with open_directory(path, self._store) as parent, os.scandir(parent) as entries:
                if self._settled_before:
                    place = path[len(f"{REPOSITORIES}/{content.name}/{MANIFESTS}/") :]
                    content.stamps[place] = settled_stamp(os.fstat(parent), self._settled_before)
                for entry in entries:
                    yield parent, entry
        except GONE:
            return
        except OSError as error:
            self._issues.add_error(error, path)
            content.unlisted.update(parts)

    def _read_revisions(self, content: RepositoryContent, path: str) -> None:
        for parent, algorithm in self._entries(content, path, REVISIONS):
            directory = f"{path}/{algorithm.name}"
            may_be_algorithm = is_algorithm(algorithm.name) and not is_foreign(algorithm.name)
            if not (may_be_algorithm and is_directory(algorithm)):
                self._strays.add_misplaced(algorithm, parent, directory)
                continue
            has_foreign = False
            for revisions, entry in self._entries(content, directory, REVISIONS):
                digest = parse_digest(f"{algorithm.name}:{entry.name}")
                if digest is None or not is_directory(entry):
                    has_foreign |= is_directory(entry)
                    self._strays.add_misplaced(entry, revisions, f"{directory}/{entry.name}")
                else:
                    self._read_revision(content, digest, entry.name, revisions, directory)
            if has_foreign:  # its maker may have been in the links' own directories too
                for revisions, entry in self._entries(content, directory, REVISIONS):
                    if parse_digest(f"{algorithm.name}:{entry.name}") is not None:
                        where = f"{directory}/{entry.name}"
                        self._strays.add_beside(LINK, entry.name, revisions, where)

    def _read_revision(
        self, content: RepositoryContent, digest: Digest, name: str, parent: int, path: str
    ) -> None:
        """Read one revision link; a directory without a link is a deleted manifest.

        If the link is damaged, the directory's name still gives the digest: the manifest and what
        it references stay counted.
        """
        known = None if self._known is None else self._known.revisions.get(digest)
        if known is not None and stamp_at(f"{name}/{LINK}", parent) == known.stamp:
            content.revisions.append(known)
            return
        where = f"{path}/{name}/{LINK}"
        try:
            link, status = self._links.read(f"{name}/{LINK}", parent, where)
        except GONE:
            content.deleted.append(digest)
            return
        except OSError as error:
            is_damaged = self._note_link_error(error, where)
            status_now = look_at(f"{name}/{LINK}", parent, where, self._issues)
            if status_now is not None and stat.S_ISDIR(status_now.st_mode):
                return  # not a link to the registry
            if is_damaged:
                content.mislinked[digest] = None
            content.revisions.append(LinkedRevision(digest, None))
            return
        stamp = self._stamp(status)
        if link != format_digest(digest).encode() or not is_supported(digest):
            detail = "does not hold the digest that its directory is named by"
            self._issues.add(IssueCause.INVALID_LINK, where, detail)
            content.mislinked[digest] = parse_link(link)
            stamp = NO_STAMP
        content.revisions.append(LinkedRevision(digest, status.st_mtime, stamp))

    def _stamp(self, status: os.stat_result) -> Stamp:
        return settled_stamp(status, self._settled_before) if self._settled_before else NO_STAMP

    def _read_tags(self, content: RepositoryContent, path: str) -> None:
        for parent, entry in self._entries(content, path, TAGS):
            if is_tag_name(entry.name) and is_directory(entry):
                # repositories share many tag names
                self._read_tag(content, sys.intern(entry.name), parent, path)
            else:
                self._strays.add_misplaced(entry, parent, f"{path}/{entry.name}")
                if not (is_directory(entry) and is_storage_name(entry.name)):
                    content.tag_obstacles.append(entry.name)

    def _read_tag(self, content: RepositoryContent, tag: str, parent: int, path: str) -> None:
        """Read a tag.

        Its directory makes it a tag, as in the registry's own list of tags; if its link cannot be
        understood, its target is unknown.
        """
        known = None if self._known is None else self._known.tags.get(tag)
        if known is not None and stamp_at(f"{tag}/{_CURRENT}/{LINK}", parent) == known.stamp:
            content.tags.append(known)
            return
        where = f"{path}/{tag}/{_CURRENT}/{LINK}"
        target, updated_at, stamp = None, None, NO_STAMP
        try:
            link, status = self._await_current(tag, parent, where)
        except GONE as error:
            if look_at(tag, parent, where, self._issues) is None:
                return
            if isinstance(error, NotADirectoryError):
                updated_at = _NEVER
            self._issues.add(IssueCause.INVALID_LINK, where, "missing")
        except OSError as error:
            if self._note_link_error(error, where):
                updated_at = _NEVER
            else:
                content.unread_tags.add(tag)
        else:
            target, updated_at = parse_link(link), status.st_mtime
            if target is None:
                self._issues.add(IssueCause.INVALID_LINK, where, "does not hold a digest")
            else:
                stamp = self._stamp(status)
        content.tags.append(LinkedTag(tag, target, updated_at, stamp))

    def _await_current(self, tag: str, parent: int, where: str) -> tuple[bytes, os.stat_result]:
        """Read a tag's link; if it is missing, wait for a push or a deletion that is under way.

        Raises OSError.
        """
        for tries in count(1):
            with suppress(FileNotFoundError):
                return self._read_current(tag, parent, where)
            is_there = look_at(tag, parent, where, self._issues) is not None
            if not (is_there and self._links.pause(where, tries)):
                break
        return self._read_current(tag, parent, where)

    def _read_current(self, tag: str, parent: int, where: str) -> tuple[bytes, os.stat_result]:
        current = f"{tag}/{_CURRENT}"
        refuse_symlink(current, parent)
        return self._links.read(f"{current}/{LINK}", parent, where)

    def _note_link_error(self, error: OSError, path: str) -> bool:
        """Record why a link could not be read; return whether it is because it is not a link."""
        is_damaged = error.errno in WRONG_KIND
        if is_damaged:
            self._issues.add(IssueCause.INVALID_LINK, path, error.strerror or "")
        else:
            self._issues.add_error(error, path)
        return is_damaged


def _link_of(digest: Digest) -> str:
    """Return the place of a revision's link below ``revisions``."""
    if is_sha256(digest):  # nearly all are, and this takes a third of the time
        return f"sha256/{digest.hex()}/{LINK}"
    return f"{format_digest(digest).replace(':', '/')}/{LINK}"


def _are_unchanged(
    directory: str, parent: int, links: Iterable[str], stamps: Collection[Stamp]
) -> bool:
    """Return whether the stamps of links below a directory are unchanged. Raises OSError."""
    if not stamps:
        return True
    with open_directory(directory, parent) as descriptor:
        for link, stamp in zip(links, stamps, strict=True):
            if stamp_of(os.stat(link, dir_fd=descriptor, follow_symlinks=False)) != stamp:
                return False
    return True
