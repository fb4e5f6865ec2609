"""Metrics of the filesystem, of the configuration, and of how scanning goes."""

import platform
from collections.abc import Callable, Iterator

from exporter import __version__
from exporter.domain.model import FilesystemUsage
from exporter.metrics.metric import Metric, Reader, Sample, Subject, one


def _filesystem(read: Callable[[FilesystemUsage], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        filesystem = subject.snapshot.filesystem
        return one(None if filesystem is None else read(filesystem))

    return samples


def _thresholds(subject: Subject) -> Iterator[Sample]:
    for threshold in subject.thresholds:
        yield (threshold.alert, threshold.severity), threshold.value


def _build_info(_: Subject) -> Iterator[Sample]:
    yield (__version__, platform.python_version()), 1


FILESYSTEM_METRICS = (
    Metric(
        "docker_registry_filesystem_size_bytes",
        "Size of the filesystem that holds the store. Read every 15 s; absent while it hangs.",
        _filesystem(lambda usage: usage.size_bytes),
    ),
    Metric(
        "docker_registry_filesystem_avail_bytes",
        "Bytes available to everybody but root on the filesystem that holds the store. Read "
        "every 15 s; absent while it hangs.",
        _filesystem(lambda usage: usage.avail_bytes),
    ),
    Metric(
        "docker_registry_filesystem_free_bytes",
        "Bytes available to root on the filesystem that holds the store. Read every 15 s; absent "
        "while it hangs.",
        _filesystem(lambda usage: usage.free_bytes),
    ),
    Metric(
        "docker_registry_filesystem_files",
        "Inodes of the filesystem that holds the store. Read every 15 s; absent while it hangs.",
        _filesystem(lambda usage: usage.files),
    ),
    Metric(
        "docker_registry_filesystem_files_free",
        "Free inodes of the filesystem that holds the store. Read every 15 s; absent while it "
        "hangs.",
        _filesystem(lambda usage: usage.files_free),
    ),
    Metric(
        "docker_registry_filesystem_readonly",
        "1 where the filesystem that holds the store is read-only as a whole. A read-only mount "
        "of it, such as the exporter's own, does not count. Read every 15 s; absent where it "
        "cannot be told.",
        _filesystem(lambda usage: usage.readonly),
    ),
)
EXPORTER_METRICS = (
    Metric(
        "docker_registry_storage_limit_bytes",
        "The configured budget for the store; absent without one.",
        lambda subject: one(subject.storage_limit),
    ),
    Metric(
        "docker_registry_alert_threshold",
        "What the alert rules compare with, from the configuration, in the unit of what each "
        "compares.",
        _thresholds,
        ("alert", "severity"),
    ),
    Metric(
        "docker_registry_scan_success",
        "1 where the last scan succeeded, else 0; absent before the first one has ended.",
        lambda subject: one(subject.snapshot.scan.succeeded),
    ),
    Metric(
        "docker_registry_scan_duration_seconds",
        "How long the last successful scan took, reading and analysing.",
        lambda subject: one(subject.snapshot.scan.duration_seconds),
    ),
    Metric(
        "docker_registry_scan_last_success_timestamp_seconds",
        "When the last successful scan ended: how old all that says 'from the last successful "
        "scan' is.",
        lambda subject: one(subject.snapshot.scan.last_success_at),
    ),
    Metric(
        "docker_registry_scans_total",
        "Scans that ended, in whatever way.",
        lambda subject: one(subject.snapshot.scan.scans),
        kind="counter",
    ),
    Metric(
        "docker_registry_scan_failures_total",
        "Scans that failed.",
        lambda subject: one(subject.snapshot.scan.failures),
        kind="counter",
    ),
    Metric(
        "docker_registry_exporter_build_info",
        "Always 1; the exporter's version and that of Python.",
        _build_info,
        ("version", "python_version"),
    ),
)
