"""Types of options that several commands have: from an argument to a value, or its error."""

import argparse
import re

_MOST_DIGITS = 9


def pattern(text: str) -> "re.Pattern[str]":
    """Read a regular expression. Raises ArgumentTypeError."""
    try:
        return re.compile(text)
    except re.error as error:
        message = f"{text!r} is not a regular expression: {error}"
        raise argparse.ArgumentTypeError(message) from error


def request_rate(text: str) -> int:
    """Read a number of requests per second. Raises ArgumentTypeError."""
    rate = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    if not rate:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests; give e.g. 50")
    return rate
