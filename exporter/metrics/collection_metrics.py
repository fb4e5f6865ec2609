"""Metrics of what the registry's collector would do, and of what is not whole."""

from collections.abc import Callable, Iterator

from exporter.metrics.subject import Metric, Reader, Sample, Subject, one
from exporter.snapshot import CollectorRun, GcMode, Integrity


def _by_mode(read: Callable[[CollectorRun], float]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        store = subject.snapshot.store
        if store is not None and store.figures.collector is not None:
            for mode in GcMode:
                yield (mode,), read(store.figures.collector[mode])

    return samples


def _blockers(subject: Subject) -> Iterator[Sample]:
    store = subject.snapshot.store
    if store is not None and store.figures.collector is not None:
        runs = store.figures.collector.values()
        yield (), len({blocker.path for run in runs for blocker in run.blockers})


def _integrity(read: Callable[[Integrity], float]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        store = subject.snapshot.store
        return one(None if store is None else read(store.figures.integrity))

    return samples


_FORETOLD = (
    "Foretold from the last successful scan, for the registry version of registry.gc-dialect; "
    "absent while something could not be read that may change it."
)

COLLECTION_METRICS = (
    Metric(
        "docker_registry_gc_reclaimable_bytes",
        "Bytes that a run of the registry's garbage collector would free, without and with "
        f"--delete-untagged; 0 while that run has blockers, because it frees nothing. {_FORETOLD}",
        _by_mode(lambda run: run.frees.bytes),
        ("mode",),
    ),
    Metric(
        "docker_registry_gc_reclaimable_blobs",
        "Blobs that a run of the registry's garbage collector would delete, without and with "
        f"--delete-untagged; 0 while that run has blockers. {_FORETOLD}",
        _by_mode(lambda run: run.frees.blobs),
        ("mode",),
    ),
    Metric(
        "docker_registry_gc_endangered_tags",
        "Tags that can be pulled now and could not after that run of the registry's garbage "
        f"collector. {_FORETOLD}",
        _by_mode(lambda run: len(run.endangered)),
        ("mode",),
    ),
    Metric(
        "docker_registry_gc_blockers",
        "Links and manifests on which a run of the registry's garbage collector aborts, in one "
        f"mode or both. {_FORETOLD}",
        _blockers,
    ),
    Metric(
        "docker_registry_missing_blobs",
        "Blobs that something references and that are not on disk; layers with download URLs do "
        "not count. From the last successful scan.",
        _integrity(lambda integrity: len(integrity.missing_blobs)),
    ),
    Metric(
        "docker_registry_broken_tags",
        "Tags that cannot be pulled whole: a blob is missing or has another size than its "
        "manifest says, a manifest cannot be read or is not linked. From the last successful scan.",
        _integrity(lambda integrity: len(integrity.broken_tags)),
    ),
)
