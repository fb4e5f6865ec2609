"""Find the blobs that a digest, or the beginning of a digest, names."""

import re
from binascii import unhexlify
from collections.abc import Iterator, Mapping

from exporter.domain.digests import (
    BlobNumber,
    Digest,
    DigestTable,
    format_digest,
    is_sha256,
)

_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[.+_-][a-z0-9]+)*:)?[0-9a-f]{6,}")
_SHA256 = "sha256:"
_HEAD = 3
"""Bytes of a digest that are searched: what six digits stand for, the fewest to search for."""

PREFIX_FORM = "sha256: and hexadecimal digits, or at least 6 of the digits alone"
"""What :func:`parse_prefix` accepts, for messages."""


def parse_prefix(text: str) -> str | None:
    """Return the beginning of a digest, in lower case; None if it is not one."""
    prefix = text.strip().lower()
    return prefix if _PREFIX.fullmatch(prefix) else None


def find_blobs(digests: DigestTable, prefix: str) -> Mapping[str, BlobNumber]:
    """Return all digests that begin with ``prefix``, with or without their algorithm, sorted."""
    return DigestSearch(digests).find(prefix)


class DigestSearch:
    """Finds digests by their beginning again and again, each time in milliseconds of a million.

    The first bytes of all of them make one string, which is searched much faster than a list.
    """

    def __init__(self, digests: DigestTable) -> None:
        self._digests = digests
        self._heads = b"".join([digest[:_HEAD] for digest in digests])
        self._others = [digest for digest in digests if not is_sha256(digest)]

    def find(self, prefix: str) -> Mapping[str, BlobNumber]:
        """Return what :func:`find_blobs` does."""
        _, colon, encoded = prefix.rpartition(":")
        candidates = list(self._others)
        if not colon or prefix.startswith(_SHA256):
            candidates += self._beginning_with(unhexlify(encoded[: 2 * _HEAD]))
        found: dict[str, BlobNumber] = {}
        for digest in candidates:
            text, number = format_digest(digest), self._digests.find(digest)
            begins = (text if colon else text.partition(":")[2]).startswith(prefix)
            if begins and number is not None:
                found[text] = number
        return dict(sorted(found.items()))

    def _beginning_with(self, head: bytes) -> Iterator[Digest]:
        place = self._heads.find(head)
        while place >= 0:
            if place % _HEAD == 0:
                yield self._digests[place // _HEAD]
            place = self._heads.find(head, place + 1)
