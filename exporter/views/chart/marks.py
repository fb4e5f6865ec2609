"""Round values for the axes of a chart. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

_MOST_SIZES = 5
_UNIT = 1024
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_STEPS = (
    *(each * _MINUTE for each in (5, 15, 30)),
    *(each * _HOUR for each in (1, 2, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 7, 14)),
)
_MONTHS = (1, 2, 3, 6, 12)
_MONTHS_OF_A_YEAR = 12
_MONTH = 31 * _DAY
_MONDAY = 4 * _DAY
"""The first Monday of Unix time."""


def round_sizes(most: int) -> list[int]:
    """Return round sizes from 0 to the first that is not below ``most``, a few of them."""
    most = max(most, 1)
    unit = 1
    while most > _STEPS[-1] * unit * _MOST_SIZES:
        unit *= _UNIT
    step = next(
        (each * unit for each in _STEPS if most <= each * unit * _MOST_SIZES), _STEPS[-1] * unit
    )
    return list(range(0, most + step, step))


def round_numbers(count: int) -> list[int]:
    """Return some numbers from 1 to ``count``: 1, and multiples of a round number."""
    every = next(step for step in _STEPS if count / step <= 2 * _MOST_SIZES)
    return sorted({1, *range(every, count + 1, every)} - ({2} if every > 1 else set()))


def round_moments(start: int, end: int, most: int) -> list[int]:
    """Return about ``most`` moments between two, Unix seconds: round hours, days or months (UTC).

    Whole weeks begin on Mondays.
    """
    fitting = (each for each in _TIME_STEPS if end - start <= each * most)
    step = next(fitting, None)
    if step is None:
        return list(_months(start, end, most))
    origin = _MONDAY if step % (7 * _DAY) == 0 else 0
    first = start + (origin - start) % step
    return list(range(first, end + 1, step))


def _months(start: int, end: int, most: int) -> Iterator[int]:
    every = next((each for each in _MONTHS if end - start <= each * _MONTH * most), _MONTHS[-1])
    first = datetime.fromtimestamp(start, UTC)
    month = first.year * _MONTHS_OF_A_YEAR + first.month - 1
    month -= month % every
    at = 0
    while at <= end:
        year, index = divmod(month, _MONTHS_OF_A_YEAR)
        at = int(datetime(year, index + 1, 1, tzinfo=UTC).timestamp())
        if start <= at <= end:
            yield at
        month += every
