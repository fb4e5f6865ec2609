"""The JSON API: its document, its answers, and that they equal metrics and pages."""

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from demo.store import StoreBuilder, digest_of, noise
from exporter.web.api.endpoint import Endpoint
from exporter.web.api.endpoints import ENDPOINTS
from tests.exporter_process import REPOSITORY, Exporter

ROOT = "/api/v1"
OFTEN = ("--scan.interval", "200ms")
NAMES = [f"team/app-{number:02}" for number in range(30)]


@pytest.fixture(scope="module")
def places(store: StoreBuilder) -> Mapping[str, list[str]]:
    """Return what the variable parts of paths can name, by their name."""
    image, garbage = store.tag_link(NAMES[0], "1.0").read_text(), noise("garbage", 700)
    layer = digest_of(noise(NAMES[0], 1000))
    names = [NAMES[0], NAMES[1], "other/tags", quote(NAMES[1], safe="")]
    return {"name": names, "digest": [image, image[:30], layer, digest_of(garbage)]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("api") / "registry")
    for number, name in enumerate(NAMES):
        store.image(name, "1.0", [noise(name, 1000 + number // 2)])
    store.image(NAMES[0], None, [noise("untagged", 500)])
    store.image("other/tags", "1.0", [noise("named like a word of an address", 400)])
    store.unlinked_blob(noise("garbage", 700))
    store.upload("team/app-01", bytes(300), started_at=None)
    return store


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    with Exporter("--storage.root", store.root, *OFTEN) as exporter:
        yield exporter


@pytest.fixture(scope="module")
def document(exporter: Exporter) -> OpenApiSchema:
    return schemathesis.openapi.from_url(f"{exporter.url}{ROOT}/openapi.json")


_NOT_PROMISED = [positive_data_acceptance, negative_data_rejection]
"""A cursor must be one that was returned; an empty value, as forms send it, is as good as none."""


@pytest.mark.parametrize(
    ("endpoint", "mode"),
    [
        *((each, GenerationMode.POSITIVE) for each in ENDPOINTS),
        *((each, GenerationMode.NEGATIVE) for each in ENDPOINTS if each.parameters),
    ],
    ids=lambda each: each.path if isinstance(each, Endpoint) else str(each),
)
def test_every_answer_to_any_request_is_as_the_document_says(
    document: OpenApiSchema,
    places: Mapping[str, list[str]],
    endpoint: Endpoint,
    mode: GenerationMode,
) -> None:
    path = re.sub(r":path\}", "}", endpoint.path)
    fillings = [
        st.none() | st.sampled_from([{name: each} for each in values])
        for name, values in places.items()
        if f"{{{name}}}" in path
    ]

    @given(
        case=document[path]["GET"].as_strategy(generation_mode=mode),
        filling=st.one_of(fillings) if fillings else st.none(),
    )
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case: Any, filling: dict[str, str] | None) -> None:  # noqa: ANN401 - without bounds
        if filling is not None:
            case.path_parameters = filling  # any other text names nothing
        case.call_and_validate(excluded_checks=_NOT_PROMISED)

    check()


def ask(exporter: Exporter, path: str) -> Any:  # noqa: ANN401 - any JSON
    return exporter.get(f"{ROOT}{path}").raise_for_status().json()


def test_the_document_has_every_endpoint(exporter: Exporter) -> None:
    paths = {re.sub(r":path\}", "}", each.path) for each in ENDPOINTS}
    described = ask(exporter, "/openapi.json")["paths"]
    assert set(described) == paths
    names = {each["get"]["operationId"] for each in described.values()}
    assert len(names) == len(paths)


def test_the_document_is_one_of_openapi(document: OpenApiSchema) -> None:
    document.validate()


def test_each_parameter_of_a_path_says_what_it_names() -> None:
    for endpoint in ENDPOINTS:
        assert ("{" in endpoint.path) is bool(endpoint.place)


def pages_of(exporter: Exporter, path: str) -> Iterator[Any]:
    cursor: str | None = ""
    while cursor is not None:
        page = ask(exporter, f"{path}&cursor={cursor}")
        yield page
        cursor = page["next"]


def test_pages_by_cursor_list_every_repository_once(
    exporter: Exporter,
) -> None:
    for order in ("sort=name", "sort=name&order=desc", "sort=size", "sort=size&order=asc"):
        pages = list(pages_of(exporter, f"/repositories?{order}&q=team/&limit=7"))
        seen = [each["figures"]["name"] for page in pages for each in page["repositories"]]
        assert len(pages) == 5
        assert sorted(seen) == NAMES, order
        assert {page["totals"]["repositories"] for page in pages} == {len(NAMES)}


def test_the_figures_equal_those_of_the_metrics(exporter: Exporter) -> None:
    metrics, overview = exporter.metrics(), ask(exporter, "/overview")
    parts = {each["kind"]: each["bytes"] for each in overview["parts"]}
    blobs = metrics.by("state", "docker_registry_blob_bytes")
    assert (parts["tagged"], parts["untagged"]) == (blobs["tagged"], blobs["untagged"])
    assert parts["garbage"] == blobs["unreferenced"] == 700
    assert parts["uploads"] == metrics.value("docker_registry_upload_bytes") == 300
    assert sum(parts.values()) == metrics.value("docker_registry_filesystem_size_bytes")
    assert overview["tags"] == metrics.value("docker_registry_tags")
    freed = {each["action"]: each["frees_bytes"] for each in overview["deletables"]}
    reclaimable = metrics.by("mode", "docker_registry_gc_reclaimable_bytes")
    assert freed["garbage-collect"] == reclaimable["default"]
    assert freed["garbage-collect --delete-untagged"] == reclaimable["delete_untagged"]
    assert freed["untagged"] == metrics.value("docker_registry_untagged_reclaimable_bytes")
    exclusive = metrics.by("repository", "docker_registry_repository_exclusive_bytes")
    rows = ask(exporter, "/repositories?limit=1000")["repositories"]
    assert {
        each["figures"]["name"]: each["figures"]["exclusive_bytes"] for each in rows
    } == exclusive


def test_an_unchanged_snapshot_is_not_sent_again(exporter: Exporter, store: StoreBuilder) -> None:
    address = f"{ROOT}/repositories?limit=1"
    first = exporter.get(address)
    again = exporter.get(address, if_none_match=f'"other", {first.headers["etag"]}')
    store.image("team/app-00", "2.0", [noise("new", 10)])
    exporter.wait_for(lambda metrics: metrics.value("docker_registry_tags") == 32)
    changed = exporter.get(address, if_none_match=first.headers["etag"])
    assert parsedate_to_datetime(first.headers["last-modified"]).year >= 2026
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    assert changed.status_code == httpx.codes.OK
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/nothing", 404, "there is no such endpoint; see /api/v1/openapi.json"),
        ("/repositories/two%0Alines", 404, "there is no such endpoint; see /api/v1/openapi.json"),
        ("/repositories?limit=0", 400, "limit is not a whole number from 1 to 1000"),
        ("/repositories?cursor=abc", 400, "cursor is not one that this API has returned"),
        ("/repositories?sort=no", 400, "sort is none of: name, size"),
    ],
)
def test_errors_are_problem_documents(
    exporter: Exporter, path: str, status: int, detail: str
) -> None:
    answer = exporter.get(f"{ROOT}{path}")
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == problem["status"] == status
    assert problem["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("flags", "root", "shown"),
    [
        (("--web.external-url", "https://example.com/a/store/"), "/a/store", "/a/store"),
        (
            ("--web.external-url", "https://example.com/out", "--web.route-prefix", "/"),
            "",
            "/out",
        ),
    ],
)
def test_addresses_have_the_path_that_a_proxy_adds(
    store: StoreBuilder, flags: tuple[str, ...], root: str, shown: str
) -> None:
    with Exporter("--storage.root", store.root, *flags, until_ready=False) as exporter:
        missing = exporter.get(f"{root}{ROOT}/nothing").json()
        document = exporter.get(f"{root}{ROOT}/openapi.json").json()
        outside = exporter.get("/elsewhere/api/v1/nothing")
    assert missing["detail"] == f"there is no such endpoint; see {shown}{ROOT}/openapi.json"
    assert document["servers"] == [{"url": f"{shown}{ROOT}"}]
    assert outside.headers["content-type"].startswith("text/html")


def address_of(endpoint: Endpoint) -> str:
    """Return an address that names something, and has what is required."""
    query = {"keep": "1", "keep-last": "1", "q": "app"}
    given = {each.name: query[each.name] for each in endpoint.parameters if each.name in query}
    return f"{re.sub(r'{[^}]+}', 'abcdef', endpoint.path)}?{urlencode(given)}"


def test_before_the_first_scan_every_answer_is_503(store: StoreBuilder) -> None:
    missing = store.root.with_name("missing")
    with Exporter("--storage.root", missing, *OFTEN, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        answers = {path: exporter.get(f"{ROOT}{path}") for path in map(address_of, ENDPOINTS)}
    statuses = {path: answer.status_code for path, answer in answers.items()}
    assert statuses == dict.fromkeys(statuses, httpx.codes.SERVICE_UNAVAILABLE)
    for path, answer in answers.items():
        assert "does not exist" in answer.json()["detail"], path


def test_the_page_about_the_api_lists_every_endpoint() -> None:
    page = (REPOSITORY / "docs" / "api.md").read_text("utf-8")
    listed = re.findall(r"^\| `/api/v1(/[^`]*)` \| (.+) \|$", page, re.MULTILINE)
    expected = [(re.sub(r":path\}", "}", each.path), each.summary) for each in ENDPOINTS]
    assert listed == expected
