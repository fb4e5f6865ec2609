"""What the exporter says of rights that it does not need: being root, writing to the store."""

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
# The only right that the interpreter may take to be read, where it lies in root's home: it allows
# to write nothing. It is also what deploy/systemd gives for a store that only root may enter.
READING = as_user(OWNER, "dac_read_search")
STRANGER_READING = as_user(STRANGER, "dac_read_search")

ROOT = "running as root"
STORE = "the store can be written to, at {store}"
BLOBS = "docker/registry/v2/blobs"


@dataclass(frozen=True, slots=True)
class Situation:
    """Who runs the exporter, on what, and what it is to be warned of.

    Attributes:
        uid: of the process.
        under: what makes it a process of that user.
        owner: of the whole store.
        open_to_all: a directory that everybody may write to.
        read_only: whether the store is mounted read-only.
        warnings: how they begin.

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
    """Make the store as it should be; give the command that others are run under."""
    for path in (store, *store.rglob("*")):
        os.chown(path, situation.owner, situation.owner)
    if situation.open_to_all is not None:
        (store / situation.open_to_all).chmod(0o777)
    state.mkdir()
    os.chown(state, situation.uid, situation.uid)
    # which would write where this user may not
    unmeasured = ["env", "-u", "COVERAGE_PROCESS_CONFIG", "-u", "COVERAGE_PROCESS_START"]
    mounted = with_read_only(store) if situation.read_only else []
    return [*unmeasured, *mounted, *situation.under]


@needs_root
@pytest.mark.reliability("privilege")
@pytest.mark.parametrize("name", SITUATIONS)
def test_serve_warns_once_of_rights_that_it_does_not_need(
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
    said = [re.search(r' level=warning logger=serve\.run msg="(.*?): ', line) for line in lines]
    expected = [each.format(store=store) for each in situation.warnings]
    assert [each and each[1] for each in said] == expected
    assert complaints == []
    told = "; ".join(expected).replace(str(store), "/registry") or "nothing"
    record(f"`serve` run as {name} warns of rights that it does not need", told)


@needs_root
def test_check_config_says_what_serve_would_warn_of_and_finds_no_fault_in_it(store: Path) -> None:
    as_root = run_command("check-config", "--storage.root", store)
    assert as_root.exit_code == 0
    told = [line.split(": ")[:3] for line in as_root.complaints.splitlines()]
    start = ["registry-storage-exporter", "serve, started like this, warns"]
    assert told == [[*start, ROOT], [*start, STORE.format(store=store)]]
    plain = run_exporter("check-config", "--storage.root", store)
    assert (plain.stdout, plain.stderr) == (as_root.output, as_root.complaints)


def test_other_commands_are_for_root_too(store: Path) -> None:
    for command in ("collect", "report", "plan --older-than 1d"):
        outcome = run_command(*command.split(), "--storage.root", store)
        assert (outcome.exit_code, outcome.complaints) == (0, "")


def test_a_store_that_is_not_there_can_not_be_written_to(store: Path) -> None:
    shutil.rmtree(store)
    outcome = run_command("check-config", "--storage.root", store)
    assert outcome.exit_code == 0
    assert "the store can be written to" not in outcome.complaints


@pytest.mark.parametrize("is_root", [True, False])
@pytest.mark.parametrize("writable", [None, Path("/registry")])
def test_each_right_has_its_own_warning_with_its_mend(is_root: bool, writable: Path | None) -> None:
    root_mends = ("--user 65532:65532", "DynamicUser=yes", "--cap-drop ALL")
    store_mends = (":ro", "ReadOnly: true", "ReadOnlyPaths=", "/registry")
    expected = [root_mends] * is_root + [store_mends] * (writable is not None)
    warnings = warnings_of(Privilege(is_root, writable))
    assert len(warnings) == len(expected)
    for warning, mends in zip(warnings, expected, strict=True):
        assert all(mend in warning for mend in mends)


def test_a_path_that_could_act_on_a_terminal_is_escaped() -> None:
    (warning,) = warnings_of(Privilege(is_root=False, writable=Path("/a\x1b[31m")))
    assert "\x1b" not in warning
    assert "/a\\x1b[31m" in warning
