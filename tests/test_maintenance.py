"""The script that plans, deletes and collects, on a real registry."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from exporter.maintenance.result_file import COMPLETED_AT, FREED_BYTES, read_last_maintenance
from tests.applied import APP, OTHER, fill, freed_bytes, make_older, pull
from tests.collecting_host import Host
from tests.deployments import DEPLOY
from tests.exporter_process import Exporter
from tests.in_process import run_command
from tests.servers import digest_of, free_port, require

SCRIPT = DEPLOY / "maintenance.sh"
DONE, FAILED, USAGE, PARTLY = 0, 1, 2, 3
POLICY = {"keep-last": 2, "untagged": "0s", "protect": [f"{APP}:1"]}
MOST_LINES, MOST_COLUMNS = 60, 124


class MaintainedHost(Host):
    """A host with the script for maintenance, and a registry of which a part may go.

    Attributes:
        directory: plans, journals, backups and the result.
        apply: further options of ``apply``.

    """

    def __init__(self, home: Path, place: str) -> None:
        self.config = home / "exporter.yml"
        super().__init__(home, place)
        self.configure(self.registry.url)
        self.collector = self.script
        self.script = SCRIPT
        self.directory = home / "maintenance"
        self.apply = "--backup-blobs --same-filesystem"

    def configure(self, url: str) -> None:
        """Write the exporter's configuration, with the registry's address."""
        settings = {"retention": POLICY, "registry": {"url": url}}
        self.config.write_text(yaml.safe_dump(settings))

    @property
    def variables(self) -> dict[str, str]:
        """Environment of the script."""
        return self.platform.variables | {
            "EXPORTER": "env LC_ALL=C registry-storage-exporter",
            "CONFIG": str(self.config),
            "GC": str(self.collector),
            "DIR": str(self.directory),
            "APPLY": self.apply,
            "KEEP": "2",
        }

    @property
    def result(self) -> Path:
        """The file of metrics."""
        return self.directory / "result.prom"

    @property
    def runs(self) -> list[Path]:
        """The directories of runs that are kept, the oldest first."""
        return sorted(self.directory.glob("2*Z"))

    def pulled(self) -> dict[str, dict[str, bytes]]:
        """Return what each tag needs, by digest."""
        return {
            f"{name}:{tag}": pull(self.registry.url, name, tag)
            for name in (APP, OTHER)
            for tag in self.client.tags(name)
        }


@contextmanager
def maintained(home: Path, place: str = "swarm") -> Iterator[MaintainedHost]:
    host = MaintainedHost(home, place)
    with host.platform.running(), host.client:
        fill(host.client)
        host.client.delete_manifest(APP, host.client.push_image(APP, "x", [b"garbage" * 1000]))
        make_older(host.registry.root)
        yield host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[MaintainedHost]:
    """Yield one host, for what does not depend on the platform."""
    with maintained(tmp_path / "host") as host:
        yield host


def test_the_script_is_short_and_shellcheck_finds_nothing() -> None:
    lines = SCRIPT.read_text("utf-8").splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= MOST_COLUMNS
    assert os.access(SCRIPT, os.X_OK)
    done = subprocess.run(
        [require("shellcheck"), SCRIPT], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_it_frees_what_it_estimated_and_can_be_taken_back(tmp_path: Path) -> None:
    with maintained(tmp_path / "host", "systemd") as host:
        whole, before = host.pulled(), host.blob_bytes()
        code, output = host.run()
        assert code == DONE, output
        estimate = freed_bytes(output)
        assert estimate > 7000
        assert (host.pulled(), host.blob_bytes(), host.platform.asked) == (whole, before, [])
        assert {each.name for each in host.directory.iterdir()} == {"lock", "next.plan"}

        code, output = host.run("--yes")
        assert code == DONE, output
        assert before - host.blob_bytes() == estimate == freed_bytes(output)
        assert read_last_maintenance(host.result).freed_bytes == estimate
        assert oct(host.result.stat().st_mode)[-3:] == "644"
        staying = host.pulled()
        assert f"{APP}:1" in staying  # protected
        assert {name: whole[name] for name in staying} == staying != whole
        host.assert_open()
        (run,) = host.runs
        assert {each.name for each in run.iterdir()} == {"backup", "plan", "plan.journal"}
        assert oct(run.stat().st_mode)[-3:] == "700"

        (undo,) = re.findall(
            r"\(2 runs\): env LC_ALL=C registry-storage-exporter (restore .+)$", output
        )
        restored = run_command(*undo.split(), "--storage.root", host.registry.root)
        assert restored.exit_code == 0, restored.complaints
        host.client.delete_manifest(APP, digest_of(host.client.manifest(APP, "new")[0]))
        assert host.pulled() == whole


def test_a_second_run_has_nothing_to_do_and_succeeds_and_serve_reports_it(
    host: MaintainedHost,
) -> None:
    flags = ("--storage.root", host.registry.root, "--maintenance.result-file", host.result)
    with Exporter(*flags, "--scan.interval", "1s") as exporter:
        exporter.wait_for(lambda page: page.value(COMPLETED_AT) == 0)
        assert host.run("--yes")[0] == DONE
        first = read_last_maintenance(host.result)
        exporter.wait_for(lambda page: page.value(FREED_BYTES) == first.freed_bytes != 0)
        assert exporter.value(COMPLETED_AT) == first.completed_at
        asked = list(host.platform.asked)
        code, output = host.run("--yes")
        assert (code, "there is nothing to delete\n" in output) == (DONE, True), output
        assert "take it back" not in output
        assert len(host.runs) == 1
        assert host.platform.asked == asked
        exporter.wait_for(lambda page: page.value(FREED_BYTES) == 0)


def test_the_newest_runs_that_deleted_something_are_kept(host: MaintainedHost) -> None:
    for name in ("20200101T000000Z", "20200102T000000Z"):
        (host.directory / name / "backup").mkdir(parents=True)
    code, output = host.run("--yes")
    assert code == DONE, output
    assert host.runs[0].name == "20200102T000000Z"
    assert len(host.runs) == 2


def test_what_apply_leaves_out_is_said_and_the_rest_is_collected(
    host: MaintainedHost,
) -> None:
    layer = digest_of(f"{OTHER} 1".encode() * 100).removeprefix("sha256:")
    next(host.registry.root.glob(f"**/blobs/sha256/*/{layer}/data")).unlink()
    before = host.blob_bytes()
    code, output = host.run("--yes")
    assert (code, "could not be backed up" in output) == (PARTLY, True), output
    assert "some of the plan was left out" in output
    freed = read_last_maintenance(host.result).freed_bytes
    assert before - host.blob_bytes() == freed
    assert freed
    host.apply = "--same-filesystem"
    code, output = host.run("--yes")
    assert (code, "that backup has no blobs" in output) == (DONE, True), output


def test_nothing_is_collected_if_apply_fails(host: MaintainedHost) -> None:
    whole, before = host.pulled(), host.blob_bytes()
    host.apply = "--backup-blobs"
    code, output = host.run("--yes")
    assert (code, "--same-filesystem" in output) == (FAILED, True), output
    host.configure(f"http://127.0.0.1:{free_port()}")
    code, output = host.run("--yes")
    assert (code, "apply failed; nothing was collected" in output) == (FAILED, True), output
    assert (host.pulled(), host.blob_bytes(), host.platform.asked) == (whole, before, [])
    assert not host.result.exists()


def test_after_a_killed_run_the_next_one_opens_the_registry_and_ends_the_work(
    host: MaintainedHost,
) -> None:
    whole = host.pulled()
    host.apply = "--same-filesystem"
    host.platform.before_collecting = lambda: os.killpg(killed.pid, signal.SIGKILL)
    killed = host.start("--yes", output=subprocess.DEVNULL)
    assert killed.wait(60) == -signal.SIGKILL
    host.platform.before_collecting = lambda: None
    assert (host.platform.is_closed, host.result.exists()) == (True, False)
    code, output = host.run("--yes")
    assert code == DONE, output
    assert read_last_maintenance(host.result).completed_at
    staying = host.pulled()
    assert {name: whole[name] for name in staying} == staying != whole
    host.assert_open()


def test_two_never_run_at_once(host: MaintainedHost) -> None:
    collecting, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        collecting.set()
        go_on.wait(60)

    host.platform.before_collecting = wait
    first = host.start("--yes")
    assert collecting.wait(60)
    for arguments in ((), ("--yes",)):
        code, output = host.run(*arguments)
        assert (code, "another run has not ended" in output) == (FAILED, True), output
    go_on.set()
    output, errors = first.communicate(timeout=60)
    assert first.returncode == DONE, output + errors


def test_wrong_options_change_nothing(host: MaintainedHost) -> None:
    for arguments in (["--no"], ["--yes", "--yes"]):
        code, output = host.run(*arguments)
        assert (code, "usage: " in output) == (USAGE, True)
    assert not host.directory.exists()
