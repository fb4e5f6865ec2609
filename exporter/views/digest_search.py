"""Find the blobs that a digest, or the beginning of a digest, names."""

import re
from collections.abc import Mapping

from exporter.domain.digests import BlobNumber, DigestTable, format_digest

_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[.+_-][a-z0-9]+)*:)?[0-9a-f]{6,}")

PREFIX_FORM = "sha256: and hexadecimal digits, or at least 6 of the digits alone"
"""What :func:`parse_prefix` accepts, for messages."""


def parse_prefix(text: str) -> str | None:
    """Return the beginning of a digest, in lower case; None if it is not one."""
    prefix = text.strip().lower()
    return prefix if _PREFIX.fullmatch(prefix) else None


def find_blobs(digests: DigestTable, prefix: str) -> Mapping[str, BlobNumber]:
    """Return all digests that begin with ``prefix``, with or without their algorithm, sorted."""
    names_algorithm = ":" in prefix
    found = {
        text: number
        for number, text in enumerate(map(format_digest, digests))
        if (text if names_algorithm else text.partition(":")[2]).startswith(prefix)
    }
    return dict(sorted(found.items()))
