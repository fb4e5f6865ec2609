"""One walk over the sample store: every link leads somewhere, and every figure is right."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from demo.child_process import wait_until
from exporter.web.explorer.wording import PARTS, growth, size
from tests.explorer_sample import SHOP, Sample, build, route_of
from tests.exporter_process import Exporter, Metrics
from tests.in_process import run_command
from tests.recorded_history import DAY, RecordedHistory, repository
from tests.web_page import Element, Key, WrongPageError, figures_of, read_page, rows_of

POLICIES = "1,2,3,5,10,20,30,50"
"""Those that the page of what can go prices anyway."""

MOST_BYTES = 100_000
MOST_PAGES = 3000
OTHERS = {"/metrics", "/static"}
"""What pages link to that is no page."""

BEFORE = 1_000_000
"""Bytes that each repository had 10 days ago, half of them its own."""

Json = dict[str, Any]


@dataclass(slots=True)
class Walk:
    """All pages that links lead to.

    Attributes:
        pages: by address.
        sizes: of what was sent, compressed.
        complaints: what is wrong with pages and links.
        links: (page, address, fragment) of each link with a fragment.

    """

    pages: dict[str, Element] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    links: set[tuple[str, str, str]] = field(default_factory=set)

    def of(self, route: str) -> Mapping[str, Element]:
        """Return the pages of one kind, by address."""
        return {path: page for path, page in self.pages.items() if route_of(path) == route}


def walk(exporter: Exporter) -> Walk:
    """Follow every link of every page, once each."""
    done, waiting = Walk(), ["/"]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        answer = exporter.get(path, accept_encoding="gzip")
        if answer.status_code != httpx.codes.OK:
            done.complaints.append(f"{path}: {answer.status_code}")
            continue
        done.sizes[path] = int(answer.headers["content-length"])
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        try:
            page = read_page(answer.text)
        except WrongPageError as error:
            done.complaints.append(f"{path}: {error}")
            continue
        done.pages[path] = page
        for link in links_of(page):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link.startswith(("/", "#")):
                done.complaints.append(f"{path} leads elsewhere: {link}")
                continue
            address = parts._replace(fragment="").geturl() or path
            if parts.fragment:
                done.links.add((path, address, unquote(parts.fragment)))
            if address not in seen:
                seen.add(address)
                waiting.append(address)
        assert len(seen) < MOST_PAGES
    return done


def links_of(page: Element) -> Iterator[str]:
    for each in page.all():
        for name in ("href", "src", "action", "formaction"):
            if name in each.attributes:
                yield each.attributes[name]


@dataclass(frozen=True, slots=True)
class Truth:
    """What else says the same as the pages.

    Attributes:
        report: of the whole store.
        repositories: the report of each repository.
        metrics: a scrape.

    """

    report: Json
    repositories: Mapping[str, Json]
    metrics: Metrics


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return build(tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def flags(sample: Sample) -> tuple[str | Path, ...]:
    return *sample.flags, "--retention.keep-last", POLICIES


@pytest.fixture(scope="module")
def exporter(
    sample: Sample, flags: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exporter]:
    state = tmp_path_factory.mktemp("state")
    path = state / "registry-storage-exporter" / "history.sqlite"
    history = RecordedHistory(path, root=str(sample.store.root.resolve()))
    history.now = int(time.time()) - 10 * DAY
    names = [SHOP, "captain/img-captain-blog", "tools/backup"]
    history.record_all([repository(name, BEFORE) for name in names], avail=10**12)
    history.file.close()
    with Exporter(*flags, environment={"XDG_STATE_HOME": str(state)}) as exporter:
        exporter.wait_for(
            lambda metrics: (
                metrics.by("policy", "docker_registry_retention_reclaimable_bytes") != {}
                and metrics.value("docker_registry_caprover_up") == 1
            )
        )
        wait_until(
            lambda: (
                api(exporter, "/overview")["trend"]["growth"][0]["store_bytes"] not in (0, None)
            ),
            "nothing is recorded",
        )
        yield exporter


@pytest.fixture(scope="module")
def walked(exporter: Exporter) -> Walk:
    return walk(exporter)


@pytest.fixture(scope="module")
def truth(exporter: Exporter, flags: tuple[str | Path, ...]) -> Truth:
    whole = report(flags)
    names = [each["name"] for each in whole["repositories"]]
    return Truth(
        whole, {each: report(flags, "--repository", each) for each in names}, exporter.metrics()
    )


def report(flags: tuple[str | Path, ...], *more: str) -> Json:
    outcome = run_command("report", *flags, *more, "--format", "json")
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    found: Json = json.loads(outcome.output)
    return found


def api(exporter: Exporter, path: str) -> Json:
    found: Json = exporter.get(f"/api/v1{path}").raise_for_status().json()
    return found


def page_and_api(exporter: Exporter, path: str, endpoint: str) -> tuple[Element, Json]:
    """Return a page and what the API says of the same snapshot."""
    for _ in range(100):
        before = exporter.get(f"/api/v1{endpoint}")
        page = exporter.get(path).raise_for_status()
        after = exporter.get(f"/api/v1{endpoint}")
        if before.headers["etag"] == after.headers["etag"]:
            return read_page(page.text), after.json()
    raise AssertionError("the snapshot never rests")


def query_of(path: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}


def short(digest: str) -> str:
    return digest[: len("sha256:") + 12]


# Pages and links


def test_every_link_leads_to_a_well_formed_page_and_none_to_elsewhere(walked: Walk) -> None:
    assert walked.complaints == []
    assert {route_of(path) for path in walked.pages} >= {
        "/", "/map", "/repositories", "/repositories/{name:path}", "/images/{digest}",
        "/blobs/{digest}", "/issues", "/search", "/clean-up",
    }  # fmt: skip
    assert {f"/{path.split('/')[1]}" for path in walked.sizes if route_of(path) is None} == OTHERS


def test_every_link_to_a_part_of_a_page_finds_it(walked: Walk) -> None:
    ids = {path: set(page.ids) for path, page in walked.pages.items()}
    lost = [each for each in walked.links if each[2] not in ids[each[1]]]
    assert lost == []


def test_pages_are_small(walked: Walk) -> None:
    assert {path: each for path, each in walked.sizes.items() if each >= MOST_BYTES} == {}


def test_a_page_that_is_not_well_formed_would_be_noticed() -> None:
    """Else the tests before could not fail."""
    for text in (
        "<p>1<ul></ul></p>", "<div><p></div></p>", "<div>", "<i></i></i>", "<div/>",
        "<i id=a></i><i id=a></i>", "<label for=a></label>", "<i class=a class=b></i>",
    ):  # fmt: skip
        with pytest.raises(WrongPageError):
            read_page(text)


# Figures


def test_the_figures_of_the_overview(exporter: Exporter, truth: Truth) -> None:
    page, said = page_and_api(exporter, "/", "/overview")
    names = {str(kind): name for kind, name in PARTS.items()}
    spans = {86400: "24h", 7 * 86400: "7d", 30 * 86400: "30d"}
    expected: dict[Key, int] = {
        ("whose", names[each["kind"]], "Size"): each["bytes"] for each in said["parts"]
    }
    for each in said["trend"]["growth"]:
        if each["store_bytes"] is not None:
            span = spans[each["span_seconds"]]
            expected["grew", span, "The store grew by"] = each["store_bytes"]
            expected["grew", span, "Free space changed by"] = each["avail_bytes"]
    for name, points in (("Store", "store_points"), ("Available", "avail_points")):
        sizes = [size for _, size in said["trend"][points]]
        extents = {"Start": sizes[0], "Least": min(sizes), "Most": max(sizes), "Now": sizes[-1]}
        expected |= {("grew", what, name): size for what, size in extents.items()}
    for each in said["deletables"]:
        expected["go", each["action"], "Frees"] = each["frees_bytes"]
    assert figures_of(page) == expected
    assert len(expected) == 12 + 2 * 2 + 2 * 4 + 3 + len(POLICIES.split(","))
    store, shown = truth.report, {each["kind"]: each["bytes"] for each in said["parts"]}
    assert {name: shown[name] for name in store["uses"]} == {
        name: each["bytes"] for name, each in store["uses"].items()
    }
    assert [shown[name] for name in ("untagged", "garbage", "uploads", "strays")] == [
        store["blobs"]["untagged"]["bytes"],
        store["blobs"]["unreferenced"]["bytes"],
        store["uploads"]["bytes"],
        store["strays"]["bytes"],
    ]
    actions = {each["action"]: each["frees_bytes"] for each in store["actions"]}
    assert {each["action"] for each in said["deletables"]} == {
        each for each in actions if not each.startswith("orphaned")
    }
    for each in said["deletables"]:
        assert each["frees_bytes"] == actions[each["action"]]
    metrics = truth.metrics
    assert metrics.by("use", "docker_registry_use_bytes") == {
        use: shown[use] for use in store["uses"]
    }
    assert shown["untagged"] == metrics.value("docker_registry_blob_bytes", state="untagged")
    assert shown["garbage"] == metrics.value("docker_registry_blob_bytes", state="unreferenced")
    assert shown["uploads"] == metrics.value("docker_registry_upload_bytes")
    assert shown["strays"] == metrics.value("docker_registry_stray_bytes")
    assert sum(shown.values()) == metrics.value("docker_registry_filesystem_size_bytes")
    text = page.text
    assert f"All tags would take {size(store['logical_bytes'])} if nothing were shared" in text
    assert f"{size(store['shared_bytes'])} are of blobs that several" in text
    levels = {next(each.all("h2")).text: each.text for each in page.all("div", css="level")}
    assert f"Store {size(said['store_bytes'])} 6 repositories , 59 tags, 254 blobs" == re.sub(
        " +", " ", levels["Store"]
    )
    assert size(said["disk"]["total"]) in levels["Disk used"]
    assert f"of {said['inodes']['total']:,} left" in levels["Inodes used"]


def test_the_figures_of_the_table_of_repositories(exporter: Exporter, truth: Truth) -> None:
    page, said = page_and_api(exporter, "/repositories", "/repositories?limit=100")
    rows = {each["figures"]["name"]: each for each in said["repositories"]}
    expected: dict[Key, int] = {("", "", ""): said["totals"]["exclusive_bytes"]}
    for name, row in rows.items():
        expected["", name, "Size"] = row["figures"]["referenced_bytes"]
        expected["", name, "Exclusive"] = row["figures"]["exclusive_bytes"]
    assert figures_of(page) == expected
    metrics = truth.metrics
    for title, key in (
        ("Tags", "tags"),
        ("Manifests", "manifests"),
        ("Untagged", "untagged_manifests"),
    ):
        assert {each["Repository"]: each[title] for each in rows_of(page)} == {
            name: f"{row['figures'][key]:,}" for name, row in rows.items()
        }
    assert {each["Repository"]: each["In 7 days"] for each in rows_of(page)} == {
        name: growth(row["growth_bytes"]) for name, row in rows.items()
    }
    assert {each["Repository"]: (each["App"], each["Use"]) for each in rows_of(page)} == {
        name: (row["owner"] or "", row["use"]) for name, row in rows.items()
    }
    same = ("tags", "manifests", "untagged_manifests", "referenced_bytes", "exclusive_bytes")
    assert {name: [row["figures"][key] for key in same] for name, row in rows.items()} == {
        each["name"]: [each[key] for key in same] for each in truth.report["repositories"]
    }
    for key in same:
        assert metrics.by("repository", f"docker_registry_repository_{key}") == {
            name: row["figures"][key] for name, row in rows.items()
        }
    grown = {name: row["growth_bytes"] for name, row in rows.items()}
    assert grown[SHOP] == rows[SHOP]["figures"]["exclusive_bytes"] - BEFORE // 2


def test_the_figures_of_each_repository(walked: Walk, truth: Truth) -> None:
    pages = {path: page for path, page in walked.pages.items() if is_plain_repository(path)}
    assert len(pages) == len(truth.repositories) == 6
    for path, page in pages.items():
        said = truth.repositories[path.removeprefix("/repositories/")]
        about, figures = said["repository"], figures_of(page)
        tags, rows = said["tags"], rows_of(page, "tags")
        expected: dict[Key, int] = {
            ("Figures", "Size", ""): about["referenced_bytes"],
            ("Figures", "Exclusive", ""): about["exclusive_bytes"],
        }
        for tag in tags:
            expected["tags", tag["tag"], "Size"] = tag["bytes"]
            expected["tags", tag["tag"], "Exclusive"] = tag["exclusive_bytes"]
        others = {key: each for key, each in figures.items() if key not in expected}
        assert {key: figures.get(key) for key in expected} == expected
        # the report has none of these; the pages of manifests are compared below
        assert {key[0] for key in others} <= {"growth", "untagged", "uploads"}
        assert sum(key[0] == "untagged" for key in others) == about["untagged_manifests"]
        assert [(each["Tag"], each["Digest"]) for each in rows] == [
            (tag["tag"], short(tag["digest"])) for tag in tags
        ]
        assert [(each["Use"], each["Platforms"]) for each in rows] == [
            (tag["use"], ", ".join(tag["platforms"])) for tag in tags
        ]
        levels = {next(each.all("h2")).text: each.text for each in page.all("div", css="level")}
        assert levels["Tags"].startswith(f"Tags {about['tags']} ")
        manifests = f"Manifests {about['manifests']} {about['untagged_manifests']} untagged"
        assert levels["Manifests"] == manifests


def is_plain_repository(path: str) -> bool:
    return route_of(path) == "/repositories/{name:path}" and "?" not in path


def test_the_figures_of_what_keeping_fewer_tags_frees_are_those_of_the_plans(
    exporter: Exporter, walked: Walk
) -> None:
    checked = 0
    for path, page in walked.of("/repositories/{name:path}").items():
        figures = {key: each for key, each in figures_of(page).items() if key[0] == "what-if"}
        asked = query_of(path)
        if "keep" not in asked or asked.keys() & {"sort", "order", "days"}:
            continue
        plan = exporter.get(f"{urlsplit(path).path}/_plan?keep={asked['keep']}").text
        total = re.search(r"# total: (\d+) bytes in ", plan)
        assert total is not None
        assert list(figures.values()) == [int(total[1])], path
        checked += 1
    assert checked == 6 * len(POLICIES.split(","))


def test_the_figures_of_what_can_go(walked: Walk, truth: Truth) -> None:
    figures, report = figures_of(walked.pages["/clean-up"]), truth.report
    expected: dict[Key, int] = {("", "", ""): report["collector"]["default"]["frees"]["bytes"]}
    for each in report["actions"]:
        expected["actions", each["action"], ""] = each["frees_bytes"]
    for each in report["policies"]:
        keep = each["policy"].removeprefix("keep-last-")
        expected["retention", keep, "Frees"] = each["reclaimable_bytes"]
    assert figures == expected
    assert {
        f"keep-last-{each['Tags kept']}": float(each["Tags that go"].replace(",", ""))
        for each in rows_of(walked.pages["/clean-up"], "retention")
    } == truth.metrics.by("policy", "docker_registry_retention_candidate_tags")
    assert {each["policy"]: each["reclaimable_bytes"] for each in report["policies"]} == (
        truth.metrics.by("policy", "docker_registry_retention_reclaimable_bytes")
    )
    for mode, text in (("default", ""), ("delete_untagged", " --delete-untagged")):
        assert expected["actions", f"garbage-collect{text}", ""] == truth.metrics.value(
            "docker_registry_gc_reclaimable_bytes", mode=mode
        )
    assert expected["actions", "untagged", ""] == truth.metrics.value(
        "docker_registry_untagged_reclaimable_bytes"
    )


TILES = {
    "untagged": "untagged",
    "garbage": "garbage",
    "uploads": "uploads",
    "strays": "stray files",
}


def name_of(tile: Json, shown: Json) -> str:
    if tile["kind"] == "shared":
        return f"shared by {'images' if shown['kind'] == 'repository' else 'repositories'}"
    if tile["kind"] == "smaller":
        where = f" in {tile['name']}" if tile["name"] != shown["place"] else ""
        return f"{tile['members']:,} smaller{where}"
    return TILES.get(tile["kind"]) or tile["name"]


def leaves_of(tiles: list[Json]) -> Iterator[Json]:
    for tile in tiles:
        yield from leaves_of(tile["inner"]) if tile["inner"] else [tile]


def all_of(tiles: list[Json]) -> Iterator[Json]:
    for tile in tiles:
        yield tile
        yield from all_of(tile["inner"])


def test_the_figures_of_the_maps(exporter: Exporter, walked: Walk, truth: Truth) -> None:
    places = {}
    for path, page in walked.of("/map").items():
        asked = urlsplit(path).query.split("&")
        query = "&".join(each for each in asked if not each.startswith("colour="))
        shown = api(exporter, f"/map?{query}")
        places[shown["place"]] = shown
        table = {(label, number) for (_, label, _), number in figures_of(page).items() if label}
        tiles = list(leaves_of(shown["tiles"]))
        assert table == {(name_of(each, shown), each["bytes"]) for each in tiles}, path
        assert figures_of(page)["", "", ""] == shown["bytes"]
        (picture,) = page.all("svg", css="wide")
        titles = [each.text for each in picture.all("title")]
        drawn = sorted(
            (
                each.rsplit(": ", 1)[0],
                int(re.findall(r"\(([\d,]+) bytes\)", each)[0].replace(",", "")),
            )
            for each in titles
        )
        assert drawn == sorted(
            (name_of(each, shown), each["bytes"]) for each in all_of(shown["tiles"])
        ), path
    metrics = truth.metrics
    exclusive = metrics.by("repository", "docker_registry_repository_exclusive_bytes")
    referenced = metrics.by("repository", "docker_registry_repository_referenced_bytes")
    assert set(places) == {"", "captain/", "tools/", *exclusive}
    store = list(leaves_of(places[""]["tiles"]))
    assert {each["name"]: each["bytes"] for each in store if each["kind"] == "repository"} == (
        exclusive
    )
    rest = {each["kind"]: each["bytes"] for each in store if each["kind"] != "repository"}
    assert rest == {
        "shared": metrics.value("docker_registry_shared_blob_bytes"),
        "garbage": metrics.value("docker_registry_blob_bytes", state="unreferenced"),
        "uploads": metrics.value("docker_registry_upload_bytes"),
        "strays": metrics.value("docker_registry_stray_bytes"),
    }
    for name in exclusive:
        shown = places[name]
        assert shown["bytes"] == referenced[name]
        assert shown["shared_bytes"] == referenced[name] - exclusive[name]


def test_the_figures_of_issues(exporter: Exporter, walked: Walk, truth: Truth) -> None:
    page, said = walked.pages["/issues"], api(exporter, "/issues")
    uploads = next(each for each in said["groups"] if each["kind"] == "uploads")
    expected: dict[Key, int] = {
        ("uploads", each["place"], "Size"): each["bytes"] for each in uploads["findings"]
    }
    expected["strays", "", ""] = truth.report["strays"]["frees_bytes"]
    assert figures_of(page) == expected
    assert uploads["total"] == truth.report["uploads"]["uploads"] == len(expected) - 1
    assert (
        said["upload_bytes"]
        == truth.report["uploads"]["bytes"]
        == sum(each["bytes"] for each in uploads["findings"])
    )
    assert f"Unfinished uploads (2, {size(said['upload_bytes'])})" in page.text
    strays = truth.report["strays"]
    assert f"Stray files ({strays['files']}, {size(strays['bytes'])})" in page.text
    endangered = truth.report["collector"]["delete_untagged"]["endangered"]
    assert [each["Where"] for each in rows_of(page, "endangered-tags")] == [
        f"{each['repository']}:{each['tag']}" for each in endangered
    ]


def test_the_figures_of_images_and_blobs_are_those_of_the_files(
    sample: Sample, walked: Walk, truth: Truth
) -> None:
    sizes = {
        digest: sample.store.blob_path(digest).stat().st_size
        for digest in map(digest_of, walked.pages)
        if digest
    }
    tags = {tag["digest"]: tag for each in truth.repositories.values() for tag in each["tags"]}
    images, blobs = walked.of("/images/{digest}"), walked.of("/blobs/{digest}")
    wholes = {short(digest_of(path)): figures_of(page)["", "", ""] for path, page in images.items()}
    assert set(tags) <= set(map(digest_of, images))
    for path, page in blobs.items():
        assert list(figures_of(page).values()) == [sizes[digest_of(path)]], path
    by_short = {short(digest): each for digest, each in sizes.items()}
    for path, page in images.items():
        digest, figures = digest_of(path), figures_of(page)
        assert figures.pop(("", "", "2")) == sizes[digest]
        whole = figures.pop(("", "", ""))
        assert whole == tags.get(digest, {"bytes": whole})["bytes"]
        layers = [number for (section, *_), number in figures.items() if section == "layers"]
        listed = rows_of(page, "layers") if layers else []
        assert layers == [by_short[each["Layer"]] for each in listed]
        if layers:
            (config,) = [
                by_short[link.text]
                for link in page.all("a")
                if link.above is not None
                and link.above.tag == "dd"
                and link.attributes["href"].startswith("/blobs/")
            ]
            assert whole == sizes[digest] + config + sum(
                by_short[each] for each in {row["Layer"] for row in listed}
            )
        children = [number for (section, *_), number in figures.items() if section == "children"]
        listed = rows_of(page, "children") if children else []
        assert children == [wholes[each["Digest"]] for each in listed]
        assert len(layers) + len(children) == len(figures)


def digest_of(path: str) -> str:
    is_blob = route_of(path) in ("/images/{digest}", "/blobs/{digest}")
    return unescape(path).rsplit("/", 1)[1] if is_blob else ""


def test_the_figures_of_untagged_manifests_are_those_of_their_own_pages(walked: Walk) -> None:
    images = walked.of("/images/{digest}")
    wholes = {short(digest_of(path)): figures_of(page)["", "", ""] for path, page in images.items()}
    listed = {
        label: number
        for path, page in walked.pages.items()
        if is_plain_repository(path)
        for (section, label, _), number in figures_of(page).items()
        if section == "untagged"
    }
    assert len(listed) > 10
    assert listed == {each: wholes[each] for each in listed}


def test_the_figures_of_a_search(exporter: Exporter, sample: Sample) -> None:
    found = 0
    for digest in (sample.image, sample.layer):
        query = f"/search?q={digest.removeprefix('sha256:')[:6]}"
        page, said = page_and_api(exporter, query, query)
        hits = said["digests"]
        assert sorted(figures_of(page).values()) == sorted(each["bytes"] for each in hits)
        files = {each["digest"]: sample.store.blob_path(each["digest"]) for each in hits}
        assert [each["bytes"] for each in hits] == [
            files[each["digest"]].stat().st_size for each in hits
        ]
        found += len(hits)
    assert found >= 2
