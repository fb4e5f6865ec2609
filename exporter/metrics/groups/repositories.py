"""Metrics of each repository that has series of its own."""

from collections.abc import Callable, Iterator

from exporter.domain.snapshot import RepositoryFigures
from exporter.metrics.groups.readers import FROM_SCAN
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group


def _per_repository(read: Callable[[RepositoryFigures], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        for repository in subject.repositories:
            value = read(repository)
            if value is not None:
                yield (repository.name,), value

    return samples


def _omitted(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None:
        yield (), len(store.figures.repositories) - len(subject.repositories)


GROUP = metric_group(
    "Repositories",
    (
        Metric(
            "docker_registry_repository_tags",
            "Tags of the repository on disk.",
            _per_repository(lambda repository: repository.tags),
            ("repository",),
        ),
        Metric(
            "docker_registry_repository_manifests",
            "Manifest revisions that the repository holds.",
            _per_repository(lambda repository: repository.manifests),
            ("repository",),
        ),
        Metric(
            "docker_registry_repository_untagged_manifests",
            "Manifest revisions that no tag of the repository reaches.",
            _per_repository(lambda repository: repository.untagged_manifests),
            ("repository",),
        ),
        Metric(
            "docker_registry_repository_referenced_bytes",
            "Bytes of the distinct blobs that the repository's manifests reference. A blob that "
            "several repositories share counts in each: the sum over-counts the disk.",
            _per_repository(lambda repository: repository.referenced_bytes),
            ("repository",),
        ),
        Metric(
            "docker_registry_repository_exclusive_bytes",
            "Bytes of the blobs that only this repository references: what deleting it and a run "
            "of the registry's garbage collector would free. The sum plus shared plus "
            "unreferenced bytes is all blobs, unless references may be hidden.",
            _per_repository(lambda repository: repository.exclusive_bytes),
            ("repository",),
        ),
        Metric(
            "docker_registry_repository_last_push_timestamp_seconds",
            "When a tag or manifest of the repository was last written.",
            _per_repository(lambda repository: repository.last_push_at),
            ("repository",),
        ),
        Metric(
            "docker_registry_repositories_omitted",
            "Repositories without series of their own: excluded by metrics.include-repositories "
            "or metrics.exclude-repositories, or beyond metrics.max-repositories, the smallest by "
            "referenced bytes. They count in all totals.",
            _omitted,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.store,),
    source=FROM_SCAN,
)
