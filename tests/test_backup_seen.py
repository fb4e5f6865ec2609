"""``--backup.dir``: how old the newest complete backup is, as metrics, alert and problem."""

import json
import os
import threading
from pathlib import Path

import pytest

from demo.store import StoreBuilder
from exporter.analysis.analyst import Analyst
from exporter.backup.last import read_last_backup
from exporter.commands.one_scan import scan_once
from exporter.domain.errors import BackupUnusableError
from exporter.domain.last_runs import LastBackup, LastRunReading
from exporter.store.filesystem.store import FilesystemStore
from tests.exporter_process import Exporter, Metrics
from tests.in_process import Outcome, run_command
from tests.test_commands import as_nobody, needs_root

LAST = "docker_registry_backup_last_success_timestamp_seconds"
BYTES = "docker_registry_backup_bytes"
THRESHOLD = "docker_registry_alert_threshold"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    builder = StoreBuilder(tmp_path / "registry")
    builder.image("app", "1")
    builder.image("other", "1")
    return builder


def save(store: StoreBuilder, *arguments: str | Path) -> Outcome:
    return run_command("backup", "--storage.root", store.root, "--same-filesystem", *arguments)


def page(store: StoreBuilder, place: Path) -> Metrics:
    outcome = run_command("collect", "--storage.root", store.root, "--backup.dir", place)
    assert outcome.exit_code == 0
    return Metrics.parse(outcome.output)


def ended_at(place: Path) -> float:
    last = read_last_backup(place).completed_at
    assert last is not None
    return last


def test_only_complete_backups_of_the_whole_store_count(
    store: StoreBuilder, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    assert page(store, place).value(LAST) == 0
    save(store, "--repository", "app", place)
    save(store, "--no-blobs", place)
    assert page(store, place).value(LAST) == 0
    assert page(store, place).value(BYTES) is None
    save(store, place)
    size = sum(path.stat().st_size for path in store.version_path.rglob("data"))
    first = ended_at(place)
    assert (page(store, place).value(LAST), page(store, place).value(BYTES)) == (first, size)
    save(store, "--repository", "app", place)
    assert page(store, place).value(LAST) == first
    next(store.version_path.glob("blobs/*/*/*/data")).unlink()
    (place / "_blobs").rename(place / "_lost")
    assert save(store, place).exit_code == 1
    assert page(store, place).value(LAST) == first


def test_the_file_of_another_tool_counts_by_its_time(store: StoreBuilder, tmp_path: Path) -> None:
    stamp = tmp_path / "restic-is-done"
    stamp.write_text("")
    os.utime(stamp, (1_700_000_000, 1_700_000_000))
    metrics = page(store, stamp)
    assert (metrics.value(LAST), metrics.value(BYTES)) == (1_700_000_000, None)


def test_without_a_place_of_backups_nothing_is_said(store: StoreBuilder) -> None:
    outcome = run_command("collect", "--storage.root", store.root)
    metrics = Metrics.parse(outcome.output)
    assert metrics.value(LAST) is None
    assert metrics.value(THRESHOLD, alert="BackupMissing", severity="warning") is None


def test_the_threshold_is_exported_with_a_place_of_backups(
    store: StoreBuilder, tmp_path: Path
) -> None:
    metrics = page(store, tmp_path / "nothing")
    assert metrics.value(THRESHOLD, alert="BackupMissing", severity="warning") == 172_800


@needs_root
def test_a_place_that_cannot_be_read_is_unknown(store: StoreBuilder, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir(mode=0o700)
    with as_nobody(tmp_path / "x"):
        with pytest.raises(BackupUnusableError, match="Permission denied"):
            read_last_backup(place)
        metrics = page(store, place)
    assert metrics.value(LAST) is None
    assert metrics.value(THRESHOLD, alert="BackupMissing", severity="warning") is not None


def test_a_status_of_another_format_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "_backup.json").write_text('{"format": 9, "store": "/x"}')
    with pytest.raises(BackupUnusableError, match="of format 9, this version reads 1"):
        read_last_backup(tmp_path)
    (tmp_path / "_backup.json").write_text('{"format": 1')
    with pytest.raises(BackupUnusableError, match="is damaged"):
        read_last_backup(tmp_path)


def test_a_mount_that_hangs_does_not_hold_up_one_scan(
    store: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.commands.one_scan._LAST_RUN_SECONDS", 0.1)
    released = threading.Event()

    def hang() -> LastBackup:
        released.wait()
        return LastBackup()

    snapshot = scan_once(
        FilesystemStore(store.root), None, Analyst(), last_runs=(LastRunReading("backup", hang),)
    )
    released.set()
    assert (snapshot.backup, snapshot.scan.succeeded) == (None, True)


def test_serve_reads_it_again_and_shows_the_problem(store: StoreBuilder, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    flags = ("--storage.root", store.root, "--backup.dir", place, "--scan.interval", "1s")
    with Exporter(*flags) as exporter:
        exporter.wait_for(lambda page: page.value(LAST) == 0)
        problems = exporter.get("/api/v1/overview").json()["problems"]
        assert "BackupMissing" in {each["alert"] for each in problems}
        save(store, place)
        exporter.wait_for(lambda page: page.value(LAST) == pytest.approx(ended_at(place)))
        problems = exporter.get("/api/v1/overview").json()["problems"]
        assert "BackupMissing" not in {each["alert"] for each in problems}
        status = json.loads((place / "_backup.json").read_bytes())
        assert status["last_complete"]["complete"] is True


def test_a_place_that_hangs_stops_neither_scans_nor_scrapes_nor_the_end(
    store: StoreBuilder, tmp_path: Path
) -> None:
    place = tmp_path / "backup"
    place.mkdir()
    os.mkfifo(place / "_backup.json")  # whoever opens it waits, as on a dead mount
    flags = ("--storage.root", store.root, "--backup.dir", place, "--scan.interval", "1s")
    with Exporter(*flags) as exporter:
        store.image("later", "1")
        exporter.wait_for(lambda page: page.value("docker_registry_repositories") == 3)
        assert exporter.value(LAST) is None
        assert exporter.value(THRESHOLD, alert="BackupMissing", severity="warning") == 172_800
        assert exporter.terminate().exit_code == 0
