"""Regular expressions that names are chosen by: read once, refused where matching may never end.

Python's matcher tries every way to divide a name among the repetitions of a pattern, and lets
nothing else in the process run meanwhile: ``(a+)+b`` and 40 letters keep it busy for hours. Names
have up to 255 characters, and whoever may push chooses them.
"""

import re

# Pieces of a pattern that is known to be valid.
_PIECE = re.compile(
    r"""
      \\.                                      # an escaped character
    | \[ \^? \]? (?: \\. | [^\]\\] )*+ \]       # a set of characters
    | \(\?\# [^)]* \)                          # a comment
    | \(\?> | [()]
    | (?: [*+] | \{ \d* , \d* \} ) [?+]?       # a repetition
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_REPETITION = re.compile(r"(?:[*+]|\{\d*,\d*\})\??")
"""One that tries several numbers: a possessive one takes what it can and tries no other."""

_ENDLESS = (
    "repeats a repetition, which may never end on a long name; "
    "make the inner one possessive, as in ([a-z]++/)*"
)


def parse_name_pattern(text: str) -> "re.Pattern[str]":
    """Read a regular expression. Raises ValueError, with what is wrong and the mend."""
    if not text:
        raise ValueError("is empty; write e.g. team/.*")
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}; write e.g. team/.*") from error
    if _repeats_a_repetition(text):
        raise ValueError(_ENDLESS)
    return pattern


def _repeats_a_repetition(text: str) -> bool:
    """Tell whether a group that can divide a name in several ways is itself repeated."""
    opened: list[str] = []
    holds = [False]  # of each open group, the whole first: whether there is a repetition in it
    ended_one = False
    for piece in _PIECE.findall(text):
        ends_one = False
        if piece in ("(", "(?>"):
            opened.append(piece)
            holds.append(False)
        elif piece == ")" and opened:
            # an atomic group keeps to the first way that it finds
            ends_one = holds.pop() & (opened.pop() == "(")
            holds[-1] |= ends_one
        elif _REPETITION.fullmatch(piece):
            if ended_one:
                return True
            holds[-1] = True
        ended_one = ends_one
    return False
