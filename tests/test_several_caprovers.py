"""Several CapRovers that push to one registry, and what is newer than their configurations."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter, Metrics
from tests.in_process import run_command
from tests.test_plan import DAY, NOW, lines, run_plan

ORPHANED = "docker_registry_repository_orphaned"
UP = "docker_registry_caprover_up"
USE_TAGS = "docker_registry_use_tags"
MISSING = "docker_registry_missing_images"
HOST = "registry.apps.example.com:996"


def repository(app: str) -> str:
    return f"captain/img-captain-{app}"


def write(
    directory: Path, apps: Mapping[str, str], *, local: str | None = HOST, at: float = NOW
) -> Path:
    """Write the configuration of a CapRover whose apps run these images, changed last at ``at``."""
    definitions = {
        name: {"deployedVersion": 0, "versions": [{"version": 0, "deployedImageName": image}]}
        for name, image in apps.items()
    }
    document: dict[str, object] = {"appDefinitions": definitions}
    if local is not None:
        registry = {"registryDomain": local, "registryType": "LOCAL_REG"}
        document["dockerRegistries"] = [registry]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config-captain.json"
    path.write_text(json.dumps(document))
    os.utime(path, (at, at))
    return directory


def image_of(app: str, tag: str = "1", domain: str = HOST) -> str:
    return f"{domain}/{repository(app)}:{tag}"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    """Return a store with a repository for each of three apps, pushed before NOW."""
    builder = StoreBuilder(tmp_path / "registry")
    for app in ("blog", "shop", "gone"):
        for place, tag in enumerate(("0", "1")):
            layers = [noise(f"{app}:{tag}", 1000)]
            builder.image(repository(app), tag, layers, at=NOW - 9 * DAY + place)
    return builder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / "first", {"blog": image_of("blog")})


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return write(tmp_path / "second", {"shop": image_of("shop")}, local=None)


def collect(store: StoreBuilder, *arguments: str | Path, **environment: str) -> Metrics:
    options = ("--storage.root", store.root, *arguments)
    outcome = run_command("collect", *options, environment=environment)
    assert outcome.exit_code == 0
    return Metrics.parse(outcome.output)


def both(first: Path, second: Path) -> tuple[str | Path, ...]:
    return ("--caprover.config-dir", first, "--caprover.config-dir", second)


def test_a_repository_is_orphaned_only_if_no_caprover_knows_its_app(
    store: StoreBuilder, first: Path, second: Path
) -> None:
    alone = collect(store, "--caprover.config-dir", first)
    assert set(alone.by("repository", ORPHANED)) == {repository("gone"), repository("shop")}
    together = collect(store, *both(first, second))
    assert set(together.by("repository", ORPHANED)) == {repository("gone")}
    assert together.by("use", USE_TAGS) == {
        "running": 2, "rollback": 0, "unmanaged": 0, "superseded": 2, "orphaned": 2,
    }  # fmt: skip
    assert together.value(UP) == 1
    assert together.value("docker_registry_caprover_apps") == 2


def test_an_image_that_one_runs_is_not_a_rollback_of_another(
    store: StoreBuilder, first: Path, tmp_path: Path
) -> None:
    second = write(tmp_path / "second", {"blog": image_of("blog", "0")})
    together = collect(store, *both(first, second))
    assert together.by("use", USE_TAGS)["running"] == 2
    assert together.value("docker_registry_caprover_apps") == 1


def test_variable_and_file_hold_several_directories(
    store: StoreBuilder, first: Path, second: Path, tmp_path: Path
) -> None:
    flags = collect(store, *both(first, second)).of_the_store()
    variable = {"REGISTRY_EXPORTER_CAPROVER_CONFIG_DIR": f"{first}, {second}"}
    assert collect(store, **variable).of_the_store() == flags
    file = tmp_path / "settings.yml"
    file.write_text(f"caprover:\n  config-dir: ['{first}', '{second}']\n")
    assert collect(store, "--config.file", file).of_the_store() == flags
    for value in ("", f"{first},", f"{first},,{second}"):
        outcome = run_command("collect", "--caprover.config-dir", value)
        assert outcome.exit_code == 2
        assert "--caprover.config-dir" in outcome.complaints
        assert "is not a path; write e.g. " in outcome.complaints


def test_while_one_cannot_be_read_uses_are_unknown_and_its_path_is_named(
    store: StoreBuilder, first: Path, tmp_path: Path
) -> None:
    options = both(first, tmp_path / "none")
    metrics = collect(store, *options)
    assert metrics.value(UP) == 0
    assert not [name for name, _ in metrics if name in (USE_TAGS, ORPHANED, MISSING)]
    assert metrics.value("docker_registry_caprover_apps") is None
    outcome = run_plan(store.root, *options, "--match", ".*")
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert str(tmp_path / "none" / "config-captain.json") in outcome.complaints.splitlines()[-1]


def test_one_that_can_no_longer_be_read_keeps_its_last_good_reading(
    store: StoreBuilder, first: Path, second: Path
) -> None:
    options = ("--storage.root", store.root, "--scan.interval", "1s", *both(first, second))
    with Exporter(*options) as exporter:
        exporter.wait_for(lambda page: page.value(UP) == 1)
        (second / "config-captain.json").unlink()
        page = exporter.wait_for(lambda page: page.value(UP) == 0)
        assert page.by("repository", ORPHANED) == {repository("gone"): 1}
        write(second, {"gone": image_of("gone")})
        page = exporter.wait_for(lambda page: page.value(UP) == 1)
        assert page.by("repository", ORPHANED) == {repository("shop"): 1}


@pytest.mark.parametrize(
    ("image", "missing"),
    [
        # the domain of the registry's own server, however the other server knows it
        (image_of("new", domain="images.example.com"), 1),
        (image_of("new", domain="registry.before.example.com:996"), 1),
        # the other server's own registry
        (image_of("new", domain="registry.second.example.com:996"), 0),
        (image_of("new", domain="docker.io"), 0),
    ],
)
def test_images_of_another_servers_own_registry_are_not_missing_here(
    store: StoreBuilder, tmp_path: Path, image: str, missing: int
) -> None:
    first = write(tmp_path / "first", {"blog": image_of("blog")}, local="images.example.com")
    second = write(tmp_path / "second", {"new": image}, local="registry.second.example.com:996")
    metrics = collect(store, *both(first, second))
    assert metrics.by("use", MISSING) == {"running": missing, "rollback": 0}


def test_the_reports_commands_name_all_directories(
    store: StoreBuilder, first: Path, second: Path
) -> None:
    options = ("--storage.root", store.root, "--format", "json", *both(first, second))
    actions = json.loads(run_command("report", *options).output)["actions"]
    (orphaned,) = [each for each in actions if each["action"].startswith("orphaned")]
    named = f"--caprover.config-dir {first} --caprover.config-dir {second}"
    assert named in orphaned["commands"][0]


def price_and_warnings(store: StoreBuilder, *arguments: str | Path) -> dict[str, tuple[int, str]]:
    options = ("--storage.root", store.root, "--format", "json", *arguments)
    actions = json.loads(run_command("report", *options).output)["actions"]
    return {each["action"]: (each["frees_bytes"], str(each["warnings"])) for each in actions}


def test_what_was_pushed_since_the_configuration_changed_is_not_planned(
    store: StoreBuilder, first: Path, second: Path
) -> None:
    store.image(repository("gone"), "2", [noise("new", 7000)], at=NOW + 1)
    store.image(repository("new"), "1", [noise("newer", 8000)], at=NOW + 2)
    options = (*both(first, second), "--orphaned", "--include-children")
    outcome = run_plan(store.root, *options)
    found = lines(store.root, *options)
    assert {(each.repository, *each.tags) for each in found} == {
        (repository("gone"), "0"), (repository("gone"), "1"),
    }  # fmt: skip
    comment = (
        "# 2 tags of orphaned repositories stay: they were pushed since CapRover's configuration "
        "last changed (2026-05-28 20:26:40 UTC)"
    )
    assert comment in outcome.output.splitlines()
    prices = price_and_warnings(store, *both(first, second))
    total = sum(each.bytes for each in found)
    assert prices["orphaned"][0] == total > 2000
    assert prices[f"orphaned {repository('gone')}"][0] == total
    assert prices[f"orphaned {repository('new')}"][0] == 0
    assert "1 tags stay: they were pushed since" in prices[f"orphaned {repository('gone')}"][1]


def test_the_oldest_of_several_configurations_counts_as_it_may_be_a_copy(
    store: StoreBuilder, first: Path, second: Path
) -> None:
    store.image(repository("gone"), "2", [noise("new", 7000)], at=NOW + 1)
    options = (*both(first, second), "--orphaned")
    assert len(lines(store.root, *options)) == 2
    write(first, {"blog": image_of("blog")}, at=NOW + 1)
    assert len(lines(store.root, *options)) == 2
    write(second, {"shop": image_of("shop")}, at=NOW + 1)
    assert len(lines(store.root, *options)) == 3
    assert "stay: they were pushed" not in run_plan(store.root, *options).output


def test_other_selections_list_what_was_pushed_since(store: StoreBuilder, first: Path) -> None:
    store.image(repository("gone"), "2", [noise("new", 7000)], at=NOW + 1)
    found = lines(store.root, "--caprover.config-dir", first, "--match", f"{repository('gone')}:.*")
    assert [each.tags for each in found] == [["0"], ["1"], ["2"]]


def test_the_report_names_the_apps_of_all_servers_that_use_an_image(
    store: StoreBuilder, first: Path, tmp_path: Path
) -> None:
    names = {"blog": image_of("blog", "0"), "test": image_of("blog", "1")}
    second = write(tmp_path / "second", names)
    options = ("--repository", repository("blog"), "--format", "json")
    report = run_command("report", "--storage.root", store.root, *both(first, second), *options)
    apps = {row["tag"]: row["apps"] for row in json.loads(report.output)["tags"]}
    assert apps == {
        "0": [{"app": "blog", "use": "running"}],
        "1": [{"app": "blog", "use": "running"}, {"app": "test", "use": "running"}],
    }


def test_untagged_images_can_be_limited_to_orphaned_repositories(
    store: StoreBuilder, first: Path
) -> None:
    for app in ("blog", "gone"):
        store.image(repository(app), "0", [noise(f"{app} again", 1000)], at=NOW - DAY)
    options = ("--caprover.config-dir", first, "--untagged")
    assert {line.repository for line in lines(store.root, *options)} == {
        repository("blog"), repository("gone"),
    }  # fmt: skip
    assert [line.repository for line in lines(store.root, *options, "--orphaned")] == [
        repository("gone")
    ]
