"""What the explorer says of growth, from a history that was recorded before."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from exporter.support.quantities import format_size
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
                exporter.get("/api/v1/overview").json()["trend"]["growth"][0]["store_bytes"]
                not in (0, None)
            ),
            "nothing is recorded",
        )
        wait_until(
            lambda: "did not change in 24h" not in exporter.get("/repositories/grown").text,
            "no repository is recorded",
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


def test_the_page_of_a_repository_says_and_draws_how_it_grew(exporter: Exporter) -> None:
    exclusive = exporter.metrics().by("repository", "docker_registry_repository_exclusive_bytes")
    growth = int(exclusive["grown"] - 500)
    page = exporter.get("/repositories/grown").text
    assert f'<data value="{growth}">{format_size(growth)}</data> in 7d' in page
    assert "Growth in 30d is not known yet: the history is shorter." in page
    assert page.count('<path class="line second"') == 1 + 2  # in the legend, and in both pictures
    assert "Exclusive: 500 B at 20" in page
    assert f"now {format_size(exclusive['grown'])}. Size: 1000 B at 20" in page
    same = exporter.get("/repositories/same").text
    assert "Exclusive bytes did not change in 24h, did not change in 7d." in same


def test_the_period_of_a_chart_is_in_the_address(exporter: Exporter) -> None:
    page = exporter.get("/repositories/grown?sort=size&days=7").text
    current = re.findall(r'<a href="([^"]*)" aria-current="true">([^<]*)</a>', page)
    address = "/repositories/grown?sort=size&amp;days=7#growth"
    assert current[-1] == (address, "7 days")
    assert '<input type="hidden" name="days" value="7">' in page
    assert 'href="/repositories/grown?sort=size#growth">30 days' in page
    assert 'href="/?days=365#grew"' in exporter.get("/").text
    for path in ("/repositories/grown?days=8", "/?days=8", "/api/v1/overview?days=8"):
        answer = exporter.get(path)
        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert "is none of: 1, 7, 30, 365" in answer.text


def test_the_points_of_the_charts_are_in_the_api(exporter: Exporter) -> None:
    metrics = exporter.metrics()
    now = metrics.total("docker_registry_blob_bytes")
    before = (
        1400 + 2 * metrics.by("repository", "docker_registry_repository_exclusive_bytes")["same"]
    )
    trend = exporter.get("/api/v1/overview").json()["trend"]
    (begins_at, first), *_, (last_at, last) = trend["store_points"]
    assert (first, last) == (before, now)
    assert 10 * DAY <= last_at - begins_at < 11 * DAY
    assert trend["avail_points"][0] == [begins_at, 10**15]
    day = exporter.get("/api/v1/overview?days=1").json()["trend"]["store_points"]
    assert day[0][1] == before
    assert 0 <= day[0][0] - (last_at - DAY) < DAY / 100


def test_a_history_that_cannot_be_read_is_said_and_hides_nothing_else(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1.0", [noise("app", 1000)])
    path = tmp_path / "state" / "registry-storage-exporter" / "history.sqlite"
    path.mkdir(parents=True)
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Exporter("--storage.root", store.root, environment=environment) as exporter:
        wait_until(
            lambda: "The history cannot be read: " in exporter.get("/").text, "nothing is said"
        )
        table = exporter.get("/repositories?sort=growth")
        page = exporter.get("/repositories/app")
    assert 'href="/repositories/app"' in table.text
    assert "The history cannot be read: " in page.text
    assert "What keeping fewer tags would free" in page.text


def test_a_history_shorter_than_an_hour_is_said_in_one_sentence(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1.0", [noise("app", 1000)])
    with Exporter("--storage.root", store.root) as exporter:
        page, overview = exporter.get("/repositories/app").text, exporter.get("/").text
    assert "Not known yet: the history is shorter than an hour." in page
    for each in (page, overview):
        assert "<figure" not in each
        assert "days=" not in each


def test_without_a_history_nothing_is_said_of_growth(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1.0", [noise("app", 1000)])
    with Exporter("--storage.root", store.root, "--history.max-size", "0") as exporter:
        page, overview = exporter.get("/").text, exporter.get("/api/v1/overview").json()
        repository = exporter.get("/repositories/app").text
    assert "What grew" not in page
    assert "Unknown: no history is kept." in repository
    assert overview["trend"] == {
        "seconds_until_full": None,
        "growth": [],
        "store_points": [],
        "avail_points": [],
        "failure": None,
    }
