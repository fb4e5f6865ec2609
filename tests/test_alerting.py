"""From a push to the pager: real registry, exporter, Prometheus and Alertmanager.

The test uses the shipped rules and the shipped Alertmanager configuration, except that their times
are shorter and that the receivers' addresses point to a webhook.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.rules import RULES, AlertingRule, read_rules
from demo.child_process import PATIENCE_SECONDS, wait_until
from demo.store import noise
from tests.exporter_process import Exporter
from tests.monitoring import Alertmanager, Prometheus, Webhook
from tests.servers import DockerRegistry, RegistryClient

LIMIT = "DockerRegistryStorageLimitApproaching"
DOWN = "DockerRegistryExporterDown"
REPOSITORY = "captain/img-captain-shop"
BUDGET = 1024 * 1024
WAIT_SECONDS = 2 * PATIENCE_SECONDS


def shortened_rules(directory: Path) -> Path:
    groups = [
        {
            "name": group.name,
            "rules": [
                (
                    replace(rule, lasting="1s") if isinstance(rule, AlertingRule) else rule
                ).to_mapping()
                for rule in group.rules
            ],
        }
        for group in read_rules().groups
    ]
    path = directory / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    return path


def shortened_routing(webhook: str) -> dict[str, Any]:
    text = (RULES.parent / "alertmanager.example.yml").read_text()
    assert "http://127.0.0.1:8080/" in text
    config: dict[str, Any] = yaml.safe_load(text.replace("http://127.0.0.1:8080", webhook))
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    return config


@dataclass(frozen=True)
class Watched:
    """A registry and the programs that monitor it."""

    registry: DockerRegistry
    client: RegistryClient
    prometheus: Prometheus
    alertmanager: Alertmanager
    webhook: Webhook

    def push(self, tag: str, size: int) -> str:
        return self.client.push_image(REPOSITORY, tag, [noise(tag, size)])

    def wait_until_scraped(self, promql: str) -> None:
        self.prometheus.wait_for(promql, WAIT_SECONDS)

    def firing(self, severity: str) -> list[dict[str, Any]]:
        selector = f'alertname="{LIMIT}",alertstate="firing",severity="{severity}"'
        return self.prometheus.query(f"ALERTS{{{selector}}}")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    root = tmp_path / "store"
    root.mkdir()
    with (
        DockerRegistry(root) as registry,
        RegistryClient(registry.url) as client,
        Webhook() as webhook,
        Alertmanager(shortened_routing(webhook.url)) as alertmanager,
    ):
        client.push_image(REPOSITORY, "1", [noise("1", BUDGET // 4)])
        with (
            Exporter(
                *("--storage.root", root, "--storage.limit", str(BUDGET)),
                *("--registry.url", registry.url, "--scan.interval", "1s"),
            ) as exporter,
            Prometheus(
                tmp_path / "prometheus",
                [exporter.address],
                rule_files=[shortened_rules(tmp_path)],
                alertmanagers=[alertmanager.address],
            ) as prometheus,
        ):
            yield Watched(registry, client, prometheus, alertmanager, webhook)


def test_a_push_over_the_budget_pages_and_deleting_and_collecting_resolves_it(
    watched: Watched,
) -> None:
    pager, tickets = "/pager", "/tickets"
    critical, warning = (LIMIT, "critical"), (LIMIT, "warning")
    watched.wait_until_scraped("docker_registry_tags == 1")
    watched.wait_until_scraped("instance:docker_registry_store_bytes:sum > 0")
    assert watched.webhook.notified(pager, "firing") == {}

    second = watched.push("2", BUDGET * 6 // 10)
    annotations = watched.webhook.wait_for(tickets, "firing", warning)
    assert f"Largest repository: {REPOSITORY}" in annotations["description"]
    assert LIMIT not in {name for name, _ in watched.webhook.notified(pager, "firing")}

    third = watched.push("3", BUDGET * 2 // 10)
    annotations = watched.webhook.wait_for(pager, "firing", critical)
    (series,) = watched.firing("critical")
    assert annotations["summary"].startswith(f"Registry {series['metric']['instance']} has used 10")
    assert f"Largest repository: {REPOSITORY} (1." in annotations["description"]
    assert annotations["runbook_url"].endswith(f"/docs/runbooks/{LIMIT}.md")
    assert watched.firing("warning"), "it fires too, but nobody is notified again"
    wait_until(
        lambda: (
            states_in(watched.alertmanager, LIMIT)
            == {"critical": "active", "warning": "suppressed"}
        ),
        "the critical alert does not suppress the warning",
        WAIT_SECONDS,
    )

    for digest in (second, third):
        watched.client.delete_manifest(REPOSITORY, digest)
    watched.wait_until_scraped('docker_registry_gc_reclaimable_bytes{mode="default"} > 800000')
    assert watched.firing("critical"), "deleting alone frees nothing"
    watched.registry.garbage_collect()
    watched.webhook.wait_for(pager, "resolved", critical)
    watched.webhook.wait_for(tickets, "resolved", warning)
    assert watched.prometheus.query(f'ALERTS{{alertname="{LIMIT}"}}') == []


def states_in(alertmanager: Alertmanager, name: str) -> dict[str, str]:
    return {
        each["labels"]["severity"]: each["status"]["state"]
        for each in alertmanager.alerts()
        if each["labels"]["alertname"] == name
    }


def alert(name: str, severity: str, **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, "job": "registry-storage", **labels}
    }


def test_alerts_reach_their_receiver_and_suppress_lesser_ones() -> None:
    growth = "DockerRegistryRepositoryGrowthHigh"
    full = "DockerRegistryStorageAlmostFull"
    unsafe = "DockerRegistryGarbageCollectionUnsafe"
    with Webhook() as webhook, Alertmanager(shortened_routing(webhook.url)) as alertmanager:
        alertmanager.post(
            [
                alert(DOWN, "critical", instance="a"),
                alert(full, "critical", instance="a"),
                alert(growth, "warning", instance="a", repository="shop"),
                alert(full, "critical", instance="b"),
                alert(full, "warning", instance="b"),
                alert(growth, "warning", instance="b", repository="shop"),
                alert(unsafe, "info", instance="b"),
            ]
        )
        webhook.wait_for("/pager", "firing", (DOWN, "critical"))
        webhook.wait_for("/pager", "firing", (full, "critical"))
        webhook.wait_for("/tickets", "firing", (growth, "warning"))
        states = {
            (each["labels"]["alertname"], each["labels"]["severity"], each["labels"]["instance"]): (
                each["status"]["state"]
            )
            for each in alertmanager.alerts()
        }
        assert states == {
            (DOWN, "critical", "a"): "active",
            (full, "critical", "a"): "suppressed",
            (growth, "warning", "a"): "suppressed",
            (full, "critical", "b"): "active",
            (full, "warning", "b"): "suppressed",
            (growth, "warning", "b"): "active",
            (unsafe, "info", "b"): "active",
        }
        everything = {
            *webhook.notified("/pager", "firing"),
            *webhook.notified("/tickets", "firing"),
        }
        assert unsafe not in {name for name, _ in everything}
