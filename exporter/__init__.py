"""Prometheus exporter for the storage of a self-hosted Docker registry."""

__version__ = "0.1.0"
