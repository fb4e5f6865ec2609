"""Metrics of what the store takes on its disk, from a census."""

from collections.abc import Callable, Iterator

from exporter.domain.census import DiskUse
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group, one


def _by_kind(read: Callable[[DiskUse], int]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        census = subject.snapshot.census
        if census is not None:
            for kind, use in census.kinds.items():
                yield (kind,), read(use)

    return samples


def _taken_at(subject: Subject) -> Iterator[Sample]:
    census = subject.snapshot.census
    return one(None if census is None else census.taken_at)


GROUP = metric_group(
    "Disk",
    (
        Metric(
            "docker_registry_disk_allocated_bytes",
            "Bytes that the filesystem allocates for everything below the registry's root "
            "directory, by kind; a link of 71 bytes takes a whole block. The sum is that of du.",
            _by_kind(lambda use: use.allocated_bytes),
            ("kind",),
        ),
        Metric(
            "docker_registry_disk_inodes",
            "Files and directories below the registry's root directory, by kind.",
            _by_kind(lambda use: use.inodes),
            ("kind",),
        ),
        Metric(
            "docker_registry_disk_census_timestamp_seconds",
            "When the last census of the disk ended.",
            _taken_at,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.census,),
    source="From the last census, once a day by default; absent before the first one.",
)
