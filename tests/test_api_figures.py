"""What the API says of one thing, and of what can go, equals report, plan, metrics and pages."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, digest_of, noise
from tests.exporter_process import Exporter
from tests.in_process import run_command

ROOT = "/api/v1"
POLICIES = "1,2,5,50"
MANY, SAME_TIME = "team/many", 1_700_000_000.0
Flags = tuple[str | Path, ...]


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Flags:
    """Return the flags for the sample store with its CapRover, and a repository of many tags."""
    place, now = tmp_path_factory.mktemp("sample"), time.time()
    build_sample(place / "registry", now)
    write_captain_config(place / "captain", now)
    store = StoreBuilder(place / "registry")
    for number in range(60):
        layer = noise(f"many {number}", 500 + number % 20)
        store.image(MANY, f"t{number:02}", [layer], at=SAME_TIME + 3600.0 * number)
    store.upload(MANY, bytes(300), SAME_TIME)
    store.image(MANY, None, [noise("untagged", 900)], at=SAME_TIME)
    return (
        "--storage.root", place / "registry", "--caprover.config-dir", place / "captain",
        "--alerts.storage-almost-full.warning", "0",
        "--alerts.storage-almost-full.critical", "0",
        "--retention.keep-last", POLICIES,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exporter(flags: Flags) -> Iterator[Exporter]:
    with Exporter(*flags) as exporter:
        exporter.wait_for(
            lambda metrics: (
                metrics.by("policy", "docker_registry_retention_reclaimable_bytes") != {}
            )
        )
        yield exporter


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    """Watch a repository with three tags of each size, and three of each time."""
    store = StoreBuilder(tmp_path_factory.mktemp("tied"))
    for number in range(60):
        layer, at = noise(f"{number}", 500 + number % 20), SAME_TIME + 3600.0 * (number // 3)
        store.image(MANY, f"t{number:02}", [layer], at=at)
    with Exporter("--storage.root", store.root) as exporter:
        yield exporter


def ask(exporter: Exporter, path: str, query: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401 - any JSON
    address = f"{ROOT}{path}?{urlencode(query or {})}"
    return exporter.get(address).raise_for_status().json()


def report(flags: Flags, *arguments: str) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(run_command("report", *flags, *arguments, "--format", "json").output)


def names_of(exporter: Exporter) -> list[str]:
    rows = ask(exporter, "/repositories", {"limit": 1000})["repositories"]
    return [each["figures"]["name"] for each in rows]


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def sizes_in(html: str) -> list[int]:
    return [int(each) for each in re.findall(r'<data value="(\d+)"', html)]


def section(page: str, name: str) -> str:
    return page.partition(f'<h2 id="{name}"')[2].partition("</section>")[0]


def test_a_repository_is_that_of_the_report_and_of_its_page(
    exporter: Exporter, flags: Flags
) -> None:
    for name in names_of(exporter):
        expected = report(flags, "--repository", name)
        known, page = ask(exporter, f"/repositories/{name}"), exporter.get(f"/repositories/{name}")
        figures = expected["repository"]
        assert known["row"]["figures"] == {
            field: value
            for field, value in figures.items()
            if field not in ("owner", "uses", "orphaned")
        }
        assert known["row"]["owner"] == figures["owner"]
        assert known["row"]["uses"] == figures["uses"]
        assert known["is_orphaned"] == figures["orphaned"]
        tags = ask(exporter, f"/repositories/{name}/_tags", {"limit": 200})
        assert [each["row"] for each in tags["tags"]] == expected["tags"]
        assert tags["found"] == len(expected["tags"]) == figures["tags"]
        assert known["broken_tags"] == sum(tag["broken"] is not None for tag in expected["tags"])
        untagged = [each["bytes"] for each in known["untagged"]["shown"]]
        assert len(untagged) == known["untagged"]["total"] == figures["untagged_manifests"]
        shown = sizes_in(section(page.text, "tags"))
        assert shown[::2] == [tag["bytes"] for tag in expected["tags"][:50]]
        assert shown[1::2] == [tag["exclusive_bytes"] for tag in expected["tags"][:50]]
        assert sizes_in(section(page.text, "untagged")) == untagged


def test_uploads_and_untagged_manifests_of_a_repository_are_listed(exporter: Exporter) -> None:
    known = ask(exporter, f"/repositories/{MANY}")
    assert known["uploads"]["shown"] == [{"size": 300, "started_at": SAME_TIME, "purgeable": True}]
    assert known["upload_bytes"] == 300
    (untagged,) = known["untagged"]["shown"]
    assert untagged["kind"] == "image"
    assert untagged["platforms"] == ["linux/amd64"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["tag", "size", "exclusive", "pushed"])
def test_pages_by_cursor_list_every_tag_once_in_the_order_of_the_page(
    tied: Exporter, sort: str, order: str
) -> None:
    query: dict[str, object] = {"sort": sort, "order": order, "q": "t"}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        given = {**query, "limit": 7, "cursor": cursor}
        page = ask(tied, f"/repositories/{MANY}/_tags", given)
        seen += [each["row"]["tag"] for each in page["tags"]]
        cursor = page["next"]
        assert page["found"] == 60
    shown = [
        tag
        for number in (1, 2)
        for tag in re.findall(
            r"<th [^>]*>(?:<[^>]*>)*(t\d\d)\b",
            tied.get(f"/repositories/{MANY}?{urlencode({**query, 'page': number})}").text,
        )
    ]
    assert len(shown) == 60
    assert seen == shown


def listed(plan: str) -> list[list[str]]:
    return [line.split("\t") for line in plan.splitlines() if not line.startswith("#")]


def figures_of(plan: str) -> tuple[int, int, int]:
    """Return the manifests, tags and bytes of a plan."""
    lines = listed(plan)
    tags = sum(len(tags.split(",")) for *_, tags in lines if tags != "-")
    return len(lines), tags, sum(int(size) for _, size, _ in lines)


@pytest.mark.parametrize("keep", [0, 1, 4, 1000])
def test_the_retention_of_a_repository_is_that_of_the_plan_and_of_its_page(
    exporter: Exporter, flags: Flags, keep: int
) -> None:
    for name in (MANY, "captain/img-captain-shop"):
        query = {"keep": keep}
        found = ask(exporter, f"/repositories/{name}/_what-if", query)
        arguments = ("--keep-last", str(keep), "--match", f"^{re.escape(name)}:.*")
        plan = run_command("plan", *flags[:4], *arguments).output
        assert (found["manifests"], found["tags"], found["frees_bytes"]) == figures_of(plan)
        assert found["refused"] is None
        page = section(exporter.get(f"/repositories/{name}?keep={keep}").text, "what-if")
        assert f"({found['frees_bytes']:,} bytes)" in text_of(page)


def digests_of(exporter: Exporter) -> tuple[list[str], list[str]]:
    """Return digests of images, and of what the first of them is made of."""
    images: list[str] = []
    for name in names_of(exporter):
        tags = ask(exporter, f"/repositories/{name}/_tags")["tags"]
        images += [each["row"]["digest"] for each in tags[:2] if each["row"]["digest"]]
    first = ask(exporter, f"/images/{images[0]}")
    makings = first["layers"]["makings"]
    layers = [each["layer"]["digest"] for each in makings if each["layer"]]
    return images, [*layers, first["text"]["config"]["digest"]]


def test_blobs_are_those_of_the_report(exporter: Exporter, flags: Flags) -> None:
    images, parts = digests_of(exporter)
    for digest in (*images[:6], *parts, digest_of(noise("untagged", 900))):
        expected, found = report(flags, "--digest", digest), ask(exporter, f"/blobs/{digest}")
        assert found["digest"] == expected["digest"] == digest
        assert found["type"] == {each: expected[each] for each in ("kind", "media_type")}
        for each in ("bytes", "state"):
            assert found[each] == expected[each]
        for each in ("tags", "manifests", "apps"):
            assert found[each]["shown"] == expected[each][:50]
            assert found[each]["total"] == len(expected[each])
        page = exporter.get(f"/blobs/{digest}").text
        assert found["bytes"] in sizes_in(page)


def test_images_are_those_of_tags_and_of_their_pages(exporter: Exporter) -> None:
    rows = [
        (name, each["row"])
        for name in names_of(exporter)
        for each in ask(exporter, f"/repositories/{name}/_tags", {"limit": 5})["tags"]
    ]
    for name, row in rows:
        image = ask(exporter, f"/images/{row['digest']}")
        assert image["bytes"] == row["bytes"]
        assert (image["is_pullable"] is False) is (row["broken"] is not None)
        assert name in [each["repository"] for each in image["holdings"]["shown"]]
        assert row["tag"] in [each["tag"] for each in image["tags"]["shown"]]
        page = exporter.get(f"/images/{row['digest']}").text
        layers = [each["layer"] for each in image["layers"]["makings"] if each["layer"]]
        for size in (image["bytes"], *(each["bytes"] for each in layers)):
            assert size is None or size in sizes_in(page)


def test_the_beginning_of_a_digest_is_enough_if_no_other_begins_so(exporter: Exporter) -> None:
    (image, *others), _ = digests_of(exporter)
    for kind in ("images", "blobs"):
        whole = ask(exporter, f"/{kind}/{image}")
        assert ask(exporter, f"/{kind}/{image[:40]}") == whole
        assert ask(exporter, f"/{kind}/{image.removeprefix('sha256:')[:20]}") == whole
        answer = exporter.get(f"{ROOT}/{kind}/sha256:{image[7:9]}")
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert "is no digest" in answer.json()["detail"]
    assert others


def test_what_does_not_exist_is_answered_with_what_may_be_meant(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    store.image("team/application", "1", [layer := noise("layer", 100)])
    first, second = (f"sha256:abcdef{digit * 58}" for digit in "01")
    for digest in (first, second):
        path = store.blob_path(digest)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"made up")
    expected = {
        "/repositories/team/aplication": (
            "there is no repository team/aplication; did you mean: team/application"
        ),
        "/repositories/nothing/_tags": "there is no repository nothing",
        "/repositories/nothing/_what-if?keep=1": "there is no repository nothing",
        "/blobs/abcdef": f"2 digests begin with abcdef; did you mean: {first}, {second}",
        "/blobs/fedcba": "nothing in the store has or references the digest fedcba",
        f"/images/{digest_of(layer)}": (
            f"{digest_of(layer)} is no manifest, but another blob; did you mean: the blob "
            f"{digest_of(layer)[:19]}"
        ),
    }
    with Exporter("--storage.root", store.root) as exporter:
        answers = {path: exporter.get(f"{ROOT}{path}") for path in expected}
    assert {path: answer.json()["detail"] for path, answer in answers.items()} == expected
    assert {answer.status_code for answer in answers.values()} == {httpx.codes.NOT_FOUND}


def test_a_repository_named_like_a_word_of_an_address_is_found(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    for name in ("team", "team/tags", "team/what-if"):
        store.image(name, f"of-{name.replace('/', '-')}", [noise(name, 100)])
    with Exporter("--storage.root", store.root) as exporter:
        for name in ("team", "team/tags", "team/what-if", "team%2Ftags"):
            row = ask(exporter, f"/repositories/{name}")["row"]
            assert row["figures"]["name"] == name.replace("%2F", "/")
            (tag,) = ask(exporter, f"/repositories/{name}/_tags")["tags"]
            assert tag["row"]["tag"] == f"of-{name.replace('/', '-').replace('%2F', '-')}"


def test_actions_are_those_of_the_report_with_their_plans(exporter: Exporter, flags: Flags) -> None:
    found = ask(exporter, "/clean-up")
    actions = report(flags)["actions"]
    assert [each["action"] for each in found["actions"]["shown"]] == actions
    assert found["actions"]["total"] == len(actions)
    planned = [each for each in found["actions"]["shown"] if each["plan"] is not None]
    assert len(planned) >= 5
    for each in planned:
        result = ask(exporter, "/clean-up/what-if", each["plan"])
        assert result["frees_bytes"] == each["action"]["frees_bytes"]
    reclaimable = exporter.metrics().by("mode", "docker_registry_gc_reclaimable_bytes")
    assert found["collector"] == {"frees_bytes": reclaimable["default"], "blocker": None}


@pytest.mark.parametrize(
    "options",
    [
        {"keep-last": "1"},
        {"keep-last": "2", "older-than": "20d", "include-children": "1"},
        {"match": r"team/many:t\d\d", "protect": ".*:t0."},
        {"orphaned": "1"},
        {"untagged": "1"},
        {"detached": "1"},
        {"match": "nothing"},
    ],
)
def test_a_what_if_is_that_of_the_plan_and_of_the_page(
    exporter: Exporter, flags: Flags, options: Mapping[str, str]
) -> None:
    flagged = ("untagged", "orphaned", "detached", "include-children")
    arguments = [f"--{name}" for name in options if name in flagged]
    arguments += [f"--{name}={value}" for name, value in options.items() if name not in flagged]
    plan = run_command("plan", *flags[:4], *arguments).output
    found = ask(exporter, "/clean-up/what-if", options)
    assert (found["manifests"], found["tags"], found["frees_bytes"]) == figures_of(plan)
    assert found["repositories"] == len({image.partition("@")[0] for image, *_ in listed(plan)})
    assert found["refused"] is None
    page = exporter.get(f"/clean-up?{urlencode(options)}").text
    assert f'<p class="figure"><data value="{found["frees_bytes"]}">' in page
    assert found["command"] in unescape(page)


def test_the_curve_is_that_of_the_metrics_and_of_the_page(exporter: Exporter) -> None:
    found, metrics = ask(exporter, "/clean-up/curve"), exporter.metrics()
    points = {each["keep_last"]: each for each in found["points"]}
    assert found["unknown"] is None
    for keep in map(int, POLICIES.split(",")):
        policy = f"keep-last-{keep}"
        freed = metrics.value("docker_registry_retention_reclaimable_bytes", policy=policy)
        tags = metrics.value("docker_registry_retention_candidate_tags", policy=policy)
        assert (points[keep]["frees_bytes"], points[keep]["tags"]) == (freed, tags)
    page = exporter.get("/clean-up").text
    rows = re.findall(r'#what-if">(\d+)</a></th>.*?<data value="(\d+)">', page, re.DOTALL)
    assert [(each["keep_last"], each["frees_bytes"]) for each in found["table"]] == [
        (int(keep), int(size)) for keep, size in rows
    ]


def make_unread(store: StoreBuilder, _: Path) -> Flags:
    (store.version_path / "repositories" / "app" / "_manifests" / "more").symlink_to("/nowhere")
    return ()


def make_cache(store: StoreBuilder, _: Path) -> Flags:
    (store.root / "scheduler-state.json").write_text("{}")
    return ()


def make_uses_unknown(_: StoreBuilder, place: Path) -> Flags:
    return "--caprover.config-dir", place / "missing"


@pytest.mark.parametrize("make", [make_unread, make_cache, make_uses_unknown])
def test_what_plan_refuses_is_refused_with_the_same_reason(
    tmp_path: Path, make: Callable[[StoreBuilder, Path], Flags]
) -> None:
    store = StoreBuilder(tmp_path / "registry")
    for number in range(3):
        store.image("app", f"{number}", [noise(f"{number}", 100)], at=SAME_TIME + number)
    flags = ("--storage.root", store.root, *make(store, tmp_path))
    reason = run_command("plan", *flags, "--keep-last", "1").complaints.strip()
    with Exporter(*flags) as exporter:
        refusals = [
            ask(exporter, "/clean-up/what-if", {"keep-last": 1})["refused"],
            ask(exporter, "/repositories/app/_what-if", {"keep": 1})["refused"],
            ask(exporter, "/clean-up/curve")["unknown"],
        ]
    for each in refusals:
        assert each.startswith("no plan")
        assert each in reason


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        (f"/repositories/{MANY}/_what-if", "keep is missing"),
        (f"/repositories/{MANY}/_what-if?keep=-1", "keep is not a whole number from 0 to"),
        (f"/repositories/{MANY}/_tags?limit=201", "limit is not a whole number from 1 to 200"),
        (f"/repositories/{MANY}/_tags?sort=name", "sort is none of: tag, size"),
        ("/clean-up/what-if", "plan: nothing is selected"),
        ("/clean-up/what-if?keep-last=1&untagged=1", "keep-last: not together with --untagged"),
        ("/clean-up/what-if?orphaned=yes", "orphaned is neither 0 nor 1"),
        ("/clean-up/what-if?older-than=90", "older-than is not a duration"),
        ("/clean-up/what-if?match=(", "match is not a regular expression"),
    ],
)
def test_a_wrong_parameter_is_named(exporter: Exporter, path: str, detail: str) -> None:
    answer = exporter.get(f"{ROOT}{path}")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert answer.json()["detail"].startswith(detail)
