"""A custom collector: fresh metric families from a subject, on every call."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from exporter.metrics.metric import Metric, Subject

Family = CounterMetricFamily | GaugeMetricFamily


class SubjectCollector(Collector):
    """Collects the families of ``metrics`` from ``subject``.

    ::

        # HELP docker_registry_blob_bytes Bytes of the blobs on disk, ...
        # TYPE docker_registry_blob_bytes gauge
        docker_registry_blob_bytes{state="tagged"} 4096.0
    """

    def __init__(self, metrics: Sequence[Metric], subject: Subject) -> None:
        self._metrics = metrics
        self._subject = subject

    def describe(self) -> Iterator[Family]:
        """Return all families without samples."""
        return (_family(metric) for metric in self._metrics)

    def collect(self) -> Iterator[Family]:
        """Yield the families that have samples.

        Raises ValueError on a wrong number of labels or a series that occurs twice: the client
        library silently drops surplus labels and writes duplicates.
        """
        for metric in self._metrics:
            family = _family(metric)
            seen = set()
            for labels, value in metric.read(self._subject):
                if len(labels) != len(metric.labels):
                    raise ValueError(f"{metric.name}: labels {labels} for {metric.labels}")
                if labels in seen:
                    raise ValueError(f"{metric.name}: {labels} occurs twice")
                seen.add(labels)
                family.add_metric(labels, float(value))
            if seen:
                yield family


def _family(metric: Metric) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=metric.labels)
