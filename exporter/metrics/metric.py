"""What a metric and a group of metrics are, and what metrics are read from.

Each metric is declared once, in its group under :mod:`exporter.metrics.groups`: the exposition and
the documentation follow from there. A value that is unknown has no sample: an absent series, never
a made-up number.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from exporter.domain.alert_threshold import AlertThreshold
from exporter.domain.snapshot import RepositoryFigures, Snapshot
from exporter.metrics.repository_selection import RepositorySelector

Sample = tuple[tuple[str, ...], float]
"""Label values, and the value."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that metrics are read from.

    Attributes:
        snapshot: what is known now.
        thresholds: those of the alerts, from the configuration.
        storage_limit: a budget for the store in bytes; None without one.
        selector: chooses the repositories that get series of their own.
        explorer_url: the address of the pages for people, without a final slash; None if it is
            not known, or if there are no such pages.

    """

    snapshot: Snapshot
    thresholds: tuple[AlertThreshold, ...] = ()
    storage_limit: int | None = None
    selector: RepositorySelector = field(default_factory=RepositorySelector)
    explorer_url: str | None = None

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
        meaning: what it is, in one or more sentences.
        read: returns its samples; none while it is unknown.
        labels: names of its labels.
        kind: its type.
        source: where the value comes from and how old it can be; empty for the group's.

    """

    name: str
    meaning: str
    read: "Reader"
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"
    source: str = ""

    @property
    def help(self) -> str:
        """The text of HELP: what it is, and where it comes from."""
        return f"{self.meaning} {self.source}".rstrip()


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Metrics that are rendered together, because they depend on the same parts of a snapshot.

    Attributes:
        section: title in the documentation.
        metrics: in the order of the exposition.
        depends_on: returns the parts of a snapshot that the metrics are read from; the group is
            rendered again when one of them is replaced.

    """

    section: str
    metrics: tuple[Metric, ...]
    depends_on: Callable[[Snapshot], tuple[object, ...]]


def metric_group(
    section: str,
    metrics: Iterable[Metric],
    *,
    depends_on: Callable[[Snapshot], tuple[object, ...]],
    source: str = "",
) -> MetricGroup:
    """Return a group; ``source`` is that of all its metrics that name none."""
    sourced = (replace(each, source=each.source or source) for each in metrics)
    return MetricGroup(section, tuple(sourced), depends_on)


Reader = Callable[[Subject], Iterable[Sample]]
"""Reads the samples of one metric."""


def one(value: float | None) -> Iterator[Sample]:
    """Yield one sample without labels; none if the value is unknown."""
    if value is not None:
        yield (), value
