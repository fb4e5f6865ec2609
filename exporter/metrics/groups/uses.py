"""Metrics of what tags are used for, as the platform says."""

from collections.abc import Callable, Iterator

from exporter.domain.uses import UseTotal
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group

FROM_BOTH = "From the last successful scan and the platform's configuration as last read."


def _by_use(read: Callable[[UseTotal], float]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        uses = subject.snapshot.uses
        if uses is not None:
            for use, total in uses.totals.items():
                yield (use,), read(total)

    return samples


def _orphaned(subject: Subject) -> Iterator[Sample]:
    """Yield the orphaned repositories among those that have series of their own."""
    uses = subject.snapshot.uses
    if uses is not None:
        for repository in subject.repositories:
            if repository.name in uses.orphaned_repositories:
                yield (repository.name,), 1


def _missing_images(subject: Subject) -> Iterator[Sample]:
    uses = subject.snapshot.uses
    if uses is not None:
        for use, count in uses.missing_images.items():
            yield (use,), count


GROUP = metric_group(
    "Uses of images",
    (
        Metric(
            "docker_registry_use_bytes",
            "Bytes of the blobs that tags reach, by what the platform's apps use the tags for; "
            "signatures and the like count as their image; each blob once, for the strongest of "
            "running, rollback, unmanaged, superseded, orphaned; they add up to the tagged bytes.",
            _by_use(lambda total: total.bytes),
            ("use",),
        ),
        Metric(
            "docker_registry_use_tags",
            "Tags by what the platform's apps use them for; a tag that was pushed after the "
            "configuration was read, and that no app named then, counts as unmanaged. The tag of a "
            "signature or the like counts as its image, if that is there.",
            _by_use(lambda total: total.tags),
            ("use",),
        ),
        Metric(
            "docker_registry_repository_orphaned",
            "1 for each repository of an app that the configured platform does not know. Something "
            "else may still pull from it.",
            _orphaned,
            ("repository",),
        ),
        Metric(
            "docker_registry_missing_images",
            "Images of this registry that apps run or can be rolled back to, and that are not on "
            "disk or not whole.",
            _missing_images,
            ("use",),
        ),
    ),
    depends_on=lambda snapshot: (snapshot.store, snapshot.platform, snapshot.uses),
    source=FROM_BOTH,
)
