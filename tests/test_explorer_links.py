"""From an alert, a dashboard or a runbook to the page of the explorer that shows the matter."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.routing import compile_path

from alerts.rules import AlertingRule, read_rules
from demo.store import StoreBuilder
from exporter.compose import scan
from exporter.domain.model import FilesystemUsage
from exporter.domain.snapshot import ApiStatus, PartialTag, PlatformStatus, ScanStatus
from exporter.domain.uses import Use, UseFigures
from exporter.settings.model import Settings, StorageSettings
from exporter.views.action import CommandLines
from exporter.views.health import problems
from exporter.views.health.findings import FindingKind
from exporter.views.health.problems import Problem, problems_of
from exporter.views.snapshot_view import SnapshotView, ViewOptions
from exporter.web.explorer.routes import PAGES
from tests.exporter_process import REPOSITORY, Exporter, Metrics
from tests.golden_outputs import STORES
from tests.in_process import run_command
from tests.monitoring import Prometheus
from tests.servers import free_port
from tests.test_alert_parts import WITHOUT_A_PAGE
from tests.test_alerting import WAIT_SECONDS, shortened_rules
from tests.test_alerts_in_a_fleet import NAMES, failures_of, groups_of

INFO = "docker_registry_explorer_info"
URL = "https://example.com/registry"
ADDRESSES = {"/", "/repositories", "/repositories/{repository}", "/clean-up", "/issues"}
"""Pages that alerts link to, whose addresses never change."""

RUNBOOKS = REPOSITORY / "docs/runbooks"
ALERTS = [each for each in read_rules().alerts() if each.short_name not in WITHOUT_A_PAGE]


# The address in the metrics


def explorers(root: Path, *flags: str) -> dict[str, float]:
    """Return the addresses in the metrics, with their values."""
    outcome = run_command("collect", "--storage.root", root, *flags)
    assert outcome.exit_code == 0, outcome.complaints
    return Metrics.parse(outcome.output).by("url", INFO)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = StoreBuilder(tmp_path)
    store.image("app", "1")
    return store.root


@pytest.mark.parametrize("given", [URL, f"{URL}/", f"{URL}//"])
def test_the_metrics_have_the_address_of_the_explorer_without_a_final_slash(
    root: Path, given: str
) -> None:
    assert explorers(root, "--web.external-url", given) == {URL: 1}


@pytest.mark.parametrize(
    "flags",
    [(), ("--web.route-prefix", "/registry"), ("--web.external-url", URL, "--no-web.explorer")],
)
def test_without_an_address_or_an_explorer_the_metrics_have_none(
    root: Path, flags: tuple[str, ...]
) -> None:
    assert explorers(root, *flags) == {}


def test_an_address_with_credentials_never_gets_into_the_metrics(root: Path) -> None:
    address = "https://user:hunter2@example.com/registry"
    outcome = run_command("collect", "--storage.root", root, "--web.external-url", address)
    assert outcome.exit_code == 2
    assert "hunter2" not in outcome.output + outcome.complaints


# The pages in the rules


def pages_of(rule: AlertingRule) -> set[str]:
    """Return the pages that an alert can link to, as the rule states them."""
    found = re.search(r'label "url" }}(.*){{ end }}$', rule.annotations["explorer"])
    assert found is not None, rule.short_name
    stated = re.sub(r"{{ \$labels\.repository [^}]*}}", "{repository}", found[1])
    optional = re.search(r"{{ if .*? }}(.*){{ end }}", stated)
    if optional is None:
        return {stated}
    return {stated.replace(optional[0], each) for each in ("", optional[1])}


def address_of(problem: Problem) -> str:
    return f"{problem.page}#{problem.section}" if problem.section else problem.page


@pytest.mark.parametrize("rule", ALERTS, ids=lambda each: f"{each.short_name}-{each.severity}")
def test_an_alert_links_to_a_page_and_to_a_part_of_it_that_the_explorer_has(
    rule: AlertingRule,
) -> None:
    for page in pages_of(rule):
        parts = urlsplit(page)
        assert parts.path in ADDRESSES
        assert not parts.fragment or parts.fragment in set(FindingKind)
        assert ("{repository}" in page) == ("repository" in rule.annotations["summary"])


@pytest.mark.parametrize("name", [each for each in NAMES if each not in WITHOUT_A_PAGE])
def test_without_an_address_an_alert_has_no_link(name: str, tmp_path: Path) -> None:
    groups = groups_of(name)
    for group in groups:
        series = group["input_series"]
        group["input_series"] = [each for each in series if not each["series"].startswith(INFO)]
        for case in group["alert_rule_test"]:
            for alert in case.get("exp_alerts", ()):
                alert["exp_annotations"]["explorer"] = ""
    assert failures_of(groups, tmp_path) == ""


def wrong_stores(directory: Path) -> Iterator[SnapshotView]:
    """Yield stores in which, taken together, everything is wrong that the explorer reports."""
    for name in ("sample", "damaged"):
        root = directory / name / "registry"
        STORES[name](root)
        scanned = scan(Settings(storage=StorageSettings(root=root)))
        snapshot = scanned.subject.snapshot
        assert snapshot.store is not None
        assert snapshot.integrity is not None
        partial = PartialTag("app", "1", "blob is missing", ("linux/amd64",), ("linux/arm64",))
        integrity = replace(snapshot.integrity, partial_tags=(partial,))
        figures = replace(snapshot.store.figures, integrity=integrity)
        wrong = replace(
            snapshot,
            store=replace(snapshot.store, figures=figures),
            scan=ScanStatus(failure="unmounted"),
            filesystem=FilesystemUsage(1, 1, 1, 1, 1, readonly=True),
            api=ApiStatus(None, failure="refused"),
            tag_differences=1,
            platform=PlatformStatus("CapRover", None, failure="cut short"),
            uses=UseFigures({}, {}, {}, frozenset(), {Use.RUNNING: 1}),
        )
        commands = CommandLines("plan", scanned.operator)
        yield SnapshotView(wrong, ViewOptions(scanned.store, scanned.options, commands))


def test_alerts_and_the_explorer_lead_from_a_problem_to_the_same_page(tmp_path: Path) -> None:
    found = {
        (each.alert, address_of(each))
        for view in wrong_stores(tmp_path)
        for each in problems_of(view)
    }
    named = re.findall(r'Severity\.\w+, "(\w+)"', Path(problems.__file__).read_text())
    assert {alert for alert, _ in found} == set(named)
    linked = {(each.short_name, page) for each in ALERTS for page in pages_of(each)}
    # a scan that failed as a whole has no list of issues
    assert found - linked == {("ScanFailing", "/issues")}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda each: f"{each.short_name}-{each.severity}")
def test_a_runbook_names_the_page_that_its_alert_links_to(rule: AlertingRule) -> None:
    text = (RUNBOOKS / f"{rule.name}.md").read_text("utf-8")
    diagnosis = text.partition("\n## Diagnosis\n")[2].partition("\n## Mitigation\n")[0]
    named = "the annotation `explorer`" in " ".join(diagnosis.split())
    # the explorer does not show the certificate
    assert named == (rule.short_name != "CertificateExpiring")
    if named:
        for page in pages_of(rule):
            assert f"`{page.replace('{repository}', 'NAME')}`" in diagnosis


# From a firing alert to the page


EXPECTED = {
    "ImagesBroken": "/issues#broken-tags",
    "GarbageCollectionBlocked": "/issues#blockers",
    "ScanFailing": "/issues#scan-issues",
    "UploadsAbandoned": "/issues#uploads",
    "TagCountHigh": "/repositories/captain/img-captain-shop",
}
"""The links of alerts that fire for a damaged store."""


def is_served(path: str) -> bool:
    return any(compile_path(each)[0].match(path) for each in PAGES)


def test_the_links_of_firing_alerts_open_the_pages_of_their_own_exporter(tmp_path: Path) -> None:
    roots = [tmp_path / name / "registry" for name in ("damaged", "sample")]
    for root in roots:
        STORES[root.parent.name](root)
    urls = [f"http://127.0.0.1:{free_port()}" for _ in roots]
    tags = ("--alerts.tag-count-high.warning", "3")
    reached = [
        ("--web.listen-address", urlsplit(url).netloc, "--web.external-url", f"{url}/")
        for url in urls
    ]
    with (
        Exporter("--storage.root", roots[0], *tags, *reached[0]) as exporter,
        Exporter("--storage.root", roots[1], *tags, *reached[1]) as other,
        Exporter("--storage.root", roots[0], *tags) as without,
        Prometheus(
            tmp_path / "prometheus",
            [exporter.address, other.address, without.address],
            rule_files=[shortened_rules(tmp_path)],
        ) as prometheus,
    ):
        for name in EXPECTED:
            firing = f'ALERTS{{alertname="DockerRegistry{name}",alertstate="firing"'
            for instance in (exporter.address, without.address):
                prometheus.wait_for(f'{firing},instance="{instance}"}}', WAIT_SECONDS)
        prometheus.wait_for(f'ALERTS{{alertstate="firing",instance="{other.address}"}}')
        links: dict[str, dict[str, str]] = {}
        for alert in prometheus.alerts():
            place = links.setdefault(alert["labels"]["instance"], {})
            name = alert["labels"]["alertname"].removeprefix("DockerRegistry")
            if alert["labels"].get("repository") in {None, "captain/img-captain-shop"}:
                place[name] = alert["annotations"]["explorer"]
        own = links[exporter.address]
        assert own.items() >= {name: urls[0] + page for name, page in EXPECTED.items()}.items()
        assert all(each.startswith(f"{urls[1]}/") for each in links[other.address].values())
        assert set(links[without.address].values()) == {""}
        opened = [each for each in own.values() if is_served(urlsplit(each).path)]
        assert len(opened) >= 4
        for link in opened:
            page = httpx.get(link, trust_env=False)
            assert page.status_code == httpx.codes.OK, link
            assert f'id="{urlsplit(link).fragment}"' in page.text or "#" not in link, link
