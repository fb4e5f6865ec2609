"""Every query of every dashboard, run on a real Prometheus that scrapes real exporters.

The store is the sample store. A real registry serves it over TLS, the test pushes to it while the
exporter watches it, and a rule fires. So there is data for everything that a dashboard can show.
A second exporter watches another store, so that a join or a sum that mixes the two fails. A third
is in the middle of its first scan. Queries that need a day of history run in promtool.
"""

import json
import math
import re
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme

import dashboards
from alerts.rules import RULES as RULE_FILE
from dashboards.__main__ import DIRECTORY
from demo.child_process import wait_until
from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter
from tests.monitoring import Prometheus
from tests.servers import DockerRegistry, RegistryClient, require
from tests.test_filling_up import MINUTES, ONSET, Course, hourly, ramp, steps

JOB = "registry-storage"
REPOSITORY = "captain/img-captain-shop"
PUSHED_BYTES = 300_000
NOT_AFTER = datetime(2040, 2, 3, 4, 5, 6, tzinfo=UTC)
MAINTAINED = """docker_registry_maintenance_freed_bytes 1000
docker_registry_maintenance_last_success_timestamp_seconds {now:.0f}
"""
DATA_SECONDS = 60.0
EXPLORERS = ["https://example.com/sample", "https://example.com/other"]
HOUR = 60
"""In minutes."""

RULES = """
groups:
  - name: test
    rules:
      - alert: DockerRegistryTest
        expr: docker_registry_exporter_build_info == 1
        labels: {severity: warning}
"""
# Panels that are empty after a full scan. The slow exporter has data for them.
ONLY_DURING_A_FULL_SCAN = {("exporter.json", "Full scan")}
SCRAPED = f'docker_registry_repository_tags{{repository="{REPOSITORY}"}}'
API_ANSWERED = 'changes(docker_registry_api_requests_total{endpoint="tags"}[1m]) > 1'


class PanelQuery(NamedTuple):
    """One query of a panel, as written in the dashboard's file."""

    file: str
    panel: str
    ref: str
    expr: str

    def substituted(self, instance: str = ".+", repository: str = REPOSITORY) -> str:
        """Return the expression with values instead of variables, as Grafana substitutes them."""
        values = {
            "$__rate_interval": "1m",
            "$__interval": "15s",
            "$__range": "1h",
            "$job": JOB,
            "$instance": instance,
            "$repository": repository,
        }
        expr = self.expr
        for variable, value in values.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr
        return expr


def rendered() -> dict[str, dict[str, Any]]:
    return {
        each.file: json.loads((DIRECTORY / each.file).read_text()) for each in dashboards.DASHBOARDS
    }


ALL = [
    PanelQuery(file, panel["title"], target["refId"], target["expr"])
    for file, dashboard in rendered().items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]


def query_of(file: str, panel: str, ref: str = "A") -> PanelQuery:
    (found,) = (each for each in ALL if (each.file, each.panel, each.ref) == (file, panel, ref))
    return found


# On servers


@dataclass(frozen=True, slots=True)
class Scene:
    """The running Prometheus and the exporters that it scrapes."""

    prometheus: Prometheus
    sample: Exporter
    other: Exporter
    slow: Exporter

    def values(self, query: PanelQuery) -> dict[str, float]:
        """Run a query that returns one series for each exporter; return the values by instance."""
        vector = self.prometheus.query(query.substituted())
        found = {each["metric"]["instance"]: float(each["value"][1]) for each in vector}
        assert len(found) == len(vector)
        return found

    def lacks(self, query: PanelQuery) -> bool:
        """Return whether a query returns no number for the exporter of the sample store."""
        is_short = query[:2] in ONLY_DURING_A_FULL_SCAN
        instance = self.slow.address if is_short else self.sample.address
        vector = self.prometheus.query(query.substituted())
        own = [each for each in vector if each["metric"].get("instance") == instance]
        return not any(math.isfinite(float(each["value"][1])) for each in own)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Start all servers, push after the first scrape, and wait until the push is scraped."""
    home = tmp_path_factory.mktemp("dashboards")
    build_sample(home / "registry", time.time())
    write_captain_config(home / "captain", time.time())
    other = StoreBuilder(home / "other")
    other.image(REPOSITORY, "1", [noise("other", 12_345)])
    (home / "rules.yml").write_text(RULES)
    certificate, key, ca_file = make_certificate(home)
    with ExitStack() as running:
        registry = DockerRegistry(home / "registry", tls=(certificate, key))
        running.enter_context(registry)
        flags = ["--scan.interval", "1s", "--storage.limit", "1GiB", "--retention.keep-last", "5"]
        flags += ["--registry.url", registry.url, "--registry.ca-file", str(ca_file)]
        flags += ["--caprover.config-dir", str(home / "captain")]
        (home / "result.prom").write_text(MAINTAINED.format(now=time.time()))
        (home / "backed-up").touch()
        flags += ["--maintenance.result-file", str(home / "result.prom")]
        flags += ["--backup.dir", str(home / "backed-up")]
        reached = [("--web.external-url", each, "--web.route-prefix", "/") for each in EXPLORERS]
        watching = running.enter_context(
            Exporter("--storage.root", registry.root, *flags, *reached[0])
        )
        beside = running.enter_context(Exporter("--storage.root", other.root, *reached[1]))
        pace = ["--scan.max-ops-per-second", "1"]
        slow = running.enter_context(
            Exporter("--storage.root", registry.root, *pace, until_ready=False)
        )
        targets = [watching.address, beside.address, slow.address]
        prometheus = running.enter_context(
            Prometheus(home / "prometheus", targets, job=JOB, rule_files=[home / "rules.yml"])
        )
        prometheus.wait_for(SCRAPED)
        prometheus.wait_for(API_ANSWERED)
        with RegistryClient(
            registry.url, verify=ssl.create_default_context(cafile=str(ca_file))
        ) as client:
            client.push_image(REPOSITORY, "31", [noise("push", PUSHED_BYTES)])
        prometheus.wait_for(f"changes({SCRAPED}[1h]) > 0")
        yield Scene(prometheus, watching, beside, slow)


def make_certificate(home: Path) -> tuple[Path, Path, Path]:
    """Write a certificate chain, its key and the authority that issued it; return the files."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", not_after=NOT_AFTER)
    certificate, key, ca_file = home / "certificate.pem", home / "key.pem", home / "ca.pem"
    for part in issued.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(ca_file)
    return certificate, key, ca_file


def test_every_query_returns_data(scene: Scene) -> None:
    missing = list(ALL)

    def nothing_is_missing() -> bool:
        missing[:] = [query for query in missing if scene.lacks(query)]
        return not missing

    try:
        wait_until(nothing_is_missing, "queries return nothing", DATA_SECONDS)
    except TimeoutError:
        assert [query[:3] for query in missing] == []


def test_a_chosen_instance_is_the_only_one_shown(scene: Scene) -> None:
    for chosen in (scene.sample.address, scene.other.address):
        for query in ALL:
            vector = scene.prometheus.query(query.substituted(instance=chosen))
            assert {each["metric"]["instance"] for each in vector} <= {chosen}, query[:3]


def matches_offered(scene: Scene, variable: Mapping[str, str], instance: str = ".+") -> set[str]:
    """Return what a pattern finds in the result of a query, as Grafana writes it."""
    selector = variable["definition"].removeprefix("query_result(").removesuffix(")")
    pattern, _ = variable["regex"].removeprefix("/").rsplit("/", 1)
    found = set()
    for each in scene.prometheus.query(PanelQuery("", "", "", selector).substituted(instance)):
        labels = each["metric"]
        name = labels.pop("__name__", "")
        written = ",".join(f'{label}="{value}"' for label, value in labels.items())
        found |= set(re.findall(pattern, f"{name}{{{written}}} {each['value'][1]} 1760000000000"))
    return found


def test_variables_offer_the_existing_values(scene: Scene) -> None:
    offered: dict[str, set[str]] = {}
    for variable in rendered()["repository.json"]["templating"]["list"]:
        if variable.get("definition", "").startswith("query_result("):
            offered[variable["name"]] = matches_offered(scene, variable)
        elif variable["type"] == "query":
            call = variable["definition"].removeprefix("label_values(").removesuffix(")")
            selector, _, label = call.rpartition(", ")
            vector = scene.prometheus.query(PanelQuery("", "", "", selector).substituted())
            offered[variable["name"]] = {each["metric"][label] for each in vector}
    assert offered["legend"] == {"job", "instance"}
    assert offered["explorer"] == set(EXPLORERS)
    assert offered["job"] == {JOB}
    everyone = (scene.sample, scene.other, scene.slow)
    assert offered["instance"] == {each.address for each in everyone}
    assert offered["repository"] >= {REPOSITORY, "tools/backup"}


def test_the_explorer_is_that_of_the_chosen_exporter_or_the_page_on_how_to_set_it(
    scene: Scene,
) -> None:
    (variable,) = (
        each
        for each in rendered()["exporter.json"]["templating"]["list"]
        if each["name"] == "explorer"
    )
    assert matches_offered(scene, variable, scene.other.address) == {EXPLORERS[1]}
    (missing,) = matches_offered(scene, variable, scene.slow.address)
    assert missing.endswith("/docs/web.md#links-to-the-explorer")


def test_a_row_of_the_table_links_to_the_explorer_of_its_own_exporter(scene: Scene) -> None:
    query = query_of("registry-storage.json", "Largest repositories", "C")
    found = {
        (each["metric"]["instance"], each["metric"].get("url"))
        for each in scene.prometheus.query(query.substituted())
    }
    addresses = (scene.sample.address, scene.other.address)
    assert found == set(zip(addresses, EXPLORERS, strict=True))


def test_two_stores_are_shown_as_two_numbers(scene: Scene) -> None:
    expected = {}
    for exporter in (scene.sample, scene.other):
        page = exporter.metrics()
        uploads = page.value("docker_registry_upload_bytes")
        assert uploads is not None
        expected[exporter.address] = page.total("docker_registry_blob_bytes") + uploads
    assert scene.values(query_of("registry-storage.json", "Store")) == expected
    assert len(set(expected.values())) == 2


def test_a_push_shows_as_growth_of_the_store_and_of_its_repository(scene: Scene) -> None:
    # Prometheus extrapolates a delta to the edges of its range, by at most one scrape.
    store = scene.values(query_of("registry-storage.json", "Growth in 24 h"))
    assert PUSHED_BYTES < store[scene.sample.address] < 2 * PUSHED_BYTES
    assert store[scene.other.address] == 0
    own = scene.values(query_of("repository.json", "Growth in 24 h"))
    assert PUSHED_BYTES < own[scene.sample.address] < 2 * PUSHED_BYTES
    assert own[scene.other.address] == 0
    fastest = query_of("registry-storage.json", "Fastest growing repositories")
    (bar,) = scene.prometheus.query(fastest.substituted())
    assert bar["metric"] == {
        "job": JOB,
        "instance": scene.sample.address,
        "repository": REPOSITORY,
    }
    assert scene.values(query_of("repository.json", "Pushes in 24 h"))[scene.sample.address] == 1


def test_a_row_of_the_table_has_all_columns(scene: Scene) -> None:
    columns = [
        {
            (each["metric"]["instance"], each["metric"]["repository"])
            for each in scene.prometheus.query(query.substituted())
        }
        for query in (query_of("registry-storage.json", "Largest repositories", r) for r in "ABCDE")
    ]
    assert (scene.other.address, REPOSITORY) in columns[0]
    assert all(column == columns[0] for column in columns)


# With a history that promtool simulates: one exporter for 30 hours, another for the last 3

HISTORY = {
    'scan_success{instance="long"}': "1x30",
    'scan_success{instance="short"}': "_x27 1x3",
    'repository_exclusive_bytes{instance="long",repository="grows"}': "100+10x30",
    'repository_exclusive_bytes{instance="long",repository="shrinks"}': "900-10x30",
    'repository_exclusive_bytes{instance="long",repository="new"}': "_x20 70x10",
    'repository_exclusive_bytes{instance="short",repository="there before"}': "_x27 60x3",
    'repository_tags{instance="long",repository="grows"}': "3x30",
    'repository_tags{instance="short",repository="there before"}': "_x27 2x3",
    'explorer_info{instance="short",url="https://example.com"}': "_x27 1x3",
    'blob_bytes{instance="long",state="tagged"}': "1000+20x30",
    'blob_bytes{instance="long",state="untagged"}': "500-5x30",
    'upload_bytes{instance="long"}': "0x28 7x1",
    'blob_bytes{instance="short",state="tagged"}': "_x27 40x3",
    'upload_bytes{instance="short"}': "_x27 0x3",
}
AT = "30h"


def assert_samples(tmp_path: Path, query: PanelQuery, expected: dict[str, float]) -> None:
    """Assert that a query returns exactly these series and values at the end of ``HISTORY``."""
    samples = [{"labels": labels, "value": value} for labels, value in expected.items()]
    test = {
        "interval": "1h",
        "input_series": [
            {"series": f'docker_registry_{name[:-1]},job="{JOB}"}}', "values": values}
            for name, values in HISTORY.items()
        ],
        "promql_expr_test": [
            {"expr": query.substituted(), "eval_time": AT, "exp_samples": samples}
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"tests": [test]}))
    command = [require("promtool"), "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_growth_compares_with_a_day_ago_and_a_new_repository_grew_by_its_size(
    tmp_path: Path,
) -> None:
    expected = {("long", "grows"): 240, ("long", "shrinks"): -240}
    expected |= {("long", "new"): 70, ("short", "there before"): 0}
    assert_samples(
        tmp_path,
        query_of("registry-storage.json", "Largest repositories", "D"),
        {
            f'{{job="{JOB}",instance="{instance}",repository="{repository}"}}': growth
            for (instance, repository), growth in expected.items()
        },
    )


def test_only_what_grew_is_among_the_fastest_growing(tmp_path: Path) -> None:
    assert_samples(
        tmp_path,
        query_of("registry-storage.json", "Fastest growing repositories"),
        {
            f'{{job="{JOB}",instance="long",repository="{repository}"}}': growth
            for repository, growth in {"grows": 240, "new": 70}.items()
        },
    )


def test_the_table_has_the_tags_of_exporters_with_and_without_an_explorer(tmp_path: Path) -> None:
    url = "https://example.com"
    assert_samples(
        tmp_path,
        query_of("registry-storage.json", "Largest repositories", "C"),
        {
            f'{{job="{JOB}",instance="long",repository="grows"}}': 3,
            f'{{job="{JOB}",instance="short",repository="there before",url="{url}"}}': 2,
        },
    )


def test_growth_of_the_store_counts_blobs_and_uploads(tmp_path: Path) -> None:
    assert_samples(
        tmp_path,
        query_of("registry-storage.json", "Growth in 24 h"),
        of_exporters(long=24 * (20 - 5) + 7, short=0),
    )


# Space that is lost in the ways that StorageFillingUp distinguishes

SPACE = {
    "steady": (ramp(1), 10),
    "begins now": (ramp(4, MINUTES - 2 * HOUR), 12),
    "every hour": (hourly(0.5), 15),
    "one push": (steps(5, MINUTES - HOUR), 30),
    "a step each day": (steps(1, 3 * HOUR), 30),
    "gains": (ramp(-0.5), 20),
    "full": (ramp(0), 0),
    "young": (ramp(5, MINUTES - 30), 40),
}
NEVER, MONTH = 5 * 365 * 24 * 3600, 30 * 24 * 3600


def space_series() -> list[dict[str, str]]:
    found = []
    for instance, (used, free) in SPACE.items():
        young = frozenset(range(MINUTES - 40)) if instance == "young" else frozenset[int]()
        values = Course(instance, free, used, young).samples()
        labels = f'{{job="{JOB}",instance="{instance}"}}'
        found.append(
            {"series": f"docker_registry_filesystem_avail_bytes{labels}", "values": values}
        )
    return found


def query_at_the_end(tmp_path: Path, expr: str, samples: list[dict[str, Any]]) -> str:
    """Run a query after ``SPACE`` with the recording rules; return what promtool complains of."""
    at = f"{MINUTES - 1}m"
    test = {
        "interval": "1m",
        "input_series": space_series(),
        "promql_expr_test": [{"expr": expr, "eval_time": at, "exp_samples": samples}],
    }
    document = {"rule_files": [str(RULE_FILE)], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(document))
    command = [require("promtool"), "test", "rules", str(tmp_path / "test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


PANELS = pytest.mark.parametrize(
    ("panel", "most"), [("Full in", NEVER), ("Time until full", MONTH)]
)


@PANELS
def test_the_time_until_full_is_the_estimate_of_the_alert(
    tmp_path: Path, panel: str, most: int
) -> None:
    shown = query_of("registry-storage.json", panel).substituted()
    recorded = "instance:docker_registry_filesystem_avail_bytes:secondstofull"
    assert not query_at_the_end(tmp_path, f"({shown}) != clamp_max({recorded}, {most})", [])
    without = f"({shown}) unless {recorded}"
    rest = {"one push": most, "a step each day": most, "gains": most, "full": 0, "young": most}
    samples = [{"labels": name, "value": value} for name, value in of_exporters(**rest).items()]
    assert not query_at_the_end(tmp_path, without, samples)


@PANELS
def test_steady_growth_is_extrapolated_until_the_disk_is_full(
    tmp_path: Path, panel: str, most: int
) -> None:
    shown = query_of("registry-storage.json", panel).substituted("steady|full")
    lost = (MINUTES - 1 - ONSET) / HOUR
    expected = of_exporters(steady=round((10 - lost) * 3600), full=0)
    samples = [{"labels": name, "value": value} for name, value in expected.items()]
    rounded = f"round({shown})"
    assert most > expected[f'{{job="{JOB}",instance="steady"}}']
    assert not query_at_the_end(tmp_path, rounded, samples)


def of_exporters(**values: float) -> dict[str, float]:
    """Return expected samples, one for each instance."""
    return {f'{{job="{JOB}",instance="{name}"}}': value for name, value in values.items()}
