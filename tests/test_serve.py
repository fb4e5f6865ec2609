"""``serve``: its answers, its values after a failed scan, and how it stops."""

import gzip
import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from tests.exporter_process import STOPPED_WITHIN_SECONDS, Exporter, Metrics, run_exporter
from tests.monitoring import Prometheus
from tests.servers import require

OFTEN = ("--scan.interval", "100ms")
SCRAPE_LIMIT_SECONDS = 0.5
"""Ten times the goal, which the benchmarks measure: here a slow machine must pass too."""
SCRAPES = 200
SCANS = 5
REPOSITORIES = 1_000

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

# Figures of the process and of the disk change between scrapes.
_CHANGING = re.compile(r"^(# (HELP|TYPE) )?(process_|python_|docker_registry_filesystem_)")


def build_store(root: Path) -> StoreBuilder:
    store = StoreBuilder(root)
    base = noise("base", 20_000)
    for repository in ("shop/web", "shop/worker", "tools"):
        for tag in ("1", "2"):
            store.image(repository, tag, [base, noise(f"{repository} {tag}", 3_000)])
    store.image("tools", None, [noise("untagged", 1_234)])
    store.unlinked_blob(noise("garbage", 567))
    store.upload("shop/web", b"half a layer", time.time())
    return store


def blob_bytes(root: Path) -> int:
    blobs = StoreBuilder(root).version_path / "blobs"
    return sum(path.stat().st_size for path in blobs.rglob("data"))


def watch(root: Path, *arguments: str, until_ready: bool = True) -> Exporter:
    """Return an exporter that scans all the time."""
    return Exporter("--storage.root", root, *OFTEN, *arguments, until_ready=until_ready)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    return build_store(tmp_path_factory.mktemp("store") / "registry")


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    """Serve a store that was scanned once and does not change."""
    with Exporter("--storage.root", store.root, "--storage.limit", "1GiB") as running:
        yield running


@pytest.fixture
def own_store(tmp_path: Path) -> StoreBuilder:
    """Return a store that a test may damage."""
    return build_store(tmp_path / "registry")


def lasting(page: str) -> list[str]:
    """Return the lines of a page that do not change between scrapes."""
    return [line for line in page.splitlines() if not _CHANGING.match(line)]


def raw_get(exporter: Exporter, path: str, encoding: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a page as transferred, without decoding."""
    connection = http.client.HTTPConnection(exporter.address, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": encoding})
        answer = connection.getresponse()
        return {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


# Answers


def test_metrics_are_text_by_default(exporter: Exporter) -> None:
    answer = exporter.get("/metrics", accept="*/*")
    assert answer.status_code == httpx.codes.OK
    assert answer.headers["content-type"] == TEXT_TYPE
    assert "\n# TYPE docker_registry_scans_total counter\n" in answer.text
    assert "# EOF" not in answer.text


def test_metrics_are_openmetrics_for_prometheus(exporter: Exporter) -> None:
    answer = exporter.get("/metrics", accept=PROMETHEUS_ACCEPTS)
    assert answer.headers["content-type"] == OPENMETRICS_TYPE
    assert answer.text.endswith("\n# EOF\n")
    assert answer.text.count("# EOF") == 1
    assert "accept" in answer.headers["vary"].lower()


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/nothing"])
def test_each_answer_has_a_date(exporter: Exporter, path: str) -> None:
    date = parsedate_to_datetime(exporter.get(path).headers["date"])
    assert abs(date.timestamp() - time.time()) < 3


def wait_until_watching(exporter: Exporter) -> None:
    """Wait for the second scan: watching begins after the first one, and causes it."""
    exporter.wait_for(
        lambda metrics: (
            metrics.value("docker_registry_watch_active") == 1
            and (metrics.value("docker_registry_scans_total") or 0) > 1
        )
    )


def test_both_formats_have_the_same_content(exporter: Exporter) -> None:
    wait_until_watching(exporter)
    openmetrics = exporter.get("/metrics", accept="application/openmetrics-text").text
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }
    text = exporter.metrics()
    assert samples.keys() == text.keys()
    steady = [key for key in text if not _CHANGING.match(key[0])]
    assert {key: samples[key] for key in steady} == {key: text[key] for key in steady}


def test_gzip_contains_the_same_page(exporter: Exporter) -> None:
    wait_until_watching(exporter)
    headers, packed = raw_get(exporter, "/metrics", "deflate, gzip;q=0.8")
    plain_headers, plain = raw_get(exporter, "/metrics", "identity")
    assert headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_headers
    assert len(packed) == int(headers["content-length"]) < len(plain) / 3
    assert lasting(gzip.decompress(packed).decode()) == lasting(plain.decode())


@pytest.mark.parametrize("accepted", ["", "identity", "deflate, br", "gzip;q=0", "gzip; q=0.0"])
def test_a_client_that_accepts_no_gzip_gets_none(exporter: Exporter, accepted: str) -> None:
    headers, page = raw_get(exporter, "/metrics", accepted)
    assert "content-encoding" not in headers
    assert page.startswith(b"# HELP ")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_head_returns_the_headers_of_a_page_without_the_page(exporter: Exporter, path: str) -> None:
    full, bare = exporter.get(path), exporter.request("HEAD", path)
    assert bare.status_code == full.status_code == httpx.codes.OK
    assert bare.headers["content-type"] == full.headers["content-type"]
    assert int(bare.headers["content-length"]) > 0
    assert bare.content == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_no_method_but_get_and_head_is_allowed(exporter: Exporter, method: str, path: str) -> None:
    answer = exporter.request(method, path)
    assert answer.status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "/metrics/more", "/-/", "/-/reload", "//", "/..%2f..%2fetc"]
)
def test_every_other_page_is_not_found(exporter: Exporter, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert exporter.request(method, path).status_code == httpx.codes.NOT_FOUND


def test_it_reports_that_it_is_healthy_and_ready(exporter: Exporter) -> None:
    for page in ("healthy", "ready"):
        answer = exporter.get(f"/-/{page}")
        assert (answer.status_code, answer.text) == (httpx.codes.OK, f"{page}\n")


def test_without_the_explorer_the_first_page_has_links_and_no_figures(
    store: StoreBuilder,
) -> None:
    with watch(store.root, "--no-web.explorer") as exporter:
        page = exporter.get("/")
        missing = [exporter.get(path).status_code for path in ("/repositories", "/static/x.css")]
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="/metrics"' in page.text
    assert str(store.root) not in page.text
    assert missing == [httpx.codes.NOT_FOUND] * 2


def test_promtool_accepts_the_metrics(exporter: Exporter) -> None:
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=exporter.get("/metrics").content,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout.decode()) == (0, "")


def test_prometheus_scrapes_it_and_the_bytes_add_up_to_the_disk(
    exporter: Exporter, store: StoreBuilder, tmp_path: Path
) -> None:
    with Prometheus(tmp_path, [exporter.address]) as prometheus:
        total = prometheus.wait_for("sum(docker_registry_blob_bytes)")
        up = prometheus.query("up")
        states = prometheus.query("docker_registry_blob_bytes")
    assert [sample["value"][1] for sample in up] == ["1"]
    assert {sample["metric"]["state"] for sample in states} == {
        "tagged",
        "untagged",
        "unreferenced",
    }
    assert int(total[0]["value"][1]) == blob_bytes(store.root)


# An unreadable store


def test_without_a_store_it_keeps_running_and_logs_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "missing"
    with watch(root, until_ready=False) as exporter:
        metrics = exporter.wait_for(
            lambda page: (page.value("docker_registry_scan_failures_total") or 0) >= 2
        )
        healthy, log = exporter.get("/-/healthy"), exporter.log
        stopped = exporter.terminate()
    assert healthy.status_code == httpx.codes.OK
    assert metrics.value("docker_registry_scan_success") == 0
    assert not any(name.startswith("docker_registry_blob") for name, _ in metrics)
    assert metrics.value("docker_registry_scan_last_success_timestamp_seconds") is None
    assert f"{root} does not exist: give the directory that holds docker/registry/v2" in log
    assert "Traceback" not in log
    assert stopped.exit_code == 0


def test_it_is_ready_after_the_first_successful_scan(tmp_path: Path) -> None:
    root = tmp_path / "later"
    built = build_store(tmp_path / "elsewhere")
    with watch(root, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        before = exporter.get("/-/ready")
        built.root.rename(root)
        metrics = exporter.wait_for(
            lambda page: page.value("docker_registry_scan_success") == 1, "the store is not found"
        )
        after = exporter.get("/-/ready")
    assert before.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert before.text.startswith(f"not ready: {root} does not exist")
    assert after.status_code == httpx.codes.OK
    assert metrics.total("docker_registry_blob_bytes") == blob_bytes(root)


def test_a_registry_without_a_push_is_an_empty_store_and_not_a_failure(tmp_path: Path) -> None:
    with watch(tmp_path) as exporter:
        metrics = exporter.metrics()
    assert metrics.value("docker_registry_scan_success") == 1
    assert metrics.by("state", "docker_registry_blob_bytes") == {
        "tagged": 0,
        "untagged": 0,
        "unreferenced": 0,
    }


def test_a_failed_scan_keeps_the_last_good_values_and_their_timestamp(
    own_store: StoreBuilder, tmp_path: Path
) -> None:
    last_success = "docker_registry_scan_last_success_timestamp_seconds"
    with watch(own_store.root) as exporter:
        before = exporter.metrics()
        own_store.root.rename(tmp_path / "away")
        failed = exporter.wait_for(lambda page: page.value("docker_registry_scan_success") == 0)
        failures = failed.value("docker_registry_scan_failures_total") or 0
        later = exporter.wait_for(
            lambda page: (page.value("docker_registry_scan_failures_total") or 0) >= failures + 2
        )
        ready, overview = exporter.get("/-/ready"), exporter.get("/").text
        (tmp_path / "away").rename(own_store.root)
        again = exporter.wait_for(lambda page: page.value("docker_registry_scan_success") == 1)
        log = exporter.log
    assert failures >= 1
    assert of_the_store(later) == of_the_store(failed) == of_the_store(before)
    assert later[last_success, frozenset()] == failed[last_success, frozenset()]
    assert before[last_success, frozenset()] <= failed[last_success, frozenset()]
    assert failed[last_success, frozenset()] < again[last_success, frozenset()]
    assert of_the_store(again) == of_the_store(before)
    assert ready.status_code == httpx.codes.OK
    assert "The last scan failed" in overview
    assert "reading the store failed" in log
    assert "Traceback" not in log


def of_the_store(metrics: Metrics) -> Metrics:
    """Return the metrics of the store, without those of the scan and the filesystem."""
    parts = ("blob", "manifest", "repositor", "tags", "upload", "logical", "shared", "stray")
    names = tuple(f"docker_registry_{part}" for part in parts)
    return Metrics({key: value for key, value in metrics.items() if key[0].startswith(names)})


# Start and stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly_although_connections_are_open(
    own_store: StoreBuilder, number: signal.Signals
) -> None:
    with watch(own_store.root) as exporter:
        exporter.metrics()  # leaves its connection open
        stopped = exporter.terminate(number)
        log = exporter.log
    assert stopped.exit_code == 0
    assert stopped.seconds < STOPPED_WITHIN_SECONDS
    assert log.splitlines()[-1].endswith("level=info logger=serve.run msg=stopped")
    assert "Traceback" not in log


@dataclass(frozen=True, slots=True)
class SlowStore:
    """A store with a slow scan: it waits some milliseconds for each empty link.

    Attributes:
        tags: number of empty links, by repository.
        awaited: the repository that is read when the exporter is stopped.

    """

    tags: Mapping[str, int]
    awaited: str

    def build(self, root: Path) -> Path:
        """Write the store; return the tags directory of the awaited repository."""
        store = StoreBuilder(root)
        for repository, tags in self.tags.items():
            for number in range(tags):
                link = store.tag_link(repository, f"t{number}")
                link.parent.mkdir(parents=True)
                link.touch()
        return store.repository_path(self.awaited) / "_manifests" / "tags"


SLOW_STORES = {
    "one endless repository": SlowStore({"a": 4_000}, "a"),
    "many repositories": SlowStore({f"r{number:03}": 20 for number in range(200)}, "r010"),
    # the scan is stopped while it waits for an earlier one, and a thread continues to read
    "an endless repository behind others": SlowStore(
        {"a": 5, **{f"b{number}": 150 for number in range(7)}, "c": 4_000}, "c"
    ),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", SLOW_STORES)
def test_a_signal_stops_it_in_the_middle_of_a_scan(
    tmp_path: Path, kind: str, number: signal.Signals
) -> None:
    tags = SLOW_STORES[kind].build(tmp_path)
    with Exporter("--storage.root", tmp_path, until_ready=False) as exporter:
        wait_until(lambda: exporter.has_open(tags), "the scan does not reach the tags")
        stopped = exporter.terminate(number)
        log = exporter.log
    assert stopped.exit_code == 0
    assert stopped.seconds < STOPPED_WITHIN_SECONDS
    assert "msg=stopped" in log
    assert "scanned the store" not in log
    assert "Traceback" not in log


def test_a_second_signal_during_the_stop_changes_nothing(tmp_path: Path) -> None:
    with Exporter("--storage.root", tmp_path, until_ready=False) as exporter:
        exporter.get("/-/healthy")
        stopped = exporter.terminate(signal.SIGTERM, times=20)
        log = exporter.log
    assert stopped.exit_code == 0
    assert log.count("msg=stopped") == 1
    assert "Traceback" not in log


def test_an_address_in_use_is_an_error_in_one_line(own_store: StoreBuilder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_exporter(
            "serve", "--storage.root", own_store.root, "--web.listen-address", address
        )
    assert done.returncode == 1
    assert done.stdout == ""
    message = f"registry-storage-exporter: cannot listen on {address}: Address already in use"
    hint = "; choose another address with --web.listen-address\n"
    assert done.stderr.startswith(message)
    assert done.stderr.endswith(hint)
    assert done.stderr.count("\n") == 1


def test_healthcheck_finds_a_running_exporter(exporter: Exporter) -> None:
    done = run_exporter("healthcheck", "--web.listen-address", exporter.address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "healthy\n", "")


def test_healthcheck_fails_if_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    done = run_exporter("healthcheck", "--web.listen-address", address)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"http://{address}/-/healthy does not answer" in done.stderr
    assert "Traceback" not in done.stderr


# Duration of a scrape


def seconds_of_scrapes(exporter: Exporter, scrapes: int) -> list[float]:
    """Scrape over one connection with gzip, like Prometheus; return the sorted durations."""
    connection = http.client.HTTPConnection(exporter.address, timeout=10)
    times = []
    try:
        for _ in range(scrapes):
            started = time.perf_counter()
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            connection.getresponse().read()
            times.append(time.perf_counter() - started)
    finally:
        connection.close()
    return sorted(times)


def test_a_scrape_does_not_wait_for_the_acknowledgement_of_its_head(exporter: Exporter) -> None:
    # a server with Nagle's algorithm takes 40 ms each time, however fast the machine is
    assert min(seconds_of_scrapes(exporter, 50)) < 0.035


@pytest.mark.alone
def test_scrapes_of_a_thousand_repositories_are_fast_during_scans(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    for number in range(REPOSITORIES):
        store.image(f"team/app-{number:04}", "1", [noise("layer", 256)])
    percentiles = []
    with watch(store.root) as exporter:
        assert len(exporter.metrics().by("repository", "docker_registry_repository_tags")) == 1_000
        for _ in range(2):  # one slow round on a busy machine does not count
            scans = exporter.metrics().total("docker_registry_scans_total")
            times: list[float] = []
            # scrapes are fast, so few scans run during the first ones
            while exporter.metrics().total("docker_registry_scans_total") < scans + SCANS:
                times += seconds_of_scrapes(exporter, SCRAPES)
            percentiles.append(sorted(times)[len(times) * 99 // 100])
            if percentiles[-1] < SCRAPE_LIMIT_SECONDS:
                break
    assert min(percentiles) < SCRAPE_LIMIT_SECONDS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_start_stops_it_too(
    tmp_path: Path, number: signal.Signals
) -> None:
    flags = ("--storage.root", str(tmp_path), "--web.listen-address", "127.0.0.1:0")
    with subprocess.Popen(
        (sys.executable, "-m", "exporter", *flags), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("msg=listening" in line for line in process.stderr)
        process.send_signal(number)
        assert "msg=stopped" in process.stderr.read()
        assert process.wait() == 0
