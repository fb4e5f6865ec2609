"""Metrics of the maintenance routine."""

from collections.abc import Iterator

from exporter.metrics.metric import Metric, Sample, Subject, metric_group, one


def _completed_at(subject: Subject) -> Iterator[Sample]:
    run = subject.snapshot.maintenance
    return one(None if run is None else run.completed_at or 0.0)


def _freed_bytes(subject: Subject) -> Iterator[Sample]:
    run = subject.snapshot.maintenance
    return one(None if run is None else run.freed_bytes)


GROUP = metric_group(
    "Maintenance",
    (
        Metric(
            "docker_registry_maintenance_last_success_timestamp_seconds",
            "When the maintenance routine last succeeded, as maintenance.result-file says; 0 if "
            "that file is not there. Absent if it is not configured, and until it could be read.",
            _completed_at,
        ),
        Metric(
            "docker_registry_maintenance_freed_bytes",
            "Bytes that the registry's garbage collector freed in that run; absent if there was "
            "none.",
            _freed_bytes,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.maintenance,),
    source="Read once per scan interval.",
)
