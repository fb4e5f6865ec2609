"""Metrics of what the registry's garbage collector would do, of broken tags and missing blobs."""

from collections.abc import Callable, Iterator

from exporter.domain.snapshot import CollectorRun, GcMode, Integrity
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group, one


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
        known = subject.snapshot.integrity
        return one(None if known is None else read(known))

    return samples


_SIMULATED = (
    "Simulated from the last successful scan, for the registry version of registry.gc-dialect; "
    "absent while something is unread that may change it."
)
_READ = (
    "From the last successful scan, which may see too few while docker_registry_scan_complete is "
    "0; absent for a pull-through cache, which fetches what is absent."
)

GROUP = metric_group(
    "Garbage collection and integrity",
    (
        Metric(
            "docker_registry_gc_reclaimable_bytes",
            "Bytes that a run of the registry's garbage collector would free, without and with "
            "--delete-untagged; 0 while that run has blockers, because it frees nothing.",
            _by_mode(lambda run: run.frees.bytes),
            ("mode",),
        ),
        Metric(
            "docker_registry_gc_reclaimable_blobs",
            "Blobs that a run of the registry's garbage collector would delete, without and with "
            "--delete-untagged; 0 while that run has blockers.",
            _by_mode(lambda run: run.frees.blobs),
            ("mode",),
        ),
        Metric(
            "docker_registry_gc_endangered_tags",
            "Tags that can be pulled now and could not after that run of the registry's garbage "
            "collector, and partial tags that would lose an image.",
            _by_mode(lambda run: len(run.endangered)),
            ("mode",),
        ),
        Metric(
            "docker_registry_gc_blockers",
            "Links and manifests on which a run of the registry's garbage collector aborts, in "
            "one mode or both.",
            _blockers,
        ),
        Metric(
            "docker_registry_missing_blobs",
            "Blobs that something references and that are not on disk; layers with download URLs "
            "do not count.",
            _integrity(lambda integrity: len(integrity.missing_blobs)),
            source=_READ,
        ),
        Metric(
            "docker_registry_broken_tags",
            "Tags that cannot be pulled: a blob is missing or has another size than its manifest "
            "says, a manifest cannot be read or is not linked, or the link to a layer is missing "
            "or has not a link's size. A tag of several images counts if none of them can be "
            "pulled whole, or not the one for the platform of an app that runs it. Layer links "
            "are looked at in full scans, and for new images.",
            _integrity(lambda integrity: len(integrity.broken_tags)),
            source=_READ,
        ),
        Metric(
            "docker_registry_partial_tags",
            "Tags of several images of which some can be pulled whole and others cannot, for "
            "instance because some platforms were left out on purpose. None of them counts as "
            "broken.",
            _integrity(lambda integrity: len(integrity.partial_tags)),
            source=_READ,
        ),
    ),
    depends_on=lambda snapshot: (snapshot.store, snapshot.uses),
    source=_SIMULATED,
)
