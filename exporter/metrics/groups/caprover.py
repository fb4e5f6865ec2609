"""Metrics of CapRover's configuration."""

from collections.abc import Iterator

from exporter.domain.snapshot import PlatformStatus
from exporter.metrics.metric import Metric, Sample, Subject, metric_group, one

_NAME = "CapRover"


def _status(subject: Subject) -> PlatformStatus | None:
    platform = subject.snapshot.platform
    return None if platform is None or platform.name != _NAME else platform


def _up(subject: Subject) -> Iterator[Sample]:
    status = _status(subject)
    return one(None if status is None else status.failure is None)


def _apps(subject: Subject) -> Iterator[Sample]:
    status = _status(subject)
    images = None if status is None else status.images
    return one(None if images is None else len(images.apps))


GROUP = metric_group(
    "CapRover",
    (
        Metric(
            "docker_registry_caprover_up",
            "1 if CapRover's configuration (each of them, if several are configured) was read and "
            "lists apps, else 0: then the last good reading stays in use. Absent if "
            "caprover.config-dir is not configured.",
            _up,
            source="Read once per scan interval.",
        ),
        Metric(
            "docker_registry_caprover_apps",
            "Apps in CapRover's configuration, by distinct names in all of them if several are "
            "configured.",
            _apps,
            source="From the last good reading.",
        ),
    ),
    depends_on=lambda snapshot: (snapshot.platform,),
)
