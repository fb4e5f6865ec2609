"""``report`` on a disk that is almost full: how much to free, and the plan that really does it."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from tests.in_process import run_command
from tests.mounts import Mounts
from tests.servers import DockerRegistry, RegistryClient, require_registry
from tests.small_filesystem import SmallFilesystem, small_filesystem
from tests.test_plan import NOW, parsed
from tests.test_plan_free import GONE, SHOP, config

MIB = 1024**2
ACTION = "free-space"


def action_of(root: Path, *arguments: str | Path) -> dict[str, Any] | None:
    outcome = run_command("report", "--storage.root", root, "--format", "json", *arguments)
    assert outcome.exit_code == 0, outcome.complaints
    found = {each["action"]: each for each in json.loads(outcome.output)["actions"]}
    return found.get(ACTION)


def available(disk: SmallFilesystem) -> float:
    status = os.statvfs(disk.place)
    return status.f_bavail / status.f_blocks


def leave(disk: SmallFilesystem, share: float, less: int) -> None:
    """Write until a share of the disk is available, and so many bytes less."""
    status = os.statvfs(disk.place)
    left = int(share * status.f_blocks * status.f_frsize) - less
    (disk.place / "other").write_bytes(bytes(status.f_bavail * status.f_frsize - left))


def push(root: Path) -> StoreBuilder:
    """Push five tags of a shop and one of an app that is gone, of 1 MiB each, and garbage."""
    store = StoreBuilder(root)
    for age, (repository, tag) in enumerate([(SHOP, each) for each in "12345"] + [(GONE, "1")]):
        store.image(repository, tag, [noise(f"{repository}:{tag}", MIB)], at=NOW + age)
    store.unlinked_blob(noise("garbage", MIB // 2))
    return store


@pytest.mark.parametrize("version", [2, 3])
def test_carrying_out_its_commands_ends_the_alert(
    tmp_path: Path, mounts: Mounts, version: int
) -> None:
    program = require_registry(version)
    caprover = config(tmp_path / "captain", {"shop": [f"{SHOP}:5", f"{SHOP}:4"]})
    with small_filesystem(mounts, tmp_path / "disk", "32m") as disk:
        store = push(disk.place / "registry")
        options = (*caprover, "--registry.gc-dialect", str(version))
        leave(disk, 0.15, 2 * MIB + 100_000)
        action = action_of(store.root, *options)
        assert action is not None
        assert action["frees_bytes"] >= 2.5 * MIB
        assert action["warnings"][0].startswith("3 MiB must be freed until 15% ")
        words = shlex.split(action["commands"][0])
        assert words[-4:] == ["--free", "3MiB", "--output", "plan.txt"]
        plan = run_command(*words[1:-2])
        assert plan.exit_code == 0, plan.complaints
        lines = list(parsed(plan.output))
        assert [line.tags for line in lines] == [["1"], ["2"], ["3"]]
        assert sum(line.bytes for line in lines) == action["frees_bytes"]
        assert available(disk) < 0.15
        with (
            DockerRegistry(store.root, program=program) as registry,
            RegistryClient(registry.url) as client,
        ):
            for line in lines:
                client.delete_manifest(line.repository, line.digest)
            registry.garbage_collect()
        assert available(disk) >= 0.15
        assert action_of(store.root, *options) is None


def test_it_has_no_commands_if_all_that_can_go_is_not_enough(
    tmp_path: Path, mounts: Mounts
) -> None:
    caprover = config(tmp_path / "captain", {"shop": [f"{SHOP}:5", f"{SHOP}:4"]})
    with small_filesystem(mounts, tmp_path / "disk", "64m") as disk:
        store = push(disk.place / "registry")
        leave(disk, 0.15, 8 * MIB - 100_000)
        action = action_of(store.root, *caprover)
        assert action is not None
        needed, missing = action["warnings"]
        assert needed.startswith("8 MiB must be freed until 15% of the filesystem is available")
        page = run_command("plan", "--storage.root", store.root, "--free", "8MiB", *caprover).output
        freed = sum(line.bytes for line in parsed(page)) + MIB // 2
        assert f"only {freed:,} bytes of the store can go, old rollbacks included;" in missing
        assert (action["frees_bytes"], action["commands"]) == (0, [])


def test_nothing_that_a_person_must_choose_is_offered(tmp_path: Path, mounts: Mounts) -> None:
    with small_filesystem(mounts, tmp_path / "disk", "32m") as disk:
        store = push(disk.place / "registry")
        leave(disk, 0.15, 2 * MIB - 100_000)
        action = action_of(store.root)
        assert action is not None
        assert (action["frees_bytes"], action["commands"]) == (0, [])
        assert f"only {MIB // 2:,} bytes of the store can go; " in action["warnings"][-1]


def test_it_is_left_out_if_a_collector_run_is_enough_or_nothing_must_be_freed(
    tmp_path: Path, mounts: Mounts
) -> None:
    caprover = config(tmp_path / "captain", {"shop": [f"{SHOP}:5"]})
    with small_filesystem(mounts, tmp_path / "disk", "32m") as disk:
        store = push(disk.place / "registry")
        assert action_of(store.root, *caprover) is None
        store.unlinked_blob(noise("more garbage", 2 * MIB))
        leave(disk, 0.15, 2 * MIB - 100_000)
        assert action_of(store.root, *caprover) is None
        less = ("--alerts.storage-almost-full.warning", "0.10")
        assert action_of(store.root, *caprover, *less) is None


def test_there_is_none_without_a_way_to_free_anything(tmp_path: Path, mounts: Mounts) -> None:
    caprover = config(tmp_path / "captain", {"shop": [f"{SHOP}:5"]})
    with small_filesystem(mounts, tmp_path / "disk", "32m") as disk:
        store = push(disk.place / "registry")
        leave(disk, 0.15, 2 * MIB - 100_000)
        assert action_of(store.root, *caprover) is not None
        assert action_of(store.root, "--caprover.config-dir", tmp_path / "elsewhere") is None
        store.revision_link(SHOP, store.tag_link(SHOP, "1").read_text()).write_bytes(b"")
        assert action_of(store.root, *caprover) is None  # the collector aborts
