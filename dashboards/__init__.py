"""Grafana dashboards, rendered from a small typed builder.

``python -m dashboards`` writes them beside this file as the JSON that Grafana 9.4 to 13 import.
"""

from dashboards import exporter, repository, storage

DASHBOARDS = (storage.DASHBOARD, repository.DASHBOARD, exporter.DASHBOARD)
"""All of them, in the order in which they are read."""
