"""All metrics that are read from a snapshot, in one table."""

from exporter.metrics.api_metrics import API_METRICS
from exporter.metrics.collection_metrics import COLLECTION_METRICS
from exporter.metrics.exporter_metrics import EXPORTER_METRICS, FILESYSTEM_METRICS
from exporter.metrics.store_metrics import STORE_METRICS
from exporter.metrics.use_metrics import USE_METRICS

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
