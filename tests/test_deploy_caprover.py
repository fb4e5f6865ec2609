"""CapRover accepts the one-click template, and the override mounts the host read-only."""

import json
import re
from typing import Any

import pytest

from tests.deployments import DEPLOY, document
from tests.in_process import run_command

TEMPLATE = document("caprover", "one-click-app.yml")
ABOUT = TEMPLATE["caproverOneClickApp"]
(SERVICE,) = TEMPLATE["services"].values()
OVERRIDE = document("caprover", "service-update-override.yml")["TaskTemplate"]
MOUNTS = {each["Target"]: each for each in OVERRIDE["ContainerSpec"]["Mounts"]}
VARIABLES = {each["id"]: each for each in ABOUT["variables"]}
BUILT_IN = {"$$cap_appname", "$$cap_root_domain"}

READ_BY_CAPROVER = {
    "image", "environment", "ports", "volumes", "depends_on", "hostname", "command", "cap_add",
    "restart", "caproverExtra",
}  # fmt: skip
APP = "registry-exporter"


def matches(variable: str, value: str) -> bool:
    """Return whether CapRover accepts a value; patterns are JavaScript between slashes."""
    pattern = VARIABLES[variable]["validRegex"]
    assert pattern.startswith("/^")
    assert pattern.endswith("$/")
    return re.fullmatch(pattern[2:-2], value) is not None


def installed(image: str = "example.com/exporter:1.0.0") -> dict[str, Any]:
    """Return the service that CapRover creates from the defaults."""
    text = json.dumps(SERVICE).replace("$$cap_appname", APP).replace("$$cap_image", image)
    for name, variable in VARIABLES.items():
        text = text.replace(name, variable.get("defaultValue", ""))
    service: dict[str, Any] = json.loads(text)
    return service


def test_template_has_the_fields_that_the_validator_requires() -> None:
    assert TEMPLATE["captainVersion"] == 4
    assert TEMPLATE.keys() == {"captainVersion", "services", "caproverOneClickApp"}
    assert list(TEMPLATE["services"]) == ["$$cap_appname"]
    assert ABOUT["instructions"].keys() == {"start", "end"}
    assert all(text.strip() for text in ABOUT["instructions"].values())
    assert 0 < len(ABOUT["description"]) <= 200
    assert ABOUT["displayName"]
    assert ABOUT["documentation"].startswith("https://")
    assert ABOUT["isOfficial"] is False


def test_template_uses_only_keys_that_caprover_reads() -> None:
    assert SERVICE.keys() <= READ_BY_CAPROVER
    assert SERVICE["caproverExtra"] == {"notExposeAsWebApp": "true"}, "otherwise /metrics is public"


def test_template_uses_exactly_the_variables_that_it_declares() -> None:
    text = (DEPLOY / "caprover/one-click-app.yml").read_text("utf-8")
    used = set(re.findall(r"\$\$[a-z_]+", json.dumps(SERVICE)))
    assert VARIABLES.keys() <= used
    assert set(re.findall(r"\$\$[a-z_]+", text)) <= VARIABLES.keys() | BUILT_IN
    for name, variable in VARIABLES.items():
        assert name.startswith("$$cap_")
        assert variable["label"]
        assert variable["description"]
        others = (VARIABLES.keys() | BUILT_IN) - {name}
        assert not any(other.startswith(name) for other in others), (
            "CapRover would replace only a part of the name"
        )
        if "defaultValue" in variable:
            assert matches(name, variable["defaultValue"])


@pytest.mark.parametrize(
    ("image", "is_pinned"),
    [
        ("registry.example.com:996/captain/registry-storage-exporter:0.1.0", True),
        (f"example.com/exporter@sha256:{'0a' * 32}", True),
        ("example.com/exporter:1.0.0-latest", True),
        ("example.com/exporter:latest", False),
        ("example.com/exporter", False),
        ("example.com:996/exporter", False),
        ("", False),
    ],
)
def test_template_accepts_only_images_with_a_fixed_tag(image: str, is_pinned: bool) -> None:
    assert matches("$$cap_image", image) == is_pinned


@pytest.mark.parametrize(
    ("limit", "is_size"),
    [("", True), ("50GiB", True), ("2GB", True), ("1e9", False), ("5 G", False)],
)
def test_template_accepts_only_budgets_that_the_exporter_accepts(limit: str, is_size: bool) -> None:
    assert matches("$$cap_storage_limit", limit) == is_size
    environment = installed()["environment"] | {"REGISTRY_EXPORTER_STORAGE_LIMIT": limit}
    if is_size:
        outcome = run_command("check-config", environment=environment)
        assert outcome.exit_code == 0, outcome.complaints


def test_template_mounts_no_host_path_because_caprover_mounts_them_writable() -> None:
    for volume in installed()["volumes"]:
        name, target = volume.split(":")
        assert "/" not in name
        assert MOUNTS[target]["Source"] == f"captain--{name}"


def test_override_mounts_the_host_read_only_and_lists_every_mount() -> None:
    for mount in MOUNTS.values():
        assert (mount["Type"] == "bind") == mount["Source"].startswith("/")
        assert mount.get("ReadOnly", False) is (mount["Type"] == "bind")
    assert MOUNTS["/registry"]["Source"] == "/captain/data/registry"
    assert MOUNTS["/captain-data"]["Source"] == "/captain/data", (
        "CapRover replaces the file by a rename"
    )
    assert [each["Type"] for each in MOUNTS.values()].count("volume") == len(SERVICE["volumes"])
    assert OVERRIDE["ContainerSpec"]["ReadOnly"] is True
    assert OVERRIDE["ContainerSpec"]["CapabilityDrop"] == ["ALL"]
    assert OVERRIDE["ContainerSpec"]["User"] == "0", "only root may read config-captain.json"


def test_exporter_reads_the_paths_that_the_override_mounts() -> None:
    environment = installed()["environment"]
    assert environment["REGISTRY_EXPORTER_STORAGE_ROOT"] in MOUNTS
    assert environment["REGISTRY_EXPORTER_CAPROVER_CONFIG_DIR"] in MOUNTS
    assert run_command("check-config", environment=environment).exit_code == 0


def test_placement_is_a_comment_that_can_be_uncommented() -> None:
    lines = (DEPLOY / "caprover/service-update-override.yml").read_text("utf-8")
    (block,) = re.findall(r"((?:^  # (?:Placement:| ).*\n)+)", lines, re.MULTILINE)
    assert [line[4:].strip() for line in block.splitlines()] == [
        "Placement:",
        "Constraints:",
        "- node.id == ID-OF-THE-NODE",
    ]


def test_steps_use_the_app_volume_and_target_of_the_files() -> None:
    steps = (DEPLOY / "caprover/README.md").read_text("utf-8")
    assert f"caprover deploy -a {APP}" in steps
    (volume,) = installed()["volumes"]
    name, target = volume.split(":")
    assert f"`{target}`" in steps
    assert f"`{name}`" in steps
    assert "[one-click-app.yml](one-click-app.yml)" in steps
    assert "[service-update-override.yml](service-update-override.yml)" in steps
