"""The rules as a PrometheusRule, which the Prometheus operator loads."""

from alerts.rules import RuleFile, dump_rendered

NAME = "registry-storage-exporter"


def render_prometheus_rule(file: RuleFile) -> str:
    """Give the manifest; its rules are those of the file, group by group."""
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
