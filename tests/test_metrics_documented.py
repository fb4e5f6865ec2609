"""Every metric is catalogued, well named, exposed and documented."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from demo.sample import write_captain_config
from demo.store import StoreBuilder
from exporter.domain.snapshot import Snapshot
from exporter.metrics.catalogue import CATALOGUE, PREFIX
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.documentation import EVERY_METRIC, render
from exporter.metrics.instruments import (
    INSTRUMENTS,
    ApiInstruments,
    CacheInstruments,
    Instrument,
    ScanProgressCollector,
    WatchInstruments,
    process_registry,
)
from exporter.metrics.metric import Metric, Subject
from tests.fake_registry import FakeServer, routes_of
from tests.in_process import run_command
from tests.maintenance_result import write_result

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
EVERY = EVERY_METRIC


def test_the_documentation_matches_the_catalogue() -> None:
    assert PAGE.read_text() == render(), "run `make docs`"


def test_every_metric_in_the_documentation_exists() -> None:
    known = {metric.name for metric in EVERY}
    root = PAGE.parent.parent
    named = {
        (str(path.relative_to(root)), name)
        for pattern in ("README.md", "CHANGELOG.md", "docs/**/*.md", "deploy/**/*", "demo/*.py")
        for path in root.glob(pattern)
        if path.is_file() and path.suffix != ".pyc"
        for name in re.findall(
            r"(?<![\w:])docker_registry_[a-z_]+\b(?!%)", path.read_text(encoding="utf-8")
        )
    }
    assert len(named) > 50
    assert {(path, name) for path, name in named if name not in known} == set()


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.name)
def test_names_and_help_follow_the_rules_of_prometheus(metric: Metric | Instrument) -> None:
    assert metric.name.startswith(PREFIX)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not metric.name.endswith(("_count", "_sum", "_bucket"))
    assert not any(unit in metric.name for unit in ("_ms", "_mib", "_kb", "_percent", "_minutes"))
    assert metric.help.endswith(".")
    assert "  " not in metric.help
    assert "|" not in metric.help
    if "timestamp" in metric.name:
        assert metric.name.endswith("_timestamp_seconds")


def test_names_are_unique() -> None:
    names = [metric.name for metric in EVERY]
    assert len(set(names)) == len(names)


def test_the_exposed_metrics_are_exactly_those_of_the_catalogue(tmp_path: Path) -> None:
    captain = tmp_path / "captain"
    write_captain_config(captain, now=1e9)
    store = StoreBuilder(tmp_path / "registry")
    store.image("captain/img-captain-gone", "1")
    store.upload("app", b"x", started_at=1.0)
    backup = tmp_path / "backup"
    saved = run_command("backup", "--storage.root", store.root, "--same-filesystem", backup)
    assert saved.exit_code == 0
    result = tmp_path / "result.prom"
    write_result(result, completed_at=1, freed_bytes=1)
    with FakeServer(routes_of(app=["1"])) as server:
        arguments = ["--storage.limit", "1GiB", "--registry.url", server.url]
        arguments += ["--backup.dir", str(backup), "--maintenance.result-file", str(result)]
        arguments += ["--caprover.config-dir", str(captain), "--retention.keep-last", "1"]
        arguments += ["--web.external-url", "https://example.com/registry"]
        outcome = run_command("collect", "--storage.root", store.root, *arguments)
    assert outcome.exit_code == 0
    exposed = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type)
        for family in text_string_to_metric_families(outcome.output)
    }
    elsewhere = re.compile("certificate|registry_disk_")  # only with TLS; only in `serve`
    here = {(each.name, each.kind) for each in CATALOGUE if not elsewhere.search(each.name)}
    assert exposed == here


def test_the_process_adds_only_its_own_metrics_and_the_instruments() -> None:
    registry = process_registry()
    ApiInstruments(registry)("ping", "200", 0.5)
    cache = CacheInstruments(registry)
    cache.record_loaded(is_loaded=False)
    cache.record_written(is_written=True)
    WatchInstruments(registry).record_watches(0, is_whole=False)
    ScanProgressCollector(registry, lambda: 0.5)
    families = [each for each in registry.collect() if each.name.startswith(PREFIX)]
    assert {each.name for each in families} == {
        instrument.name.removesuffix("_total") for instrument in INSTRUMENTS
    }
    assert {each.documentation for each in families} == {each.help for each in INSTRUMENTS}
    foreign = {each.name for each in registry.collect()} - {each.name for each in families}
    assert all(name.startswith(("process_", "python_")) for name in foreign)


def test_the_collector_describes_every_metric_of_the_catalogue() -> None:
    described = SubjectCollector(CATALOGUE, Subject(Snapshot())).describe()
    assert [family.name for family in described] == [
        metric.name.removesuffix("_total") for metric in CATALOGUE
    ]


def test_the_exporters_own_requests_are_counted() -> None:
    registry = CollectorRegistry()
    observe = ApiInstruments(registry)
    observe("ping", "200", 0.5)
    observe("ping", "200", 0.5)
    labels = {"endpoint": "ping", "code": "200"}
    assert registry.get_sample_value(f"{PREFIX}api_requests_total", labels) == 2
    seconds = f"{PREFIX}api_request_duration_seconds_sum"
    assert registry.get_sample_value(seconds, {"endpoint": "ping"}) == 1.0
