"""The explorer's search and issues, on a store with a bit of everything."""

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from demo.store import StoreBuilder, noise
from exporter.domain.digests import DigestTable, parse_digest
from exporter.views.digest_search import find_blobs, parse_prefix
from tests.exporter_process import Exporter

SHOP = noise("shop", 1000)
LONG = "a" * 120 + "/" + "b" * 120


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("search") / "registry")
    store.image("team/shop", "1.0", [SHOP])
    store.image("team/shop-admin", "Release-1.0", [noise("admin", 1000)])
    store.image(LONG, "latest", [noise("long", 1000)])
    for number in range(25):
        store.image("many", f"build-{number:02}", [noise(f"many {number}", 100)])
    broken = store.image("broken", "gone", [noise("lost", 500)])
    store.blob_path(broken).unlink()
    store.upload("team/shop", bytes(4096), started_at=1_700_000_000.0)
    return store


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    with Exporter("--storage.root", store.root) as exporter:
        yield exporter


def text_of(page: str) -> str:
    """Return the text of a page's content, with single spaces."""
    content = page.partition("<main")[2].partition("</main>")[0]
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", content)))


def links_of(page: str) -> list[str]:
    content = page.partition("<main")[2].partition("</main>")[0]
    return [unescape(each) for each in re.findall(r'href="([^"]+)"', content)]


def test_repositories_are_found_by_a_part_of_their_name_the_exact_one_first(
    exporter: Exporter,
) -> None:
    assert links_of(exporter.get("/search?q=SHOP").text) == [
        "/repositories/team/shop",
        "/repositories/team/shop-admin",
    ]


def test_tags_are_found_by_a_part_of_their_name_and_by_repository_and_tag(
    exporter: Exporter,
) -> None:
    both = text_of(exporter.get("/search?q=1.0").text)
    one = text_of(exporter.get("/search?q=team/shop:1.0").text)
    part = text_of(exporter.get("/search?q=shop-admin:rel").text)
    assert "Tags (2)" in both
    assert "team/shop:1.0 in team/shop" in both
    assert "Tags (1) team/shop:1.0 in team/shop" in one
    assert "Tags (1) team/shop-admin:Release-1.0 in" in part


def test_long_lists_say_how_many_there_are(exporter: Exporter) -> None:
    page = exporter.get("/search?q=build-").text
    assert "Tags (25)" in page
    assert "25 found, the first 20 are listed" in page


def test_a_digest_is_found_by_six_of_its_digits_and_leads_to_image_or_blob(
    exporter: Exporter, store: StoreBuilder
) -> None:
    image, layer = store.image("team/shop", "1.0", [SHOP]), store.blob(SHOP)
    for digest, address in ((image, f"/images/{image}"), (layer, f"/blobs/{layer}")):
        for query in (digest, digest[:20], digest[7:13], digest[7:14].upper()):
            assert address in links_of(exporter.get(f"/search?q={query}").text)


@pytest.mark.parametrize("query", ["", "%20", "zzzz", "abc", "sha256:", "%00", "%3Cb%3E"])
def test_nothing_found_says_what_can_be_searched_for(exporter: Exporter, query: str) -> None:
    answer = exporter.get(f"/search?q={query}")
    assert answer.status_code == httpx.codes.OK
    assert "six digits" in text_of(answer.text)
    assert "<b>" not in answer.text


def test_a_repository_with_a_long_name_is_found(exporter: Exporter) -> None:
    assert links_of(exporter.get(f"/search?q={'a' * 100}").text) == [f"/repositories/{LONG}"]


def test_issues_are_listed_with_what_to_do(exporter: Exporter) -> None:
    page = exporter.get("/issues").text
    text = text_of(page)
    assert "critical 1 tag cannot be pulled: broken:gone" in text
    assert "Tags that cannot be pulled (1)" in text
    assert "Unfinished uploads (1, 4.0 KiB)" in text
    assert "/repositories/broken" in links_of(page)


def test_one_kind_of_issue_has_an_address_with_pages(exporter: Exporter) -> None:
    uploads = text_of(exporter.get("/issues?kind=uploads").text)
    after = text_of(exporter.get("/issues?kind=uploads&page=2").text)
    wrong = exporter.get("/issues?kind=nothing")
    assert "team/shop" in uploads
    assert "Tags that cannot be pulled" not in uploads
    assert "This page is after the last one" in after
    assert wrong.status_code == httpx.codes.BAD_REQUEST


OTHER = f"sha512:{'ab' * 64}"


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("sha256:abcdef", ["sha256:abcdef" + "0" * 58, "sha256:abcdef1" + "0" * 57]),
        ("abcdef1", ["sha256:abcdef1" + "0" * 57]),
        ("abcdef", ["sha256:abcdef" + "0" * 58, "sha256:abcdef1" + "0" * 57]),
        ("ababab", [OTHER]),
        ("sha512:ababab", [OTHER]),
        ("sha384:ababab", []),
        ("abcdef" + "0" * 59, []),
    ],
)
def test_digests_are_found_by_their_beginning(prefix: str, found: list[str]) -> None:
    texts = ["sha256:abcdef" + "0" * 58, "sha256:abcdef1" + "0" * 57, OTHER]
    digests = [parse_digest(each) for each in (*texts, "sha256:" + "12" * 32)]
    table = DigestTable([each for each in digests if each is not None])
    parsed = parse_prefix(prefix)
    assert parsed is not None
    assert list(find_blobs(table, parsed)) == found
    assert all(
        table[number] == parse_digest(text) for text, number in find_blobs(table, parsed).items()
    )
