"""The alert rules: each has tests, each test can fail, and all rules agree with the exporter."""

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.__main__ import REPOSITORY, main
from alerts.grafana import inline
from alerts.rules import RULES, AlertingRule, RecordingRule, Rule, read_rules
from dashboards.storage import RUNBOOKS
from exporter.metrics.documentation import EVERY_METRIC
from exporter.settings.alert_thresholds import AlertSettings
from tests.servers import require
from tests.test_alert_parts import WITHOUT_A_PAGE

FILE = read_rules()
ALERTS = tuple(FILE.alerts())
RECORDED = FILE.recordings()
NAMES = sorted({each.short_name for each in ALERTS})
UNIT_TESTS = RULES.parent / "tests"
GRAFANA = RULES.parent / "grafana/registry-storage.yml"
KUBERNETES = REPOSITORY / "deploy/kubernetes/prometheus-rule.yml"
# Metrics of Prometheus and of every client library; the exporter's catalogue lacks them.
FOREIGN = {"up", "process_start_time_seconds"}

CONTRACT = {
    ("StorageAlmostFull", "warning", "5m"),
    ("StorageAlmostFull", "critical", "5m"),
    ("StorageFillingUp", "warning", "30m"),
    ("StorageFillingUp", "critical", "30m"),
    ("StorageLimitApproaching", "warning", "5m"),
    ("StorageLimitApproaching", "critical", "5m"),
    ("StorageGrowthHigh", "warning", "15m"),
    ("StorageGrowthHigh", "critical", "15m"),
    ("RepositoryGrowthHigh", "warning", "15m"),
    ("InodesAlmostExhausted", "warning", "5m"),
    ("InodesAlmostExhausted", "critical", "5m"),
    ("FilesystemReadOnly", "critical", "5m"),
    ("ReclaimableHigh", "warning", "6h"),
    ("TagCountHigh", "warning", "1h"),
    ("UploadsAbandoned", "warning", "1h"),
    ("OrphanedRepositories", "warning", "1d"),
    ("GarbageCollectionUnsafe", "info", "1h"),
    ("GarbageCollectionBlocked", "warning", "1h"),
    ("ImagesBroken", "critical", "15m"),
    ("ImagesPartial", "warning", "1h"),
    ("BackupHeadroomLow", "warning", "1h"),
    ("BackupMissing", "warning", "1h"),
    ("MaintenanceFailing", "warning", "1h"),
    ("APIDown", "critical", "5m"),
    ("APIDisagrees", "warning", "1h"),
    ("CertificateExpiring", "warning", "15m"),
    ("CertificateExpiring", "critical", "15m"),
    ("ExporterDown", "critical", "5m"),
    ("ScanFailing", "warning", "30m"),
    ("ScanStale", "critical", "5m"),
}
"""Names, severities and times that operators rely on in their routes and silences."""


def run_promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [require("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unit_tests(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((UNIT_TESTS / f"{name}.test.yml").read_text("utf-8"))
    groups: list[dict[str, Any]] = document["tests"]
    return groups


def names_in(text: str) -> set[str]:
    """Return the metrics that an expression, or the queries of an annotation, use."""
    found = re.findall(
        r"\b[a-z_]{3,}:[a-z0-9_:]+|docker_registry_[a-z_]+|\bup\b|process_[a-z_]+", text
    )
    return set(found)


def test_the_alerts_that_operators_rely_on_exist() -> None:
    alerts = [(each.short_name, each.severity, each.lasting) for each in ALERTS]
    assert set(alerts) >= CONTRACT
    assert len({each[:2] for each in alerts}) == len(alerts)
    assert all(each.name == f"DockerRegistry{each.short_name}" for each in ALERTS)


def test_prometheus_accepts_the_rules() -> None:
    done = run_promtool("check", "rules", RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(RECORDED)} rules found" in done.stdout


def test_every_alert_has_a_test_file_and_every_test_file_has_an_alert() -> None:
    assert {path.name for path in UNIT_TESTS.iterdir()} == {f"{each}.test.yml" for each in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_tests_pass(name: str) -> None:
    done = run_promtool("test", "rules", UNIT_TESTS / f"{name}.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_tests_cover_silence_firing_and_annotations(name: str) -> None:
    cases = [case for group in unit_tests(name) for case in group["alert_rule_test"]]
    assert {case["alertname"] for case in cases} == {f"DockerRegistry{name}"}
    fired = [alert for case in cases for alert in case.get("exp_alerts", ())]
    silent = [case for case in cases if not case.get("exp_alerts")]
    assert {alert["exp_labels"]["severity"] for alert in fired} == {
        each.severity for each in ALERTS if each.short_name == name
    }
    annotations = {"summary", "description", "dashboard", "runbook_url"}
    if name not in WITHOUT_A_PAGE:
        annotations.add("explorer")
    assert all(alert["exp_annotations"].keys() == annotations for alert in fired)
    assert len(silent) >= 2, "a healthy case and a case one step below the threshold"
    series = [each["series"] for group in unit_tests(name) for each in group["input_series"]]
    all_instances = set(re.findall(r'instance="([^"]+)"', " ".join(series)))
    firing = {frozenset(_instances(case)) for case in cases} - {frozenset()}
    assert all(each < all_instances for each in firing), (
        "another instance, whose numbers must not mix in"
    )


def _instances(case: dict[str, Any]) -> set[str]:
    labels = [alert["exp_labels"] for alert in case.get("exp_alerts", ())]
    return {each["instance"] for each in labels if "instance" in each}


def mutants(rule: AlertingRule) -> Iterator[tuple[str, AlertingRule]]:
    """Yield copies of the rule with one mistake each, and the name of the mistake."""
    number, unit = int(rule.lasting[:-1]), rule.lasting[-1]
    minutes = number * {"m": 1, "h": 60, "d": 1440}[unit]
    for wrong in (minutes - 1, minutes + 1):
        yield f"for {wrong}m", replace(rule, lasting=f"{wrong}m")
    for found in re.finditer(r"(==|[<>]) ", rule.expr):
        wrong_operator = "!= " if found[1] == "==" else f"{found[1]}= "
        expr = rule.expr[: found.start()] + wrong_operator + rule.expr[found.end() :]
        yield f"{found[1]} at {found.start()}", replace(rule, expr=expr)
    swapped = {"warning": "critical", "critical": "warning"}.get(rule.severity, "warning")
    yield "severity", replace(rule, severity=swapped)


def write_rules(path: Path, rules: list[Rule]) -> None:
    group = {"name": "one", "rules": [each.to_mapping() for each in rules]}
    path.write_text(yaml.safe_dump({"groups": [group]}), "utf-8")


def use_rules(name: str, rules: list[Rule], directory: Path) -> Path:
    """Write a copy of the alert's unit tests that uses other rules; return its path."""
    write_rules(directory / "rules.yml", rules)
    text = (UNIT_TESTS / f"{name}.test.yml").read_text("utf-8")
    assert "../registry-storage.rules.yml" in text
    path = directory / "test.yml"
    path.write_text(text.replace("../registry-storage.rules.yml", "rules.yml"), "utf-8")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_unit_tests_notice_every_mistake_in_a_rule(name: str, tmp_path: Path) -> None:
    recordings: list[Rule] = [RecordingRule(*each) for each in RECORDED.items()]
    own = [each for each in ALERTS if each.short_name == name]
    right = use_rules(name, [*recordings, *own], tmp_path)
    assert run_promtool("test", "rules", right).returncode == 0
    wrong = {}
    for place, rule in enumerate(own):
        for number, (mistake, mutant) in enumerate(mutants(rule)):
            rules = [*recordings, *own[:place], mutant, *own[place + 1 :]]
            directory = tmp_path / f"{place}-{number}"
            directory.mkdir()
            wrong[f"{mistake}: {mutant}"] = use_rules(name, rules, directory)
    with ThreadPoolExecutor(2) as threads:
        done = threads.map(lambda path: run_promtool("test", "rules", path), wrong.values())
        unnoticed = [each for each, run in zip(wrong, done, strict=True) if run.returncode == 0]
    assert unnoticed == []


def test_every_metric_in_the_rules_exists() -> None:
    known = {each.name for each in EVERY_METRIC} | FOREIGN | RECORDED.keys()
    texts = [*RECORDED.values(), *(each.expr for each in ALERTS)]
    texts += [text for each in ALERTS for text in _queries(each)]
    named = {name for text in texts for name in names_in(text)}
    assert named - known == set()
    assert RECORDED.keys() <= named, "no rule uses a recorded series"


def _queries(alert: AlertingRule) -> list[str]:
    return [
        query
        for text in alert.annotations.values()
        for query in re.findall(r'printf "((?:[^"\\]|\\.)*)"', text)
    ]


def test_recorded_series_are_named_by_level_metric_and_operation() -> None:
    assert all(
        re.fullmatch(r"[a-z_]+:docker_registry_[a-z_]+:[a-z0-9]+", each) for each in RECORDED
    )


def test_every_threshold_is_used_only_by_the_rule_of_its_alert_and_severity() -> None:
    configured = {
        (each.alert, each.severity) for each in AlertSettings().thresholds(scan_interval=300)
    }
    used = set()
    for each in ALERTS:
        found = re.findall(r'alert_threshold\{alert="(\w+)",severity="(\w+)"\}', each.expr)
        assert each.expr.count("alert_threshold") == len(found)
        assert set(found) <= {(each.short_name, each.severity)}
        used |= set(found)
    assert used == configured


@pytest.mark.parametrize("alert", ALERTS, ids=lambda each: f"{each.short_name}-{each.severity}")
def test_an_alert_links_to_its_runbook_and_dashboard_and_shows_its_value(
    alert: AlertingRule,
) -> None:
    assert alert.annotations["runbook_url"] == f"{RUNBOOKS}/{alert.name}.md"
    assert (REPOSITORY / "docs/runbooks" / f"{alert.name}.md").is_file()
    assert alert.annotations["dashboard"].startswith("/d/registry-")
    both = alert.annotations["summary"] + alert.annotations["description"]
    assert "$labels.instance" in alert.annotations["summary"] + (
        "$labels.instance" if "$labels.repository" in both else ""
    )
    if "alert_threshold" in alert.expr:
        assert re.search(r"\$value \| humanize|\$value }} tags", both)
    for text in alert.annotations.values():
        assert "  " not in text
        assert "\n" not in text


def test_the_rendered_files_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_stale_rendered_files_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tmp_path) == 0
    (tmp_path / "deploy/kubernetes/prometheus-rule.yml").write_text("groups: []")
    assert main(["--check"], tmp_path) == 1
    expected = "kubernetes/prometheus-rule.yml is stale: run `python -m alerts`\n"
    assert capsys.readouterr().err == expected


def test_the_kubernetes_manifest_holds_the_same_rules(tmp_path: Path) -> None:
    manifest = yaml.safe_load(KUBERNETES.read_text("utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(manifest["spec"]), "utf-8")
    assert read_rules(path) == FILE
    assert run_promtool("check", "rules", path).returncode == 0


def grafana_rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(GRAFANA.read_text("utf-8"))
    assert document["apiVersion"] == 1
    (group,) = document["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def test_grafana_evaluates_the_same_conditions_without_recorded_series(tmp_path: Path) -> None:
    rules = grafana_rules()
    assert [(each["for"], each["labels"]) for each in rules] == [
        (each.lasting, {"severity": each.severity}) for each in ALERTS
    ]
    for name in NAMES:
        own: list[Rule] = [RecordingRule(*each) for each in RECORDED.items()]  # for annotations
        for alert, rule in zip(ALERTS, rules, strict=True):
            expr = rule["data"][0]["model"]["expr"].replace("$$", "$")
            assert not names_in(expr) & RECORDED.keys()
            if alert.short_name == name:
                own.append(replace(alert, expr=expr))
        done = run_promtool("test", "rules", use_rules(name, own, tmp_path))
        assert done.returncode == 0, name + done.stdout


def test_the_rules_for_grafana_are_well_formed() -> None:
    rules = grafana_rules()
    uids = [each["uid"] for each in rules]
    titles = [each["title"] for each in rules]
    assert len(set(uids)) == len(set(titles)) == len(rules)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", each) for each in uids)
    for alert, rule in zip(ALERTS, rules, strict=True):
        assert rule["title"].startswith(alert.name)
        query, condition = rule["data"]
        assert (query["refId"], condition["refId"], rule["condition"]) == ("A", "B", "B")
        assert query["model"]["instant"]
        # Outside annotations, Grafana reads a single dollar as an environment variable.
        assert "$" not in condition["model"]["expression"].replace("$$", "")
        for text in rule["annotations"].values():
            assert "query" not in text
            assert "$value " not in text
            assert text.count("{{ end }}") == text.count("{{ if ") + text.count("{{ with ")


def test_alerts_with_thresholds_link_to_the_panel_that_draws_them() -> None:
    for alert, rule in zip(ALERTS, grafana_rules(), strict=True):
        keys = {"__dashboardUid__", "__panelId__"} & rule["annotations"].keys()
        assert bool(keys) == ("alert_threshold" in alert.expr)
        if keys:
            uid = rule["annotations"]["__dashboardUid__"]
            assert alert.annotations["dashboard"].startswith(f"/d/{uid}?")


def test_recorded_series_are_inlined_by_whole_name_and_to_any_depth() -> None:
    recorded = {"a:b:c": "x + 1", "a:b:c_d": "a:b:c * 2"}
    assert inline("a:b:c / a:b:c_d > y", recorded) == "(x + 1) / ((x + 1) * 2) > y"


def test_the_alertmanager_example_is_valid_and_routes_each_severity() -> None:
    path = RULES.parent / "alertmanager.example.yml"
    amtool = require("amtool")
    done = subprocess.run(
        [amtool, "check-config", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for severity, receiver in (("critical", "pager"), ("warning", "tickets"), ("info", "nobody")):
        command = [amtool, "config", "routes", "test", f"--config.file={path}"]
        shown = subprocess.run(
            [*command, f"severity={severity}"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.strip() == receiver
