"""When the filesystem is full, by the rule of the alert StorageFillingUp. Pure.

The rule is ``instance:docker_registry_filesystem_avail_bytes:secondstofull`` in
``alerts/registry-storage.rules.yml``, where its numbers are explained.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import linear_regression

_MINUTE = 60
_HOUR = 3600
_LOOKBACK = 5 * _MINUTE
"""For how long Prometheus uses the last sample as the value of now."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was available at one moment.

    Attributes:
        at: Unix seconds.
        avail_bytes: on the filesystem.

    """

    at: float
    avail_bytes: int


@dataclass(frozen=True, slots=True)
class _Evidence:
    """For how long a disk must have been filling, if it will be full soon.

    Attributes:
        part: seconds of each part of that time; the disk fills as fast as in the slowest.
        offsets: by how many seconds each part ends before now.
        required: the offset of the part without which nothing is known.
        within: it is enough if the disk would be full within so many seconds.

    """

    part: float
    offsets: tuple[float, ...]
    required: float
    within: float


_RULES = (
    _Evidence(75 * _MINUTE, (0, 60 * _MINUTE), 60 * _MINUTE, 3 * _HOUR),
    _Evidence(31 * _MINUTE, (0, 30 * _MINUTE, 60 * _MINUTE), 60 * _MINUTE, 6 * _HOUR),
    _Evidence(
        105 * _MINUTE,
        (0, 85 * _MINUTE, 170 * _MINUTE, 255 * _MINUTE),
        85 * _MINUTE,
        math.inf,
    ),
)
WINDOW_SECONDS = max(rule.part + offset for rule in _RULES for offset in rule.offsets)
"""Older samples count for nothing."""


def seconds_until_full(samples: Sequence[Sample], now: float) -> float | None:
    """Return in how many seconds the filesystem is full.

    ``samples`` are in order of time. None if nothing fills it, or the samples are too few to know.
    """
    recent = [each for each in samples if now - _LOOKBACK < each.at <= now]
    if not recent:
        return None
    available = recent[-1].avail_bytes
    for rule in _RULES:
        slopes = dict(_slopes(samples, rule, now))
        if rule.required not in slopes:
            continue
        slowest = max(slopes.values())
        if slowest < 0 and available / -slowest < rule.within:
            return available / -slowest
    return None


def _slopes(
    samples: Sequence[Sample], rule: _Evidence, now: float
) -> Iterator[tuple[float, float]]:
    """Yield the offset of each part that has samples, and the change in bytes per second in it."""
    for offset in rule.offsets:
        end = now - offset
        part = [each for each in samples if end - rule.part <= each.at <= end]
        if len(part) > 1:
            yield offset, _slope(part)


def _slope(samples: Sequence[Sample]) -> float:
    values = [each.avail_bytes for each in samples]
    if min(values) == max(values):
        return 0.0  # exactly: a rounding error below 0 would fill the disk
    start = samples[0].at
    return linear_regression([each.at - start for each in samples], values).slope
