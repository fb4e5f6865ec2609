"""Prometheus and Grafana, configured by `deploy/`, find exporter, rules and dashboards."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployments import DEPLOY, REPOSITORY, document, filled_in, mounts
from tests.servers import require

COMPOSE = filled_in(document("compose", "compose.yaml"), {"GRAFANA_ADMIN_PASSWORD": "a"})
STACK = filled_in(document("swarm", "stack.yml"), {"REGISTRY_STORE": "/srv/registry"})
RULES = REPOSITORY / "alerts/registry-storage.rules.yml"
DASHBOARDS = REPOSITORY / "dashboards"
CAPROVER_APP = "srv-captain--registry-exporter"

CONFIGURATIONS = {place: document(place, "prometheus.yml") for place in ("compose", "caprover")}


def seen_by(place: str) -> dict[str, Path]:
    """Return the files in the Prometheus container, by their path there."""
    if place == "caprover":
        return {f"/etc/prometheus/{RULES.name}": RULES}
    if place == "compose":
        found = mounts(COMPOSE["services"]["prometheus"])
        return {each.target: DEPLOY / place / each.source for each in found if each.is_path}
    files = {name: DEPLOY / place / each["file"] for name, each in STACK["configs"].items()}
    used = STACK["services"]["prometheus"]["configs"]
    return {each["target"]: files[each["source"]] for each in used}


@pytest.mark.parametrize("place", ["caprover", "compose", "swarm"])
def test_prometheus_accepts_its_configuration_with_the_rules(place: str, tmp_path: Path) -> None:
    files = seen_by(place)
    if place != "caprover":
        assert files["/etc/prometheus/prometheus.yml"].samefile(DEPLOY / "compose/prometheus.yml")
    config = CONFIGURATIONS["caprover" if place == "caprover" else "compose"]
    here = config | {"rule_files": [str(files[path].resolve()) for path in config["rule_files"]]}
    assert here["rule_files"] == [str(RULES)]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(here))
    done = subprocess.run(
        [require("promtool"), "check", "config", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* rules found", done.stdout)


def test_alertmanager_uses_the_example_by_default() -> None:
    example = REPOSITORY / "alerts/alertmanager.example.yml"
    (mount,) = [m for m in mounts(COMPOSE["services"]["alertmanager"]) if m.is_path]
    assert (DEPLOY / "compose" / mount.source).samefile(example)
    assert (DEPLOY / "swarm" / STACK["configs"]["alertmanager"]["file"]).samefile(example)
    (used,) = STACK["services"]["alertmanager"]["configs"]
    for command, target in (
        (COMPOSE["services"]["alertmanager"]["command"], mount.target),
        (STACK["services"]["alertmanager"]["command"], used["target"]),
    ):
        assert f"--config.file={target}" in command


def test_prometheus_scrapes_services_that_exist() -> None:
    (job,) = CONFIGURATIONS["compose"]["scrape_configs"]
    (alerting,) = CONFIGURATIONS["compose"]["alerting"]["alertmanagers"]
    names = {"exporter", "alertmanager"}
    assert job["static_configs"] == [{"targets": ["exporter:10996"]}]
    assert alerting["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert names <= COMPOSE["services"].keys()
    assert names <= STACK["services"].keys()
    (job,) = CONFIGURATIONS["caprover"]["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{CAPROVER_APP}:10996"]}]


@pytest.mark.parametrize("place", CONFIGURATIONS)
def test_every_job_has_the_name_that_the_alerts_use(place: str) -> None:
    (job,) = CONFIGURATIONS[place]["scrape_configs"]
    assert job["job_name"] == "registry-storage"
    assert 'job="registry-storage"' in RULES.read_text("utf-8")


@pytest.mark.parametrize(
    "services", [COMPOSE["services"], STACK["services"]], ids=["compose", "swarm"]
)
def test_prometheus_keeps_its_data_on_the_volume_with_a_size_limit(
    services: dict[str, Any],
) -> None:
    command = services["prometheus"]["command"]
    targets = {each.target: each for each in mounts(services["prometheus"])}
    assert "--storage.tsdb.path=/prometheus" in command
    assert not targets["/prometheus"].is_path
    assert any(each.startswith("--storage.tsdb.retention.size=") for each in command)


def test_the_monitor_sets_a_job_and_an_instance_that_outlive_the_pod(tmp_path: Path) -> None:
    (endpoint,) = document("kubernetes", "servicemonitor.yaml")["spec"]["endpoints"]
    discovered = {
        "__meta_kubernetes_namespace": "shop",
        "__meta_kubernetes_service_name": "registry-storage-exporter",
        "namespace": "shop",
        "service": "registry-storage-exporter",
        "pod": "registry-59b8-x",
        "container": "exporter",
        "endpoint": "metrics",
    }
    # the same rules as the operator writes them, with the key names of Prometheus
    relabelings = [
        {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", key): value for key, value in each.items()}
        for each in endpoint["relabelings"]
    ]
    name = "serviceMonitor/shop/registry-storage-exporter/0"
    job = {
        "job_name": name,
        "static_configs": [{"targets": ["10.0.0.7:10996"], "labels": discovered}],
        "relabel_configs": relabelings,
    }
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    command = [require("promtool"), "check", "service-discovery", "--timeout=1s", str(path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (target,) = json.loads(done.stdout)
    labels = {each: value for each, value in target["labels"].items() if each[0] != "_"}
    assert labels == {
        "job": "registry-storage",
        "instance": "shop/registry-storage-exporter",
        "namespace": "shop",
        "service": "registry-storage-exporter",
    }


def test_grafana_is_provisioned_with_the_data_source_and_the_dashboards() -> None:
    grafana = COMPOSE["services"]["grafana"]
    found = {each.target: DEPLOY / "compose" / each.source for each in mounts(grafana)}
    provisioning = "/etc/grafana/provisioning"
    (source,) = yaml.safe_load(
        (found[f"{provisioning}/datasources"] / "prometheus.yml").read_text("utf-8")
    )["datasources"]
    assert (source["uid"], source["type"]) == ("prometheus", "prometheus")
    assert source["url"] == "http://prometheus:9090"
    assert (
        source["jsonData"]["timeInterval"] == CONFIGURATIONS["compose"]["global"]["scrape_interval"]
    )
    (provider,) = yaml.safe_load(
        (found[f"{provisioning}/dashboards"] / "registry-storage.yml").read_text("utf-8")
    )["providers"]
    pages = provider["options"]["path"]
    assert found[pages].samefile(DASHBOARDS)
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARDS / Path(home).relative_to(pages)).exists()
    uids = {json.loads(path.read_text("utf-8"))["uid"] for path in DASHBOARDS.glob("*.json")}
    assert uids == {"registry-storage", "registry-repository", "registry-exporter"}


def test_grafana_on_caprover_is_provisioned_as_in_compose() -> None:
    compose = document("compose", "grafana", "datasources", "prometheus.yml")
    (source,) = compose["datasources"]
    source["url"] = "http://srv-captain--prometheus:9090"
    assert document("caprover", "grafana-datasource.yml") == compose
    pages = document("compose", "grafana", "dashboards", "registry-storage.yml")
    pages["providers"][0]["options"]["path"] = "/etc/grafana/provisioning/dashboards"
    assert document("caprover", "grafana-dashboards.yml") == pages
