"""The page of metrics: formats, compression, and content."""

import gzip
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from exporter.analysis.store_figures import analyse
from exporter.domain.digests import Digest, DigestTable
from exporter.domain.model import (
    ApiView,
    FilesystemUsage,
    Inventory,
    Repository,
    Revision,
)
from exporter.domain.snapshot import (
    ApiStatus,
    RepositoryFigures,
    ScanStatus,
    Snapshot,
    StoreReading,
)
from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.exposition import (
    OPENMETRICS,
    TEXT,
    Exposition,
    Format,
    accepts_gzip,
    choose_format,
)
from exporter.metrics.groups import repositories
from exporter.metrics.metric import Metric, Sample, Subject
from exporter.metrics.repository_selection import RepositorySelector
from tests.exporter_process import Metrics

FORMATS = pytest.mark.parametrize("page_format", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
FILESYSTEM = FilesystemUsage(1000, 500, 400, 100, 50, readonly=False)


def reading_of(**sizes: int) -> StoreReading:
    """Return the reading of a store with one repository per name, with these sizes in bytes."""
    digests = DigestTable()
    repositories = [
        Repository(name, revisions=(Revision(digests.intern(Digest(name.encode())), 1.7e9),))
        for name in sizes
    ]
    inventory = Inventory(
        digests=digests, sizes=array("q", sizes.values()), repositories=tuple(repositories)
    )
    return StoreReading(inventory, analyse(inventory))


def metrics_of(subject: Subject) -> Metrics:
    return Metrics.parse(Exposition(subject).page(TEXT, gzip=False).decode())


def page_of(exposition: Exposition) -> Metrics:
    return Metrics.parse(exposition.page(TEXT, gzip=False).decode())


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/*", TEXT),
        ("text/plain", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("application/json", TEXT),
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("APPLICATION/OpenMetrics-Text ; Q=0.5", OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.4", TEXT),
        ("text/plain;q=0.4, application/openmetrics-text;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.4, */*;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=much", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("application/openmetrics-text;q=", TEXT),
        ("application/openmetrics-text;q=-1", TEXT),
        (",;,;;=,q=,", TEXT),
    ],
)
def test_the_format_follows_the_accept_header(accept: str, expected: Format) -> None:
    assert choose_format(accept) is expected


@given(st.text())
def test_any_accept_header_yields_a_format(accept: str) -> None:
    assert choose_format(accept) in (TEXT, OPENMETRICS)


media_ranges = st.builds(
    "{}{};q={}".format,
    st.sampled_from(["text/plain", "application/openmetrics-text", "*/*", "image/png"]),
    st.sampled_from(["", ";version=1.0.0", "; charset=utf-8"]),
    st.floats(0, 1) | st.text(max_size=3),
)


@given(st.lists(media_ranges).map(", ".join))
def test_openmetrics_is_only_sent_to_clients_that_name_it(accept: str) -> None:
    if choose_format(accept) is OPENMETRICS:
        assert "application/openmetrics-text" in accept


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip;q=0.5, br", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("gzip;q=maybe", False),
        ("gzip;q=nan", False),
        ("identity", False),
        ("gzipped", False),
        ("br;q=1.0, *;q=0.1", False),
    ],
)
def test_gzip_is_only_sent_to_clients_that_accept_it(accept_encoding: str, expected: bool) -> None:
    assert accepts_gzip(accept_encoding) is expected


@given(st.text())
def test_any_accept_encoding_header_yields_a_decision(accept_encoding: str) -> None:
    assert accepts_gzip(accept_encoding) in (True, False)


def counters() -> tuple[CollectorRegistry, Counter]:
    registry = CollectorRegistry()
    return registry, Counter("docker_registry_scrapes", "Scrapes.", registry=registry)


@FORMATS
@pytest.mark.parametrize("repositories", [0, 1, 300])
@pytest.mark.parametrize("instruments", [0, 1, 2])
def test_a_gzipped_page_contains_the_plain_page(
    page_format: Format, repositories: int, instruments: int
) -> None:
    store = reading_of(**{f"team/app-{number}": number + 1 for number in range(repositories)})
    registries = [counters()[0]] * instruments
    exposition = Exposition(Subject(Snapshot(store=store)), registries)
    plain = exposition.page(page_format, gzip=False)
    assert gzip.decompress(exposition.page(page_format, gzip=True)) == plain


@FORMATS
def test_a_page_shows_counts_since_its_publication(page_format: Format) -> None:
    registry, counter = counters()
    exposition = Exposition(Subject(Snapshot()), [registry])
    exposition.page(page_format, gzip=True)
    counter.inc(3)
    page = gzip.decompress(exposition.page(page_format, gzip=True))
    assert b"docker_registry_scrapes_total 3.0\n" in page


def test_openmetrics_ends_once_and_has_the_same_samples_as_text() -> None:
    store = reading_of(app=10, tools=20)
    exposition = Exposition(Subject(Snapshot(store=store)), [counters()[0]])
    page = exposition.page(OPENMETRICS, gzip=False).decode()
    assert page.endswith("\n# EOF\n")
    assert page.count("# EOF") == 1
    assert {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(page)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if not sample.name.endswith("_created")
    } == {
        series: value
        for series, value in page_of(exposition).items()
        if not series[0].endswith("_created")
    }


@FORMATS
def test_a_published_snapshot_replaces_the_page_in_every_format(page_format: Format) -> None:
    exposition = Exposition(Subject(Snapshot(store=reading_of(app=10))))
    before = exposition.page(page_format, gzip=False)
    exposition.publish(Snapshot(store=reading_of(app=11)))
    after = exposition.page(page_format, gzip=False)
    assert b'docker_registry_repository_referenced_bytes{repository="app"} 10.0\n' in before
    assert b'docker_registry_repository_referenced_bytes{repository="app"} 11.0\n' in after
    assert gzip.decompress(exposition.page(page_format, gzip=True)) == after


class CountedRepositories(tuple[RepositoryFigures, ...]):
    """The figures of repositories, with a count of their renderings."""

    __slots__ = ()
    renderings = 0

    def __len__(self) -> int:
        type(self).renderings += 1
        return super().__len__()


def test_only_the_parts_that_changed_are_rendered_again() -> None:
    reading = reading_of(app=10)
    counted = replace(
        reading.figures, repositories=CountedRepositories(reading.figures.repositories)
    )
    snapshot = Snapshot(store=replace(reading, figures=counted))
    exposition = Exposition(Subject(snapshot))
    assert CountedRepositories.renderings == 0, "no page was requested yet"

    first = exposition.page(TEXT, gzip=False)
    renderings = CountedRepositories.renderings
    assert renderings > 0
    exposition.publish(replace(snapshot, filesystem=FILESYSTEM, scan=ScanStatus(scans=2)))
    second = exposition.page(TEXT, gzip=False)
    exposition.page(TEXT, gzip=True)
    assert CountedRepositories.renderings == renderings
    assert b"docker_registry_filesystem_size_bytes 1000.0\n" not in first
    assert b"docker_registry_filesystem_size_bytes 1000.0\n" in second

    exposition.publish(replace(snapshot, store=replace(reading, figures=counted)))
    assert CountedRepositories.renderings == 2 * renderings


def test_the_snapshot_is_the_last_published_one() -> None:
    exposition = Exposition(Subject(Snapshot()))
    snapshot = Snapshot(filesystem=FILESYSTEM)
    exposition.publish(snapshot)
    assert exposition.snapshot is snapshot


def test_unknown_values_have_no_series() -> None:
    assert {name for name, _ in metrics_of(Subject(Snapshot()))} == {
        "docker_registry_scans_total",
        "docker_registry_scan_failures_total",
        "docker_registry_exporter_build_info",
    }


def test_a_family_without_samples_has_no_help() -> None:
    page = Exposition(Subject(Snapshot())).page(TEXT, gzip=False)
    assert page.count(b"# HELP") == page.count(b"# TYPE") == 3


def test_an_api_that_is_down_has_only_up_zero() -> None:
    metrics = metrics_of(Subject(Snapshot(api=ApiStatus(view=None))))
    found = {name: value for (name, _), value in metrics.items() if "_api_" in name}
    assert found == {"docker_registry_api_up": 0}


def test_a_repository_without_a_push_has_no_push_time() -> None:
    inventory = Inventory(repositories=(Repository("new"),))
    metrics = metrics_of(Subject(Snapshot(store=StoreReading(inventory, analyse(inventory)))))
    assert metrics.value("docker_registry_repository_tags", repository="new") == 0
    last_push = "docker_registry_repository_last_push_timestamp_seconds"
    assert metrics.value(last_push, repository="new") is None


def test_an_empty_store_is_known_and_has_zeros() -> None:
    metrics = metrics_of(Subject(Snapshot(store=StoreReading(Inventory(), analyse(Inventory())))))
    assert metrics.by("state", "docker_registry_blobs") == {
        "tagged": 0,
        "untagged": 0,
        "unreferenced": 0,
    }
    assert metrics.by("state", "docker_registry_manifests") == {"tagged": 0, "untagged": 0}
    assert set(metrics.by("cause", "docker_registry_scan_issues").values()) == {0}
    assert metrics.value("docker_registry_repositories_omitted") == 0


def test_only_the_largest_repositories_have_series_and_the_rest_is_counted() -> None:
    store = reading_of(**{f"app-{size}": size for size in range(1, 1001)})
    metrics = metrics_of(Subject(Snapshot(store=store), selector=RepositorySelector(10)))
    series = [
        (name, dict(labels)["repository"])
        for name, labels in metrics
        if dict(labels).get("repository")
    ]
    largest = {f"app-{size}" for size in range(991, 1001)}
    for metric in CATALOGUE:
        if (
            metric.name.startswith("docker_registry_repository_")
            and metric in repositories.GROUP.metrics
        ):
            found = [repository for name, repository in series if name == metric.name]
            assert set(found) == largest
            assert len(found) == 10
    assert metrics.value("docker_registry_repositories_omitted") == 990
    assert metrics.value("docker_registry_repositories") == 1000
    assert metrics.total("docker_registry_blobs") == 1000


@pytest.mark.parametrize(("most", "omitted"), [(0, 3), (2, 1), (3, 0), (4, 0)])
def test_the_allowed_number_of_repositories_have_series(most: int, omitted: int) -> None:
    store = reading_of(one=1, two=2, three=3)
    metrics = metrics_of(Subject(Snapshot(store=store), selector=RepositorySelector(most)))
    assert len(metrics.by("repository", "docker_registry_repository_tags")) == 3 - omitted
    assert metrics.value("docker_registry_repositories_omitted") == omitted


def test_series_of_a_deleted_repository_vanish() -> None:
    exposition = Exposition(Subject(Snapshot(store=reading_of(kept=1, deleted=2))))
    assert "deleted" in page_of(exposition).by("repository", "docker_registry_repository_tags")
    exposition.publish(Snapshot(store=reading_of(kept=1)))
    page = exposition.page(TEXT, gzip=False)
    assert b"deleted" not in page
    assert b'repository="kept"' in page


def api_of(*repositories: str) -> ApiStatus:
    return ApiStatus(ApiView({name: frozenset(["latest"]) for name in repositories}))


def api_series(exposition: Exposition) -> set[str]:
    return set(page_of(exposition).by("repository", "docker_registry_api_repository_tags"))


def test_the_api_has_series_for_the_currently_largest_repositories() -> None:
    api = api_of("a", "b", "c", "d")
    before = Snapshot(store=reading_of(a=1, b=2, c=3, d=4), api=api, tag_differences=4)
    exposition = Exposition(Subject(before, selector=RepositorySelector(2)))
    assert api_series(exposition) == {"c", "d"}
    exposition.publish(replace(before, store=reading_of(a=4, b=3, c=2, d=1)))
    assert api_series(exposition) == {"a", "b"}


def test_api_only_repositories_fill_the_remaining_series_by_name() -> None:
    snapshot = Snapshot(store=reading_of(z=1), api=api_of("b", "a", "z"))
    assert api_series(Exposition(Subject(snapshot, selector=RepositorySelector(2)))) == {"a", "z"}


def collect(labels: Sequence[str], samples: Iterable[Sample]) -> object:
    metric = Metric("docker_registry_tests", "Tests.", lambda _: samples, tuple(labels))
    return list(SubjectCollector([metric], Subject(Snapshot())).collect())


def some_samples(*label_values: tuple[str, ...]) -> Iterator[Sample]:
    return ((values, 1.0) for values in label_values)


@pytest.mark.parametrize("values", [(), ("a", "b")], ids=["too few", "too many"])
def test_a_sample_with_a_wrong_number_of_labels_is_an_error(values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="docker_registry_tests: labels"):
        collect(["name"], some_samples(values))


def test_a_duplicate_series_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"docker_registry_tests: \('a',\) occurs twice"):
        collect(["name"], some_samples(("a",), ("b",), ("a",)))


@pytest.mark.parametrize("name", ["a\\b", 'a"b', "a\nb", "ünïcödé"])
def test_label_values_are_escaped(name: str) -> None:
    inventory = Inventory(repositories=(Repository(name),))
    metrics = metrics_of(Subject(Snapshot(store=StoreReading(inventory, analyse(inventory)))))
    assert metrics.value("docker_registry_repository_tags", repository=name) == 0
