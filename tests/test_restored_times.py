"""Tags that were put back keep their place among the newest, until somebody pushes them again."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from demo.store import StoreBuilder, noise
from exporter.domain.journal import RestoredTag
from exporter.domain.model import Inventory
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import ScanControl
from exporter.support.restored_times import RestoredTimes
from tests.applied import Place, place
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
        assert here.apply("--yes", "--no-backup").exit_code == 0
        restored = run_command(
            "restore", f"{here.plan_file}.journal", "--storage.root", here.registry.root,
            "--registry.url", here.url, "--cache.path", state / "inventory.sqlite",
        )  # fmt: skip
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


def test_a_file_that_cannot_be_read_leaves_the_times_as_they_are(
    tmp_path: Path, inventory: Inventory, caplog: pytest.LogCaptureFixture
) -> None:
    (repository,) = inventory.repositories
    assert RestoredTimes(tmp_path, lambda: STORE).of(inventory, repository) == {}
    assert "tags that were put back count as new" in caplog.text
    assert RestoredTimes(None, lambda: STORE).of(inventory, repository) == {}
