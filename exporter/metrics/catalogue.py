"""All metrics that are read from a snapshot, in one table."""

from exporter.metrics.groups.api import API_METRICS
from exporter.metrics.groups.exporter import EXPORTER_METRICS, FILESYSTEM_METRICS
from exporter.metrics.groups.garbage_collection import COLLECTION_METRICS
from exporter.metrics.groups.store import STORE_METRICS
from exporter.metrics.groups.uses import USE_METRICS

PREFIX = "docker_registry_"
"""Of every name; ``registry_`` belongs to the registry's own metrics."""

CATALOGUE = (
    STORE_METRICS
    + COLLECTION_METRICS
    + USE_METRICS
    + API_METRICS
    + FILESYSTEM_METRICS
    + EXPORTER_METRICS
)
