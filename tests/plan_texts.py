"""Plans as text, for comparison."""

import re

_MOMENTS = re.compile(r"as of [-\d: ]+ UTC|(?<=# Made: )\S+")


def without_moment(plan: str) -> str:
    """Return a plan without the time of the scan that it was made from."""
    return _MOMENTS.sub("", plan)
