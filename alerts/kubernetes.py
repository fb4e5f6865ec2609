"""The rules as a PrometheusRule, which the Prometheus operator loads."""

from alerts.rules import RuleFile, dump_rendered

NAME = "registry-storage-exporter"


def render_prometheus_rule(file: RuleFile) -> str:
    """Return the manifest, with the same groups and rules as the file."""
    return dump_rendered(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": NAME, "labels": {"app.kubernetes.io/name": NAME}},
            "spec": {
                "groups": [
                    {"name": group.name, "rules": [rule.to_mapping() for rule in group.rules]}
                    for group in file.groups
                ]
            },
        }
    )
