"""Metrics of what the last scan could not read."""

from collections.abc import Iterator

from exporter.metrics.groups.readers import FROM_SCAN, of_store
from exporter.metrics.metric import Metric, Sample, Subject, metric_group


def _scan_issues(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None:
        for cause, count in store.figures.issues.items():
            yield (cause,), count


GROUP = metric_group(
    "Scan findings",
    (
        Metric(
            "docker_registry_scan_complete",
            "1 if the last successful scan could read everything that it found, else 0: see "
            "docker_registry_scan_issues.",
            of_store(lambda store: store.complete),
        ),
        Metric(
            "docker_registry_scan_issues",
            "Parts of the store that could not be read as what they should be. invalid_link and "
            "bad_name were read and are not as the registry makes them: the scan is complete.",
            _scan_issues,
            ("cause",),
            source=FROM_SCAN,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.store,),
)
