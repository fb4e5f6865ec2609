"""``report``: reclaimable space, the commands to free it, its owners, and single tags."""

import csv
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from tests.in_process import Outcome, run_command

NOW = 1_780_000_000.0
SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "report.schema.json").read_text())
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool, "null": type(None),
}  # fmt: skip


def faults(value: object, schema: dict[str, Any], place: str = "$") -> list[str]:
    """Return violations of a schema; only the keywords that ours uses are supported."""
    if "$ref" in schema:
        return faults(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], place)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place}: {value!r}"]
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return [f"{place}: {value!r} is not {kinds}"]
    if isinstance(value, dict):
        return _object_faults(value, schema, place)
    if isinstance(value, list):
        items = enumerate(value)
        return [
            fault
            for number, each in items
            for fault in faults(each, schema["items"], f"{place}[{number}]")
        ]
    is_small = isinstance(value, int) and value < schema.get("minimum", value)
    return [f"{place}: {value} is too small"] if is_small else []


def _object_faults(value: dict[str, Any], schema: dict[str, Any], place: str) -> list[str]:
    known, other = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{place}: no {name}" for name in schema.get("required", ()) if name not in value]
    for name, each in value.items():
        if name in known:
            found += faults(each, known[name], f"{place}.{name}")
        elif isinstance(other, dict):
            found += faults(each, other, f"{place}.{name}")
        elif not other:
            found.append(f"{place}: {name} is not documented")
    return found


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    build_sample(directory / "registry", NOW)
    write_captain_config(directory / "captain", NOW)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def run(root: Path, *arguments: str | Path) -> Outcome:
    # whatever space is left on the disk of the tests
    never = [f"--alerts.storage-almost-full.{each}=0" for each in ("warning", "critical")]
    return run_command("report", "--storage.root", root, *never, *arguments)


def text(root: Path, *arguments: str | Path) -> str:
    outcome = run(root, *arguments)
    assert outcome.exit_code == 0
    return outcome.output


def of_sample(sample: Path, *arguments: str) -> str:
    return text(sample / "registry", "--caprover.config-dir", sample / "captain", *arguments)


def document(page: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(page)
    return parsed


def test_json_matches_its_schema(sample: Path, store: StoreBuilder, tmp_path: Path) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").write_bytes(b"")
    damaged = store.image("other", "1")
    store.blob_path(damaged).unlink()
    broken = text(store.root, "--format", "json", "--caprover.config-dir", tmp_path)
    whole = of_sample(sample, "--format", "json", "--retention.keep-last", "5")
    for page in (whole, broken, text(sample / "registry", "--format", "json")):
        assert faults(document(page), SCHEMA) == []


def test_json_of_one_repository_matches_its_schema(
    sample: Path, store: StoreBuilder, tmp_path: Path
) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").write_bytes(b"")
    pages = (
        of_sample(sample, "--repository", "tools/backup", "--format", "json"),
        text(sample / "registry", "--repository", "tools/backup", "--format", "json"),
        text(store.root, "--repository", "app", "--format", "json"),
        text(store.root, "--repository", "app", "--format", "json",
             "--caprover.config-dir", tmp_path),
    )  # fmt: skip
    for page in pages:
        assert faults(document(page), {"$ref": "#/$defs/repository_report"}) == []


def test_the_schema_check_can_fail() -> None:
    assert len(faults({"root": 1, "more": 2}, SCHEMA)) > len(SCHEMA["required"])


def test_json_contains_the_uses_of_caprover_and_the_reclaimable_bytes(sample: Path) -> None:
    page = document(of_sample(sample, "--format", "json", "--retention.keep-last", "5"))
    assert page["uses"] == {
        "running": {"tags": 4, "bytes": 21_131_650},
        "rollback": {"tags": 43, "bytes": 23_557_200},
        "unmanaged": {"tags": 2, "bytes": 4_346_414},
        "superseded": {"tags": 1, "bytes": 267_801},
        "orphaned": {"tags": 9, "bytes": 8_515_832},
    }
    assert page["missing_images"] == {"running": 0, "rollback": 5}
    assert page["caprover"] == {"up": True, "apps": 5, "failure": None}
    runs = page["collector"]
    assert runs["default"]["frees"] == {"blobs": 13, "bytes": 3_333_544}
    assert runs["delete_untagged"]["frees"] == {"blobs": 58, "bytes": 12_733_615}
    assert runs["delete_untagged"]["endangered"] == [{"repository": "tools/backup", "tag": "2.0"}]
    assert [action["action"] for action in page["actions"]] == [
        "garbage-collect", "garbage-collect --delete-untagged", "untagged", "keep-last-5",
        "orphaned captain/img-captain-old-shop",
    ]  # fmt: skip
    owners = {each["name"]: (each["owner"], each["orphaned"]) for each in page["repositories"]}
    assert owners["captain/img-captain--wiki"] == ("wiki", False)
    assert owners["captain/img-captain-old-shop"] == ("old-shop", True)
    assert owners["tools/backup"] == (None, False)


def test_a_run_that_would_break_tags_has_a_warning_and_no_command(sample: Path) -> None:
    page = of_sample(sample)
    assert "DO NOT RUN: it would break 1 tag (tools/backup:2.0)" in page
    assert "garbage-collect --delete-untagged /etc" not in page
    assert "registry garbage-collect /etc/docker/registry/config.yml" in page
    safe = of_sample(sample, "--registry.gc-dialect", "3")
    assert "DO NOT RUN" not in safe
    assert "registry garbage-collect --delete-untagged /etc/distribution/config.yml" in safe


def test_a_file_that_makes_the_registry_skip_repositories_is_named(store: StoreBuilder) -> None:
    store.image("0", "1")
    store.image("app", "1", [noise("app", 100)])
    assert "DO NOT RUN" not in text(store.root)
    store.stray("docker/registry/v2/repositories/_notes", b"notes")
    page = text(store.root)
    assert page.count("DO NOT RUN: it would break 1 tag (app:1): version 2") == 2
    assert "come after repositories/_notes; move that file away" in " ".join(page.split())
    assert "DO NOT RUN" not in text(store.root, "--registry.gc-dialect", "3")


def run_by_digest(tmp_path: Path, repository: str, digest: str) -> Path:
    """Make CapRover run one image by its digest; return the directory of its configuration."""
    version = {"version": 0, "deployedImageName": f"registry.example.com:996/{repository}@{digest}"}
    apps = {"app": {"deployedVersion": 0, "versions": [version]}}
    (tmp_path / "config-captain.json").write_text(json.dumps({"appDefinitions": apps}))
    return tmp_path


def test_a_run_that_would_delete_a_running_untagged_image_has_a_warning(
    store: StoreBuilder, tmp_path: Path
) -> None:
    untagged, tagged = store.image("app", None), store.image("app", "1")
    for digest, warned in ((untagged, True), (tagged, False)):
        captain = run_by_digest(tmp_path, "app", digest)
        page = text(store.root, "--caprover.config-dir", captain, "--format", "json")
        run = actions(page)["garbage-collect --delete-untagged"]
        expected = "DO NOT RUN: it would delete 1 images that have no tag and that CapRover runs"
        assert run["is_dangerous"] is warned
        assert any(expected in warning for warning in run["warnings"]) is warned
        assert (run["commands"] == []) is warned
        assert (f"(app@{untagged})" in str(run["warnings"])) is warned


def test_the_commands_fit_the_platform_of_the_registry(sample: Path) -> None:
    assert "docker exec $(docker ps -q -f name=captain-registry) registry" in of_sample(sample)
    plain = text(sample / "registry")
    assert "docker exec registry registry garbage-collect" in plain
    assert "captain-registry" not in plain


def actions(page: str) -> dict[str, dict[str, Any]]:
    return {action["action"]: action for action in document(page)["actions"]}


def planned(action: dict[str, Any]) -> Outcome:
    """Run the plan command of an action, with the plan on standard output."""
    program, *arguments = shlex.split(action["commands"][0])
    assert (program, arguments[-2]) == ("registry-storage-exporter", "--output")
    return run_command(*arguments[:-2])


@pytest.mark.parametrize("dialect", ["2", "3"])
def test_each_plan_command_frees_the_bytes_of_its_action(sample: Path, dialect: str) -> None:
    page = of_sample(
        sample, "--format", "json", "--retention.keep-last", "1,5", "--registry.gc-dialect", dialect
    )
    found = [action for name, action in actions(page).items() if "collect" not in name]
    assert len(found) == 4
    for action in found:
        total = planned(action).output.splitlines()[-1]
        assert total.startswith(f"# total: {action['frees_bytes']} bytes in ")


def test_a_plan_command_never_lists_a_running_tag(sample: Path) -> None:
    page = of_sample(sample, "--format", "json", "--retention.keep-last", "1")
    lines = planned(actions(page)["keep-last-1"]).output.splitlines()
    named = {
        f"{image.partition('@')[0]}:{tag}"
        for image, _, tags in (line.split("\t") for line in lines if not line.startswith("#"))
        for tag in tags.split(",")
    }
    running = {"blog:12", "shop:30", "api:8", "-wiki:2"}
    assert len(named) == 51
    assert named.isdisjoint({f"captain/img-captain-{each}" for each in running})


def test_a_plan_command_has_the_settings_of_the_report(sample: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a captain's"
    write_captain_config(odd, NOW)
    page = text(sample / "registry", "--caprover.config-dir", odd, "--caprover.image-prefix",
                "other", "--retention.keep-last", "1", "--format", "json")  # fmt: skip
    words = shlex.split(actions(page)["keep-last-1"]["commands"][0])
    for flag, value in (
        ("--storage.root", str(sample / "registry")),
        ("--caprover.config-dir", str(odd)),
        ("--caprover.image-prefix", "other"),
    ):
        assert words[words.index(flag) + 1] == value
    assert "--registry.gc-dialect" not in words


def orphan(store: StoreBuilder, name: str, shared: bytes) -> None:
    children = [store.image(name, None, [noise(f"{name} {each}", 5000)]) for each in (1, 2)]
    store.index(name, "1", children, at=NOW)
    store.image(name, None, [noise(f"{name} untagged", 7000)])
    store.image(name, "2", [shared], at=NOW)


def test_an_orphan_frees_only_the_bytes_that_its_plan_lists(
    sample: Path, store: StoreBuilder
) -> None:
    orphan(store, "captain/img-captain-gone", noise("own", 1000))
    page = text(store.root, "--caprover.config-dir", sample / "captain", "--format", "json")
    action = actions(page)["orphaned captain/img-captain-gone"]
    (repository,) = document(page)["repositories"]
    left = repository["exclusive_bytes"] - action["frees_bytes"]
    assert action["frees_bytes"] > 11_000
    assert left > 7000
    assert any(warning.startswith(f"{left} more bytes") for warning in action["warnings"])
    total = planned(action).output.splitlines()[-1]
    assert total.startswith(f"# total: {action['frees_bytes']} bytes in 4 manifests")


def test_the_sum_of_several_orphans_includes_the_blobs_they_share(
    sample: Path, store: StoreBuilder
) -> None:
    names = [f"captain/img-captain-gone{number}" for number in range(7)]
    for name in names:
        orphan(store, name, noise("shared", 90_000))
    caprover = ("--caprover.config-dir", sample / "captain")
    page = text(store.root, *caprover, "--format", "json")
    found = actions(page)
    each = [found[f"orphaned {name}"]["frees_bytes"] for name in names]
    assert found["orphaned"]["frees_bytes"] >= sum(each) + 90_000
    total = planned(found["orphaned"]).output.splitlines()[-1]
    assert total.startswith(f"# total: {found['orphaned']['frees_bytes']} bytes in ")
    table = text(store.root, *caprover)
    assert table.count("orphaned captain/") == 5
    assert "and 2 more; --format json has all of them" in table


def test_a_report_without_caprover_does_not_mention_uses(sample: Path) -> None:
    page = text(sample / "registry")
    assert "orphaned" not in page
    assert "CapRover" not in page


def test_orphans_are_not_called_safe_to_delete(sample: Path) -> None:
    page = of_sample(sample)
    assert "only the configured CapRover was checked" in page
    assert "safe to delete" not in page


def test_a_collector_that_aborts_is_reported_with_the_path(store: StoreBuilder) -> None:
    link = store.revision_link("app", store.image("app", "1"))
    link.write_bytes(b"")
    page = text(store.root)
    assert "it aborts and frees nothing: repositories/app/_manifests/revisions/" in page


def test_a_run_that_aborts_has_no_command(store: StoreBuilder) -> None:
    store.index("multi", "1", [store.image("multi", None)])
    link = store.revision_link("app", store.image("app", "1"))
    link.write_bytes(b"")
    page = text(store.root, "--format", "json", "--retention.keep-last", "1")
    found = actions(page)
    for name in ("garbage-collect", "garbage-collect --delete-untagged"):
        assert found[name]["commands"] == []
        assert "fix this, then run `report` again" in found[name]["warnings"]
    assert (
        "nothing is freed while the collector aborts: see garbage-collect"
        in (found["keep-last-1"]["warnings"])
    )
    assert not any("docker" in command for command in found["keep-last-1"]["commands"])


def test_results_that_cannot_be_simulated_are_not_known(sample: Path, store: StoreBuilder) -> None:
    store.image("captain/img-captain-gone", "1")
    path = store.repository_path("captain/img-captain-gone") / "_manifests" / "more"
    path.symlink_to("/nowhere")
    arguments = ("--caprover.config-dir", sample / "captain", "--retention.keep-last", "1")
    assert "garbage-collect: not known" in text(store.root, *arguments)
    found = actions(text(store.root, *arguments, "--format", "json"))
    assert len(found) == 4
    for action in found.values():
        assert (action["frees_bytes"], action["commands"]) == (None, [])


def test_unreadable_caprover_is_reported_in_place_of_its_figures(
    store: StoreBuilder, tmp_path: Path
) -> None:
    store.image("app", "1")
    page = text(store.root, "--caprover.config-dir", tmp_path)
    assert f"cannot read {tmp_path}/config-captain.json" in page.replace("\n", "")
    assert "it is unknown which images are needed" in page


def test_broken_tags_and_missing_blobs_are_reported(store: StoreBuilder) -> None:
    layer = store.blob(noise("layer", 100))
    store.image("app", "1", [layer])
    store.blob_path(layer).unlink()
    page = text(store.root)
    assert "1 referenced blobs are missing" in page
    assert f"app:1: blob {layer} is missing" in page


def test_every_collector_run_has_a_warning_of_broken_tags(store: StoreBuilder) -> None:
    manifest = store.image("app", "1")
    whole = json.loads(text(store.root, "--format", "json"))
    assert "cannot be pulled whole" not in json.dumps(whole["actions"])
    store.blob_path(manifest).unlink()
    page = json.loads(text(store.root, "--format", "json"))
    for action in page["actions"]:
        (warning,) = [each for each in action["warnings"] if "cannot be pulled whole" in each]
        assert warning.startswith("1 tag cannot be pulled whole (app:1): fix those that you need")


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("size", "captain/img-captain-shop"),
        ("exclusive", "captain/img-captain-shop"),
        ("tags", "captain/img-captain-shop"),
        ("last-push", "captain/img-captain-shop"),
        ("name", "captain/img-captain--wiki"),
    ],
)
def test_repositories_have_the_requested_order(sample: Path, order: str, first: str) -> None:
    rows = csv.DictReader(io.StringIO(of_sample(sample, "--format", "csv", "--sort", order)))
    assert next(rows)["name"] == first


def test_only_the_first_repositories_are_listed_on_request(sample: Path) -> None:
    page = of_sample(sample, "--top", "2")
    assert "and 4 more" in page
    assert "tools/backup  " not in page
    names = [each["name"] for each in document(of_sample(sample, "--format", "json", "--top", "2"))
             ["repositories"]]  # fmt: skip
    assert names == ["captain/img-captain-shop", "captain/img-captain-old-shop"]


def tags_of(root: Path, name: str, *arguments: str | Path) -> list[dict[str, Any]]:
    page = document(text(root, "--repository", name, "--format", "json", *arguments))
    rows: list[dict[str, Any]] = page["tags"]
    return rows


def test_a_repository_lists_its_tags_newest_first(sample: Path) -> None:
    caprover = ("--caprover.config-dir", sample / "captain")
    newest, oldest = tags_of(sample / "registry", "tools/backup", *caprover)
    assert (newest["tag"], oldest["tag"]) == ("2.0", "1.0")
    assert newest["platforms"] == ["linux/amd64", "linux/arm64"]
    assert oldest["platforms"] == ["linux/amd64"]
    assert newest["use"] == "unmanaged"
    assert newest["broken"] is None
    table = of_sample(sample, "--repository", "tools/backup")
    assert "tools/backup: 2 tags, 9 manifests, 4 untagged" in table
    assert "linux/amd64, linux/arm64" in table


def test_exclusive_bytes_are_reached_by_nothing_else_in_the_store(store: StoreBuilder) -> None:
    shared, inside = noise("shared", 9000), noise("inside", 5000)
    first = store.image("app", "1", [shared, noise("1", 100)], b"c1")
    store.image("app", "2", [inside, noise("2", 200)], b"c2")
    store.image("app", None, [inside], b"c3")
    store.image("other", "1", [shared], b"c4")
    rows = {row["tag"]: row for row in tags_of(store.root, "app")}
    own = store.blob_path(first).stat().st_size
    assert rows["1"]["bytes"] == 9000 + 100 + 2 + own
    assert rows["1"]["exclusive_bytes"] == 100 + 2 + own
    assert 200 < rows["2"]["exclusive_bytes"] < 5000


def test_a_blob_shared_by_two_tags_is_exclusive_to_neither(store: StoreBuilder) -> None:
    store.tag("app", "latest", store.image("app", "1"))
    assert [row["exclusive_bytes"] for row in tags_of(store.root, "app")] == [0, 0]


def test_tags_that_cannot_be_pulled_have_a_reason(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").write_bytes(b"nonsense")
    (row,) = tags_of(store.root, "app")
    assert row["digest"] is None
    assert row["broken"] == "its link does not hold a digest"
    assert "broken 1: its link" in text(store.root, "--repository", "app")


def test_platforms_are_unknown_without_a_configuration_that_names_them(store: StoreBuilder) -> None:
    store.image("app", "binary", [noise("a", 10)], b"\xff no JSON")
    store.image("app", "silent", [noise("b", 10)], b"{}")
    evil = {"schemaVersion": 2, "config": {"digest": "sha256:../../../../x"}, "layers": []}
    store.manifest("app", evil, "evil")
    assert {row["tag"]: row["platforms"] for row in tags_of(store.root, "app")} == {
        "binary": [], "silent": [], "evil": [],
    }  # fmt: skip


def test_a_repository_can_be_written_as_csv(sample: Path) -> None:
    page = of_sample(sample, "--repository", "tools/backup", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(page)))
    assert [row["tag"] for row in rows] == ["2.0", "1.0"]
    assert rows[0]["platforms"] == "linux/amd64 linux/arm64"


def test_an_unknown_repository_is_refused_with_a_hint(sample: Path) -> None:
    outcome = run(sample / "registry", "--repository", "tools/backups")
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert "--repository tools/backups: no such repository; did you mean tools/backup?" in (
        outcome.complaints
    )


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_a_limit_that_lists_nothing_is_refused(sample: Path, number: str) -> None:
    assert run(sample / "registry", "--top", number).exit_code == 2
