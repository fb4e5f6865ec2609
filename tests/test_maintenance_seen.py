"""``--maintenance.result-file``: when the maintenance last succeeded, as metrics and problem."""

import time
from pathlib import Path

import pytest

from demo.store import StoreBuilder
from exporter.domain.errors import ResultFileUnusableError
from exporter.domain.last_runs import LastMaintenance
from exporter.maintenance.result_file import COMPLETED_AT, FREED_BYTES, read_last_maintenance
from tests.exporter_process import Exporter, Metrics
from tests.in_process import run_command
from tests.maintenance_result import write_result
from tests.test_commands import as_nobody, needs_root

THRESHOLD = "docker_registry_alert_threshold"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    builder = StoreBuilder(tmp_path / "registry")
    builder.image("app", "1")
    return builder


def page(store: StoreBuilder, *arguments: str | Path) -> Metrics:
    outcome = run_command("collect", "--storage.root", store.root, *arguments)
    assert outcome.exit_code == 0
    return Metrics.parse(outcome.output)


def test_the_file_is_exposed_with_its_threshold_and_0_without_it(
    store: StoreBuilder, tmp_path: Path
) -> None:
    result = tmp_path / "result.prom"
    metrics = page(store, "--maintenance.result-file", result)
    assert (metrics.value(COMPLETED_AT), metrics.value(FREED_BYTES)) == (0, None)
    assert metrics.value(THRESHOLD, alert="MaintenanceFailing", severity="warning") == 691_200
    write_result(result, completed_at=1_700_000_000, freed_bytes=0)
    metrics = page(store, "--maintenance.result-file", result)
    assert (metrics.value(COMPLETED_AT), metrics.value(FREED_BYTES)) == (1_700_000_000, 0)


def test_where_it_is_not_configured_nothing_is_exposed(store: StoreBuilder) -> None:
    metrics = page(store)
    assert (metrics.value(COMPLETED_AT), metrics.value(FREED_BYTES)) == (None, None)
    assert metrics.value(THRESHOLD, alert="MaintenanceFailing", severity="warning") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has no line 'docker_registry_maintenance_last_success_timestamp_seconds'"),
        (f"{COMPLETED_AT} 1\n".encode(), f"it has no line '{FREED_BYTES}'"),
        (f"{FREED_BYTES} 1\n{COMPLETED_AT}\n".encode(), "is '', and not a number"),
        (f"{FREED_BYTES} 1\n{COMPLETED_AT} soon\n".encode(), "is 'soon', and not a number"),
        (f"{FREED_BYTES} -1\n{COMPLETED_AT} 1\n".encode(), "is '-1', and not a number from 0"),
        (f"{FREED_BYTES} inf\n{COMPLETED_AT} 1\n".encode(), "is 'inf', and not a number"),
        (f"{FREED_BYTES} nan\n{COMPLETED_AT} 1\n".encode(), "is 'nan', and not a number"),
        (b"\xff\xfe", "can't decode"),
        (bytes(70_000), "it is larger than 65536 bytes"),
    ],
)
def test_a_malformed_file_is_named_with_what_to_do(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    result = tmp_path / "result.prom"
    result.write_bytes(content)
    with pytest.raises(ResultFileUnusableError) as raised:
        read_last_maintenance(result)
    message = str(raised.value)
    assert message.startswith(f"{result} is not what maintenance.sh writes: ")
    assert reason in message
    assert message.endswith("delete it, and run maintenance.sh --yes again")


def test_comments_and_other_metrics_are_skipped(tmp_path: Path) -> None:
    result = tmp_path / "result.prom"
    result.write_text(f"# HELP x y\n\nother 1\n{FREED_BYTES} 5e3\n{COMPLETED_AT} 7.5\n")
    assert read_last_maintenance(result) == LastMaintenance(7.5, 5000)


def test_a_directory_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(ResultFileUnusableError, match="it is not a file"):
        read_last_maintenance(tmp_path)


@needs_root
def test_a_file_that_cannot_be_read_is_unknown(store: StoreBuilder, tmp_path: Path) -> None:
    result = tmp_path / "result.prom"
    write_result(result, completed_at=1, freed_bytes=1)
    result.chmod(0o600)
    with as_nobody(tmp_path / "x"):
        with pytest.raises(ResultFileUnusableError, match="Permission denied; let uid 65534"):
            read_last_maintenance(result)
        assert page(store, "--maintenance.result-file", result).value(COMPLETED_AT) is None


def test_serve_reads_it_again_and_keeps_the_last_good_reading(
    store: StoreBuilder, tmp_path: Path
) -> None:
    result, now = tmp_path / "result.prom", int(time.time())
    flags = ("--storage.root", store.root, "--maintenance.result-file", result)
    with Exporter(*flags, "--scan.interval", "1s") as exporter:
        exporter.wait_for(lambda page: page.value(COMPLETED_AT) == 0)
        assert "MaintenanceFailing" in alerts_of(exporter)
        write_result(result, completed_at=now, freed_bytes=42)
        exporter.wait_for(lambda page: page.value(COMPLETED_AT) == now)
        assert "MaintenanceFailing" not in alerts_of(exporter)
        result.write_text("half a li")
        exporter.wait_for(lambda _: "looking at the maintenance failed: " in exporter.log)
        assert "delete it, and run maintenance.sh --yes again" in exporter.log
        metrics = exporter.metrics()
        assert (metrics.value(COMPLETED_AT), metrics.value(FREED_BYTES)) == (now, 42)
        write_result(result, completed_at=now + 1, freed_bytes=43)
        exporter.wait_for(lambda page: page.value(FREED_BYTES) == 43)


def alerts_of(exporter: Exporter) -> set[str]:
    problems = exporter.get("/api/v1/overview").json()["problems"]
    return {each["alert"] for each in problems}
