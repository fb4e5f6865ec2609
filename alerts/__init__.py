"""The alerts: rules for Prometheus, and what is rendered from them for others that evaluate rules.

``registry-storage.rules.yml`` is the source, written by hand. ``python -m alerts`` writes Grafana's
own rules and the PrometheusRule for Kubernetes from it.
"""
