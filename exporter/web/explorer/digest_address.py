"""The blob that an address names by its digest, or by the beginning of it."""

from collections.abc import Callable

from exporter.domain.digests import BlobNumber, format_digest, parse_digest
from exporter.domain.text import readable
from exporter.views.digest_search import PREFIX_FORM, parse_prefix
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import Redirect

_SHOWN = 20
_MOST_NAME = 150


def named_blob(question: Question, address: Callable[[str], str]) -> BlobNumber | Redirect:
    """Return the blob that the address names, or where its page is if it is only its beginning.

    ``address`` returns the address of a digest's page. Raises NothingThereError with the
    candidates, and NotReadYetError.
    """
    number = found_blob(question, address)
    digest = digest_of(question, number)
    return number if digest == question.place["digest"] else Redirect(address(digest))


def found_blob(question: Question, address: Callable[[str], str]) -> BlobNumber:
    """Return the blob that the address names or whose digest alone begins so; raises likewise."""
    text, digests = question.place["digest"], question.view.inventory.digests
    packed = parse_digest(text)
    number = None if packed is None else digests.find(packed)
    if number is not None:
        return number
    shown = readable(text, _MOST_NAME)
    prefix = parse_prefix(text)
    if prefix is None:
        raise NothingThereError(f"{shown} is no digest: give {PREFIX_FORM}")
    found = question.view.digest_search.find(prefix)
    if not found:
        raise NothingThereError(f"nothing in the store has or references the digest {shown}")
    if len(found) == 1:
        return next(iter(found.values()))
    raise NothingThereError(
        f"{len(found):,} digests begin with {shown}",
        {each: address(each) for each in list(found)[:_SHOWN]},
    )


def digest_of(question: Question, number: BlobNumber) -> str:
    """Return the digest of a blob as text."""
    return format_digest(question.view.inventory.digests[number])
