"""An alert is a threshold, a rule, a promtool test and a runbook: what is missing is named."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from alerts.rules import AlertingRule, read_rules
from exporter.domain.alert_threshold import AlertThreshold
from exporter.settings.alert_thresholds import AlertSettings
from tests.exporter_process import REPOSITORY

RULES = tuple(read_rules().alerts())
THRESHOLDS = tuple(AlertSettings().thresholds(scan_interval=300))
SETTINGS = "exporter/settings/alert_thresholds.py"
RULE_FILE = "alerts/registry-storage.rules.yml"
INDEX = "docs/runbooks/README.md"
WITHOUT_A_PAGE = {"ExporterDown"}
"""Nothing serves the explorer then."""


def uses(rule: AlertingRule, threshold: AlertThreshold) -> bool:
    labels = f'{{alert="{threshold.alert}",severity="{threshold.severity}"}}'
    return f"docker_registry_alert_threshold{labels}" in rule.expr


def missing_parts(
    rules: Iterable[AlertingRule],
    thresholds: Iterable[AlertThreshold],
    repository: Path = REPOSITORY,
) -> Iterator[str]:
    """Yield each part that an alert lacks: its place, and what belongs there."""
    rules, thresholds = tuple(rules), tuple(thresholds)
    index = (repository / INDEX).read_text("utf-8")
    for each in thresholds:
        if not any(uses(rule, each) for rule in rules):
            yield f"{RULE_FILE}: a rule that uses the threshold {each.alert}, {each.severity}"
    for rule in rules:
        named = rule.expr.count("docker_registry_alert_threshold{")
        if named != sum(uses(rule, each) for each in thresholds):
            yield f"{SETTINGS}: the threshold that {rule.short_name}, {rule.severity} uses"
        if rule.short_name not in WITHOUT_A_PAGE and "explorer" not in rule.annotations:
            yield f"{RULE_FILE}: the annotation explorer of {rule.short_name}, {rule.severity}"
    for name in dict.fromkeys(rule.short_name for rule in rules):
        files = {
            f"alerts/tests/{name}.test.yml": "promtool tests",
            f"docs/runbooks/DockerRegistry{name}.md": "a runbook",
        }
        for path, part in files.items():
            if not (repository / path).is_file():
                yield f"{path}: {part} for {name}"
        if f"\n| [{name}](DockerRegistry{name}.md) |" not in index:
            yield f"{INDEX}: a row for {name}"


def test_no_alert_lacks_a_part() -> None:
    assert list(missing_parts(RULES, THRESHOLDS)) == []


def test_each_part_that_a_new_alert_lacks_is_named_with_its_place() -> None:
    threshold = 'docker_registry_alert_threshold{alert="CacheCold",severity="warning"}'
    rule = AlertingRule(
        "DockerRegistryCacheCold",
        f"docker_registry_cache_loaded < {threshold}",
        "5m",
        "warning",
        {},
    )
    assert list(missing_parts([*RULES, rule], THRESHOLDS)) == [
        "exporter/settings/alert_thresholds.py: the threshold that CacheCold, warning uses",
        "alerts/registry-storage.rules.yml: the annotation explorer of CacheCold, warning",
        "alerts/tests/CacheCold.test.yml: promtool tests for CacheCold",
        "docs/runbooks/DockerRegistryCacheCold.md: a runbook for CacheCold",
        "docs/runbooks/README.md: a row for CacheCold",
    ]


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_a_threshold_without_a_rule_is_named(severity: str) -> None:
    threshold = AlertThreshold("CacheCold", severity, 1.0)
    assert list(missing_parts(RULES, [*THRESHOLDS, threshold])) == [
        f"alerts/registry-storage.rules.yml: a rule that uses the threshold CacheCold, {severity}"
    ]
