"""The selection of repositories with own series; no total depends on it."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.store import StoreBuilder
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.store_figures import analyse
from exporter.domain.images import AppImages
from exporter.domain.model import ApiView, Inventory, Repository
from exporter.domain.snapshot import ApiStatus, PlatformStatus, ScanStatus, Snapshot, StoreReading
from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.exposition import OPENMETRICS, TEXT, Exposition
from exporter.metrics.metric import Subject
from exporter.metrics.repository_selection import RepositorySelector
from exporter.platforms.caprover.naming import ownership_rules
from exporter.settings.name_patterns import parse_name_pattern
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Exporter, Metrics, collect
from tests.in_process import run_command

OMITTED = "docker_registry_repositories_omitted"
TAGS = "docker_registry_repository_tags"
PER_REPOSITORY = [metric.name for metric in CATALOGUE if "repository" in metric.labels]
NO_MATCH = "no repository matches metrics.include-repositories"

# Sorted by size, largest first.
NAMES = ["team/web", "team/api", "team/pr-7", "tools/backup", "captain/img-captain-gone", "team"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("registry"))
    for place, name in enumerate(reversed(NAMES), 1):
        store.image(name, "1", [name.encode().ljust(1000 * place)])
    return store


def selector(
    most: int = 1000, include: Iterable[str] = (), exclude: Iterable[str] = ()
) -> RepositorySelector:
    return RepositorySelector(
        most, [*map(parse_name_pattern, include)], [*map(parse_name_pattern, exclude)]
    )


def flags(most: int, include: Iterable[str], exclude: Iterable[str]) -> list[str]:
    found = ["--metrics.max-repositories", str(most)]
    for pattern in include:
        found += ["--metrics.include-repositories", pattern]
    for pattern in exclude:
        found += ["--metrics.exclude-repositories", pattern]
    return found


def shown(metrics: Metrics, name: str = TAGS) -> set[str]:
    return set(metrics.by("repository", name))


@pytest.mark.parametrize(
    ("most", "include", "exclude", "expected"),
    [
        (1000, [], [], NAMES),
        (1000, ["team/.*"], [], ["team/web", "team/api", "team/pr-7"]),
        (1000, ["team/.*"], [".*/pr-[0-9]+"], ["team/web", "team/api"]),
        (1000, [], ["team/.*", "tools/.*"], ["captain/img-captain-gone", "team"]),
        (1000, ["tools/.*", "team"], [], ["tools/backup", "team"]),
        (2, [], ["team/(web|api)"], ["team/pr-7", "tools/backup"]),
        (1, ["t.*"], ["team/web"], ["team/api"]),
        (1000, ["team", "eam/web", "web"], [], ["team"]),
        (1000, ["nothing"], [], []),
        (1000, ["team/.*"], [".*"], []),
        (0, ["team/.*"], [], []),
        (0, [], [], []),
    ],
)
def test_the_largest_included_and_not_excluded_repositories_have_series(
    store: StoreBuilder, most: int, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    metrics = collect(store.root, *flags(most, include, exclude))
    assert shown(metrics) == set(expected)
    assert metrics.value(OMITTED) == len(NAMES) - len(expected)


@pytest.fixture(scope="module")
def snapshot(store: StoreBuilder) -> Snapshot:
    """Return a snapshot with a value for every metric of a repository."""
    analyst = Analyst(AnalysisOptions(ownership=ownership_rules("captain")))
    images = AppImages(frozenset({"blog"}), frozenset(), frozenset())
    platform = PlatformStatus("CapRover", images, read_at=4e9)
    before = analyst.with_platform(Snapshot(), platform)
    analysis = analyst.analyse(scan_store(store.root), platform)
    scanned = analyst.with_scan(before, analysis, ScanStatus(scans=1, succeeded=True))
    view = ApiView({name: frozenset({"1"}) for name in [*NAMES, "api/only"]})
    return analyst.with_api(scanned, ApiStatus(view))


def samples(subject: Subject) -> dict[str, list[tuple[tuple[str, ...], float]]]:
    return {metric.name: list(metric.read(subject)) for metric in CATALOGUE}


patterns = st.lists(
    st.sampled_from([".*", "team", "team/.*", ".*/[a-z]+", ".*p.*", "captain/.*", "api/.*", "x"]),
    max_size=3,
)


@given(most=st.integers(0, 8), include=patterns, exclude=patterns)
def test_shown_and_omitted_add_up_to_all_and_totals_ignore_patterns(
    snapshot: Snapshot, most: int, include: list[str], exclude: list[str]
) -> None:
    everything = samples(Subject(snapshot))
    found = samples(Subject(snapshot, selector=selector(most, include, exclude)))
    chosen = {labels[0] for labels, _ in found[TAGS]}
    ((_, omitted),) = found[OMITTED]
    assert len(chosen) + omitted == len(NAMES)
    assert len(chosen) <= most
    for name, values in found.items():
        if name in PER_REPOSITORY:
            assert set(values) <= set(everything[name])
        elif name != OMITTED:
            assert values == everything[name]


def test_all_metrics_of_a_repository_follow_the_same_selection(snapshot: Snapshot) -> None:
    chooser = selector(exclude=["team/.*", "captain/.*"])
    found = samples(Subject(snapshot, selector=chooser))
    everything = samples(Subject(snapshot))
    for name in PER_REPOSITORY:
        assert everything[name]
        let_in = [each for each in everything[name] if chooser.lets_in(each[0][0])]
        assert found[name] == let_in


def test_patterns_apply_to_repositories_known_only_from_the_api() -> None:
    api = ApiStatus(ApiView({name: frozenset({"1"}) for name in ("a", "b", "c")}))
    exposition = Exposition(Subject(Snapshot(api=api), selector=selector(1, exclude=["a"])))
    page = Metrics.parse(exposition.page(TEXT, gzip=False).decode())
    assert shown(page, "docker_registry_api_repository_tags") == {"b"}


def test_a_name_is_matched_once_for_any_number_of_pages() -> None:
    matched: list[str] = []

    class Counting:
        def fullmatch(self, name: str) -> bool:
            matched.append(name)
            return True

    chooser = RepositorySelector(include=[Counting()])
    api = ApiStatus(ApiView({"a": frozenset(), "c": frozenset()}))
    exposition = Exposition(Subject(Snapshot(), selector=chooser))
    for _ in range(3):
        exposition.page(TEXT, gzip=False)
        exposition.page(OPENMETRICS, gzip=False)
        exposition.publish(Snapshot(store=reading_of("a", "b"), api=api))
    assert sorted(matched) == ["a", "a", "b", "c"], "the check that any name matches adds one match"


def reading_of(*names: str) -> StoreReading:
    inventory = Inventory(repositories=tuple(Repository(name) for name in sorted(names)))
    return StoreReading(inventory, analyse(inventory))


@pytest.mark.parametrize(
    "pattern", ["([a-z]++-?)*+x", "(?:[a-z]++/)*b", ".*a.*b", "[a-z/]+[a-z]+x"]
)
def test_an_accepted_pattern_matches_any_name_quickly(pattern: str) -> None:
    names = ["a" * 255, "a/" * 127, "a-" * 127, "ab" * 127 + "/"]
    started = time.process_time()
    RepositorySelector(include=[parse_name_pattern(pattern)]).choose(reading_of(*names).figures)
    assert time.process_time() - started < 10  # a refused pattern would take years


def warnings_of(caplog: pytest.LogCaptureFixture, *snapshots: Snapshot) -> list[str]:
    exposition = Exposition(Subject(Snapshot(), selector=selector(include=["team/.*"])))
    with caplog.at_level(logging.WARNING):
        for snapshot in snapshots:
            exposition.publish(snapshot)
    return [record.getMessage() for record in caplog.records]


def test_patterns_without_a_match_are_logged_once_at_the_first_scan(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scanned = Snapshot(store=reading_of("tools"))
    failed = Snapshot(scan=ScanStatus(scans=1, failures=1, succeeded=False))
    (message,) = warnings_of(caplog, failed, scanned, scanned, Snapshot(store=reading_of("other")))
    assert message.startswith(NO_MATCH)


@pytest.mark.parametrize("names", [(), ("team/app", "tools")], ids=["empty store", "a match"])
def test_patterns_with_a_match_or_an_empty_store_are_not_logged(
    caplog: pytest.LogCaptureFixture, names: tuple[str, ...]
) -> None:
    assert warnings_of(caplog, Snapshot(store=reading_of(*names))) == []


def test_collect_and_serve_log_that_no_repository_matches(store: StoreBuilder) -> None:
    arguments = ("--storage.root", store.root, "--metrics.include-repositories", "Team/.*")
    outcome = run_command("collect", *arguments)
    assert outcome.exit_code == 0
    assert outcome.complaints.count(NO_MATCH) == 1
    with Exporter(*arguments, "--scan.interval", "100ms") as running:
        running.wait_for(lambda page: (page.value("docker_registry_scans_total") or 0) > 3)
        assert shown(running.metrics()) == set()
        assert running.log.count(NO_MATCH) == 1


def test_a_report_shows_repositories_without_series(store: StoreBuilder) -> None:
    patterns = flags(1, ["team/api"], ["team/web"])
    outcome = run_command("report", "--storage.root", store.root, *patterns)
    assert all(name in outcome.output for name in NAMES)


def test_a_directory_name_that_is_not_utf8_matches_no_pattern(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    store.image("team/app", "1")
    odd = b"docker/registry/v2/repositories/team/caf\xe9/_layers"
    Path(tmp_path, odd.decode("utf-8", "surrogateescape")).mkdir(parents=True)
    metrics = collect(tmp_path, *flags(1000, ["team/.*", "team/caf\udce9"], []))
    assert shown(metrics) == {"team/app"}
    assert metrics.value(OMITTED) == 0
    assert metrics.value("docker_registry_scan_issues", cause="bad_name") == 1
