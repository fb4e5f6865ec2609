"""When a request is repeated, and after how long. Pure: clock and chance come as arguments."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

ATTEMPTS = 7
"""Attempts for one request; the pauses between them add up to about half a minute."""

ATTEMPTS_AFTER_500 = 4
"""The registry answers 500 also to content of a type that it does not know, again and again."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0
_LONGEST_WISH = 300.0
"""A registry that wants to be left alone for longer is not available."""

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501


def is_passing(status: int) -> bool:
    """Return whether an answer may be another one soon."""
    return status == _TOO_MANY_REQUESTS or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED)


def most_attempts(status: int) -> int:
    """Return how many attempts are made if this is the answer to the last one."""
    return ATTEMPTS_AFTER_500 if status == _SERVER_ERROR else ATTEMPTS


def pause_before(attempt: int, chance: float) -> float:
    """Return the seconds before the attempt with this number, the second one is 1.

    ``chance`` is from 0 to 1: it spreads the attempts of several clients.
    """
    longest: float = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
    return longest * (0.5 + chance / 2)


def wished_pause(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3); 0 without one.

    It holds seconds or a date; ``now`` is in Unix seconds.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            date = parsedate_to_datetime(text)
            seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_WISH)
