"""Metrics of the store and of its repositories: all of one scan."""

from collections.abc import Callable, Iterator

from exporter.domain.snapshot import BlobState, RepositoryFigures, StoreFigures
from exporter.metrics.metric import Metric, Reader, Sample, Subject, one


def _store(read: Callable[[StoreFigures], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        store = subject.snapshot.store
        return one(None if store is None else read(store.figures))

    return samples


def _by_state(read: Callable[[StoreFigures, BlobState], float]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        store = subject.snapshot.store
        if store is not None:
            for state in BlobState:
                yield (state,), read(store.figures, state)

    return samples


def _manifests(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None:
        repositories = store.figures.repositories
        untagged = sum(each.untagged_manifests for each in repositories)
        yield (BlobState.TAGGED,), sum(each.manifests for each in repositories) - untagged
        yield (BlobState.UNTAGGED,), untagged


def _scan_issues(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None:
        for cause, count in store.figures.issues.items():
            yield (cause,), count


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


_FROM_SCAN = "From the last successful scan."

STORE_METRICS = (
    Metric(
        "docker_registry_blobs",
        "Blobs on disk, each once, by what they are there for; the states add up to all blobs. "
        f"{_FROM_SCAN}",
        _by_state(lambda store, state: store.blobs[state].blobs),
        ("state",),
    ),
    Metric(
        "docker_registry_blob_bytes",
        "Bytes of the blobs on disk, each once, by what they are there for; the states add up to "
        f"all blobs. {_FROM_SCAN}",
        _by_state(lambda store, state: store.blobs[state].bytes),
        ("state",),
    ),
    Metric(
        "docker_registry_logical_bytes",
        f"What all tags would take if nothing were shared between them. {_FROM_SCAN}",
        _store(lambda store: store.logical_bytes),
    ),
    Metric(
        "docker_registry_shared_blob_bytes",
        f"Bytes of blobs that two or more repositories reference. {_FROM_SCAN}",
        _store(lambda store: store.shared_bytes),
    ),
    Metric(
        "docker_registry_manifests",
        "Manifest revisions, counted per repository, by whether a tag of that repository reaches "
        f"them. {_FROM_SCAN}",
        _manifests,
        ("state",),
    ),
    Metric(
        "docker_registry_repositories",
        f"Repositories on disk, with or without tags. {_FROM_SCAN}",
        _store(lambda store: len(store.repositories)),
    ),
    Metric(
        "docker_registry_empty_repositories",
        f"Repositories without a tag. {_FROM_SCAN}",
        _store(lambda store: sum(each.tags == 0 for each in store.repositories)),
    ),
    Metric(
        "docker_registry_tags",
        f"Tags of all repositories. {_FROM_SCAN}",
        _store(lambda store: sum(each.tags for each in store.repositories)),
    ),
    Metric(
        "docker_registry_uploads",
        f"Unfinished uploads. {_FROM_SCAN}",
        _store(lambda store: store.uploads.uploads),
    ),
    Metric(
        "docker_registry_upload_bytes",
        f"Bytes received by unfinished uploads. {_FROM_SCAN}",
        _store(lambda store: store.uploads.bytes),
    ),
    Metric(
        "docker_registry_unpurgeable_uploads",
        "Unfinished uploads that the registry's own purging never removes, because they have no "
        f"readable start time or no proper identifier. {_FROM_SCAN}",
        _store(lambda store: store.uploads.unpurgeable),
    ),
    Metric(
        "docker_registry_upload_oldest_start_timestamp_seconds",
        "When the oldest unfinished upload began; absent when there is none. Where the registry "
        f"wrote no start time, its oldest modification time. {_FROM_SCAN}",
        _store(lambda store: store.uploads.oldest_start_at),
    ),
    Metric(
        "docker_registry_stray_files",
        "Files that are no part of the registry's layout. Not looked for beside a blob's data "
        f"or a link's file. {_FROM_SCAN}",
        _store(lambda store: store.strays.files),
    ),
    Metric(
        "docker_registry_stray_bytes",
        f"Bytes of the files that are no part of the registry's layout. {_FROM_SCAN}",
        _store(lambda store: store.strays.bytes),
    ),
    Metric(
        "docker_registry_repository_tags",
        f"Tags of the repository on disk. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.tags),
        ("repository",),
    ),
    Metric(
        "docker_registry_repository_manifests",
        f"Manifest revisions that the repository holds. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.manifests),
        ("repository",),
    ),
    Metric(
        "docker_registry_repository_untagged_manifests",
        f"Manifest revisions that no tag of the repository reaches. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.untagged_manifests),
        ("repository",),
    ),
    Metric(
        "docker_registry_repository_referenced_bytes",
        "Bytes of the distinct blobs that the repository's manifests reference. Blobs shared with "
        f"other repositories count in each: the sum over-counts the disk. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.referenced_bytes),
        ("repository",),
    ),
    Metric(
        "docker_registry_repository_exclusive_bytes",
        "Bytes of the blobs that only this repository references: what deleting it and a run of "
        "the registry's garbage collector would free. The sum plus shared plus unreferenced "
        f"bytes is all blobs, unless references may be hidden. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.exclusive_bytes),
        ("repository",),
    ),
    Metric(
        "docker_registry_repository_last_push_timestamp_seconds",
        f"When a tag or manifest of the repository was last written. {_FROM_SCAN}",
        _per_repository(lambda repository: repository.last_push_at),
        ("repository",),
    ),
    Metric(
        "docker_registry_repositories_omitted",
        "Repositories without series of their own: kept out by metrics.include-repositories or "
        "metrics.exclude-repositories, or beyond metrics.max-repositories, the smallest by "
        f"referenced bytes. They count in all totals. {_FROM_SCAN}",
        _omitted,
    ),
    Metric(
        "docker_registry_scan_complete",
        "1 where the last successful scan could read all that it found, else 0: see "
        "docker_registry_scan_issues.",
        _store(lambda store: store.complete),
    ),
    Metric(
        "docker_registry_scan_issues",
        f"Things in the store that could not be read as what they should be. {_FROM_SCAN}",
        _scan_issues,
        ("cause",),
    ),
)
