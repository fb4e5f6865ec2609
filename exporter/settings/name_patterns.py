"""Regular expressions for names; patterns whose matching may never end are refused.

Python's matcher tries every way to divide a name among the repetitions of a pattern, and blocks the
whole process meanwhile: ``(a+)+b`` and 40 letters take hours. Names have up to 255 characters, and
anybody who may push chooses them.
"""

import re

# Parts of a valid pattern.
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
"""A repetition that backtracks: a possessive one does not."""

_ENDLESS = (
    "repeats a repetition, which may never end on a long name; "
    "make the inner one possessive, as in ([a-z]++/)*"
)


def parse_name_pattern(text: str) -> "re.Pattern[str]":
    """Parse a regular expression. Raises ValueError, with the problem and the remedy."""
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
    """Return whether a group that can match a name in several ways is itself repeated."""
    opened: list[str] = []
    holds = [False]  # for each open group, outermost first: whether it contains a repetition
    ended_one = False
    for piece in _PIECE.findall(text):
        ends_one = False
        if piece in ("(", "(?>"):
            opened.append(piece)
            holds.append(False)
        elif piece == ")" and opened:
            # an atomic group does not backtrack
            ends_one = holds.pop() & (opened.pop() == "(")
            holds[-1] |= ends_one
        elif _REPETITION.fullmatch(piece):
            if ended_one:
                return True
            holds[-1] = True
        ended_one = ends_one
    return False
