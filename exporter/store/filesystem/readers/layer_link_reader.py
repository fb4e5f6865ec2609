"""Look at layer links: the files below ``_layers`` by which a repository serves a blob.

Without a usable link the registry does not serve a blob from this repository, although it is in
the store. One stat tells whether a link is there and has the size of its digest; only what a link
of another size holds is read.
"""

import errno
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.domain.digests import (
    BlobNumber,
    DigestTable,
    format_digest,
    is_sha256,
)
from exporter.domain.layer_links import LayerLinkFault
from exporter.domain.model import LAYERS, IssueCause
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    IssueLog,
    open_directory,
    read_file,
)
from exporter.store.format.layout import LINK, MAX_LINK_BYTES, REPOSITORIES, parse_link


@dataclass(slots=True)
class LayerLinks:
    """What the layer links of one repository look like.

    Attributes:
        looked_at: how many there were to look at.
        broken: blobs whose link is missing or is not one, with the fault.
        short: those of ``broken`` whose link may just be being written.
        unknown: blobs whose link could not be looked at.
        issues: the same, with the causes.

    """

    looked_at: int = 0
    broken: dict[BlobNumber, LayerLinkFault] = field(default_factory=dict)
    short: set[BlobNumber] = field(default_factory=set)
    unknown: set[BlobNumber] = field(default_factory=set)
    issues: IssueLog = field(default_factory=IssueLog)


def look_at_layer_links(
    store: int, repository: str, numbers: set[BlobNumber], digests: DigestTable
) -> LayerLinks:
    """Look at a repository's links to blobs, numbered in ``digests``.

    ``store`` is the version directory.
    """
    links = LayerLinks(len(numbers))
    path = f"{REPOSITORIES}/{repository}/{LAYERS}"
    try:
        with open_directory(path, store) as layers:
            for algorithm, blobs in _by_algorithm(numbers, digests).items():
                _look_below(links, layers, algorithm, blobs, f"{path}/{algorithm}")
    except GONE:
        pass  # removed meanwhile; the next scan finds a repository without it
    except OSError as error:
        links.issues.add_error(error, path, hides=False)
        links.unknown |= numbers
    return links


def _by_algorithm(
    numbers: Iterable[BlobNumber], digests: DigestTable
) -> Mapping[str, Sequence[tuple[BlobNumber, str]]]:
    """Return the blobs of each algorithm with their hexadecimal digits."""
    groups: dict[str, list[tuple[BlobNumber, str]]] = {}
    for number in numbers:
        digest = digests[number]
        if is_sha256(digest):  # nearly all are
            groups.setdefault("sha256", []).append((number, digest.hex()))
        else:
            algorithm, _, encoded = format_digest(digest).partition(":")
            groups.setdefault(algorithm, []).append((number, encoded))
    return groups


def _look_below(
    links: LayerLinks,
    layers: int,
    algorithm: str,
    blobs: Sequence[tuple[BlobNumber, str]],
    path: str,
) -> None:
    look_at, is_file = os.stat, stat.S_ISREG  # called a hundred thousand times
    try:
        with open_directory(algorithm, layers) as parent:
            for number, encoded in blobs:
                try:
                    status = look_at(f"{encoded}/{LINK}", dir_fd=parent, follow_symlinks=False)
                except OSError as error:
                    _note_error(links, error, number, f"{path}/{encoded}/{LINK}")
                    continue
                size = len(algorithm) + 1 + len(encoded)
                if status.st_size != size or not is_file(status.st_mode):
                    fault = _fault_of(f"{encoded}/{LINK}", parent)
                    _note_unusual(links, status, number, f"{path}/{encoded}/{LINK}", size, fault)
    except GONE:
        links.broken.update((number, LayerLinkFault.UNUSABLE) for number, _ in blobs)
    except OSError as error:
        links.issues.add_error(error, path, hides=False)
        links.unknown.update(number for number, _ in blobs)


def _note_error(links: LayerLinks, error: OSError, number: BlobNumber, path: str) -> None:
    if isinstance(error, GONE):
        links.broken[number] = LayerLinkFault.UNUSABLE
    else:
        links.issues.add_error(error, path, hides=False)
        links.unknown.add(number)


def _note_unusual(
    links: LayerLinks,
    status: os.stat_result,
    number: BlobNumber,
    path: str,
    size: int,
    fault: LayerLinkFault,
) -> None:
    if stat.S_ISLNK(status.st_mode):
        links.issues.add(IssueCause.SYMLINK, path, "a symbolic link; not followed", hides=False)
        links.unknown.add(number)
        return
    links.broken[number] = fault
    if stat.S_ISREG(status.st_mode) and status.st_size < size:
        links.short.add(number)


def _fault_of(name: str, parent: int) -> LayerLinkFault:
    """Return what is wrong with a link of an unusual size, from what it holds."""
    try:
        content, _ = read_file(name, parent, MAX_LINK_BYTES)
    except OSError as error:
        is_no_file = isinstance(error, GONE) or error.errno in {errno.EINVAL, errno.ELOOP}
        return LayerLinkFault.UNUSABLE if is_no_file else LayerLinkFault.NO_DIGEST
    holds_digest = parse_link(content) is not None
    return LayerLinkFault.UNUSABLE if holds_digest else LayerLinkFault.NO_DIGEST
