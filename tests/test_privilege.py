"""Warnings of rights that the exporter does not need: root, and writing to the store."""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.store.filesystem.privilege import Privilege, warnings_of
from tests.confinement import as_user, with_read_only
from tests.exporter_process import Exporter, run_exporter
from tests.in_process import run_command
from tests.reliability import Record

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

OWNER, STRANGER = 54321, 54322
# The only right that may be needed, to read an interpreter in root's home: it does not allow
# writing. deploy/systemd grants it too, for a store that only root may enter.
READING = as_user(OWNER, "dac_read_search")
STRANGER_READING = as_user(STRANGER, "dac_read_search")

ROOT = "running as root"
STORE = "the store can be written to, at {store}"
BLOBS = "docker/registry/v2/blobs"


@dataclass(frozen=True, slots=True)
class Situation:
    """A user of the exporter, a store, and the expected warnings.

    Attributes:
        uid: user of the process.
        under: command that makes it a process of that user.
        owner: owner of the whole store.
        open_to_all: a directory that everybody may write to.
        read_only: whether the store is mounted read-only.
        warnings: beginnings of the expected warnings.

    """

    uid: int = 0
    under: Sequence[str] = ()
    owner: int = 0
    open_to_all: str | None = None
    read_only: bool = False
    warnings: Sequence[str] = field(default=())


SITUATIONS = {
    "root": Situation(warnings=(ROOT, STORE)),
    "root, with a read-only mount": Situation(read_only=True, warnings=(ROOT,)),
    "root without capabilities, in another's store": Situation(
        under=as_user(0), owner=OWNER, warnings=(ROOT,)
    ),
    "the store's owner": Situation(OWNER, READING, OWNER, warnings=(STORE,)),
    "the store's owner, with a read-only mount": Situation(OWNER, READING, OWNER, read_only=True),
    "another user": Situation(STRANGER, STRANGER_READING, OWNER),
    "another user, where all may write to the blobs": Situation(
        STRANGER, STRANGER_READING, OWNER, BLOBS, warnings=(f"{STORE}/{BLOBS}",)
    ),
    "another user, there with a read-only mount": Situation(
        STRANGER, STRANGER_READING, OWNER, BLOBS, read_only=True
    ),
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    builder = StoreBuilder(tmp_path / "registry")
    builder.image("team/app", "1", [noise("layer", 1000)])
    return builder.root


def arrange(situation: Situation, store: Path, state: Path) -> list[str]:
    """Prepare the store, and return the command that runs others in the situation."""
    for path in (store, *store.rglob("*")):
        os.chown(path, situation.owner, situation.owner)
    if situation.open_to_all is not None:
        (store / situation.open_to_all).chmod(0o777)
    state.mkdir()
    os.chown(state, situation.uid, situation.uid)
    # coverage would write to paths where this user may not
    without_coverage = ["env", "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START"]
    mounted = with_read_only(store) if situation.read_only else []
    return [*without_coverage, *mounted, *situation.under]


@needs_root
@pytest.mark.reliability("privilege")
@pytest.mark.parametrize("name", SITUATIONS)
def test_serve_warns_once_of_each_unneeded_right(
    store: Path, tmp_path: Path, name: str, record: Record
) -> None:
    situation = SITUATIONS[name]
    under = arrange(situation, store, tmp_path / "state")
    environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
    flags = ("--storage.root", store, "--scan.interval", "100ms")
    with Exporter(*flags, under=under, environment=environment) as exporter:
        exporter.wait_for(lambda page: (page.value("docker_registry_scans_total") or 0) >= 3)
        exporter.terminate()
        lines = [line for line in exporter.log.splitlines() if "level=info" not in line]
        complaints = exporter.complaints
    events = [re.search(r' level=warning logger=serve\.run msg="(.*?): ', line) for line in lines]
    expected = [each.format(store=store) for each in situation.warnings]
    assert [each and each[1] for each in events] == expected
    assert complaints == []
    logged = "; ".join(expected).replace(str(store), "/registry") or "nothing"
    record(f"`serve` run as {name} warns of rights that it does not need", logged)


@needs_root
def test_check_config_prints_the_warnings_of_serve_and_succeeds(store: Path) -> None:
    as_root = run_command("check-config", "--storage.root", store)
    assert as_root.exit_code == 0
    logged = [line.split(": ")[:3] for line in as_root.complaints.splitlines()]
    start = ["registry-storage-exporter", "serve, started like this, warns"]
    assert logged == [[*start, ROOT], [*start, STORE.format(store=store)]]
    plain = run_exporter("check-config", "--storage.root", store)
    assert (plain.stdout, plain.stderr) == (as_root.output, as_root.complaints)


def test_other_commands_run_as_root_without_a_warning(store: Path) -> None:
    for command in ("collect", "report", "plan --older-than 1d"):
        outcome = run_command(*command.split(), "--storage.root", store)
        assert (outcome.exit_code, outcome.complaints) == (0, "")


def test_there_is_no_warning_of_a_writable_store_that_does_not_exist(store: Path) -> None:
    shutil.rmtree(store)
    outcome = run_command("check-config", "--storage.root", store)
    assert outcome.exit_code == 0
    assert "the store can be written to" not in outcome.complaints


@pytest.mark.parametrize("is_root", [True, False])
@pytest.mark.parametrize("writable", [None, Path("/registry")])
def test_each_right_has_its_own_warning_with_its_fix(is_root: bool, writable: Path | None) -> None:
    root_fixes = ("--user 65532:65532", "DynamicUser=yes", "--cap-drop ALL")
    store_fixes = (":ro", "ReadOnly: true", "ReadOnlyPaths=", "/registry")
    expected = [root_fixes] * is_root + [store_fixes] * (writable is not None)
    warnings = warnings_of(Privilege(is_root, writable))
    assert len(warnings) == len(expected)
    for warning, fixes in zip(warnings, expected, strict=True):
        assert all(fix in warning for fix in fixes)


def test_a_path_that_could_act_on_a_terminal_is_escaped() -> None:
    (warning,) = warnings_of(Privilege(is_root=False, writable=Path("/a\x1b[31m")))
    assert "\x1b" not in warning
    assert "/a\\x1b[31m" in warning
