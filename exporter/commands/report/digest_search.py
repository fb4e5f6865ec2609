"""Find the one blob that a digest, or the beginning of a digest, names."""

import re

from exporter.domain.digests import BlobNumber, DigestTable, format_digest
from exporter.domain.errors import BlobUnknownError, ConfigurationError

_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[.+_-][a-z0-9]+)*:)?[0-9a-f]{6,}")
_CANDIDATES_SHOWN = 20


def parse_prefix(text: str) -> str:
    """Return the beginning of a digest, in lower case. Raises ConfigurationError."""
    prefix = text.strip().lower()
    if _PREFIX.fullmatch(prefix) is None:
        form = "sha256: and hexadecimal digits, or at least 6 of the digits alone"
        raise ConfigurationError([f"--digest {text!r}: not a digest; give {form}"])
    return prefix


def find_blob(digests: DigestTable, prefix: str) -> BlobNumber:
    """Return the only digest that begins with ``prefix``, with or without its algorithm.

    Raises BlobUnknownError if there is none, ConfigurationError with the candidates if there are
    several.
    """
    names_algorithm = ":" in prefix
    found = {
        text: number
        for number, text in enumerate(map(format_digest, digests))
        if (text if names_algorithm else text.partition(":")[2]).startswith(prefix)
    }
    if not found:
        message = f"--digest {prefix}: nothing in the store has this digest or references it"
        raise BlobUnknownError(message)
    if len(found) > 1:
        raise ConfigurationError(_ambiguous(prefix, sorted(found)))
    return next(iter(found.values()))


def _ambiguous(prefix: str, candidates: list[str]) -> list[str]:
    lines = [f"--digest {prefix}: {len(candidates)} digests begin with it; give more digits:"]
    lines += candidates[:_CANDIDATES_SHOWN]
    more = len(candidates) - _CANDIDATES_SHOWN
    return [*lines, f"and {more} more"] if more > 0 else lines
