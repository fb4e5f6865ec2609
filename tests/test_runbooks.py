"""The runbooks are complete, and their metrics, flags, commands, pages and headings exist."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.sample import build_sample, write_captain_config
from exporter.cli import COMMANDS
from exporter.metrics.catalogue import PREFIX
from exporter.metrics.documentation import EVERY_METRIC
from exporter.settings.alert_thresholds import AlertSettings
from exporter.settings.sources import argument_parser, flag_name, load_settings, setting_paths
from tests.exporter_process import Exporter
from tests.monitoring import Prometheus
from tests.runbook_pages import (
    ALERT_PAGES,
    INDEX,
    PAGES,
    anchors_of,
    blocks_of,
    exporter_commands_of,
    headings_of,
    links_of,
    prose_of,
    queries_of,
)

NOW = 1_750_000_000.0
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
MITIGATION = {"What must not be run, and why", "Check that it helped"}
EVERY = EVERY_METRIC
METRICS = {
    f"{metric.name}{suffix}"
    for metric in EVERY
    for suffix in (["", "_bucket", "_sum", "_count"] if metric.kind == "histogram" else [""])
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
every_alert_page = pytest.mark.parametrize("page", ALERT_PAGES, ids=lambda page: page.stem)


def index_rows() -> Iterator[list[str]]:
    """Yield the cells of each alert's row: name, severities, meaning, default, flag."""
    for line in INDEX.read_text().splitlines():
        if line.startswith("| ["):
            yield [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]


def threshold_flags() -> dict[str, list[str]]:
    """Return the flags of each alert with a threshold, by its name without the prefix."""
    flags: dict[str, list[str]] = {}
    for group, name in setting_paths(AlertSettings):
        alert = "".join(word.capitalize() for word in group.split("_"))
        flags.setdefault(alert, []).append(flag_name(("alerts", group, name)))
    return flags


@every_alert_page
def test_a_page_has_the_four_sections_in_order_and_nothing_else(page: Path) -> None:
    text = page.read_text()
    assert headings_of(text, 1) == [page.stem]
    assert headings_of(text, 2) == SECTIONS


@every_alert_page
def test_the_mitigation_has_forbidden_commands_and_a_check(page: Path) -> None:
    mitigation = page.read_text().partition("\n## Mitigation\n")[2]
    assert set(headings_of(mitigation, 3)) >= MITIGATION


@every_alert_page
def test_the_diagnosis_has_a_command_to_run(page: Path) -> None:
    diagnosis = page.read_text().partition("\n## Diagnosis\n")[2].partition("\n## Mitigation\n")[0]
    assert blocks_of(diagnosis, "sh")


@every_page
def test_no_page_has_an_open_task_or_promises_safety(page: Path) -> None:
    assert not re.search(
        r"\bTODO\b|\bFIXME\b|\bTBD\b|safe to delete", page.read_text(), re.IGNORECASE
    )


@every_page
def test_every_named_metric_exists(page: Path) -> None:
    assert set(re.findall(rf"\b{PREFIX}\w+", page.read_text())) <= METRICS


@every_page
def test_every_named_alert_has_a_page(page: Path) -> None:
    named = re.findall(r"\balertname=[\"']?(\w+)|\b(DockerRegistry[A-Z]\w+)", page.read_text())
    assert {first or second for first, second in named} <= {each.stem for each in ALERT_PAGES}


@every_page
def test_every_link_resolves_with_its_heading(page: Path) -> None:
    for link in links_of(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors_of(target.read_text()), link


@every_page
def test_the_exporter_accepts_every_one_of_its_commands(page: Path) -> None:
    for command, *arguments in filter(None, exporter_commands_of(page.read_text())):
        parser = argument_parser(command, "")
        COMMANDS[command].add_options(parser)
        if command != "check-config":  # which is shown with wrong settings too
            load_settings(parser, arguments, {})


@every_page
def test_every_named_setting_exists(page: Path) -> None:
    flags = {flag_name(path) for path in setting_paths()} | {"--config.file", "--alertmanager.url"}
    named = re.findall(r"(?<![\w-])--[a-z]+\.[a-z.-]*[a-z]", page.read_text())
    assert set(named) <= flags


@every_page
def test_every_shell_block_can_be_parsed(page: Path) -> None:
    for block in blocks_of(page.read_text(), "sh"):
        done = subprocess.run(
            ["bash", "-n"], input=block.content, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), block.content


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scrape an exporter under two names, so that queries that mix several exporters fail."""
    directory = tmp_path_factory.mktemp("queries")
    build_sample(directory / "registry", NOW)
    write_captain_config(directory / "captain", NOW)
    arguments: list[str | Path] = [
        "--storage.root",
        directory / "registry",
        "--storage.limit",
        "1GiB",
    ]
    arguments += ["--caprover.config-dir", directory / "captain", "--retention.keep-last", "5"]
    with Exporter(*arguments) as exporter:
        targets = [exporter.address, exporter.address.replace("127.0.0.1", "localhost")]
        with Prometheus(directory, targets) as server:
            server.wait_for("count(docker_registry_scan_success) == 2")
            yield server


@every_page
def test_every_query_can_be_evaluated_with_several_exporters(
    page: Path, prometheus: Prometheus
) -> None:
    for query in queries_of(page.read_text()):
        prometheus.query(query)


def test_the_index_has_every_page_once() -> None:
    linked = [re.findall(r"\[(\w+)\]\((\w+)\.md\)", row[0]) for row in index_rows()]
    assert all(f"DockerRegistry{name}" == stem for ((name, stem),) in linked)
    assert sorted(stem for ((_, stem),) in linked) == [page.stem for page in ALERT_PAGES]


def test_the_index_names_the_flags_of_every_threshold_and_no_others() -> None:
    named = {}
    for name, _, _, _, flags in index_rows():
        if flags:
            alert = re.findall(r"\[(\w+)\]", name)[0]
            named[alert] = re.findall(r"`([^`]+)`", flags)
    assert named == threshold_flags()


def test_the_index_and_the_flags_agree_on_severities() -> None:
    for name, severities, *_ in index_rows():
        alert = re.findall(r"\[(\w+)\]", name)[0]
        flags = threshold_flags().get(alert)
        if flags is not None:
            assert severities.split(", ") == [flag.rpartition(".")[2] for flag in flags]


@every_alert_page
def test_a_page_names_where_its_thresholds_are_set(page: Path) -> None:
    flags = threshold_flags().get(page.stem.removeprefix("DockerRegistry"), [])
    groups = {flag.rpartition(".")[0] for flag in flags}
    assert all(f"`{group}." in prose_of(page.read_text()) for group in groups)
