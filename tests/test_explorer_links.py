"""From an alert, a dashboard or a runbook to the page of the explorer that shows the matter."""

from pathlib import Path

import pytest

from demo.store import StoreBuilder
from tests.exporter_process import Metrics
from tests.in_process import run_command

INFO = "docker_registry_explorer_info"
URL = "https://example.com/registry"


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
