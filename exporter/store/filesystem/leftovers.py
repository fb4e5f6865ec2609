"""Find what lies beside a blob's ``data`` and a link's ``link``, where no scan looks.

A crash leaves half-written files there, and other programs leave directories. On the way, layer
links are read, of which a scan sees only the size.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from exporter.domain.digests import Digest, format_digest, parse_digest
from exporter.domain.model import LAYERS, MANIFESTS, TAGS_DIRECTORY
from exporter.domain.text import printable
from exporter.store.filesystem.readers.link_reader import LinkReader
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    IssueLog,
    is_directory,
    open_directory,
)
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.format.layout import (
    BLOBS,
    DATA,
    LINK,
    REPOSITORIES,
    REVISIONS,
    blob_directory,
)
from exporter.store.port import Leftover, WrongLink

_ReadLink = Callable[[int, str], WrongLink | None]

_DIGEST = 2
"""Directories down to a link of a digest: algorithm, and the digest itself."""
_BLOB = 3
"""Directories down to a blob: algorithm, prefix, and the digest itself."""


def find_leftovers(
    store: int, repositories: Iterable[str], digests: Iterable[Digest] | None
) -> Iterator[Leftover | WrongLink | None]:
    """Yield what is beside the links of repositories, and beside ``digests`` or all blobs.

    Also yield layer links that do not hold their digest. ``store`` is the version directory. A
    directory that cannot be listed is yielded with the problem. None is yielded for each directory
    that was searched.
    """
    if digests is None:
        yield from _search(store, BLOBS, _BLOB, DATA)
    else:
        for digest in digests:
            yield from _search(store, blob_directory(format_digest(digest)), 0, DATA)
    for name in repositories:
        here = f"{REPOSITORIES}/{name}"
        tags = f"{here}/{TAGS_DIRECTORY}"
        read = partial(_wrong_link, name, LinkReader())
        yield from _search(store, f"{here}/{LAYERS}", _DIGEST, LINK, read)
        yield from _search(store, f"{here}/{MANIFESTS}/{REVISIONS}", _DIGEST, LINK)
        for tag in _names(store, tags):
            yield from _search(store, f"{tags}/{tag}/current", 0, LINK)
            yield from _search(store, f"{tags}/{tag}/index", _DIGEST, LINK)


def _search(
    store: int, path: str, depth: int, file: str, read: _ReadLink = lambda *_: None
) -> Iterator[Leftover | WrongLink | None]:
    """Yield what is beside ``file`` in the directories ``depth`` below ``path``.

    ``read`` is called with each of these directories, open, and its path.
    """
    try:
        with open_directory(path, store) as directory, os.scandir(directory) as entries:
            if depth == 0:
                for entry in entries:
                    if entry.name != file:
                        yield _leftover(entry, directory, f"{path}/{entry.name}")
                yield read(directory, path)
                return
            below = [entry.name for entry in entries if is_directory(entry)]
    except GONE:
        return
    except OSError as error:
        yield Leftover(printable(path), problem=error.strerror or str(error))
        return
    for name in sorted(below):
        yield from _search(store, f"{path}/{name}", depth - 1, file, read)


def _wrong_link(repository: str, links: LinkReader, directory: int, path: str) -> WrongLink | None:
    """Return the link in a directory if it does not hold the digest in the directory's name."""
    algorithm, encoded = path.split("/")[-2:]
    digest = parse_digest(f"{algorithm}:{encoded}")
    where = f"{path}/{LINK}"
    try:
        link, _ = links.read(LINK, directory, where)
    except OSError as error:
        if error.errno not in WRONG_KIND:
            return None  # deleted, or unreadable, which the scan has reported if a tag needs it
        link = b""
    if digest is None or link == format_digest(digest).encode():
        return None
    return WrongLink(repository, digest, printable(where))


def _names(store: int, path: str) -> list[str]:
    """List the directories of a directory; none if a scan could not list it either."""
    try:
        with open_directory(path, store) as directory, os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if is_directory(entry))
    except OSError:
        return []


def _leftover(entry: "os.DirEntry[str]", parent: int, path: str) -> Leftover | None:
    """Return one leftover; None if it is gone: a push renames its temporary file."""
    strays = StrayCounter(IssueLog())
    strays.add(entry.name, parent, path)
    total = strays.total()
    if not total.files and entry.is_file(follow_symlinks=False):
        return None
    stops = bool(strays.links) or any(each.copy_of is None for each in strays.misplaced)
    return Leftover(printable(path), total.files, total.bytes, stops_collector=stops)
