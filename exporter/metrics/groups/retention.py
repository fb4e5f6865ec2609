"""Metrics of what retention policies, and the deletion of untagged manifests, would free."""

from collections.abc import Callable, Iterator

from exporter.domain.uses import PolicyFigures
from exporter.metrics.groups.uses import FROM_BOTH
from exporter.metrics.metric import Metric, Reader, Sample, Subject, metric_group, one


def _by_policy(read: Callable[[PolicyFigures], float | None]) -> Reader:
    def samples(subject: Subject) -> Iterator[Sample]:
        for policy in subject.snapshot.policies or ():
            value = read(policy)
            if value is not None:
                yield (policy.policy,), value

    return samples


GROUP = metric_group(
    "Retention",
    (
        Metric(
            "docker_registry_retention_candidate_tags",
            "Tags that the policy would delete: all but the newest of each repository, and never "
            "one that runs. Absent where nothing says which tags of some repository are the "
            "newest.",
            _by_policy(lambda policy: policy.candidate_tags),
            ("policy",),
        ),
        Metric(
            "docker_registry_retention_reclaimable_bytes",
            "Bytes that a run of the registry's garbage collector would free after the policy's "
            "deletions, beyond what it frees anyway; 0 while it has blockers, absent while "
            "unknown, also where nothing says which tags are the newest.",
            _by_policy(lambda policy: policy.reclaimable_bytes),
            ("policy",),
        ),
        Metric(
            "docker_registry_untagged_reclaimable_bytes",
            "Bytes that a run of the registry's garbage collector without --delete-untagged would "
            "free after the deletions of `plan --untagged`, beyond what it frees anyway; 0 while "
            "it has blockers, absent while unknown.",
            lambda subject: one(subject.snapshot.untagged_reclaimable_bytes),
        ),
    ),
    depends_on=lambda snapshot: (snapshot.policies, snapshot.untagged_reclaimable_bytes),
    source=FROM_BOTH,
)
