"""The explorer's pages as clients get them: addresses, headers, text from the store."""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import httpx
import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter
from tests.in_process import run_command

OFTEN = ("--scan.interval", "200ms")
NAMES = [f"team/app-{number:03}" for number in range(120)]


def watch(root: Path, *arguments: str, until_ready: bool = True) -> Exporter:
    return Exporter("--storage.root", root, *arguments, until_ready=until_ready)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("explorer") / "registry")
    for number, name in enumerate(NAMES):
        store.image(name, "1.0", [noise(name, 1000 + number)])
    return store


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    with watch(store.root) as exporter:
        yield exporter


def repositories_of(page: str) -> list[str]:
    return re.findall(r'<th scope="row" class="name"><a href="/repositories/([^"]+)">', page)


@pytest.mark.parametrize("path", ["/", "/map", "/repositories", "/clean-up?keep-last=1"])
def test_pages_allow_nothing_from_elsewhere_no_inline_script_and_no_frame(
    exporter: Exporter, path: str
) -> None:
    answer = exporter.get(path)
    policy = dict(
        each.strip().partition(" ")[::2]
        for each in answer.headers["content-security-policy"].split(";")
    )
    assert answer.status_code == httpx.codes.OK
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("frame-ancestors") == policy.pop("base-uri") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert not re.search(r"<script(?! src=)| style=|javascript:| on[a-z]+=", answer.text)


def test_pages_are_compressed_for_clients_that_accept_it(exporter: Exporter) -> None:
    plain = exporter.get("/repositories", accept_encoding="identity")
    packed = exporter.get("/repositories", accept_encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 3
    assert packed.headers["vary"] == "Accept-Encoding"


def test_files_that_pages_load_are_kept_by_browsers_as_their_name_changes_with_them(
    exporter: Exporter,
) -> None:
    names = re.findall(r'(?:href|src)="(/static/[^"]+)"', exporter.get("/").text)
    assert len(names) == 3
    for name in names:
        answer = exporter.get(name)
        assert answer.status_code == httpx.codes.OK
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert exporter.get(name.replace(".", ".0", 1)).status_code == httpx.codes.NOT_FOUND


def test_what_does_not_exist_is_answered_with_a_page_that_helps(exporter: Exporter) -> None:
    answer = exporter.get("/nothing")
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'role="search"' in answer.text
    assert 'href="/repositories"' in answer.text
    assert answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("sort=colour", "sort is none of: name, size"),
        ("order=up", "order is none of: asc, desc"),
        ("use=dead", "use is none of: running"),
        ("page=0", "page is not a whole number"),
        ("page=one", "page is not a whole number"),
        ("page=" + "9" * 50, "page is not a whole number"),
        ("q=" + "x" * 301, "q is longer than 300 characters"),
    ],
)
def test_a_wrong_parameter_is_named(exporter: Exporter, query: str, named: str) -> None:
    answer = exporter.get(f"/repositories?{query}")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert escape(named, quote=False).lower() in answer.text.lower()


def test_all_pages_of_the_table_together_list_every_repository_once(exporter: Exporter) -> None:
    pages = [exporter.get(f"/repositories?sort=name&page={page}").text for page in (1, 2, 3, 4)]
    assert [name for page in pages for name in repositories_of(page)] == NAMES
    assert "This page is after the last one" in pages[3]
    assert 'rel="next"' in pages[0]
    assert 'rel="next"' not in pages[2]


def test_the_table_sorts_by_a_column_in_both_directions_and_searches(exporter: Exporter) -> None:
    by_size = repositories_of(exporter.get("/repositories").text)
    smallest = repositories_of(exporter.get("/repositories?sort=size&order=asc").text)
    found = exporter.get("/repositories?q=APP-11").text
    assert by_size == NAMES[:-51:-1]
    assert smallest == NAMES[:50]
    assert repositories_of(found) == NAMES[:109:-1]
    assert "10 repositories of 120" in found


def test_text_from_elsewhere_is_escaped(tmp_path: Path) -> None:
    hostile = tmp_path / "<script>alert('&\")"
    with watch(hostile, *OFTEN, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        failed = exporter.get("/").text
        StoreBuilder(hostile).image("app", "1.0", [noise("layer", 100)])
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 1)
        scanned = exporter.get("/").text
        searched = exporter.get("/repositories?q=%3Cscript%3Ealert(%22%E2%80%AE%00").text
    assert (
        f"The last scan failed: {escape(f'{hostile} does not exist')}".replace(
            "&#x27;", "&#39;"
        ).replace("&quot;", "&#34;")
        in failed
    )
    for page in (failed, scanned, searched):
        assert "<script>" not in page
        assert "alert(&#" in page


def test_before_the_first_scan_only_the_overview_is_there_and_says_why(tmp_path: Path) -> None:
    with watch(tmp_path / "missing", *OFTEN, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        overview, table = exporter.get("/"), exporter.get("/repositories")
    assert (overview.status_code, table.status_code) == (200, 503)
    for page in (overview, table):
        assert "does not exist: give the directory that holds docker/registry/v2" in page.text
        assert 'http-equiv="refresh"' in page.text


@pytest.mark.parametrize(
    ("flags", "prefix", "links"),
    [
        (["--web.route-prefix", "/store"], "/store", "/store"),
        (["--web.external-url", "https://example.com/a/store/"], "/a/store", "/a/store"),
        (
            ["--web.external-url", "https://example.com/outside", "--web.route-prefix", "/"],
            "",
            "/outside",
        ),
    ],
)
def test_pages_and_links_have_the_path_that_a_proxy_adds(
    store: StoreBuilder, flags: list[str], prefix: str, links: str
) -> None:
    with watch(store.root, *flags, until_ready=False) as exporter:
        ready = f"{prefix}/-/ready"
        wait_until(lambda: exporter.get(ready).status_code == httpx.codes.OK, "not ready")
        for path in ("/-/healthy", "/metrics", "/"):
            assert exporter.get(f"{prefix}{path}").status_code == httpx.codes.OK
        page = exporter.get(f"{prefix}/").text
        root = exporter.get("/")
        address = ("--web.listen-address", exporter.address)
        health = run_command("healthcheck", *address, *flags)
    assert (health.exit_code, health.output) == (0, "healthy\n")
    addresses = set(re.findall(r'(?:href|src|action)="(/[^"]*)"', page))
    assert len(addresses) >= 8
    assert all(address.startswith(f"{links}/") for address in addresses)
    if prefix:
        assert (root.status_code, root.headers["location"]) == (302, f"{links}/")
