"""The alerts: rules for Prometheus, and the same rules rendered for Grafana and Kubernetes.

``registry-storage.rules.yml`` is the source, written by hand. ``python -m alerts`` renders from it
Grafana's rules and the PrometheusRule for Kubernetes.
"""
