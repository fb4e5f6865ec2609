"""Metrics of the filesystem that holds the store."""

from collections.abc import Callable, Iterator

from exporter.domain.model import FilesystemUsage
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group, one


def _usage(read: Callable[[FilesystemUsage], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        usage = subject.snapshot.filesystem
        return one(None if usage is None else read(usage))

    return samples


GROUP = metric_group(
    "Filesystem",
    (
        Metric(
            "docker_registry_filesystem_size_bytes",
            "Size of the filesystem that holds the store.",
            _usage(lambda usage: usage.size_bytes),
        ),
        Metric(
            "docker_registry_filesystem_avail_bytes",
            "Bytes available to everybody but root on the filesystem that holds the store.",
            _usage(lambda usage: usage.avail_bytes),
        ),
        Metric(
            "docker_registry_filesystem_free_bytes",
            "Bytes available to root on the filesystem that holds the store.",
            _usage(lambda usage: usage.free_bytes),
        ),
        Metric(
            "docker_registry_filesystem_files",
            "Inodes of the filesystem that holds the store.",
            _usage(lambda usage: usage.files),
        ),
        Metric(
            "docker_registry_filesystem_files_free",
            "Free inodes of the filesystem that holds the store.",
            _usage(lambda usage: usage.files_free),
        ),
        Metric(
            "docker_registry_filesystem_readonly",
            "1 if the filesystem that holds the store is read-only as a whole. A read-only mount "
            "of it, such as the exporter's own, does not count.",
            _usage(lambda usage: usage.readonly),
            source="Read every 15 s; absent if unknown.",
        ),
    ),
    depends_on=lambda snapshot: (snapshot.filesystem,),
    source="Read every 15 s; absent while it hangs.",
)
