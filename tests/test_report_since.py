"""``report --since``: what has changed since a point of the history."""

import csv
import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.commands.one_scan import scan_once
from exporter.history.points import store_point_of
from exporter.history.recorder import HistoryFile
from exporter.store.filesystem.store import FilesystemStore
from tests.exporter_process import Exporter
from tests.in_process import Outcome, run_command
from tests.recorded_history import DAY
from tests.test_report import faults


class Shop:
    """A store with a history."""

    def __init__(self, directory: Path) -> None:
        self.store = StoreBuilder(directory / "registry")
        self.store.image("grows", "1", [noise("one", 10_000)])
        self.store.image("shrinks", "1", [noise("two", 5000)])
        self._newest = self.store.image("shrinks", "2", [noise("three", 5000)])
        self.store.image("stays", "1", [noise("four", 3000)])
        self.store.image("goes", "1", [noise("five", 20_000)])
        self.path = directory / "state" / "history.sqlite"
        self.flags: tuple[str | Path, ...] = (
            *("--storage.root", self.store.root),
            *("--cache.path", self.path.with_name("cache.sqlite")),
        )

    def record(self, days_ago: float) -> None:
        """Record the store as it is as if it were some days ago."""
        store = FilesystemStore(self.store.root)
        snapshot = scan_once(store, None, Analyst(AnalysisOptions()))
        point = store_point_of(snapshot, time.time() - days_ago * DAY)
        assert point is not None
        assert snapshot.store is not None
        file = HistoryFile(self.path, lambda: store.identity, 50_000_000)
        file.record(point, snapshot.store.figures.repositories)
        file.close()

    def change(self) -> None:
        """Make repositories come, go, grow and shrink."""
        self.store.image("grows", "2", [noise("six", 7000)])
        self.store.image("comes/here", "1", [noise("seven", 1000)])
        self.store.delete_revision("shrinks", self._newest)
        shutil.rmtree(self.store.repository_path("goes"))
        self.store.upload("grows", b"half a layer", time.time())

    def report(self, since: str, *options: str) -> Outcome:
        """Report what has changed."""
        return run_command("report", "--since", since, *options, *self.flags)

    def json(self, since: str, *options: str) -> dict[str, Any]:
        """Return the report for programs."""
        done = self.report(since, "--format", "json", *options)
        assert (done.exit_code, done.complaints) == (0, "")
        document: dict[str, Any] = json.loads(done.output)
        return document


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def figures_of(shop: Shop) -> dict[str, dict[str, Any]]:
    """Return the figures of the repositories by name, as ``report`` has them."""
    done = run_command("report", "--format", "json", *shop.flags)
    return {each["name"]: each for each in json.loads(done.output)["repositories"]}


def test_the_report_has_the_differences_of_two_reports(shop: Shop) -> None:
    before = figures_of(shop)
    shop.record(days_ago=7.5)
    shop.change()
    now, document = figures_of(shop), shop.json("7d")
    assert faults(document, {"$ref": "#/$defs/since_report"}) == []
    changes = {each["name"]: each for each in document["repositories"]}
    assert {name: each["change"] for name, each in changes.items()} == {
        "goes": "went",
        "grows": "grew",
        "shrinks": "shrank",
        "comes/here": "came",
    }
    for name, each in changes.items():
        for figure in ("exclusive_bytes", "referenced_bytes", "tags"):
            old, new = (side.get(name, {}).get(figure, 0) for side in (before, now))
            assert each[figure] == new - old
    sizes = [abs(each["exclusive_bytes"]) for each in document["repositories"]]
    assert sizes == sorted(sizes, reverse=True)


def test_the_points_of_the_report_are_those_of_the_scans(shop: Shop) -> None:
    first = json.loads(run_command("report", "--format", "json", *shop.flags).output)
    shop.record(days_ago=1)
    shop.change()
    second = json.loads(run_command("report", "--format", "json", *shop.flags).output)
    document = shop.json("1h")
    for point, report in ((document["before"], first), (document["now"], second)):
        assert point["blob_bytes"] == {
            state: total["bytes"] for state, total in report["blobs"].items()
        }
        assert point["upload_bytes"] == report["uploads"]["bytes"]
        assert point["repositories"] == len(report["repositories"])
        assert point["reclaimable_bytes"] == {
            mode: run["frees"]["bytes"] for mode, run in report["collector"].items()
        }
    assert document["growth"]["store_bytes"] == sum(
        document["now"]["blob_bytes"].values()
    ) + document["now"]["upload_bytes"] - sum(document["before"]["blob_bytes"].values())


def test_the_nearest_point_before_that_time_counts(shop: Shop) -> None:
    shop.record(days_ago=30)
    shop.change()
    shop.record(days_ago=3)
    assert shop.json("7d")["repositories"] != []
    assert shop.json("2d")["repositories"] == []


def test_people_get_tables_with_signs_and_the_time_of_the_comparison(shop: Shop) -> None:
    shop.record(days_ago=7.5)
    shop.change()
    done = shop.report("7d")
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "8d before" in lines[0]
    assert any(line.startswith("goes -") and line.endswith("-1 went") for line in lines)
    assert any(line.startswith("grows +") and line.endswith("+1 grew") for line in lines)
    assert any(line.startswith("unfinished uploads 0 B 12 B +12 B") for line in lines)
    assert "Repositories 4 4 +0" in lines
    assert not any(line.startswith("stays") for line in lines)


def test_top_limits_the_repositories(shop: Shop) -> None:
    shop.record(days_ago=7.5)
    shop.change()
    assert len(shop.json("7d", "--top", "2")["repositories"]) == 2
    assert "and 2 more" in shop.report("7d", "--top", "2").output


def test_csv_has_one_line_for_each_changed_repository(shop: Shop) -> None:
    shop.record(days_ago=7.5)
    shop.change()
    done = shop.report("7d", "--format", "csv")
    rows = [*csv.DictReader(io.StringIO(done.output))]
    expected = shop.json("7d")["repositories"]
    assert rows == [{key: str(value) for key, value in each.items()} for each in expected]


def test_nothing_changed_is_said(shop: Shop) -> None:
    shop.record(days_ago=7.5)
    assert "No repository has changed." in shop.report("7d").output


def test_without_a_history_the_message_names_the_place_and_who_writes_it(shop: Shop) -> None:
    done = shop.report("7d")
    assert (done.exit_code, done.output) == (1, "")
    assert f"there is no history in {shop.path}; `serve` records it there" in done.complaints


def test_a_history_that_is_too_short_is_an_error_with_its_beginning(shop: Shop) -> None:
    shop.record(days_ago=3)
    done = shop.report("7d")
    assert (done.exit_code, done.output) == (1, "")
    assert f"--since 7d: the history in {shop.path} begins at " in done.complaints
    assert "UTC, 3d ago" in done.complaints


def test_a_history_that_is_switched_off_is_an_error_with_the_settings(shop: Shop) -> None:
    shop.record(days_ago=3)
    done = shop.report("1d", "--history.max-size", "0")
    assert done.exit_code == 1
    assert "no history is kept; set --history.max-size above 0" in done.complaints


def test_an_unusable_history_is_an_error_with_the_reason(shop: Shop) -> None:
    shop.path.parent.mkdir()
    shop.path.write_text("what?\n" * 999)
    done = shop.report("1d")
    assert done.exit_code == 1
    assert f"the history {shop.path}: is damaged (file is not a database)" in done.complaints
    assert shop.path.read_text() == "what?\n" * 999


def test_the_history_of_another_store_is_an_error(shop: Shop, tmp_path: Path) -> None:
    shop.record(days_ago=3)
    other = StoreBuilder(tmp_path / "other")
    other.image("app", "1")
    done = run_command("report", "--since", "1d", *shop.flags, "--storage.root", other.root)
    assert done.exit_code == 1
    assert f"it is of another store, {shop.store.root}" in done.complaints


@pytest.mark.parametrize(
    "option", [("--repository", "a"), ("--digest", "abcdef"), ("--disk",), ("--sort", "name")]
)
def test_options_for_a_part_of_the_store_do_not_go_with_it(
    shop: Shop, option: tuple[str, ...]
) -> None:
    done = shop.report("1d", *option)
    assert done.exit_code == 2
    assert "is about the whole store" in done.complaints


@pytest.mark.parametrize("span", ["0s", "9999d", "week"])
def test_a_span_that_makes_no_sense_is_refused(shop: Shop, span: str) -> None:
    done = shop.report(span)
    assert done.exit_code == 2
    assert f"'{span}' is not" in done.complaints


def test_it_reads_the_history_while_serve_records_it(shop: Shop) -> None:
    shop.record(days_ago=2)
    with Exporter(*shop.flags) as exporter:
        shop.store.image("grows", "3", [noise("eight", 999)])
        document = shop.json("1d")
        assert exporter.complaints == []
    assert [each["name"] for each in document["repositories"]] == ["grows"]
