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


_LEAF = re.compile(r"\{\d+\}[?+]?|" + _PIECE.pattern, _PIECE.flags)
_REPEATED = re.compile(r"(?:[*+]|\{\d*,?\d*\})[?+]?")
_REPEATS = 7
"""How much a repetition counts: it divides a name in as many ways as 2 ** 7 options."""

_MOST_WAYS = 3 * _REPEATS


def parse_foreign_pattern(text: str) -> "re.Pattern[str]":
    """Parse a regular expression of somebody who is not the operator.

    Refuses more than :func:`parse_name_pattern` does: every pattern whose matching takes longer
    than the third power of a name's length. Raises ValueError.
    """
    pattern = parse_name_pattern(text)
    if not (text.isascii() and text.isprintable()):
        raise ValueError("holds a character that no name has; write e.g. team/.*")
    if _ways(text) > _MOST_WAYS:
        raise ValueError(
            "is too complicated: it may repeat three things, or fewer and a few alternatives; make "
            "repetitions possessive, as in [^:]*+, or use the command plan"
        )
    return pattern


def _ways(text: str) -> float:
    """Return the logarithm of the number of ways in which a pattern can match a name."""
    pieces = _LEAF.findall(text)
    if _is_fancy(pieces):
        return float("inf")
    opened: list[str] = []
    chooses = [False]  # for each open group, outermost first
    ended, ways = False, 0.0
    for piece in pieces:
        weight, ends = 0, False
        if piece in ("(", "(?>"):
            opened.append(piece)
            chooses.append(False)
        elif piece == ")" and opened:
            ends = chooses.pop() & (opened.pop() == "(")
            chooses[-1] |= ends
        elif _REPEATED.fullmatch(piece):
            if ended and (len(piece) == 1 or not piece.endswith("+")):
                return float("inf")
            weight = _REPEATS if _REPETITION.fullmatch(piece) else 0
        elif piece in ("?", "|"):
            weight = 1
        ways += weight
        chooses[-1] |= bool(weight)
        ended = ends
    return ways


def _is_fancy(pieces: list[str]) -> bool:
    """Return whether there are references, assertions, names of groups or flags."""
    kinds = zip(pieces, pieces[1:], pieces[2:], strict=False)
    return any(piece[0] == "\\" and piece[1:].isdigit() for piece in pieces) or any(
        kind[:2] == ("(", "?") and kind[2] != ":" for kind in kinds
    )
