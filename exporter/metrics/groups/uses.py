"""Metrics of whose the images are, in CapRover's terms, and of retention policies."""

from collections.abc import Callable, Iterator

from exporter.domain.snapshot import PlatformStatus
from exporter.domain.uses import PolicyFigures, UseTotal
from exporter.metrics.metric import Metric, Reader, Sample, Subject, one


def _caprover(subject: Subject) -> PlatformStatus | None:
    platform = subject.snapshot.platform
    return None if platform is None or platform.name != "CapRover" else platform


def _caprover_up(subject: Subject) -> Iterator[Sample]:
    caprover = _caprover(subject)
    return one(None if caprover is None else caprover.failure is None)


def _caprover_apps(subject: Subject) -> Iterator[Sample]:
    caprover = _caprover(subject)
    images = None if caprover is None else caprover.images
    return one(None if images is None else len(images.apps))


def _by_use(read: Callable[[UseTotal], float]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        uses = subject.snapshot.uses
        if uses is not None:
            for use, total in uses.totals.items():
                yield (use,), read(total)

    return samples


def _orphaned(subject: Subject) -> Iterator[Sample]:
    """Give the orphaned among the repositories that have series of their own."""
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


def _by_policy(read: Callable[[PolicyFigures], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        for policy in subject.snapshot.policies or ():
            value = read(policy)
            if value is not None:
                yield (policy.policy,), value

    return samples


_AGE = "From the last successful scan and CapRover's configuration as last read."

USE_METRICS = (
    Metric(
        "docker_registry_caprover_up",
        "1 where CapRover's configuration was read and lists apps, else 0: then what was read "
        "last stays in use. Absent where no caprover.config-dir is configured. Read once per scan "
        "interval.",
        _caprover_up,
    ),
    Metric(
        "docker_registry_caprover_apps",
        "Apps in CapRover's configuration. From the last good reading.",
        _caprover_apps,
    ),
    Metric(
        "docker_registry_use_bytes",
        "Bytes of the blobs that tags reach, by what CapRover needs the tags for; each blob once, "
        "for the strongest of running, rollback, unmanaged, superseded, orphaned; they add up to "
        f"the tagged bytes. {_AGE}",
        _by_use(lambda total: total.bytes),
        ("use",),
    ),
    Metric(
        "docker_registry_use_tags",
        "Tags by what CapRover needs them for; one that was pushed after the configuration was "
        f"read, and that no app named then, counts as unmanaged. {_AGE}",
        _by_use(lambda total: total.tags),
        ("use",),
    ),
    Metric(
        "docker_registry_repository_orphaned",
        "1 for each repository of an app that CapRover no longer has. Something else may still "
        f"pull from it. {_AGE}",
        _orphaned,
        ("repository",),
    ),
    Metric(
        "docker_registry_missing_images",
        "Images of this registry that CapRover runs or can roll back to, and that are not on disk "
        f"or not whole. {_AGE}",
        _missing_images,
        ("use",),
    ),
    Metric(
        "docker_registry_retention_candidate_tags",
        "Tags that the policy would delete: all but the newest of each repository, and never one "
        f"that runs. {_AGE}",
        _by_policy(lambda policy: policy.candidate_tags),
        ("policy",),
    ),
    Metric(
        "docker_registry_retention_reclaimable_bytes",
        "Bytes that a run of the registry's garbage collector would free after the policy's "
        "deletions, on top of what it frees anyway; 0 while it has blockers, absent while that "
        f"is not known. {_AGE}",
        _by_policy(lambda policy: policy.reclaimable_bytes),
        ("policy",),
    ),
)
