"""Metrics of the store as a whole, without its repositories."""

from collections.abc import Callable, Iterator

from exporter.domain.artifacts import ArtifactState
from exporter.domain.snapshot import BlobState, StoreFigures
from exporter.metrics.groups.readers import FROM_SCAN, of_store
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group


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


def _artifacts(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None:
        yield (ArtifactState.ATTACHED,), store.figures.artifacts.attached
        yield (ArtifactState.DETACHED,), store.figures.artifacts.detached


GROUP = metric_group(
    "Store",
    (
        Metric(
            "docker_registry_blobs",
            "Blobs on disk, each once, by state; the states add up to all blobs.",
            _by_state(lambda store, state: store.blobs[state].blobs),
            ("state",),
        ),
        Metric(
            "docker_registry_blob_bytes",
            "Bytes of the blobs on disk, each once, by state; the states add up to all blobs.",
            _by_state(lambda store, state: store.blobs[state].bytes),
            ("state",),
        ),
        Metric(
            "docker_registry_logical_bytes",
            "Bytes that all tags would take if nothing were shared between them.",
            of_store(lambda store: store.logical_bytes),
        ),
        Metric(
            "docker_registry_shared_blob_bytes",
            "Bytes of blobs that two or more repositories reference.",
            of_store(lambda store: store.shared_bytes),
        ),
        Metric(
            "docker_registry_manifests",
            "Manifest revisions, counted per repository, by whether a tag of that repository "
            "reaches them.",
            _manifests,
            ("state",),
        ),
        Metric(
            "docker_registry_repositories",
            "Repositories on disk, with or without tags.",
            of_store(lambda store: len(store.repositories)),
        ),
        Metric(
            "docker_registry_empty_repositories",
            "Repositories without a tag.",
            of_store(lambda store: sum(each.tags == 0 for each in store.repositories)),
        ),
        Metric(
            "docker_registry_tags",
            "Tags of all repositories.",
            of_store(lambda store: sum(each.tags for each in store.repositories)),
        ),
        Metric(
            "docker_registry_artifacts",
            "Signatures, attestations, SBOMs and their kind, counted per repository: by a tag that "
            "is named after an image's digest, or by subject; detached if that image is gone.",
            _artifacts,
            ("state",),
        ),
        Metric(
            "docker_registry_uploads",
            "Unfinished uploads.",
            of_store(lambda store: store.uploads.uploads),
        ),
        Metric(
            "docker_registry_upload_bytes",
            "Bytes received by unfinished uploads.",
            of_store(lambda store: store.uploads.bytes),
        ),
        Metric(
            "docker_registry_unpurgeable_uploads",
            "Unfinished uploads that the registry's own purging never removes, because they have "
            "no readable start time.",
            of_store(lambda store: store.uploads.unpurgeable),
        ),
        Metric(
            "docker_registry_upload_oldest_start_timestamp_seconds",
            "When the oldest unfinished upload began; absent if there is none. If the registry "
            "wrote no start time, the upload's oldest modification time.",
            of_store(lambda store: store.uploads.oldest_start_at),
        ),
        Metric(
            "docker_registry_stray_files",
            "Files that are not part of the registry's layout. Not looked for beside a blob's "
            "data or a link's file.",
            of_store(lambda store: store.strays.files),
        ),
        Metric(
            "docker_registry_stray_bytes",
            "Bytes of the files that are not part of the registry's layout; hard links to one file "
            "count once.",
            of_store(lambda store: store.strays.bytes),
        ),
    ),
    depends_on=lambda snapshot: (snapshot.store,),
    source=FROM_SCAN,
)
