"""All metrics that are read from a snapshot, group by group: the one list of groups."""

from exporter.metrics.groups import (
    api,
    backup,
    caprover,
    disk,
    exporter,
    filesystem,
    garbage_collection,
    maintenance,
    repositories,
    retention,
    scan_findings,
    store,
    uses,
)

PREFIX = "docker_registry_"
"""Of every name; ``registry_`` belongs to the registry's own metrics."""

GROUPS = (
    store.GROUP,
    repositories.GROUP,
    scan_findings.GROUP,
    garbage_collection.GROUP,
    caprover.GROUP,
    uses.GROUP,
    retention.GROUP,
    api.GROUP,
    filesystem.GROUP,
    disk.GROUP,
    backup.GROUP,
    maintenance.GROUP,
    exporter.GROUP,
)
"""In the order of the exposition and of the documentation."""

CATALOGUE = tuple(metric for group in GROUPS for metric in group.metrics)
