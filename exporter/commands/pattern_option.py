"""Options that are regular expressions."""

import argparse
import re


def parse_pattern(text: str) -> "re.Pattern[str]":
    """Return a regular expression. Raises ArgumentTypeError."""
    try:
        return re.compile(text)
    except re.error as error:
        message = f"{text!r} is not a regular expression: {error}"
        raise argparse.ArgumentTypeError(message) from error
