"""The scripts that run the registry's collector, on a real registry of each platform."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from exporter.metrics.catalogue import PREFIX
from tests.collecting_host import (
    APP,
    DONE,
    FAILED,
    GARBAGE,
    NAME,
    PLACES,
    REFUSED,
    USAGE,
    Host,
    host_with,
)
from tests.deployments import DEPLOY
from tests.servers import digest_of, require

SCRIPTS = [DEPLOY / place / NAME for place in PLACES]
MOST_LINES, MOST_COLUMNS = 70, 124


@pytest.fixture(params=PLACES)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """Yield a host of each platform."""
    with host_with(tmp_path / "host", request.param) as host:
        yield host


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Host]:
    """Yield one host, for what does not depend on the platform."""
    with host_with(tmp_path / "host", "swarm") as host:
        yield host


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def common_part(script: Path) -> str:
    return script.read_text("utf-8").partition("\nfail() ")[2]


def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        [require("shellcheck"), *SCRIPTS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_scripts_are_short_and_differ_only_in_the_commands_of_their_platform() -> None:
    for script in SCRIPTS:
        lines = script.read_text("utf-8").splitlines()
        assert len(lines) <= MOST_LINES, script
        assert max(map(len, lines)) <= MOST_COLUMNS, script
        assert os.access(script, os.X_OK)
    assert len({common_part(script) for script in SCRIPTS}) == 1
    assert common_part(SCRIPTS[0])


def test_it_frees_what_it_estimated_while_pulls_work_and_pushes_do_not(
    host: Host, tmp_path: Path
) -> None:
    before, first = host.blob_bytes(), host.platform.instance
    code, output = host.run()
    assert code == DONE
    estimate = int(output.split()[4])
    assert output == f"the collector would free {estimate} of {before} bytes\n"
    assert (host.platform.asked, host.platform.instance) == ([], first)

    def check_closed() -> None:
        with pytest.raises(RuntimeError, match="answered 405"):
            host.client.push_image(APP, "2", [b"too late"])
        assert host.client.manifest(APP, "1")
        checked.set()

    checked = threading.Event()
    host.platform.before_collecting = check_closed
    result = tmp_path / "result.prom"
    code, output = host.run("--yes", "--result", str(result))
    assert checked.is_set(), output
    assert (code, output.splitlines()[-1]) == (
        DONE,
        f"estimated: {estimate} bytes; freed: {estimate} bytes",
    )
    assert before - host.blob_bytes() == estimate > 7000
    values = dict(line.split() for line in result.read_text().splitlines())
    assert values.pop(f"{PREFIX}maintenance_freed_bytes") == str(estimate)
    age = time.time() - int(values.pop(f"{PREFIX}maintenance_last_success_timestamp_seconds"))
    assert (0 <= age < 60, values) == (True, {})
    host.assert_open()

    asked, instance = list(host.platform.asked), host.platform.instance
    code, output = host.run("--yes", "--result", str(result))
    assert (code, output) == (DONE, f"the collector would free 0 of {host.blob_bytes()} bytes\n")
    assert f"{PREFIX}maintenance_freed_bytes 0\n" in result.read_text()
    assert (host.platform.asked, host.platform.instance) == (asked, instance)
    host.add_garbage(GARBAGE)  # the restarted registry does not believe that it still has it
    assert host.blob_bytes() > before - 1000


def test_the_collector_of_version_3_finds_its_configuration(tmp_path: Path) -> None:
    with host_with(tmp_path / "host", "swarm", version=3) as host:
        before = host.blob_bytes()
        code, output = host.run("--yes")
        assert code == DONE, output
        assert before - host.blob_bytes() > 7000
        host.assert_open()


@pytest.mark.parametrize(
    "arguments", [["--no"], ["--yes", "--open"], ["--result", "x"], ["--yes", "--result"]]
)
def test_wrong_options_change_nothing(swarm: Host, arguments: Sequence[str]) -> None:
    code, output = swarm.run(*arguments)
    assert (code, "usage: " in output, swarm.platform.asked) == (USAGE, True, [])


def test_it_refuses_without_the_exporter(host: Host) -> None:
    host.platform.exporter_runs = False
    if host.script.parent.name == "systemd":  # where the script runs the exporter itself
        host.registry.root.rename(host.registry.root.with_name("elsewhere"))
    code, output = host.run("--yes")
    assert code == REFUSED, output
    assert "DockerRegistryScanFailing.md" in output
    assert host.platform.asked == []


@pytest.mark.parametrize(
    ("damage", "metric"),
    [
        ("link", "gc_blockers is not 0"),
        ("stray", 'gc_endangered_tags{mode="default"} is not 0'),
        ("unreadable", "scan_complete is not 1"),
    ],
)
def test_it_refuses_where_images_could_be_lost(swarm: Host, damage: str, metric: str) -> None:
    repositories = swarm.registry.root / "docker/registry/v2/repositories"
    if damage == "link":
        next(repositories.glob(f"{APP}/_manifests/revisions/*/*/link")).write_bytes(b"")
    elif damage == "stray":
        (repositories / "team/_old.tar").write_bytes(b"somebody's")
    else:
        manifest = next(
            path
            for path in swarm.registry.root.rglob("blobs/**/data")
            if b"schemaVersion" in path.read_bytes()
        )
        manifest.unlink()
        manifest.mkdir()
    code, output = swarm.run("--yes")
    assert (code, f"{PREFIX}{metric}" in output) == (REFUSED, True), output
    assert swarm.platform.asked == []


def test_it_reports_a_registry_that_was_opened_while_the_collector_ran(host: Host) -> None:
    layer = f"{host.registry.url}/v2/{APP}/blobs/{digest_of(GARBAGE)}"

    def open_registry() -> None:
        host.platform.open_and_restart()
        assert httpx.head(layer, trust_env=False).status_code == 200  # now in its memory

    host.platform.before_collecting = open_registry
    code, output = host.run("--yes")
    assert (code, "something else restarted the registry" in output) == (FAILED, True), output
    host.assert_open()
    assert httpx.head(layer, trust_env=False).status_code == 404


def test_it_fails_loudly_if_it_frees_something_else_than_it_estimated(swarm: Host) -> None:
    stray = swarm.registry.root / "docker/registry/v2/blobs/sha256/aa" / ("aa" * 32) / "data"

    def add_blob() -> None:
        stray.parent.mkdir(parents=True)
        stray.write_bytes(b"12345")

    swarm.platform.after_collecting = add_blob
    code, output = swarm.run("--yes")
    assert code == FAILED
    (line,) = re.findall(r"estimated: (\d+) bytes; freed: (\d+) bytes", output)
    estimated, freed = map(int, line)
    assert estimated - freed == 5
    swarm.assert_open()


def test_a_collector_that_fails_leaves_the_registry_open(host: Host) -> None:
    config = host.registry.home / "config.yml"
    text = config.read_text()
    host.platform.before_collecting = config.unlink
    host.platform.after_collecting = lambda: _write(config, text)
    code, output = host.run("--yes")
    assert (code, "the collector failed" in output) == (FAILED, True), output
    host.assert_open()


def test_a_registry_that_cannot_be_opened_is_named_and_opened_later(host: Host) -> None:
    def break_platform() -> None:
        host.platform.can_restart = False

    host.platform.after_collecting = break_platform
    code, output = host.run("--yes")
    assert (code, f"run {host.script} --open" in output) == (FAILED, True), output
    assert host.platform.is_closed
    host.platform.can_restart = True
    assert host.run("--open")[0] == DONE
    host.assert_open()
    instance = host.platform.instance
    assert host.run("--open") == (DONE, "")
    assert host.platform.instance == instance


def test_a_closed_terminal_does_not_leave_the_registry_closed(host: Host) -> None:
    host.platform.before_collecting = lambda: os.killpg(process.pid, signal.SIGHUP)
    process = host.start("--yes", output=subprocess.DEVNULL)
    assert process.wait(60) == FAILED
    assert host.platform.asked
    host.assert_open()


def test_two_never_run_at_once_and_a_terminated_one_opens_the_registry(host: Host) -> None:
    collecting, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        collecting.set()
        go_on.wait(60)

    host.platform.before_collecting = wait
    first = host.start("--yes")
    assert collecting.wait(60)
    code, output = host.run("--yes")
    assert (code, "is locked" in output) == (FAILED, True)
    assert host.platform.is_closed
    first.terminate()
    go_on.set()
    first.communicate(timeout=60)
    assert first.returncode == FAILED
    host.assert_open()
