"""Pages of a list, by cursors that stay right while the list changes."""

import base64
import binascii
import operator
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from exporter.web.api.endpoint import Number, Text
from exporter.web.explorer.parameters import BadParameterError

Item = TypeVar("Item")
Key = tuple[float, str]
"""What a list is sorted by: a number, then a name that no other item has."""

CURSOR = Text("cursor", "`next` of the page before; without it, the first page")
LIMIT = Number("limit", "how many at most", 100, 1, 1000)


def page_after(
    items: Sequence[Item],
    key: Callable[[Item], Key],
    cursor: str,
    limit: int,
    *,
    is_reversed: bool = False,
) -> tuple[Sequence[Item], str | None]:
    """Return the items after a cursor, and the cursor of the page after them; None at the end.

    ``items`` are sorted by ``key``, in descending order if ``is_reversed``. A cursor holds the key
    of the last item of its page: items that come or go meanwhile move no other item to another
    page. Raises BadParameterError.
    """
    if cursor:
        last = _parse(cursor)
        after = operator.lt if is_reversed else operator.gt
        items = [each for each in items if after(key(each), last)]
    page = items[:limit]
    following = _write(key(page[-1])) if len(items) > limit else None
    return page, following


def _write(key: Key) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _parse(cursor: str) -> Key:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(packed, type=tuple[float, str])
    except (binascii.Error, UnicodeError, msgspec.MsgspecError, ValueError) as error:
        raise BadParameterError("cursor is not one that this API has returned") from error
