"""What a metric is, and what metrics are read from.

What is not known gives no sample: an absent series, never a made-up number.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from exporter.alert_thresholds import AlertThreshold
from exporter.snapshot import Snapshot

Sample = tuple[tuple[str, ...], float]
"""Label values, and the value."""


@dataclass(frozen=True, slots=True)
class Subject:
    """All that metrics are read from.

    Attributes:
        snapshot: what is known now.
        thresholds: of the alerts, from the configuration.
        storage_limit: a budget for the store in bytes; None without one.
        max_repositories: so many repositories get series of their own.

    """

    snapshot: Snapshot
    thresholds: tuple[AlertThreshold, ...] = ()
    storage_limit: int | None = None
    max_repositories: int = 1000


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: in full; a counter's ends in ``_total``.
        help: what it is, where it comes from, and how old it can be.
        read: gives its samples; none where it is not known.
        labels: names of its labels.
        kind: its type.

    """

    name: str
    help: str
    read: "Reader"
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


Reader = Callable[[Subject], Iterable[Sample]]
"""Reads the samples of one metric."""


def one(value: float | None) -> Iterator[Sample]:
    """Give one sample without labels, none where the value is not known."""
    if value is not None:
        yield (), value
