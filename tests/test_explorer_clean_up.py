"""The page "What can go" equals the report, the plan and the metrics, and refuses what they do."""

import json
import re
import threading
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import anyio
import httpx
import pytest
from anyio import CapacityLimiter

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.deletion.order import Dating
from exporter.analysis.deletion.retention_curve import CurvePoint
from exporter.compose import subject_of
from exporter.domain.digests import BlobNumber, Digest, DigestTable
from exporter.domain.model import Inventory, Manifest, Repository, Revision, Tag
from exporter.domain.snapshot import ScanStatus, Snapshot
from exporter.metrics.exposition import Exposition
from exporter.settings.model import Settings
from exporter.settings.name_patterns import parse_foreign_pattern
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.store import FilesystemStore
from exporter.views.action import CommandLines
from exporter.views.clean_up.retention import MOST_IMAGES, retention
from exporter.views.clean_up.retention_chart import retention_chart
from exporter.views.snapshot_view import Viewer, ViewOptions
from exporter.web.api.routes import Api
from exporter.web.app import create_app
from exporter.web.explorer.links import Links
from exporter.web.explorer.rendering import Renderer
from exporter.web.explorer.routes import Explorer
from exporter.web.explorer.turns import Turns
from tests.exporter_process import Exporter
from tests.in_process import Outcome, run_command
from tests.plan_texts import without_moment

TABLE = (1, 2, 3, 5, 10, 20, 30, 50)
WHAT_IF = "/api/v1/clean-up/what-if"
Options = Mapping[str, str]


class Sample:
    """The sample store with its CapRover's configuration, and the exporter that watches it."""

    def __init__(self, place: Path) -> None:
        now = time.time()
        build_sample(place / "registry", now)
        write_captain_config(place / "captain", now)
        self.flags: tuple[str | Path, ...] = (
            "--storage.root", place / "registry", "--caprover.config-dir", place / "captain",
            "--alerts.storage-almost-full.warning", "0",
            "--alerts.storage-almost-full.critical", "0",
        )  # fmt: skip

    def run(self, command: str, *arguments: str) -> Outcome:
        outcome = run_command(command, *self.flags, *arguments)
        assert (outcome.exit_code, outcome.complaints) == (0, "")
        return outcome


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def exporter(sample: Sample) -> Iterator[Exporter]:
    policies = ",".join(map(str, TABLE))
    with Exporter(*sample.flags, "--retention.keep-last", policies) as exporter:
        exporter.wait_for(
            lambda metrics: (
                metrics.value("docker_registry_scan_success") == 1
                and metrics.by("policy", "docker_registry_retention_reclaimable_bytes") != {}
            )
        )
        yield exporter


def arguments_of(options: Options) -> list[str]:
    """Return the options of ``plan`` for parameters of the page."""
    flags = ("untagged", "orphaned", "detached", "include-children")
    return [
        part
        for name, value in options.items()
        for part in ([f"--{name}"] if name in flags else [f"--{name}", value])
    ]


def page_with(exporter: Exporter, path: str, options: Options) -> str:
    return exporter.get(f"{path}?{urlencode(options)}").raise_for_status().text


def commands_on(page: str) -> list[str]:
    return [unescape(each) for each in re.findall(r"<code data-copy>(.*?)</code>", page, re.DOTALL)]


@pytest.mark.parametrize(
    "options",
    [
        {"keep-last": "1"},
        {"keep-last": "0", "include-children": "1"},
        {"keep-last": "3", "older-than": "20d"},
        {"older-than": "36h"},
        {"match": r"captain/img-captain-(shop|blog):\d+", "keep-last": "2"},
        {"match": ".*", "protect": "captain/.*"},
        {"orphaned": "1"},
        {"orphaned": "1", "include-children": "1", "match": ".*old.*"},
        {"untagged": "1"},
        {"detached": "1"},
        {"match": "nothing"},
    ],
)
def test_a_what_if_equals_the_plan_with_the_same_options(
    sample: Sample, exporter: Exporter, options: Options
) -> None:
    plan = sample.run("plan", *arguments_of(options)).output
    listed = [line.split("\t") for line in plan.splitlines() if not line.startswith("#")]
    freed = sum(int(size) for _, size, _ in listed)
    tags = sum(len(tags.split(",")) for *_, tags in listed if tags != "-")
    repositories = {image.partition("@")[0] for image, *_ in listed}
    page = page_with(exporter, "/clean-up", options)
    assert f'<p class="figure"><data value="{freed}">' in page
    found = re.search(r"<p>([\d,]+) manifests? and ([\d,]+) tags? would go, in ([\d,]+) repo", page)
    assert found is not None
    assert [int(each.replace(",", "")) for each in found.groups()] == [
        len(listed), tags, len(repositories),
    ]  # fmt: skip
    by_repository = re.findall(
        r'class="name"><a [^>]*>([^<]+)</a></th>\s*<td class="number"><data value="(\d+)">', page
    )
    assert sum(int(size) for _, size in by_repository) == freed
    assert {name for name, _ in by_repository} == repositories
    assert without_moment(page_with(exporter, "/clean-up/plan", options)) == without_moment(plan)


def test_the_command_beside_a_what_if_makes_the_same_plan(
    exporter: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"match": "captain/.*", "older-than": "1h30m", "keep-last": "2"}
    command = commands_on(page_with(exporter, "/clean-up", options))[-1]
    program, *words = re.findall(r"'[^']*'|\S+", command)
    monkeypatch.chdir(tmp_path)
    assert "exporter" in program
    assert run_command(*(word.strip("'") for word in words)).exit_code == 0
    assert without_moment((tmp_path / "plan.txt").read_text()) == without_moment(
        page_with(exporter, "/clean-up/plan", options)
    )


def test_a_plan_is_a_text_to_save(exporter: Exporter) -> None:
    answer = exporter.get("/clean-up/plan?keep-last=1")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="plan.txt"'
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_shows_the_actions_of_the_report_with_their_plans(
    sample: Sample, exporter: Exporter
) -> None:
    policies = ",".join(map(str, TABLE))
    report = sample.run("report", "--retention.keep-last", policies, "--format", "json").output
    actions = json.loads(report)["actions"]
    page = exporter.get("/clean-up").text
    shown = re.findall(r'<details class="action(.*?)</details>', page, re.DOTALL)
    assert len(shown) == len(actions) == 12
    for action, text in zip(actions, map(unescape, shown), strict=True):
        assert f'<span class="action-name">{action["action"]}</span>' in text
        assert f'<data value="{action["frees_bytes"]}">' in text
        assert ("critical" in text and "DO NOT RUN" in text) is action["is_dangerous"]
        assert commands_on(text) == (["\n".join(action["commands"])] if action["commands"] else [])
        for warning in action["warnings"]:
            assert warning.removeprefix("DO NOT RUN")[1:] in text
        plan = re.search(r'href="(/clean-up/plan[^"]+)"', text)
        is_plan = any(" plan " in command for command in action["commands"])
        assert (plan is not None) is is_plan
        if plan is not None:
            lines = exporter.get(plan.group(1)).raise_for_status().text.splitlines()
            assert lines[-1].startswith(f"# total: {action['frees_bytes']} bytes in ")


def test_the_table_of_retention_equals_the_metrics(exporter: Exporter) -> None:
    page = exporter.get("/clean-up").text
    rows = re.findall(
        r'#what-if">(\d+)</a></th>\s*<td class="number">([\d,]+)</td>\s*'
        r'<td class="number"><data value="(\d+)">',
        page,
    )
    metrics = exporter.metrics()
    assert {f"keep-last-{keep}": float(size) for keep, _, size in rows} == metrics.by(
        "policy", "docker_registry_retention_reclaimable_bytes"
    )
    assert {
        f"keep-last-{keep}": float(tags.replace(",", "")) for keep, tags, _ in rows
    } == metrics.by("policy", "docker_registry_retention_candidate_tags")
    assert [int(keep) for keep, *_ in rows] == list(TABLE)
    assert '<path class="line" d="M' in page


def test_the_page_says_that_only_the_collector_frees_and_how_much(exporter: Exporter) -> None:
    now = exporter.value("docker_registry_gc_reclaimable_bytes", mode="default")
    page = exporter.get("/clean-up?untagged=1").text
    freed = re.search(r'<p class="figure"><data value="(\d+)">', page)
    assert now is not None
    assert freed is not None
    assert "only a run of the registry's garbage collector frees bytes" in page
    assert f'A run now would free <data value="{int(now)}">' in page
    after = int(now) + int(freed.group(1))
    assert f'a run after these deletions frees <data value="{after}">' in page


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("keep-last=one", "Keep-last is not a whole number from 0 to"),
        ("keep-last=-1", "Keep-last is not a whole number from 0 to"),
        ("older-than=90", "Older-than is not a duration"),
        ("older-than=999999d", "Older-than is longer than 100 years"),
        ("match=(", "Match is not a regular expression"),
        ("match=(a%7Cb)*", "Match is too complicated"),
        ("protect=(a*)*", "Protect repeats a repetition"),
        ("untagged=yes", "Untagged is neither 0 nor 1"),
        ("untagged=1&keep-last=5", "Keep-last: not together with --untagged"),
        ("untagged=1&detached=1", "Detached: not together with --untagged"),
    ],
)
@pytest.mark.parametrize("path", ["/clean-up", "/clean-up/plan"])
def test_a_wrong_selection_is_named(
    exporter: Exporter, path: str, query: str, problem: str
) -> None:
    answer = exporter.get(f"{path}?{query}")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert problem in unescape(answer.text)


def test_an_empty_form_is_no_what_if_and_no_plan(exporter: Exporter) -> None:
    query = "keep-last=&older-than=&match=&protect="
    assert 'class="result"' not in exporter.get(f"/clean-up?{query}").raise_for_status().text
    answer = exporter.get(f"/clean-up/plan?{query}")
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "nothing is selected" in answer.text


def test_what_somebody_wrote_into_the_form_is_escaped(exporter: Exporter) -> None:
    page = exporter.get("/clean-up?match=%3Cscript%3E%22'").raise_for_status().text
    assert "<script>" not in page
    assert 'name="match" size="22" maxlength="300"' in page
    assert "&lt;script&gt;&#34;&#39;" in page


def push(store: StoreBuilder, *tags: str, same_time: bool = False) -> list[str]:
    return [
        store.image("app", tag, [noise(tag, 1000)], at=1e9 if same_time else 1e9 + 1000.0 * place)
        for place, tag in enumerate(tags)
    ]


def make_unread(store: StoreBuilder, _: Path) -> tuple[str | Path, ...]:
    push(store, "1", "2")
    (store.version_path / "repositories" / "app" / "_manifests" / "more").symlink_to("/nowhere")
    return ()


def make_ties(store: StoreBuilder, _: Path) -> tuple[str | Path, ...]:
    push(store, "a", "b", "c", same_time=True)
    return ()


def make_cache(store: StoreBuilder, _: Path) -> tuple[str | Path, ...]:
    push(store, "1", "2")
    (store.root / "scheduler-state.json").write_text("{}")
    return ()


def make_uses_unknown(store: StoreBuilder, place: Path) -> tuple[str | Path, ...]:
    push(store, "1", "2")
    return "--caprover.config-dir", place / "missing"


@pytest.mark.parametrize("make", [make_unread, make_ties, make_cache, make_uses_unknown])
def test_a_page_refuses_what_plan_refuses_with_the_same_reason(
    tmp_path: Path, make: Callable[[StoreBuilder, Path], tuple[str | Path, ...]]
) -> None:
    store = StoreBuilder(tmp_path / "registry")
    flags = ("--storage.root", store.root, *make(store, tmp_path))
    refused = run_command("plan", *flags, "--keep-last", "1")
    (_, _, reason) = refused.complaints.strip().partition("no plan")
    assert refused.exit_code == 1
    with Exporter(*flags) as exporter:
        page = exporter.get("/clean-up?keep-last=1")
        plan = exporter.get("/clean-up/plan?keep-last=1")
    assert (page.status_code, plan.status_code) == (200, 409)
    for answer in (page, plan):
        assert reason
        assert f"No plan{reason}" in unescape(answer.text)
    assert 'class="figure"' not in page.text


def test_a_blocked_collector_frees_nothing_and_the_page_says_so(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    *_, last = push(store, "1", "2", "3")
    store.blob_path(last).write_bytes(b"{")
    with Exporter("--storage.root", store.root) as exporter:
        page = exporter.get("/clean-up?keep-last=1").text
    assert '<p class="figure"><data value="0">' in page
    assert "A run now would abort and free nothing: blobs/sha256/" in page
    assert "Nothing is freed while the collector aborts on blobs/sha256/" in page


def test_a_store_in_disorder_has_a_table_without_a_curve(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    lost = push(store, "1", "2", "3")[0]
    store.revision_link("app", lost).unlink()
    policies = ",".join(map(str, TABLE))
    with Exporter("--storage.root", store.root, "--retention.keep-last", policies) as exporter:
        page = exporter.get("/clean-up").text
        expected = exporter.metrics().by("policy", "docker_registry_retention_reclaimable_bytes")
    rows = re.findall(r'#what-if">(\d+)</a></th>.*?<data value="(\d+)">', page, re.DOTALL)
    assert {f"keep-last-{keep}": float(size) for keep, size in rows} == expected
    assert "<path" not in page
    assert "only these numbers are priced" in page


def test_laborious_answers_keep_no_other_waiting_and_say_when_they_are_too_many(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    push(store, "a", "b", "c", same_time=True)
    ends, begun = threading.Event(), threading.Semaphore(0)

    def read_dates(_: Inventory, numbers: Collection[BlobNumber]) -> Mapping[BlobNumber, float]:
        begun.release()
        ends.wait()
        return {number: 1e9 + number for number in numbers}

    analyst = Analyst(AnalysisOptions(dating=Dating(read=read_dates)))
    snapshot = analyst.with_scan(Snapshot(), analyst.analyse(scan_store(tmp_path)), ScanStatus())
    options = ViewOptions(FilesystemStore(tmp_path), analyst.options, CommandLines("plan"))
    viewer = Viewer(lambda: snapshot, options)
    turns, limiter, links = Turns(patience_seconds=0.05), CapacityLimiter(2), Links()
    explorer = Explorer(viewer, Renderer(links), "store", limiter, turns)
    app = create_app(
        Exposition(subject_of(Settings(), snapshot), []),
        is_working=lambda: True,
        explorer=(explorer, Api(viewer, links, limiter, turns)),
    )
    answers: dict[str, httpx.Response] = {}

    async def ask(client: httpx.AsyncClient, path: str) -> None:
        answers[path] = await client.get(path)

    async def visit() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
            anyio.create_task_group() as group,
        ):
            try:
                group.start_soon(ask, client, "/clean-up?keep-last=1")
                group.start_soon(ask, client, f"{WHAT_IF}?keep-last=2")
                await anyio.to_thread.run_sync(begun.acquire)
                await anyio.to_thread.run_sync(begun.acquire)
                await ask(client, "/clean-up")
                await ask(client, "/api/v1/clean-up/curve")
                await ask(client, "/repositories")
                await ask(client, "/api/v1/repositories")
            finally:
                ends.set()

    anyio.run(visit)
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/clean-up": 503,
        "/api/v1/clean-up/curve": 503,
        "/repositories": 200,
        "/api/v1/repositories": 200,
        "/clean-up?keep-last=1": 200,
        f"{WHAT_IF}?keep-last=2": 200,
    }
    for path in ("/clean-up", "/api/v1/clean-up/curve"):
        assert answers[path].headers["retry-after"] == "5"
        assert "try again" in answers[path].text
    problem = answers["/api/v1/clean-up/curve"]
    assert problem.headers["content-type"] == "application/problem+json"
    assert answers[f"{WHAT_IF}?keep-last=2"].json()["tags"] == 1
    assert "2 manifests and 2 tags would go" in answers["/clean-up?keep-last=1"].text


def test_the_curve_reads_only_so_many_images_and_says_so(tmp_path: Path) -> None:
    numbers = range(MOST_IMAGES + 1)
    repository = Repository(
        "app",
        tuple(Tag(f"{number:05}", number, 1e9) for number in numbers),
        tuple(Revision(number, 1e9) for number in numbers),
    )
    inventory = Inventory(
        DigestTable(Digest(number.to_bytes(32, "big")) for number in numbers),
        array("q", [1] * len(numbers)),
        {number: Manifest() for number in numbers},
        (repository,),
    )
    analyst = Analyst(AnalysisOptions())
    snapshot = analyst.with_scan(Snapshot(), analyst.analyse(inventory), ScanStatus())
    options = ViewOptions(FilesystemStore(tmp_path), analyst.options, CommandLines("plan"))
    shown = retention(Viewer(lambda: snapshot, options).view())
    assert shown.points == ()
    assert f"more than {MOST_IMAGES:,} images would have to be read" in (shown.unknown or "")


@pytest.mark.parametrize(
    "pattern",
    [
        ".*", "team/.*:(pr|sha)-.*", ".*a.*:.*", "[^:]*+:[0-9a-f]{7}", "(?:a|b)c?", "(a|b)++c",
        r"app\.io/x:v\d+", "(a|b)?(c|d)?", "[(?]x",
    ],
)  # fmt: skip
def test_a_pattern_of_a_visitor_may_repeat_three_things(pattern: str) -> None:
    assert parse_foreign_pattern(pattern).pattern == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        ".*a.*b.*:.*", "(a|a)*", "(a?a?){30}", "a?" * 30, r"(a*)\1", "(?=a)b", "(?i)a",
        "(?x)(a+) +", "(a|b){3}", "(a+)+", "é", "a\nb", "(", "",
    ],
)  # fmt: skip
def test_a_pattern_of_a_visitor_that_may_take_long_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is |holds |repeats "):
        parse_foreign_pattern(pattern)


def points(*sizes: int | None) -> list[CurvePoint]:
    return [CurvePoint(keep, 1, size) for keep, size in enumerate(sizes, 1)]


def test_a_chart_has_a_step_for_each_number_until_nothing_is_freed() -> None:
    chart = retention_chart(points(3000, 2000, 2000, 500, 100, 7, *[0] * 44))
    assert chart is not None
    assert chart.lines[0].path.count("H") == 7
    assert chart.lines[0].path.count("M") == 1
    assert [tick.value for tick in chart.up] == [0, 1024, 2048, 3072]
    assert [tick.value for tick in chart.across] == [1, 2, 3, 4, 5, 6, 7]
    heights = [float(each) for each in re.findall(r"([\d.]+)H", chart.lines[0].path)]
    assert heights == sorted(heights)
    assert heights[-1] == chart.up[0].at
    assert heights[1] == heights[2]


def test_a_chart_has_a_gap_where_nothing_is_known() -> None:
    chart = retention_chart(points(3000, None, 2000, None, None, None))
    assert chart is not None
    assert (chart.lines[0].path.count("M"), chart.lines[0].path.count("H")) == (2, 2)


@pytest.mark.parametrize("sizes", [(0, 0), (None, None), ()])
def test_there_is_no_chart_if_nothing_is_freed(sizes: tuple[int | None, ...]) -> None:
    assert retention_chart(points(*sizes)) is None


@pytest.mark.parametrize("most", [1, 5, 999, 1024, 5 * 1024, 10**9, 7 * 10**13, 2**62])
def test_marks_on_the_axis_are_few_and_reach_the_largest_value(most: int) -> None:
    chart = retention_chart(points(most, *[0] * 49))
    assert chart is not None
    values = [tick.value for tick in chart.up]
    assert values[0] == 0
    assert values[-2] < most <= values[-1]
    assert len(values) <= 7
