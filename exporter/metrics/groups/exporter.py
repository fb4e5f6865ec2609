"""Metrics of the configuration, and of how scanning goes."""

import platform
from collections.abc import Iterator

from exporter import __version__
from exporter.metrics.metric import Metric, Sample, Subject, metric_group, one

SECTION = "Exporter"


def _thresholds(subject: Subject) -> Iterator[Sample]:
    for threshold in subject.thresholds:
        yield (threshold.alert, threshold.severity), threshold.value


def _build_info(_: Subject) -> Iterator[Sample]:
    yield (__version__, platform.python_version()), 1


def _explorer_info(subject: Subject) -> Iterator[Sample]:
    if subject.explorer_url is not None:
        yield (subject.explorer_url,), 1


GROUP = metric_group(
    SECTION,
    (
        Metric(
            "docker_registry_storage_limit_bytes",
            "The configured budget for the store; absent without one.",
            lambda subject: one(subject.storage_limit),
        ),
        Metric(
            "docker_registry_alert_threshold",
            "The value that an alert rule compares with, from the configuration, in the unit of "
            "what the rule compares.",
            _thresholds,
            ("alert", "severity"),
        ),
        Metric(
            "docker_registry_scan_success",
            "1 if the last scan succeeded, else 0; absent before the first one has ended.",
            lambda subject: one(subject.snapshot.scan.succeeded),
        ),
        Metric(
            "docker_registry_scan_duration_seconds",
            "How long the last successful scan took, reading and analysing.",
            lambda subject: one(subject.snapshot.scan.duration_seconds),
        ),
        Metric(
            "docker_registry_scan_last_success_timestamp_seconds",
            "When the last successful scan ended: how old every value is that comes from it.",
            lambda subject: one(subject.snapshot.scan.last_success_at),
        ),
        Metric(
            "docker_registry_scans_total",
            "Scans that ended, successful or not.",
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
            "Always 1; the versions of the exporter and of Python.",
            _build_info,
            ("version", "python_version"),
        ),
        Metric(
            "docker_registry_explorer_info",
            "Always 1; the address of the pages for people, without a final slash, to which alerts "
            "and dashboards link. Absent without web.external-url, and without web.explorer.",
            _explorer_info,
            ("url",),
        ),
    ),
    depends_on=lambda snapshot: (snapshot.scan,),
)
