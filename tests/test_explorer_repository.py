"""The page of a repository: its figures, its tags, and what a retention would free."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.deletion.selection import Selection
from exporter.commands.plan.run import plan
from exporter.domain.errors import PlanRefusedError
from exporter.domain.snapshot import Dialect, ScanStatus, Snapshot, StoreReading
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import ScanControl
from exporter.views.action import CommandLines
from exporter.views.deletion_plan.request import PlanRequest
from exporter.views.detail.repository import known_tags
from exporter.views.detail.tag_table import TagQuery, tag_table
from exporter.views.detail.what_if import plan_text, what_if
from exporter.views.snapshot_view import SnapshotView, ViewOptions
from tests.exporter_process import Exporter, run_exporter
from tests.plan_texts import without_moment
from tests.random_stores import STEPS, STEPS_WITH_LOSSES, Step, build, temporary_directory
from tests.small_stores import STORES

DAY = 86400.0
NOW = 1_800_000_000.0
APP, OTHER, MANY, BROKEN = "team/app", "team/other", "team/many", "team/broken"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    store = StoreBuilder(tmp_path_factory.mktemp("repository") / "registry")
    base, common, image = noise("base", 5000), noise("common", 3000), ""
    for number in range(6):
        layers = [base, common, noise(f"app {number}", 1000 + number)]
        image = store.image(APP, f"v{number}", layers, at=NOW - (40 - number) * DAY)
    store.tag(APP, "latest", image, at=NOW - 35 * DAY)
    signature = f"{image.replace(':', '-')}.sig"
    store.image(APP, signature, [noise("signature", 40)], at=NOW - 34 * DAY)
    children = [
        store.image(APP, None, [noise(name, 600)], platform=name, at=NOW - 33 * DAY)
        for name in ("linux/amd64", "linux/arm64")
    ]
    store.index(APP, "multi", children, at=NOW - 33 * DAY)
    store.image(APP, None, [noise("untagged", 700)], at=NOW - 50 * DAY)
    store.upload(APP, noise("upload", 900), NOW - 3 * DAY)
    store.upload(APP, noise("endless", 800), None, at=NOW - 2 * DAY)
    store.image(OTHER, "1", [base, noise("other", 2000)], at=NOW - 30 * DAY)
    for number in range(120):
        store.image(MANY, f"{number:03}", [noise(f"many {number}", 100 + number)], at=NOW + number)
    gone = noise("gone", 50)
    store.image(BROKEN, "lost", [gone], at=NOW)
    store.blob_path(store.blob(gone)).unlink()
    return store


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    with Exporter("--storage.root", store.root) as exporter:
        yield exporter


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a page's table: its name, all its text, its bytes."""

    name: str
    text: str
    bytes: tuple[int, ...]


def rows_of(page: str, section: str) -> list[Row]:
    """Return the rows of the table in the section with this heading's id."""
    part = page.partition(f'<h2 id="{section}"')[2].partition("</section>")[0]
    body = part.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = []
    for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL):
        head = re.search(r"<th [^>]*>(.*?)</th>", row, re.DOTALL)
        assert head is not None
        sizes = tuple(map(int, re.findall(r'<data value="(\d+)"', row)))
        rows.append(Row(text_of(head[1].partition("<br>")[0]), text_of(row), sizes))
    return rows


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()


def tags_in_report(store: StoreBuilder, name: str) -> list[dict[str, object]]:
    done = run_exporter(
        "report", "--storage.root", store.root, "--repository", name, "--format", "json"
    )
    tags = json.loads(done.stdout)["tags"]
    assert isinstance(tags, list)
    return tags


@pytest.mark.parametrize("name", [APP, OTHER, BROKEN])
def test_figures_are_those_of_the_report_and_the_metrics(
    exporter: Exporter, store: StoreBuilder, name: str
) -> None:
    page, tags = exporter.get(f"/repositories/{name}").text, tags_in_report(store, name)
    shown = {row.name: row.bytes for row in rows_of(page, "tags")}
    assert shown == {each["tag"]: (each["bytes"], each["exclusive_bytes"]) for each in tags}
    metrics = exporter.metrics()
    figures = [int(each) for each in re.findall(r'"figure"><data value="(\d+)"', page)]
    assert figures == [
        metrics.value("docker_registry_repository_referenced_bytes", repository=name),
        metrics.value("docker_registry_repository_exclusive_bytes", repository=name),
    ]


def test_tags_have_their_digest_platforms_date_and_artifacts(
    exporter: Exporter, store: StoreBuilder
) -> None:
    page = exporter.get(f"/repositories/{APP}").text
    rows = {row.name: row.text for row in rows_of(page, "tags")}
    digest = store.tag_link(APP, "v5").read_text()
    signature = store.tag_link(APP, f"{digest.replace(':', '-')}.sig").read_text()
    assert digest[:19] in rows["v5"]
    assert f'href="/images/{digest}"' in page
    assert "2026-01-01" in rows["v5"]
    assert "linux/amd64, linux/arm64" in rows["multi"]
    for tag in ("v5", "latest"):
        assert signature[:19] in rows[tag]
    assert signature[:19] not in rows["v4"]
    assert "is one" in rows[f"{digest.replace(':', '-')}.sig"]


def test_untagged_manifests_and_unfinished_uploads_are_listed(exporter: Exporter) -> None:
    page = exporter.get(f"/repositories/{APP}").text
    untagged, uploads = rows_of(page, "untagged"), rows_of(page, "uploads")
    assert len(untagged) == 1
    assert "image" in untagged[0].text
    assert "linux/amd64" in untagged[0].text
    assert untagged[0].bytes[0] > 700
    assert [row.bytes for row in uploads] == [(900,), (800,)]
    assert "the registry purges it" in uploads[0].text
    assert "the registry never purges it" in uploads[1].text
    other = exporter.get(f"/repositories/{OTHER}").text
    assert not rows_of(other, "untagged")
    assert not rows_of(other, "uploads")


def test_a_tag_that_cannot_be_pulled_says_why(exporter: Exporter, store: StoreBuilder) -> None:
    page = exporter.get(f"/repositories/{BROKEN}").text
    (tag,) = tags_in_report(store, BROKEN)
    assert str(tag["broken"]) in unescape(page)
    assert "1 tag cannot be pulled" in page


def test_all_pages_of_tags_together_list_every_tag_once(exporter: Exporter) -> None:
    pages = [exporter.get(f"/repositories/{MANY}?page={page}").text for page in (1, 2, 3, 4)]
    names = [row.name for page in pages[:3] for row in rows_of(page, "tags")]
    assert names == [f"{number:03}" for number in reversed(range(120))]
    assert "This page is after the last one" in pages[3]


@pytest.mark.parametrize(
    ("query", "first"),
    [("sort=tag", "000"), ("sort=tag&order=desc", "119"), ("sort=size&order=asc", "000"),
     ("sort=exclusive", "119"), ("sort=pushed&order=asc", "000"), ("q=07&sort=tag", "007")],
)  # fmt: skip
def test_tags_are_sorted_and_searched(exporter: Exporter, query: str, first: str) -> None:
    page = exporter.get(f"/repositories/{MANY}?{query}").text
    assert rows_of(page, "tags")[0].name == first


def test_sorting_searching_and_paging_keep_the_retention_and_each_other(exporter: Exporter) -> None:
    page = exporter.get(f"/repositories/{MANY}?keep=3&sort=size&q=1&page=1").text
    links = [unescape(each) for each in re.findall(r'href="(/repositories/[^"]*\?[^"]*)"', page)]
    tables = [each for each in links if "_plan" not in each]
    assert tables
    assert all("keep=3" in each and "q=1" in each for each in tables)
    assert page.count('<input type="hidden" name="keep" value="3">') == 1


def totals_of(page: str) -> tuple[int, int, int]:
    text = text_of(page.partition('<h2 id="what-if"')[2].partition("</section>")[0])
    found = re.search(r"([\d,]+) tags? would go, with ([\d,]+) .*\(([\d,]+) bytes\)", text)
    assert found is not None, text
    tags, manifests, size = (int(each.replace(",", "")) for each in found.groups())
    return tags, manifests, size


@pytest.mark.parametrize("keep", [0, 1, 2, 5, 100])
def test_a_retention_is_priced_and_planned_as_the_command_does(
    exporter: Exporter, store: StoreBuilder, keep: int
) -> None:
    for name in (APP, OTHER, MANY):
        done = run_exporter(
            "plan", "--storage.root", store.root,
            "--keep-last", str(keep), "--match", f"^{name}:.*",
        )  # fmt: skip
        total = re.search(r"# total: (\d+) bytes in (\d+) manifests, (\d+) tags", done.stdout)
        assert total is not None, done.stderr
        size, manifests, tags = map(int, total.groups())
        page = exporter.get(f"/repositories/{name}?keep={keep}").text
        assert totals_of(page) == (tags, manifests, size)
        file = exporter.get(f"/repositories/{name}/_plan?keep={keep}")
        assert file.headers["content-type"] == "text/plain; charset=utf-8"
        assert file.headers["content-disposition"] == (
            f'attachment; filename="plan-{name.replace("/", "-")}.txt"'
        )
        assert without_moment(file.text) == without_moment(done.stdout)


def test_configured_retentions_are_a_link_away_and_cost_what_the_metrics_say(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    for number in range(4):
        store.image("app", f"v{number}", [noise(f"{number}", 500 + number)], at=NOW + number * DAY)
    with Exporter("--storage.root", tmp_path, "--retention.keep-last", "1,3") as exporter:
        page = exporter.get("/repositories/app").text
        links = re.findall(r'href="(/repositories/app\?keep=\d)#what-if"', page)
        prices = {link[-1]: totals_of(exporter.get(link).text) for link in links}
        metrics = exporter.metrics()
    assert links == ["/repositories/app?keep=1", "/repositories/app?keep=3"]
    for keep, (tags, _, size) in prices.items():
        policy = f"keep-last-{keep}"
        reclaimable = "docker_registry_retention_reclaimable_bytes"
        assert size == metrics.value(reclaimable, policy=policy)
        assert tags == metrics.value("docker_registry_retention_candidate_tags", policy=policy)


@pytest.mark.parametrize("keep", ["-1", "x", "1.5", "1000001"])
def test_a_wrong_number_of_tags_to_keep_is_named(exporter: Exporter, keep: str) -> None:
    for path in (f"/repositories/{APP}", f"/repositories/{APP}/_plan"):
        answer = exporter.get(f"{path}?keep={keep}")
        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert "Keep is not a whole number" in answer.text


def test_a_plan_needs_the_number_of_tags_to_keep(exporter: Exporter) -> None:
    answer = exporter.get(f"/repositories/{APP}/_plan")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "Keep is missing" in answer.text


@pytest.mark.parametrize(
    ("name", "close"),
    [("app", APP), ("TEAM/APP", APP), ("team/ap", APP), ("team/mnay", MANY), ("x/many", MANY)],
)
def test_a_repository_that_does_not_exist_is_404_with_close_names(
    exporter: Exporter, name: str, close: str
) -> None:
    for path in (f"/repositories/{name}", f"/repositories/{name}/_plan?keep=1"):
        answer = exporter.get(path)
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert f'href="/repositories/{close}"' in answer.text


def test_a_name_that_is_like_none_is_404_without_suggestions(exporter: Exporter) -> None:
    answer = exporter.get("/repositories/%3Cscript%3E%00%E2%80%AE" + "x" * 5000)
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert "<script>" not in answer.text
    assert "\0" not in answer.text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in answer.text
    assert "Did you mean" not in answer.text


def test_uses_and_apps_are_shown_and_running_tags_stay(store: StoreBuilder, tmp_path: Path) -> None:
    apps = {"app": {"versions": [{"version": 1, "deployedImageName": f"registry.x:996/{APP}:v0"}],
                    "deployedVersion": 1}}  # fmt: skip
    (tmp_path / "config-captain.json").write_text(json.dumps({"appDefinitions": apps}))
    flags = ("--storage.root", store.root, "--caprover.config-dir", tmp_path)
    with Exporter(*flags) as exporter:
        page = exporter.get(f"/repositories/{APP}?keep=1").text
    rows = {row.name: row.text for row in rows_of(page, "tags")}
    assert "app (running)" in rows["v0"]
    done = run_exporter("plan", *flags, "--keep-last", "1", "--match", f"^{APP}:.*")
    total = re.search(r"# total: (\d+) bytes in (\d+) manifests, (\d+) tags", done.stdout)
    assert total is not None, done.stderr
    size, manifests, tags = map(int, total.groups())
    assert totals_of(page) == (tags, manifests, size)
    assert ":v0" not in done.stdout


def test_while_uses_are_unknown_nothing_is_priced_and_the_page_says_why(
    store: StoreBuilder, tmp_path: Path
) -> None:
    with Exporter("--storage.root", store.root, "--caprover.config-dir", tmp_path) as exporter:
        page = exporter.get(f"/repositories/{APP}?keep=1").text
        file = exporter.get(f"/repositories/{APP}/_plan?keep=1")
    assert "No plan, because it is unknown which tags run" in page
    assert "would go" not in page
    assert file.status_code == httpx.codes.CONFLICT
    assert "No plan, because it is unknown which tags run" in file.text


def test_before_the_first_scan_there_is_no_repository_yet(tmp_path: Path) -> None:
    flags = ("--scan.interval", "200ms")
    with Exporter("--storage.root", tmp_path / "no", *flags, until_ready=False) as exporter:
        exporter.wait_for(lambda metrics: metrics.value("docker_registry_scan_success") == 0)
        for path in ("/repositories/a", "/repositories/a/_plan?keep=1", "/images/a", "/blobs/a"):
            assert exporter.get(path).status_code == httpx.codes.SERVICE_UNAVAILABLE


# The same as the command's, on stores that the collector treats specially


def view_of(root: Path, dialect: Dialect) -> SnapshotView:
    options = AnalysisOptions(dialect)
    store, analyst = FilesystemStore(root), Analyst(options)
    analysis = analyst.analyse(store.scan(ScanControl()))
    snapshot = analyst.with_scan(Snapshot(), analysis, ScanStatus(began_at=NOW))
    return SnapshotView(snapshot, ViewOptions(store, options, CommandLines("plan")))


def command_text(view: SnapshotView, name: str, keep: int) -> tuple[str, str]:
    """Return the plan of the command, and why it refuses to make one; one of them is empty."""
    output, pattern = io.StringIO(), "^" + name.replace(".", r"\.") + ":.*"
    try:
        plan(
            view.snapshot,
            view.options.analysis,
            PlanRequest(Selection(keep_last=keep, match=re.compile(pattern))),
            store=view.options.store,
            ask_deletion=None,
            now=NOW,
            output=output,
        )
    except PlanRefusedError as error:
        return "", str(error)
    return output.getvalue(), ""


def assert_plans_are_equal(view: SnapshotView) -> None:
    for repository in view.inventory.repositories:
        for keep in (0, 1, 2):
            expected, refused = command_text(view, repository.name, keep)
            if refused:
                assert what_if(view, repository, keep).refused == refused
                with pytest.raises(PlanRefusedError, match=re.escape(refused)):
                    plan_text(view, repository, keep)
                continue
            assert plan_text(view, repository, keep) == expected
            total = re.search(r"# total: (\d+) bytes in (\d+) manifests, (\d+) tags", expected)
            assert total is not None
            result = what_if(view, repository, keep)
            assert (result.frees_bytes, result.manifests, result.tags) == tuple(
                map(int, total.groups())
            )


@pytest.mark.parametrize("dialect", [2, 3])
@pytest.mark.parametrize("name", STORES)
def test_a_plan_equals_the_commands_on_every_kind_of_store(
    name: str, dialect: Dialect, tmp_path: Path
) -> None:
    STORES[name](StoreBuilder(tmp_path))
    assert_plans_are_equal(view_of(tmp_path, dialect))


@settings(max_examples=60, deadline=None)
@given(st.one_of(STEPS, STEPS_WITH_LOSSES), st.sampled_from([2, 3]))
def test_a_plan_equals_the_commands_on_random_stores(steps: list[Step], dialect: Dialect) -> None:
    with temporary_directory() as directory:
        (directory / "docker/registry/v2/blobs").mkdir(parents=True)
        (directory / "docker/registry/v2/repositories").mkdir()
        build(StoreBuilder(directory), steps)
        assert_plans_are_equal(view_of(directory, dialect))


def test_figures_that_were_kept_over_a_restart_are_the_same(store: StoreBuilder) -> None:
    view = view_of(store.root, 2)
    reading = view.reading
    kept = Snapshot(store=StoreReading(reading.inventory, reading.figures))
    restarted = SnapshotView(kept, view.options)
    assert restarted.holders == view.holders
    for repository in view.inventory.repositories:
        tables = [
            tag_table(
                each,
                known_tags(each, repository),
                TagQuery(),
            )
            for each in (view, restarted)
        ]
        assert tables[0] == tables[1]
