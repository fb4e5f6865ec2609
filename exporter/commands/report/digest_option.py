"""The option ``--digest``: the one blob that it names, or why it names none."""

from exporter.domain.digests import BlobNumber, DigestTable
from exporter.domain.errors import BlobUnknownError, ConfigurationError
from exporter.views.digest_search import PREFIX_FORM, find_blobs, parse_prefix

_CANDIDATES_SHOWN = 20


def check_prefix(text: str) -> str:
    """Return the beginning of a digest, in lower case. Raises ConfigurationError."""
    prefix = parse_prefix(text)
    if prefix is None:
        raise ConfigurationError([f"--digest {text!r}: not a digest; give {PREFIX_FORM}"])
    return prefix


def find_blob(digests: DigestTable, prefix: str) -> BlobNumber:
    """Return the only digest that begins with ``prefix``.

    Raises BlobUnknownError if there is none, ConfigurationError with the candidates if there are
    several.
    """
    found = find_blobs(digests, prefix)
    if not found:
        message = f"--digest {prefix}: nothing in the store has this digest or references it"
        raise BlobUnknownError(message)
    if len(found) > 1:
        raise ConfigurationError(_ambiguous(prefix, list(found)))
    return next(iter(found.values()))


def _ambiguous(prefix: str, candidates: list[str]) -> list[str]:
    lines = [f"--digest {prefix}: {len(candidates)} digests begin with it; give more digits:"]
    lines += candidates[:_CANDIDATES_SHOWN]
    more = len(candidates) - _CANDIDATES_SHOWN
    return [*lines, f"and {more} more"] if more > 0 else lines
