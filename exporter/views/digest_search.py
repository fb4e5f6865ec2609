"""Find the blobs that a digest, or the beginning of a digest, names."""

import re
from binascii import unhexlify
from collections.abc import Iterable, Mapping

from exporter.domain.digests import (
    SHA256_BYTES,
    BlobNumber,
    Digest,
    DigestTable,
    format_digest,
    is_sha256,
)

_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[.+_-][a-z0-9]+)*:)?[0-9a-f]{6,}")
_SHA256 = "sha256:"

PREFIX_FORM = "sha256: and hexadecimal digits, or at least 6 of the digits alone"
"""What :func:`parse_prefix` accepts, for messages."""


def parse_prefix(text: str) -> str | None:
    """Return the beginning of a digest, in lower case; None if it is not one."""
    prefix = text.strip().lower()
    return prefix if _PREFIX.fullmatch(prefix) else None


def find_blobs(digests: DigestTable, prefix: str) -> Mapping[str, BlobNumber]:
    """Return all digests that begin with ``prefix``, with or without their algorithm, sorted."""
    _, colon, encoded = prefix.rpartition(":")
    found: dict[str, BlobNumber] = {}
    for digest in _candidates(digests, prefix, encoded):
        text, number = format_digest(digest), digests.find(digest)
        begins = (text if colon else text.partition(":")[2]).startswith(prefix)
        if begins and number is not None:
            found[text] = number
    return dict(sorted(found.items()))


def _candidates(digests: DigestTable, prefix: str, encoded: str) -> Iterable[Digest]:
    """Return digests that may match: compared packed, because a store may have a million."""
    if ":" in prefix and not prefix.startswith(_SHA256):
        return [each for each in digests if not is_sha256(each)]
    packed = unhexlify(encoded[: len(encoded) // 2 * 2])
    length = len(packed)
    if ":" in prefix:
        return [each for each in digests if each[:length] == packed]
    return [each for each in digests if each[:length] == packed or len(each) != SHA256_BYTES]
