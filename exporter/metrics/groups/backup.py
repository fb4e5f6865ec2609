"""Metrics of the newest backup."""

from collections.abc import Iterator

from exporter.metrics.metric import Metric, Sample, Subject, metric_group, one


def _completed_at(subject: Subject) -> Iterator[Sample]:
    backup = subject.snapshot.backup
    return one(None if backup is None else backup.completed_at or 0.0)


def _bytes(subject: Subject) -> Iterator[Sample]:
    backup = subject.snapshot.backup
    return one(None if backup is None else backup.bytes)


GROUP = metric_group(
    "Backup",
    (
        Metric(
            "docker_registry_backup_last_success_timestamp_seconds",
            "When the newest backup of the whole store, with all its blobs, was complete; 0 if "
            "there is none in backup.dir. Absent if that is not configured, and until it could be "
            "read.",
            _completed_at,
        ),
        Metric(
            "docker_registry_backup_bytes",
            "Bytes of the blobs of that backup, manifests included; absent if there is none, and "
            "if backup.dir is the file of another tool.",
            _bytes,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.backup,),
    source="Read once per scan interval.",
)
