"""What a metric is, and what metrics are read from.

What is not known gives no sample: an absent series, never a made-up number.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from exporter.domain.alert_threshold import AlertThreshold
from exporter.domain.snapshot import RepositoryFigures, Snapshot
from exporter.metrics.repository_selection import RepositorySelector

Sample = tuple[tuple[str, ...], float]
"""Label values, and the value."""


@dataclass(frozen=True, slots=True)
class Subject:
    """All that metrics are read from.

    Attributes:
        snapshot: what is known now.
        thresholds: of the alerts, from the configuration.
        storage_limit: a budget for the store in bytes; None without one.
        selector: chooses the repositories that get series of their own.

    """

    snapshot: Snapshot
    thresholds: tuple[AlertThreshold, ...] = ()
    storage_limit: int | None = None
    selector: RepositorySelector = field(default_factory=RepositorySelector)

    @property
    def repositories(self) -> tuple[RepositoryFigures, ...]:
        """The repositories that have series of their own, largest first; none before a scan."""
        store = self.snapshot.store
        return () if store is None else self.selector.choose(store.figures)


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
