"""Readers that several groups share."""

from collections.abc import Callable, Iterator

from exporter.domain.snapshot import StoreFigures
from exporter.metrics.metric import Reader, Sample, Subject, one

FROM_SCAN = "From the last successful scan."


def of_store(read: Callable[[StoreFigures], float | None]) -> Reader:
    """Return a reader of one figure of the store."""

    def samples(subject: Subject) -> Iterator[Sample]:
        store = subject.snapshot.store
        return one(None if store is None else read(store.figures))

    return samples
