"""The option ``--max-rate`` of commands that change a registry."""

import argparse

DEFAULT_RATE = 50
"""Requests per second."""

_MOST_DIGITS = 9


def add_max_rate(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument(
        "--max-rate",
        metavar="N",
        type=_parse_rate,
        default=DEFAULT_RATE,
        help=f"send at most N requests a second (default: {DEFAULT_RATE})",
    )


def _parse_rate(text: str) -> int:
    rate = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    if not rate:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests; give e.g. 50")
    return rate
