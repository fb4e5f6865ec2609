"""Look at single repositories of a store in a directory, before each of many deletions.

A repository may have 10,000 tags. A look checks each tag's link by one stat, and reads only those
that changed since the look before: the registry writes links in place, which no directory shows.
"""

import errno
import os
import time
from collections.abc import Set as AbstractSet
from itertools import count
from typing import NamedTuple

from exporter.domain.digests import Digest, format_digest
from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import TAGS_DIRECTORY
from exporter.domain.text import printable
from exporter.store.filesystem.created_names import WRITTEN, CreatedNames
from exporter.store.filesystem.readers.link_reader import LinkReader
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    directory_remedy,
    open_directory,
    refuse_symlink,
)
from exporter.store.filesystem.rescan.change_stamps import (
    NO_STAMP,
    SETTLED_SECONDS,
    Stamp,
    settled_stamp,
    stamp_of,
)
from exporter.store.format.layout import (
    LINK,
    REPOSITORIES,
    is_tag_name,
    parse_link,
    revision_link,
)
from exporter.store.port import TagLinks

_CURRENT = f"current/{LINK}"
_MOST_KNOWN = 100
"""Repositories whose links are remembered: a plan may go back and forth between some."""


class _KnownTag(NamedTuple):
    path: str
    stamp: Stamp
    link: tuple[Digest | None, float | None]


class FilesystemLooker:
    """Looks at repositories of the store whose version directory is open as ``store``."""

    def __init__(self, store: int) -> None:
        self._store = store
        self._known: dict[str, dict[str, _KnownTag]] = {}
        self._damaged: set[str] = set()
        self._names = CreatedNames()
        self._links = CreatedNames(WRITTEN)
        self._created: AbstractSet[str] = frozenset()

    def close(self) -> None:
        """Stop watching what was looked at last."""
        self._names.close()
        self._links.close()

    def created(self) -> AbstractSet[str]:
        """Return the tags that were created between the last two looks at one repository."""
        return self._created

    def tags(self, repository: str) -> TagLinks:
        """Return the tags that a repository has; none if it is gone. Raises StoreUnreadableError.

        A tag is a directory below ``_manifests/tags``, as in the registry's own list of tags.
        """
        path = f"{REPOSITORIES}/{repository}/{TAGS_DIRECTORY}"
        try:
            with open_directory(path, self._store) as parent:
                created = self._names.since_last_call(parent)
                self._created = frozenset(filter(is_tag_name, created))
                tags = self._read_all(parent, path, self._known.get(repository, {}))
        except GONE:
            tags, self._created = {}, frozenset()
        except OSError as error:
            raise _unreadable(path, error) from error
        self._known.pop(repository, None)
        self._known[repository] = tags
        if len(self._known) > _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return {name: known.link for name, known in tags.items()}

    def linked_at(self, repository: str, digest: Digest) -> float | None:
        """Return when a repository's link to a manifest was written; None if it has none.

        Raises StoreUnreadableError.
        """
        path = revision_link(repository, format_digest(digest))
        try:
            return os.stat(path, dir_fd=self._store, follow_symlinks=False).st_mtime
        except GONE:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error

    def was_pushed(self, repository: str, digest: Digest) -> bool:
        """Return whether a manifest's link was written between the last two calls for it.

        Raises StoreUnreadableError.
        """
        path = os.path.dirname(revision_link(repository, format_digest(digest)))
        try:
            with open_directory(path, self._store) as directory:
                return LINK in self._links.since_last_call(directory)
        except GONE:
            return False
        except OSError as error:
            raise _unreadable(path, error) from error

    def _read_all(
        self, parent: int, path: str, before: dict[str, _KnownTag]
    ) -> dict[str, _KnownTag]:
        """Read the tags of a repository, of which some are known. Raises OSError."""
        settled_before = time.time_ns() - int(SETTLED_SECONDS * 1e9)
        links = LinkReader(self._damaged)
        tags = {}
        for name in os.listdir(parent):
            known = before.get(name)
            if known is not None and known.stamp != NO_STAMP:
                try:
                    status = os.stat(known.path, dir_fd=parent, follow_symlinks=False)
                except GONE:
                    status = None
                if status is not None and stamp_of(status) == known.stamp:
                    tags[name] = known
                    continue
            if is_tag_name(name):
                read = self._read(name, parent, f"{path}/{name}/{_CURRENT}", links, settled_before)
                if read is not None:
                    tags[name] = read
        return tags

    def _read(
        self, name: str, parent: int, where: str, links: LinkReader, settled_before: int
    ) -> _KnownTag | None:
        """Read one tag; None if it is gone, or never was one. Raises OSError."""
        path = f"{name}/{_CURRENT}"
        for tries in count(1):
            try:
                refuse_symlink(f"{name}/current", parent)
                content, status = links.read(path, parent, where)
            except NotADirectoryError:
                return None
            except FileNotFoundError:
                # being pushed, being deleted, or damaged
                if _is_gone(name, parent):
                    return None
                if not links.pause(where, tries):
                    break
            except OSError as error:
                if error.errno not in WRONG_KIND:
                    raise
                break
            else:
                target = parse_link(content)
                if target is None:
                    self._damaged.add(where)
                    return _KnownTag(path, NO_STAMP, (None, status.st_mtime))
                stamp = settled_stamp(status, settled_before)
                return _KnownTag(path, stamp, (target, status.st_mtime))
        self._damaged.add(where)
        return _KnownTag(path, NO_STAMP, (None, None))


def _is_gone(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def _unreadable(path: str, error: OSError) -> StoreUnreadableError:
    remedy = directory_remedy(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"let uid {os.geteuid()} read it"
    return StoreUnreadableError(f"cannot read {printable(path)}: {error.strerror}; {remedy}")
