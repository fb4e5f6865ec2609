"""Grafana dashboards, rendered by a small typed builder.

``python -m dashboards`` writes them next to this file as JSON for Grafana 9.4 to 13.
"""

from dashboards import exporter, repository, storage

DASHBOARDS = (storage.DASHBOARD, repository.DASHBOARD, exporter.DASHBOARD)
"""All dashboards, in the order in which an operator reads them."""
