"""Where the census of the disk shows: ``report --disk``, and ``serve``, also after a restart."""

import csv
import io
import json
import threading
from pathlib import Path

import pytest

from demo.sample import build_sample
from demo.store import StoreBuilder, digest_of
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.domain.census import DiskKind
from exporter.domain.snapshot import ScanStatus, Snapshot
from exporter.serve.census import CensusPlan, CensusTaker
from exporter.serve.census_file import CensusFile
from exporter.serve.publisher import Publisher
from exporter.store.filesystem.store import FilesystemStore
from tests.exporter_process import Exporter, Metrics
from tests.golden_outputs import NOW
from tests.in_process import run_command
from tests.test_census import add_history, census_of, du
from tests.test_report import faults

ALLOCATED = "docker_registry_disk_allocated_bytes"
INODES = "docker_registry_disk_inodes"
TAKEN_AT = "docker_registry_disk_census_timestamp_seconds"
DAY = 86400.0
STALE = 15_000


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    """Return a store of 55 tags with stale layer links and a long history of one tag."""
    store = StoreBuilder(tmp_path_factory.mktemp("crowded") / "registry")
    for number in range(55):
        store.image(f"team/app-{number % 5}", f"v{number}")
    for number in range(STALE):
        digest = digest_of(str(number).encode())
        store.link_blob(f"team/app-{number % 5}", digest)
        add_history(store, "team/app-0", "v0", digest)
    return store


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = StoreBuilder(tmp_path / "registry")
    store.image("app", "1")
    return store


def test_the_report_explains_a_disk_that_is_fuller_than_the_sum(crowded: StoreBuilder) -> None:
    done = run_command("report", "--disk", "--format", "json", "--storage.root", crowded.root)
    assert done.exit_code == 0
    page = json.loads(done.output)
    allocated = du(crowded.root, "--block-size=1")
    assert page["total"]["allocated_bytes"] == allocated
    assert page["total"]["inodes"] == du(crowded.root, "--inodes")
    stale, history = page["leftovers"]["stale_layer_links"], page["leftovers"]["old_tag_history"]
    assert (stale["entries"], history["entries"]) == (STALE, STALE)
    assert stale["inodes"] == history["inodes"] == 2 * STALE
    content = page["kinds"]["blobs"]["apparent_bytes"]
    assert content == sum(path.stat().st_size for path in crowded.root.rglob("blobs/**/data"))
    explained = stale["allocated_bytes"] + history["allocated_bytes"]
    assert explained > 0.9 * (allocated - content)
    used = page["filesystem"]["size_bytes"] - page["filesystem"]["free_bytes"]
    assert page["others_bytes"] == used - allocated


def test_the_table_names_what_is_left_over_and_what_can_be_done(crowded: StoreBuilder) -> None:
    page = run_command("report", "--disk", "--storage.root", crowded.root).output
    assert "layer links     15,110" in page
    assert "Layer links whose blob is gone                        15,000  30,000" in page
    assert "Tag history: manifests that a tag pointed to before   15,000  30,000" in page
    assert "docs/runbooks/DockerRegistryStorageAlmostFull.md" in page
    assert "are not the registry's." in page


def test_a_store_without_leftovers_names_none(store: StoreBuilder) -> None:
    page = run_command("report", "--disk", "--storage.root", store.root).output
    assert "Left over" not in page
    assert "could not be read" not in page


def test_the_json_has_the_documented_schema(store: StoreBuilder) -> None:
    done = run_command("report", "--disk", "--format", "json", "--storage.root", store.root)
    assert faults(json.loads(done.output), {"$ref": "#/$defs/disk_report"}) == []


def test_csv_has_a_line_for_each_kind(store: StoreBuilder) -> None:
    done = run_command("report", "--disk", "--format", "csv", "--storage.root", store.root)
    lines = list(csv.DictReader(io.StringIO(done.output)))
    assert [line["kind"] for line in lines] == list(map(str, DiskKind))
    allocated = sum(int(line["allocated_bytes"]) for line in lines)
    assert allocated == du(store.root, "--block-size=1")


@pytest.mark.parametrize("other", [("--repository", "app"), ("--top", "3"), ("--sort", "tags")])
def test_options_about_repositories_do_not_go_with_the_disk(
    store: StoreBuilder, other: tuple[str, str]
) -> None:
    done = run_command("report", "--disk", *other, "--storage.root", store.root)
    assert done.exit_code == 2
    assert "--disk: is about the whole store" in done.complaints


def test_a_root_directory_named_by_mistake_fails(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    done = run_command("report", "--disk", "--storage.root", tmp_path)
    assert done.exit_code == 1
    assert "give the registry's root directory" in done.complaints


# serve


def has_census(page: Metrics) -> bool:
    return page.value(TAKEN_AT) is not None


def test_serve_publishes_the_sums_of_du_and_keeps_them_over_a_restart(tmp_path: Path) -> None:
    build_sample(tmp_path / "registry", NOW)
    root, state = tmp_path / "registry", {"XDG_STATE_HOME": str(tmp_path / "state")}
    with Exporter("--storage.root", root, environment=state) as exporter:
        page = exporter.wait_for(has_census, "no census was taken")
        assert page.total(ALLOCATED) == du(root, "--block-size=1")
        assert page.total(INODES) == du(root, "--inodes")
        assert set(page.by("kind", INODES)) == set(map(str, DiskKind))
        assert exporter.complaints == []
    kept = tmp_path / "state/registry-storage-exporter/inventory.census.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    StoreBuilder(root).stray("docker/registry/v2/new", b"since then")
    with Exporter("--storage.root", root, environment=state) as exporter:
        again = exporter.wait_for(has_census, "the census was not kept")
        assert again.value(TAKEN_AT) == page.value(TAKEN_AT)
        assert again.total(INODES) == page.total(INODES)
        assert "took a census" not in exporter.log


def test_a_damaged_kept_census_is_ignored_with_one_line_in_the_log(
    store: StoreBuilder, tmp_path: Path
) -> None:
    cache = tmp_path / "state" / "kept.sqlite"
    cache.parent.mkdir()
    cache.with_suffix(".census.json").write_text('{"version": 1, "root"')
    with Exporter("--storage.root", store.root, "--cache.path", cache) as exporter:
        page = exporter.wait_for(has_census, "no census was taken")
        assert page.total(INODES) == du(store.root, "--inodes")
        (line,) = exporter.complaints
        assert "kept.census.json is damaged" in line


def test_serve_shows_no_census_if_that_is_switched_off(store: StoreBuilder, tmp_path: Path) -> None:
    flags = ("--storage.root", store.root, "--cache.path", tmp_path / "state" / "kept.sqlite")
    with Exporter(*flags) as exporter:
        exporter.wait_for(has_census, "no census was taken")
    with Exporter(*flags, "--scan.census-interval", "0") as exporter:
        assert exporter.value("docker_registry_blobs", state="tagged") == 3
        assert not has_census(exporter.metrics())


def test_collect_reports_no_census(store: StoreBuilder) -> None:
    done = run_command("collect", "--storage.root", store.root)
    assert done.exit_code == 0
    assert "docker_registry_disk_" not in done.output


# When a census is due


class Taker:
    """A census taker with a clock that a test sets."""

    def __init__(self, root: Path, path: Path | None, now: float) -> None:
        self.now = now
        self.store = FilesystemStore(root)
        self.file = CensusFile(path, self.store)
        self.publisher = Publisher(lambda _: None)
        analyst = Analyst(AnalysisOptions())
        plan, stop = CensusPlan(DAY), threading.Event()
        self.job = CensusTaker(
            self.store, self.file, analyst, self.publisher, plan, stop, lambda: self.now
        )

    def scan_succeeds(self) -> None:
        self.publisher.update(lambda _: Snapshot(scan=ScanStatus(scans=1, succeeded=True)))

    @property
    def has_taken(self) -> bool:
        return self.publisher.snapshot.census is not None


def test_the_first_census_waits_for_the_first_scan(store: StoreBuilder) -> None:
    taker = Taker(store.root, None, NOW)
    taker.job.take_if_due()
    assert not taker.has_taken
    taker.scan_succeeds()
    taker.job.take_if_due()
    assert taker.has_taken


def test_the_next_census_is_due_after_the_interval(store: StoreBuilder) -> None:
    taker = Taker(store.root, None, NOW)
    taker.scan_succeeds()
    taker.job.take_if_due()
    first = taker.publisher.snapshot.census
    taker.now += DAY - 1
    taker.job.take_if_due()
    assert taker.publisher.snapshot.census is first
    assert taker.job.due_in == 1
    taker.now += 1
    taker.job.take_if_due()
    assert taker.publisher.snapshot.census is not first


def test_a_clock_that_was_set_back_does_not_postpone_the_census(store: StoreBuilder) -> None:
    taker = Taker(store.root, None, NOW)
    taker.scan_succeeds()
    taker.job.take_if_due()
    taker.now -= 30 * DAY
    assert taker.job.due_in == 0


def test_a_kept_census_of_another_store_is_ignored(store: StoreBuilder, tmp_path: Path) -> None:
    path = tmp_path / "census.json"
    taker = Taker(store.root, path, NOW)
    taker.file.save(census_of(store.root))
    assert taker.file.load() is not None
    assert Taker(tmp_path, path, NOW).file.load() is None


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ('"version":1', '"version":2'),
        ('"unread":0', '"unread":-1'),
        ('"tag_links":', '"no_kind":'),
        ("{", "[" * 100_000),
    ],
)
def test_a_kept_census_that_makes_no_sense_is_ignored(
    store: StoreBuilder, tmp_path: Path, part: str, instead: str
) -> None:
    path = tmp_path / "census.json"
    file = Taker(store.root, path, NOW).file
    file.save(census_of(store.root))
    text = path.read_text()
    assert part in text
    path.write_text(text.replace(part, instead, 1))
    assert file.load() is None


def test_no_census_is_ever_written_into_the_store(store: StoreBuilder) -> None:
    path = store.version_path / "inventory.census.json"
    Taker(store.root, path, NOW).file.save(census_of(store.root))
    assert not path.exists()


def test_a_census_that_cannot_be_kept_is_published_and_logged(
    store: StoreBuilder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    taker = Taker(store.root, tmp_path / "file" / "census.json", NOW)
    taker.scan_succeeds()
    taker.job.take_if_due()
    assert taker.has_taken
    assert "cannot be written" in caplog.text
