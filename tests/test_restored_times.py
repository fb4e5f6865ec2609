"""Tags that were put back keep their place among the newest, until somebody pushes them again."""

import os
import re
import time
from pathlib import Path

import msgspec
import pytest

from demo.store import StoreBuilder, noise
from exporter.domain.errors import PlanRefusedError
from exporter.domain.journal import RestoredTag
from exporter.domain.model import Inventory
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import ScanControl
from exporter.support.restored_times import RestoredTimes
from tests.applied import Place, place
from tests.exporter_process import Exporter
from tests.in_process import run_command

DAY = 86400
STORE = "/srv/registry"


def _plan(here: Place, state: Path, *more: str | Path) -> list[str]:
    outcome = run_command(
        "plan", "--storage.root", here.registry.root, "--keep-last", "2", *more,
        "--cache.path", state / "inventory.sqlite",
    )  # fmt: skip
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    return [row for row in outcome.output.splitlines() if not row.startswith("#")]


def test_a_plan_after_a_restore_is_the_plan_before(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with place(tmp_path) as here:
        for number in range(5):
            here.client.push_image("app", str(number), [noise(f"layer {number}", 900)])
            _written(here, str(number), time.time() - (9 - number) * DAY)
        before = _plan(here, state, "--output", here.plan_file) or _plan(here, state)
        assert [row.split("\t")[2] for row in before] == ["0", "1", "2"]
        file = tmp_path / "settings.yml"
        file.write_text(f"storage: {{root: {here.registry.root}}}\nregistry: {{url: '{here.url}'}}")
        settings = ("--config.file", file, "--cache.path", state / "inventory.sqlite")
        applied = run_command(
            "apply", here.plan_file, "--yes", "--no-backup", *settings,
            "--registry.insecure-skip-verify",
        )  # fmt: skip
        assert applied.exit_code == 0, applied
        (undo,) = re.findall("to undo it.*: registry-storage-exporter (.*)", applied.output)
        assert "--registry.insecure-skip-verify" in undo
        assert f"--config.file {file}" in undo
        restored = run_command(*undo.split())  # with no variable that names a state directory
        assert restored.exit_code == 0, restored
        assert here.client.tags("app") == ["0", "1", "2", "3", "4"]
        assert _plan(here, state) == before
        # without the record they would be the newest
        assert [row.split("\t")[2] for row in _plan(here, tmp_path / "none")] == ["3", "4", "0"]
        # somebody pushes one of them again: it is new
        _written(here, "1", time.time() + DAY)
        assert sorted(row.split("\t")[2] for row in _plan(here, state)) == ["0", "2", "3"]


def _written(here: Place, tag: str, moment: float) -> None:
    tags = here.registry.root.rglob(f"_manifests/tags/{tag}/current/link")
    revisions = here.registry.root.rglob("_manifests/revisions/*/*/link")
    for path in (*tags, *(revisions if moment < time.time() else ())):
        os.utime(path, (moment, moment))


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    store = StoreBuilder(tmp_path / "registry")
    for number in range(3):
        store.image("app", str(number), [noise(str(number), 90)], at=1000.0 + number)
    return FilesystemStore(store.root).scan(ScanControl())


def _line(inventory: Inventory, name: str, /, **changes: object) -> bytes:
    (repository,) = inventory.repositories
    target = next(each.target for each in repository.tags if each.name == name)
    assert target is not None
    digest = f"sha256:{inventory.digests[target].hex()}"
    line = RestoredTag(STORE, "app", name, digest, 999.5, 5.0)
    return msgspec.json.encode(msgspec.structs.replace(line, **changes)) + b"\n"


def test_only_what_was_restored_and_not_pushed_since_has_an_old_time(
    tmp_path: Path, inventory: Inventory
) -> None:
    (repository,) = inventory.repositories
    file = tmp_path / "restored.jsonl"

    def read() -> dict[str, float]:
        return dict(RestoredTimes(file, lambda: STORE).of(inventory, repository))

    assert read() == {}
    file.write_bytes(_line(inventory, "0") + b"no JSON\n" + _line(inventory, "1")[:-9])
    assert read() == {"0": 5.0}
    for change in (
        {"store": "/srv/other"}, {"repository": "other"}, {"digest": f"sha256:{'0' * 64}"},
        {"restored_at": 1100.0}, {"restored_at": 1.0}, {"pushed_at": None}, {"tag": "9"},
    ):  # fmt: skip
        file.write_bytes(_line(inventory, "0", **change))
        assert read() == {}, change
    file.write_bytes(_line(inventory, "2", pushed_at=3.0) + _line(inventory, "2", pushed_at=4.0))
    assert read() == {"2": 4.0}


def test_while_the_old_times_cannot_be_read_nothing_is_planned_or_priced_by_them(
    tmp_path: Path, inventory: Inventory
) -> None:
    (repository,) = inventory.repositories
    assert RestoredTimes(None, lambda: STORE).of(inventory, repository) == {}
    assert RestoredTimes(tmp_path / "none", lambda: STORE).of(inventory, repository) == {}
    state = tmp_path / "state"
    (state / "restored.jsonl").mkdir(parents=True)  # as root may read every file
    times = RestoredTimes(state / "restored.jsonl", lambda: STORE)
    for _ in range(2):  # also without a new look
        with pytest.raises(PlanRefusedError, match="cannot be read: Is a directory"):
            times.of(inventory, repository)
    cache = ("--storage.root", tmp_path / "registry", "--cache.path", state / "inventory.sqlite")
    keep = ("--keep-last", "1")
    refused = run_command("plan", *cache, *keep)
    assert (refused.exit_code, refused.output) == (1, "")
    assert "no plan, because it is unknown which restored tags are old" in refused.complaints
    assert run_command("plan", *cache, "--match", "app:1").exit_code == 0
    priced = ("--retention.keep-last", "1")
    metrics = run_command("collect", *cache, *priced)
    assert metrics.exit_code == 0
    assert 'policy="keep-last-1"' not in metrics.output
    assert "docker_registry_blobs{" in metrics.output
    report = run_command("report", *cache, *priced)
    assert report.exit_code == 0
    assert "restored.jsonl cannot be read" in report.output
    with Exporter(*cache, *priced) as server:
        page = server.get("/clean-up?keep-last=1").text
    assert page.count("restored.jsonl cannot be read") >= 2
