"""Text that is safe to show, and short enough."""

from collections.abc import Sequence

_NAMED = 3


def printable(path: str) -> str:
    """Make a path safe for logs and terminals: what is not printable ASCII is escaped."""
    return "".join(
        character if character.isprintable() and character.isascii() else _escape(character)
        for character in path
    )


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def readable(text: str, most: int) -> str:
    """Return a text for people, cut after ``most`` characters.

    Characters that show nothing, or change the direction of others, are escaped; letters of all
    languages stay.
    """
    cut = text[:most]
    shown = "".join(each if each.isprintable() else _escape(each) for each in cut)
    return f"{shown}\N{HORIZONTAL ELLIPSIS}" if len(text) > most else shown


def first_of(names: Sequence[str]) -> str:
    """Return some names and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return a number with its noun: ``1 tag``, ``2,000 tags``."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
