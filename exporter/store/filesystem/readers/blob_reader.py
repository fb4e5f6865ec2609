"""Read ``blobs``: which exist, how large they are, and the content of those that are manifests."""

import errno
import os
import stat
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from exporter.domain.digests import (
    Digest,
    format_digest,
    parse_digest,
    parse_sha256,
)
from exporter.domain.errors import ManifestUnreadableError, StoreUnreadableError
from exporter.domain.model import (
    ABSENT,
    UNKNOWN,
    IssueCause,
    Misplaced,
)
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    IssueLog,
    directory_remedy,
    is_directory,
    open_directory,
    read_file,
    refuse_symlink,
)
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.filesystem.rescan.change_stamps import NO_STAMP, Stamp, settled_stamp, stamp_at
from exporter.store.format.foreign_directories import is_foreign
from exporter.store.format.layout import (
    ALGORITHMS,
    BLOBS,
    DATA,
    blob_data,
    blob_directory,
    is_algorithm,
)
from exporter.store.format.manifests import MAX_MANIFEST_BYTES, ManifestContent, parse_manifest

Prefix = tuple[str, str]
"""Algorithm and first two hexadecimal digits: one directory of blobs."""

_USUAL_ALGORITHM = "sha256"
_PREFIX_LENGTH = 2
_HEX = frozenset("0123456789abcdef")


@dataclass(slots=True)
class PrefixBlobs:
    """The blobs of one directory.

    Attributes:
        digests: those whose size is known.
        sizes: their sizes, bytes.
        unknown: those that exist but could not be measured.
        stamp: of the directory, before it was listed.
        young: those that were just written, and may not be complete.
        is_plain: whether it contains only blobs, and all were measured.

    """

    digests: list[Digest] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    unknown: list[Digest] = field(default_factory=list)
    stamp: Stamp = NO_STAMP
    young: list[Digest] = field(default_factory=list)
    is_plain: bool = True


class ManifestBlob(NamedTuple):
    """A blob that should be a manifest.

    Attributes:
        size: bytes; None if it could not be opened.
        content: what it references; None if it cannot be understood.
        is_damaged: whether the reason is its content, not that it cannot be read.

    """

    size: int | None
    content: ManifestContent | None
    is_damaged: bool = False


class BlobReader:
    """Reads the blobs of the store whose version directory is open as ``store``."""

    def __init__(
        self, store: int, issues: IssueLog, strays: StrayCounter, settled_before: int = 0
    ) -> None:
        """Prepare it; blobs changed since ``settled_before``, nanoseconds since 1970, are young.

        With 0, none is.
        """
        self._store = store
        self._issues = issues
        self._strays = strays
        self._settled_before = settled_before
        self._young_from = settled_before or sys.maxsize

    def prefixes(self) -> list[Prefix]:
        """List the directories of blobs. Raises StoreUnreadableError if that fails."""
        return sorted(
            (algorithm, prefix)
            for algorithm in self._subdirectories(BLOBS, _may_be_algorithm)
            for prefix in self._subdirectories(f"{BLOBS}/{algorithm}", _is_prefix)
        )

    def _subdirectories(self, path: str, accept: Callable[[str], bool]) -> list[str]:
        """List a main directory; count what does not belong there as stray."""
        found = []
        try:
            with open_directory(path, self._store) as parent, os.scandir(parent) as entries:
                for entry in entries:
                    if accept(entry.name) and is_directory(entry):
                        found.append(entry.name)
                    else:
                        self._strays.add_foreign(entry, parent, f"{path}/{entry.name}")
        except FileNotFoundError:
            return []  # nothing was pushed yet
        except OSError as error:
            message = f"cannot list {path}: {error.strerror}; {directory_remedy(error)}"
            raise StoreUnreadableError(message) from error
        return found

    def scan_prefix(
        self, prefix: Prefix, size_of: Callable[[Digest], int | None] = lambda _: None
    ) -> PrefixBlobs | None:
        """Measure the blobs of one directory; None if it could not be listed.

        Blobs whose size ``size_of`` returns are not measured.

        A digest's own directory is not opened, which would cost five times as much: one ``stat``
        of ``<hex>/data`` is enough.
        """
        algorithm, start = prefix
        path = f"{BLOBS}/{algorithm}/{start}"
        found = PrefixBlobs()
        has_foreign = False
        parse = parse_sha256 if algorithm == _USUAL_ALGORITHM else partial(_parse_other, algorithm)
        try:
            with open_directory(path, self._store) as parent, os.scandir(parent) as entries:
                found.stamp = settled_stamp(os.fstat(parent), self._settled_before)
                for entry in entries:
                    name = entry.name
                    digest = parse(name) if name.startswith(start) else None
                    if digest is None or not is_directory(entry):
                        found.is_plain = False
                        has_foreign |= is_directory(entry)
                        self._strays.add_foreign(entry, parent, f"{path}/{name}")
                        continue
                    size = size_of(digest)
                    if size is None:
                        self._measure(digest, name, parent, found, path)
                    else:
                        found.digests.append(digest)
                        found.sizes.append(size)
                if has_foreign:  # its maker may have been in the blobs' own directories too
                    for name in filter(parse, os.listdir(parent)):
                        self._strays.add_beside(DATA, name, parent, f"{path}/{name}")
        except GONE:
            return PrefixBlobs()
        except OSError as error:
            self._issues.add_unmeasured(error, path)
            return None
        found.is_plain &= algorithm == _USUAL_ALGORITHM
        self._note_unsupported(algorithm, found.digests)
        return found

    def stamp(self, prefix: Prefix) -> Stamp | None:
        """Return the stamp of one directory as it is now; None if it cannot be looked at."""
        return stamp_at(f"{BLOBS}/{'/'.join(prefix)}", self._store)

    def _note_unsupported(self, algorithm: str, digests: list[Digest]) -> None:
        """Record blobs whose digests the registry does not know: its collector refuses them."""
        if algorithm != _USUAL_ALGORITHM:  # its digests have been checked
            self._strays.misplaced += [
                Misplaced(f"{blob_directory(text)}/{DATA}")
                for text in map(format_digest, digests)
                if ALGORITHMS.get(algorithm) != len(text.partition(":")[2])
            ]

    def _measure(
        self, digest: Digest, name: str, parent: int, found: PrefixBlobs, path: str
    ) -> None:
        try:
            status = os.stat(f"{name}/{DATA}", dir_fd=parent, follow_symlinks=False)
        except GONE:
            found.is_plain = False
            # version 3 of the registry writes data.<uuid>.tmp first; a crash leaves that alone
            self._strays.add_beside(DATA, name, parent, f"{path}/{name}")
        except OSError as error:
            found.is_plain = False
            self._issues.add_unmeasured(error, f"{path}/{name}/{DATA}")
            found.unknown.append(digest)
        else:
            if stat.S_ISREG(status.st_mode):
                found.digests.append(digest)
                found.sizes.append(status.st_size)
                if status.st_mtime_ns >= self._young_from:
                    found.young.append(digest)
                return
            found.is_plain = False
            if stat.S_ISLNK(status.st_mode):
                link = OSError(errno.ELOOP, "not a regular file")
                self._issues.add_unmeasured(link, f"{path}/{name}/{DATA}")
            else:
                where = f"{path}/{name}/{DATA}"
                self._issues.add(IssueCause.IO_ERROR, where, "not a regular file", hides=False)

    def measure(self, digest: Digest) -> int:
        """Return the size in bytes of a blob that no scan of its directory saw.

        It was written since; or it is ABSENT, or UNKNOWN if it cannot be looked at.
        """
        directory = blob_directory(format_digest(digest))
        path = f"{directory}/{DATA}"
        try:
            refuse_symlink(directory, self._store)
            status = os.stat(path, dir_fd=self._store, follow_symlinks=False)
        except GONE:
            return ABSENT
        except OSError as error:
            self._issues.add_error(error, path)
            return UNKNOWN
        if not stat.S_ISREG(status.st_mode):
            self._issues.add(IssueCause.IO_ERROR, path, "not a regular file")
            return UNKNOWN
        return status.st_size

    def read_manifest(self, digest: Digest) -> ManifestBlob | None:
        """Read one manifest; None if the blob does not exist."""
        path = blob_data(digest)
        try:
            content, status = read_file(path, self._store, MAX_MANIFEST_BYTES)
        except GONE:
            return None
        except OSError as error:
            if error.errno in WRONG_KIND:
                detail = error.strerror or ""
                self._issues.add(IssueCause.UNREADABLE_MANIFEST, path, detail)
            else:
                self._issues.add_error(error, path)
            return ManifestBlob(None, None, is_damaged=error.errno in WRONG_KIND)
        try:
            parsed = parse_manifest(content)
        except ManifestUnreadableError as error:
            self._issues.add(IssueCause.UNREADABLE_MANIFEST, path, str(error))
            return ManifestBlob(status.st_size, None, is_damaged=True)
        if parsed.senseless is not None:
            detail = f"references {parsed.senseless[:80]!r}, which is not a digest"
            self._issues.add(IssueCause.UNREADABLE_MANIFEST, path, detail)
        return ManifestBlob(status.st_size, parsed)


def _parse_other(algorithm: str, hexadecimal: str) -> Digest | None:
    return parse_digest(f"{algorithm}:{hexadecimal}")


def prefix_of(digest: Digest) -> Prefix:
    """Return the directory that a blob is in."""
    algorithm, _, hexadecimal = format_digest(digest).partition(":")
    return algorithm, hexadecimal[:_PREFIX_LENGTH]


def _may_be_algorithm(name: str) -> bool:
    return is_algorithm(name) and not is_foreign(name)


def _is_prefix(name: str) -> bool:
    return len(name) == _PREFIX_LENGTH and _HEX.issuperset(name)
