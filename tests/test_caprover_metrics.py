"""CapRover's metrics in a running exporter; no secret of its configuration gets out."""

import json
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter, collect
from tests.in_process import run_command

LOCAL = "registry.root.example.com:996"
SECRETS = ("S3CRET-env", "S3CRET-hash", "S3CRET-registry", "S3CRET-token", "S3CRET-git")
UP, SCANS = "docker_registry_caprover_up", "docker_registry_scans_total"
USE_TAGS = "docker_registry_use_tags"
OFTEN = ("--scan.interval", "100ms")


def versions(*images: str) -> list[dict[str, Any]]:
    return [
        {"version": number, "timeStamp": "2026-01-01T00:00:00.000Z", "gitHash": SECRETS[4],
         "deployedImageName": image}
        for number, image in enumerate(images)
    ]  # fmt: skip


def app(deployed: int, *images: str) -> dict[str, Any]:
    variables = [{"key": "TOKEN", "value": SECRETS[0]}]
    return {"deployedVersion": deployed, "versions": versions(*images), "envVars": variables}


def configuration(apps: dict[str, Any]) -> dict[str, Any]:
    return {
        "namespace": "captain",
        "appDefinitions": apps,
        "dockerRegistries": [
            {"registryDomain": LOCAL, "registryType": "LOCAL_REG", "registryImagePrefix": "captain",
             "registryPasswordEncrypted": SECRETS[2]}
        ],
        "hashedPassword": SECRETS[1],
        "appsSecret": {"token": SECRETS[3]},
    }  # fmt: skip


def image(name: str, tag: int, domain: str = LOCAL) -> str:
    return f"{domain}/captain/img-captain-{name}:{tag}"


APPS = {
    # renamed: its images keep the old name
    "journal": app(2, "caprover/placeholder:latest", image("blog", 1), image("blog", 2)),
    # the last build failed
    "shop": app(1, "caprover/placeholder:latest", image("shop", 1), ""),
    # from before the domain changed
    "wiki": app(1, "", image("-wiki", 1, "registry.old.example.com:996")),
    "proxy": app(1, "", "nginx:1.27"),
    "elsewhere": app(1, "", "docker.io/captain/img-captain-elsewhere:1"),
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    store = StoreBuilder(tmp_path / "registry")
    for name, tags in {"blog": (1, 2), "shop": (0, 1), "-wiki": (1,), "gone": (1, 2)}.items():
        for tag in tags:
            layer = noise(f"{name} {tag}", 1000)
            store.image(f"captain/img-captain-{name}", str(tag), [layer])
    store.image("team/tool", "1")
    return store


@pytest.fixture
def captain(tmp_path: Path) -> Path:
    directory = tmp_path / "captain"
    directory.mkdir()
    write(directory, configuration(APPS))
    return directory


def write(directory: Path, content: dict[str, Any] | str) -> None:
    """Replace the configuration by a rename, as CapRover does."""
    text = content if isinstance(content, str) else json.dumps(content)
    (directory / "new").write_text(text)
    (directory / "new").rename(directory / "config-captain.json")


def test_every_tag_has_its_use_by_caprover(store: StoreBuilder, captain: Path) -> None:
    metrics = collect(store.root, "--caprover.config-dir", captain)
    assert metrics.value("docker_registry_caprover_up") == 1
    assert metrics.value("docker_registry_caprover_apps") == 5
    assert metrics.by("use", "docker_registry_use_tags") == {
        "running": 3, "rollback": 1, "unmanaged": 1, "superseded": 1, "orphaned": 2,
    }  # fmt: skip
    orphaned = metrics.by("repository", "docker_registry_repository_orphaned")
    assert orphaned == {"captain/img-captain-gone": 1}
    assert metrics.by("use", "docker_registry_missing_images") == {"running": 0, "rollback": 0}
    tagged = metrics.value("docker_registry_blob_bytes", state="tagged")
    assert metrics.total("docker_registry_use_bytes") == tagged


def test_without_caprover_there_are_no_caprover_metrics(store: StoreBuilder) -> None:
    metrics = collect(store.root)
    assert not [name for name, _ in metrics if "caprover" in name or "use_" in name]


@pytest.mark.parametrize(
    "content", ["", "{", json.dumps(configuration({})), '{"appDefinitions": []}', "gone"]
)
def test_an_invalid_configuration_makes_no_orphans(
    store: StoreBuilder, captain: Path, content: str
) -> None:
    with Exporter(
        "--storage.root", store.root, "--caprover.config-dir", captain, *OFTEN
    ) as running:
        running.wait_for(lambda page: page.value(USE_TAGS, use="orphaned") == 2)
        if content == "gone":
            (captain / "config-captain.json").unlink()
        else:
            write(captain, content)
        running.wait_for(lambda page: page.value(UP) == 0)
        scans = running.value(SCANS) or 0
        page = running.wait_for(lambda page: (page.value(SCANS) or 0) >= scans + 3)
        assert page.value("docker_registry_caprover_apps") == 5
        assert page.value(USE_TAGS, use="orphaned") == 2
        write(captain, configuration(APPS | {"gone": app(0, "")}))
        page = running.wait_for(lambda page: page.value(UP) == 1)
        assert page.value(USE_TAGS, use="orphaned") == 0


def test_a_configuration_invalid_from_the_start_leaves_uses_unknown(
    store: StoreBuilder, captain: Path
) -> None:
    write(captain, configuration({}))
    metrics = collect(store.root, "--caprover.config-dir", captain, "--retention.keep-last", "1")
    assert metrics.value("docker_registry_caprover_up") == 0
    for name in ("use_tags", "repository_orphaned", "missing_images", "retention_candidate_tags"):
        assert not [each for each, _ in metrics if each == f"docker_registry_{name}"]


def test_all_images_of_this_registry_are_missing_from_a_wiped_store(
    captain: Path, tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    metrics = collect(tmp_path / "registry", "--caprover.config-dir", captain)
    assert metrics.by("use", "docker_registry_missing_images") == {"running": 3, "rollback": 1}


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("content", ["as it is", "wrong types", "cut short"])
def test_no_secret_of_the_configuration_gets_out(
    store: StoreBuilder, captain: Path, level: str, content: str
) -> None:
    if content == "wrong types":
        write(captain, configuration({SECRETS[3]: {"deployedVersion": SECRETS[0], "versions": []}}))
    elif content == "cut short":
        write(captain, json.dumps(configuration(APPS))[:-9])
    settings = ("--storage.root", store.root, "--caprover.config-dir", captain)
    texts = []
    for command in (
        ("collect",), ("report",), ("report", "--format", "json"), ("report", "--format", "csv"),
        ("check-config",), ("verify", "--checkpoint", captain / "state"),
    ):  # fmt: skip
        outcome = run_command(*command, *settings, "--log.level", level)
        texts += [outcome.output, outcome.complaints]
    with Exporter(*settings, "--log.level", level, *OFTEN) as running:
        texts += [running.get(page).text for page in ("/metrics", "/", "/-/ready")]
        texts.append(running.log)
    assert not [secret for secret in SECRETS for text in texts if secret in text]
