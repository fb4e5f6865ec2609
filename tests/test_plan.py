"""``plan``: the manifests it lists and never lists, and that it frees the bytes it shows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from exporter.analysis.blob_sizes import bytes_on_disk
from exporter.analysis.deletion.plan import choose, make_plan
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.deletion.selection import Selection
from exporter.analysis.reachability import reaches_of
from exporter.domain.digests import parse_digest
from exporter.domain.snapshot import Dialect
from exporter.store.filesystem.scanner import scan_store
from tests.in_process import Outcome, run_command
from tests.random_stores import STEPS, STEPS_WITH_LOSSES, Step, build, temporary_directory
from tests.servers import DockerRegistry, RegistryClient
from tests.small_stores import two_platforms

NOW = 1_780_000_000.0
DAY = 86400


class Line(NamedTuple):
    repository: str
    digest: str
    bytes: int
    tags: list[str]


def run_plan(root: Path, *arguments: str | Path) -> Outcome:
    return run_command("plan", "--storage.root", root, *arguments)


def parsed(page: str) -> Iterator[Line]:
    for line in page.splitlines():
        if not line.startswith("#"):
            image, size, tags = line.split("\t")
            repository, _, digest = image.partition("@")
            yield Line(repository, digest, int(size), [] if tags == "-" else tags.split(","))


def lines(root: Path, *arguments: str | Path) -> list[Line]:
    outcome = run_plan(root, *arguments)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    return list(parsed(outcome.output))


def total(page: str) -> int:
    (line,) = [line for line in page.splitlines() if line.startswith("# total: ")]
    return int(line.split()[2])


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def push(store: StoreBuilder, repository: str, *tags: str) -> list[str]:
    return [
        store.image(repository, tag, [noise(f"{repository}:{tag}", 1000)], at=NOW - 1000 + place)
        for place, tag in enumerate(tags)
    ]


def test_each_line_lists_a_manifest_with_its_tags_and_bytes(store: StoreBuilder) -> None:
    first, second, third = push(store, "app", "1", "2", "3")
    store.tag("app", "also-1", first, at=NOW - 900)
    store.tag("app", "3", third, at=NOW)
    found = lines(store.root, "--keep-last", "1")
    assert [(line.digest, line.tags) for line in found] == [
        (second, ["2"]), (first, ["1", "also-1"]),
    ]  # fmt: skip
    assert all(line.repository == "app" and line.bytes > 1000 for line in found)


def test_the_lines_add_up_to_the_total(store: StoreBuilder) -> None:
    push(store, "app", "1", "2", "3", "4")
    page = run_plan(store.root, "--keep-last", "1").output
    assert sum(line.bytes for line in parsed(page)) == total(page) > 0
    assert page.splitlines()[-1].endswith("in 3 manifests, 3 tags")


def test_a_blob_counts_in_the_last_line_that_needs_it(store: StoreBuilder) -> None:
    shared = noise("shared", 50_000)
    for place, tag in enumerate(("1", "2", "3")):
        layers = [shared, noise(tag, 10)] if tag != "3" else [noise(tag, 10)]
        store.image("app", tag, layers, at=NOW + place)
    first, second = lines(store.root, "--keep-last", "1")
    assert first.bytes < 50_000 < second.bytes


def test_a_manifest_that_a_kept_tag_needs_is_never_listed(store: StoreBuilder) -> None:
    old, child, _ = push(store, "app", "1", "2-amd64", "3")
    store.tag("app", "latest", old, at=NOW + 1)
    store.index("app", "2", [child], at=NOW + 2)
    outcome = run_plan(store.root, "--keep-last", "2")
    assert {line.digest for line in parsed(outcome.output)}.isdisjoint({old, child})
    assert "# 2 selected tags stay" in outcome.output


def test_all_conditions_must_hold(store: StoreBuilder) -> None:
    for repository in ("app", "other"):
        push(store, repository, "1", "2", "3")
    found = lines(store.root, "--keep-last", "1", "--match", "app:[13]", "--older-than", "1s")
    assert [(line.repository, line.tags) for line in found] == [("app", ["1"])]


def test_a_pattern_must_match_the_whole_name(store: StoreBuilder) -> None:
    push(store, "app", "1", "12")
    assert [line.tags for line in lines(store.root, "--match", "app:1")] == [["1"]]


def test_only_tags_that_are_old_enough_are_listed(store: StoreBuilder) -> None:
    import time  # noqa: PLC0415 - the clock of the command

    store.image("app", "old", at=time.time() - 91 * DAY)
    store.image("app", "young", at=time.time() - 89 * DAY)
    assert [line.tags for line in lines(store.root, "--older-than", "90d")] == [["old"]]


def test_children_of_deleted_indexes_are_listed_on_request(store: StoreBuilder) -> None:
    shared = store.image("app", None, [noise("both", 10)])
    children = [store.image("app", None, [noise(str(number), 5000)]) for number in range(2)]
    index = store.index("app", "1", [*children, shared], at=NOW)
    store.index("app", "2", [shared], at=NOW + 1)
    outcome = run_plan(store.root, "--keep-last", "1")
    assert [line.digest for line in parsed(outcome.output)] == [index]
    assert "# 2 manifests that only deleted indexes list stay" in outcome.output
    found = lines(store.root, "--keep-last", "1", "--include-children")
    assert {line.digest for line in found} == {index, *children}
    assert sum(line.bytes for line in found) > 10_000


def test_a_child_with_a_link_to_another_digest_is_never_listed(store: StoreBuilder) -> None:
    child, other = (store.image("app", None, [noise(name, 500)]) for name in ("child", "other"))
    index = store.index("app", "1", [child], at=NOW)
    store.image("app", "2", at=NOW + 1)
    store.revision_link("app", child).write_text(other)
    found = lines(store.root, "--keep-last", "1", "--include-children")
    assert [line.digest for line in found] == [index]


def test_a_pattern_of_several_lines_stays_a_comment(store: StoreBuilder) -> None:
    push(store, "app", "1")
    outcome = run_plan(store.root, "--match", "none\nother@sha256:0\t1\t-")
    assert outcome.exit_code == 0
    assert list(parsed(outcome.output)) == []


def test_orphaned_repositories_are_listed_and_running_tags_never(tmp_path: Path) -> None:
    build_sample(tmp_path / "registry", NOW)
    write_captain_config(tmp_path / "captain", NOW)
    caprover = ("--caprover.config-dir", tmp_path / "captain")
    found = lines(tmp_path / "registry", *caprover, "--orphaned")
    assert {line.repository for line in found} == {"captain/img-captain-old-shop"}
    assert sum(line.bytes for line in found) == 8_515_832
    everything = lines(tmp_path / "registry", *caprover, "--match", ".*")
    tags = {f"{line.repository}:{tag}" for line in everything for tag in line.tags}
    running = {"blog:12", "shop:30", "api:8", "-wiki:2"}
    assert tags.isdisjoint({f"captain/img-captain-{each}" for each in running})
    assert len(tags) == 59 - 4


def test_a_platform_that_runs_by_digest_keeps_its_index(
    store: StoreBuilder, tmp_path: Path
) -> None:
    _, child, _ = two_platforms(store, "app", "1")
    (other,) = push(store, "app", "2")
    version = {"version": 0, "deployedImageName": f"registry.example.com:996/app@{child}"}
    apps = {"app": {"deployedVersion": 0, "versions": [version]}}
    (tmp_path / "config-captain.json").write_text(json.dumps({"appDefinitions": apps}))
    options = ("--match", ".*", "--include-children", "--caprover.config-dir", tmp_path)
    found = {line.digest for line in lines(store.root, *options)}
    assert found == {other}


def test_there_is_no_plan_while_running_images_are_unknown(
    store: StoreBuilder, tmp_path: Path
) -> None:
    push(store, "app", "1", "2")
    outcome = run_plan(store.root, "--keep-last", "1", "--caprover.config-dir", tmp_path)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "no plan, because it is unknown which tags run: cannot read" in outcome.complaints


def test_there_is_no_plan_while_a_part_of_the_store_is_unreadable(store: StoreBuilder) -> None:
    push(store, "app", "1", "2")
    (store.version_path / "repositories" / "app" / "_manifests" / "more").symlink_to("/nowhere")
    outcome = run_plan(store.root, "--keep-last", "1")
    assert outcome.exit_code == 1
    assert "could not be read" in outcome.complaints


def test_a_blocked_collector_is_a_warning_and_frees_nothing(store: StoreBuilder) -> None:
    *_, last = push(store, "app", "1", "2", "3")
    store.blob_path(last).write_bytes(b"{")
    outcome = run_plan(store.root, "--keep-last", "1")
    assert "# warning: the collector aborts on blobs/sha256/" in outcome.output
    assert total(outcome.output) == 0
    assert len(list(parsed(outcome.output))) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "plan: nothing is selected"),
        (("--orphaned",), "--orphaned: which apps exist is not known"),
        (("--match", "("), "is not a regular expression"),
        (("--keep-last", "-1"), "--keep-last"),
        (("--older-than", "90"), "is not a duration"),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint(
    store: StoreBuilder, arguments: tuple[str, ...], problem: str
) -> None:
    outcome = run_plan(store.root, *arguments)
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert problem in outcome.complaints


def test_the_plan_can_go_to_a_file(store: StoreBuilder, tmp_path: Path) -> None:
    push(store, "app", "1", "2")
    outcome = run_plan(store.root, "--keep-last", "1", "--output", tmp_path / "plan")
    assert (outcome.exit_code, outcome.output) == (0, "")
    assert len(list(parsed((tmp_path / "plan").read_text()))) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.one_of(STEPS, STEPS_WITH_LOSSES), st.integers(0, 2), st.booleans(), st.sampled_from([2, 3])
)
def test_the_lines_of_any_plan_add_up_to_what_the_collector_would_free(
    steps: list[Step], keep: int, include_children: bool, dialect: Dialect
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        inventory = scan_store(directory)
        reaches = reaches_of(inventory)
        collector = CollectorAfter(inventory, reaches, dialect)
        selection = Selection(keep_last=keep)
        chosen = choose(
            inventory, reaches, selection, None, now=NOW, include_children=include_children
        )
        plan = make_plan(inventory, collector, chosen)
        deleted: dict[str, set[int]] = {}
        for each in plan.deletions:
            digest = parse_digest(each.digest)
            assert digest is not None
            deleted.setdefault(each.repository, set()).add(inventory.digests.intern(digest))
        freed = sum(each.freed_bytes for each in plan.deletions)
        assert freed == bytes_on_disk(inventory, collector.freed(deleted))


def blob_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("blobs/**/data"))


@pytest.mark.parametrize("include_children", [False, True])
def test_a_real_registry_shrinks_by_the_bytes_of_the_plan(
    tmp_path: Path, include_children: bool
) -> None:
    root = tmp_path / "registry"
    with DockerRegistry(root) as registry, RegistryClient(registry.url) as client:
        base = noise("base", 20_000)
        digests = [
            client.push_image("team/app", str(number), [base, noise(f"app {number}", 3000)])
            for number in range(5)
        ]
        client.push_image("other", "1", [base])
        children = [client.push_image("multi", None, [noise(f"m{each}", 4000)]) for each in (1, 2)]
        client.push_index("multi", "1", children, oci=True)
        client.push_image("multi", "2", [noise("m", 100)])
        # an old image is tagged again, which makes it the newest
        content, media_type = client.manifest("team/app", digests[0])
        client.push_manifest("team/app", "again", content, media_type)
        StoreBuilder(root).unlinked_blob(noise("garbage", 777))
        registry.garbage_collect()
        before = blob_bytes(root)
        options = ["--include-children"] if include_children else []
        page = run_plan(root, "--keep-last", "1", *options).output
        planned = list(parsed(page))
        assert digests[0] not in {line.digest for line in planned}
        for line in planned:
            client.delete_manifest(line.repository, line.digest)
        registry.garbage_collect()
        assert before - blob_bytes(root) == total(page) > 0
        registry.restart()
        assert client.tags("team/app") == ["0", "again"]
        assert client.tags("multi") == ["2"]
