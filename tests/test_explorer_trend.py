"""What the explorer says of growth, from a history that was recorded before."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter
from tests.recorded_history import RecordedHistory, repository

DAY = 86400


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    store = StoreBuilder(tmp_path / "registry")
    store.image("grown", "1.0", [noise("grown", 5000)])
    store.image("same", "1.0", [noise("same", 5000)])
    sizes = {"grown": 1000, "same": 2 * exclusive_bytes(store, "same"), "gone": 400}
    path = tmp_path / "state" / "registry-storage-exporter" / "history.sqlite"
    history = RecordedHistory(path, root=str(store.root.resolve()))
    history.now = int(time.time()) - 10 * DAY
    history.record_all([repository(name, size) for name, size in sizes.items()], avail=10**15)
    history.file.close()
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Exporter("--storage.root", store.root, environment=environment) as exporter:
        wait_until(
            lambda: (
                exporter.get("/api/v1/overview").json()["trend"]["growth"][0]["store_bytes"] != 0
            ),
            "nothing is recorded",
        )
        yield exporter


def exclusive_bytes(store: StoreBuilder, name: str) -> int:
    with Exporter("--storage.root", store.root) as exporter:
        value = exporter.value("docker_registry_repository_exclusive_bytes", repository=name)
    assert value is not None
    return int(value)


def test_the_overview_and_the_table_say_what_grew(exporter: Exporter) -> None:
    metrics = exporter.metrics()
    now = metrics.total("docker_registry_blob_bytes")
    exclusive = metrics.by("repository", "docker_registry_repository_exclusive_bytes")
    trend = exporter.get("/api/v1/overview").json()["trend"]
    table = exporter.get("/api/v1/repositories?sort=growth").json()
    before = 1000 + 2 * exclusive["same"] + 400
    assert [each["span_seconds"] for each in trend["growth"]] == [DAY, 7 * DAY, 30 * DAY]
    assert [each["store_bytes"] for each in trend["growth"]] == [now - before, now - before, None]
    assert [(each["figures"]["name"], each["growth_bytes"]) for each in table["repositories"]] == [
        ("grown", exclusive["grown"] - 500),
        ("same", 0),
    ]
    page = exporter.get("/").text
    assert f'<data value="{int(now - before)}">' in page
    assert "not known yet: the history is shorter" in page


def test_a_history_that_cannot_be_read_is_said_and_hides_nothing_else(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1.0", [noise("app", 1000)])
    path = tmp_path / "state" / "registry-storage-exporter" / "history.sqlite"
    path.mkdir(parents=True)
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Exporter("--storage.root", store.root, environment=environment) as exporter:
        overview, table = exporter.get("/"), exporter.get("/repositories?sort=growth")
    assert "The history cannot be read: " in overview.text
    assert 'href="/repositories/app"' in table.text


def test_without_a_history_nothing_is_said_of_growth(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1.0", [noise("app", 1000)])
    with Exporter("--storage.root", store.root, "--history.max-size", "0") as exporter:
        page, overview = exporter.get("/").text, exporter.get("/api/v1/overview").json()
    assert "What grew" not in page
    assert overview["trend"] == {"seconds_until_full": None, "growth": [], "failure": None}
