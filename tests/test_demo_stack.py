"""The demonstration as a newcomer runs it, with a real Prometheus and a real Alertmanager."""

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from demo.child_process import wait_until
from demo.stack import ROUTING, RULES, shorten_for
from tests.demo_process import STOP_SECONDS, Demo, answers, get, is_gone
from tests.exporter_process import REPOSITORY
from tests.servers import START_SECONDS, free_port, require

FIRES_WITHIN_SECONDS = 120.0  # announced: a minute, which a slow machine may exceed
ALERT = "DockerRegistryStorageLimitApproaching"
NEITHER = (
    "Prometheus and Alertmanager are not installed: the exporter serves alone. To see it all: "
    "apt-get install prometheus prometheus-alertmanager (need not run as services), "
    "or put prometheus and alertmanager on PATH\n"
)
NO_ALERTMANAGER = (
    "Alertmanager is not installed: alerts fire in Prometheus only. To see it all: "
    "apt-get install prometheus-alertmanager (need not run as services), "
    "or put alertmanager on PATH\n"
)


def active_alerts(port: int) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = get(f"http://127.0.0.1:{port}/api/v2/alerts").json()
    except httpx.TransportError:
        return []
    return found


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture(scope="module", autouse=True)
def servers() -> None:
    require("prometheus")
    shutil.which("alertmanager") or require("prometheus-alertmanager")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Yield a running demonstration in which the alert fires."""
    with Demo(tmp_path_factory.mktemp("running") / "demo") as running:
        running.wait_for_output(f"Firing: {ALERT}", FIRES_WITHIN_SECONDS)
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a demonstration directory that holds only the sample store."""
    directory = tmp_path_factory.mktemp("built") / "demo"
    command = [sys.executable, "-m", "demo", "--directory", str(directory), "--build-only"]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    return directory


@pytest.fixture
def directory(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "demo"))


def test_a_critical_alert_fires_in_alertmanager_within_a_minute(directory: Path) -> None:
    started = time.monotonic()
    with Demo(directory) as demo:
        wait_until(
            lambda: any(
                each["labels"]["alertname"] == ALERT
                and each["labels"]["severity"] == "critical"
                and each["status"]["state"] == "active"
                for each in active_alerts(demo.alertmanager)
            ),
            f"{ALERT} does not fire",
            FIRES_WITHIN_SECONDS,
        )
    assert time.monotonic() - started < FIRES_WITHIN_SECONDS


def test_it_announces_the_alert_and_where_to_see_it(demo: Demo) -> None:
    before, _, _ = demo.output.partition("Firing:")
    assert f"Within a minute {ALERT} (critical) fires" in before
    assert f"docs/runbooks/{ALERT}.md" in before
    assert f"Open http://127.0.0.1:{demo.exporter}/ in a browser" in before
    assert f"http://127.0.0.1:{demo.prometheus}/" in before
    assert f"http://127.0.0.1:{demo.alertmanager}/" in before
    assert str(demo.directory / "stack") in before


def test_every_printed_address_answers(demo: Demo) -> None:
    addresses = set(re.findall(r"http://127\.0\.0\.1:\d+\S*", demo.output))
    assert len(addresses) >= 4
    assert {url: get(url).status_code for url in addresses} == dict.fromkeys(addresses, 200)


def test_the_printed_command_lists_the_alert(demo: Demo) -> None:
    require("amtool")
    named = re.search(r"amtool --alertmanager\.url=\S+ alert query", demo.output)
    assert named is not None
    done = subprocess.run(shlex.split(named[0]), capture_output=True, text=True, check=True)
    assert ALERT in done.stdout


def test_a_firing_alert_is_printed_once_with_summary_and_runbook(demo: Demo) -> None:
    summary, runbook = demo.firing[ALERT, "critical"]
    (found,) = (
        each
        for each in active_alerts(demo.alertmanager)
        if (each["labels"]["alertname"], each["labels"]["severity"]) == (ALERT, "critical")
    )
    assert summary == found["annotations"]["summary"]
    assert runbook == f"docs/runbooks/{ALERT}.md"
    assert demo.output.count(f"Firing: {ALERT} (critical)") == 1


def test_an_inhibited_warning_is_not_printed(demo: Demo) -> None:
    url = f"http://127.0.0.1:{demo.alertmanager}/api/v2/alerts?active=false&inhibited=true"
    inhibited = {
        (each["labels"]["alertname"], each["labels"]["severity"]) for each in get(url).json()
    }
    assert (ALERT, "warning") in inhibited
    assert inhibited.isdisjoint(demo.firing)


def test_a_resolved_alert_and_the_remaining_warning_are_printed(directory: Path) -> None:
    with Demo(directory, variables={"REGISTRY_EXPORTER_SCAN_INTERVAL": "1s"}) as demo:
        demo.wait_for_output(f"Firing: {ALERT} (critical)", FIRES_WITHIN_SECONDS)
        for uploads in list((directory / "registry").rglob("_uploads")):
            shutil.rmtree(uploads)  # 7 MB, which leaves the store at 89 % of its budget
        demo.wait_for_output(f"No longer firing: {ALERT} (critical)", FIRES_WITHIN_SECONDS)
        demo.wait_for_output(f"\nFiring: {ALERT} (warning)", FIRES_WITHIN_SECONDS)


def test_prometheus_runs_the_shipped_rules_with_a_shorter_for(demo: Demo) -> None:
    written = yaml.safe_load((demo.directory / "stack/prometheus/rules.yml").read_text())
    shipped = yaml.safe_load(RULES.read_text())
    rules = [rule for group in written["groups"] for rule in group["rules"]]
    assert {rule["for"] for rule in rules if "for" in rule} == {"5s"}
    for group in (*written["groups"], *shipped["groups"]):
        for rule in group["rules"]:
            rule.pop("for", None)
    assert written == shipped

    answer = get(f"http://127.0.0.1:{demo.prometheus}/api/v1/rules").json()["data"]["groups"]
    run = sorted((rule["name"], rule["health"]) for group in answer for rule in group["rules"])
    assert run == sorted((rule.get("alert") or rule["record"], "ok") for rule in rules)


def test_alertmanager_routes_like_the_example_and_notifies_nobody(demo: Demo) -> None:
    path = demo.directory / "stack/alertmanager/alertmanager.yml"
    written, shipped = yaml.safe_load(path.read_text()), yaml.safe_load(ROUTING.read_text())
    assert written["route"] == shipped["route"]
    assert written["inhibit_rules"] == shipped["inhibit_rules"]
    assert written["receivers"] == [{"name": each["name"]} for each in shipped["receivers"]]


def test_a_second_demonstration_in_the_directory_runs_only_the_exporter(demo: Demo) -> None:
    with Demo(demo.directory) as second:
        second.wait_until_serving()
        assert f"Another demonstration runs in {demo.directory}" in second.output
        assert second.child_processes() == []
    assert demo.children().keys() == {"exporter", "prometheus", "alertmanager"}
    assert answers(demo.prometheus, "/-/ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_all_servers_in_time(directory: Path, number: signal.Signals) -> None:
    with Demo(directory) as demo:
        demo.wait_until_serving()
        children = demo.children()
        status, seconds = demo.terminate(number)
    assert children.keys() == {"exporter", "prometheus", "alertmanager"}
    assert (status, [name for name, each in children.items() if not is_gone(each)]) == (0, [])
    assert seconds < STOP_SECONDS


def test_a_signal_during_the_start_leaves_no_server(directory: Path) -> None:
    with Demo(directory) as demo:
        wait_until(lambda: bool(demo.child_processes()), "no child", START_SECONDS)
        children = demo.child_processes()
        status, seconds = demo.terminate()
    assert (status, [each for each in children if not is_gone(each)]) == (0, [])
    assert seconds < STOP_SECONDS
    assert "logger=serve.run" not in demo.output
    assert not any(map(answers, (demo.exporter, demo.prometheus, demo.alertmanager)))


def test_a_server_that_does_not_stop_is_killed_in_time(directory: Path) -> None:
    with Demo(directory) as demo:
        demo.wait_until_serving()
        stuck = demo.children()["prometheus"]
        stuck.suspend()
        status, seconds = demo.terminate()
    assert (status, is_gone(stuck)) == (0, True)
    assert seconds < STOP_SECONDS


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux signals children when their parent dies"
)
def test_no_server_outlives_a_killed_demonstration(directory: Path) -> None:
    with Demo(directory) as demo:
        demo.wait_until_serving()
        children = demo.children()
        demo.kill()
    assert children.keys() == {"exporter", "prometheus", "alertmanager"}
    wait_until(lambda: all(map(is_gone, children.values())), "they still run", STOP_SECONDS)


def test_all_servers_stop_when_the_exporter_is_killed(directory: Path) -> None:
    with Demo(directory) as demo:
        demo.wait_until_serving()
        children = demo.children()
        children["exporter"].kill()
        status = demo.wait(STOP_SECONDS)
    assert status == 128 + signal.SIGKILL
    assert "The exporter has ended (signal 9)\n" in demo.output
    assert all(map(is_gone, children.values()))


def test_an_exporter_that_does_not_start_ends_the_demonstration_with_its_status(
    directory: Path,
) -> None:
    wrong = {"REGISTRY_EXPORTER_SCAN_INTERVAL": "never"}
    with Demo(directory, variables=wrong) as demo:
        status = demo.wait(START_SECONDS)
    assert status == 2
    assert "The exporter has ended (exit status 2)\n" in demo.output
    assert not any(map(answers, (demo.prometheus, demo.alertmanager)))


def test_the_exporter_keeps_serving_when_prometheus_ends(directory: Path) -> None:
    with Demo(directory) as demo:
        demo.wait_until_serving()
        demo.children()["prometheus"].kill()
        log = directory / "stack/logs/prometheus.log"
        demo.wait_for_output(f"Prometheus has ended (signal 9): see {log}\n")
        assert answers(demo.exporter, "/metrics")
        assert "Server is ready" in log.read_text()


def test_missing_servers_are_printed_and_the_exporter_serves(
    directory: Path, tmp_path: Path
) -> None:
    with Demo(directory, path=str(tmp_path)) as demo:
        demo.wait_until_serving()
        assert NEITHER in demo.output
        assert demo.child_processes() == []
        assert get(f"http://127.0.0.1:{demo.exporter}/metrics").is_success
    assert not (directory / "stack").exists()


def test_with_prometheus_alone_the_alert_fires_there(directory: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "prometheus").symlink_to(require("prometheus"))
    with Demo(directory, path=str(programs)) as demo:
        demo.wait_for_output(f"Firing: {ALERT} (critical)", FIRES_WITHIN_SECONDS)
        assert NO_ALERTMANAGER in demo.output
        assert demo.children().keys() == {"exporter", "prometheus"}
        assert (ALERT, "warning") in demo.firing


def test_exporter_only_starts_no_other_server(directory: Path) -> None:
    with Demo(directory, "--exporter-only") as demo:
        demo.wait_until_serving()
        assert demo.child_processes() == []
        assert "not installed" not in demo.output
    assert not (directory / "stack").exists()


def test_servers_use_free_ports_when_theirs_are_taken(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--prometheus-port", str(port), "--alertmanager-port", str(port)]
        with Demo(directory, *flags) as demo:
            demo.wait_until_serving()
            used = re.findall(
                rf"^Port {port} is taken: (\w+) uses (\d+)", demo.output, re.MULTILINE
            )
            assert [server for server, _ in used] == ["Prometheus", "Alertmanager"]
            assert len({port, demo.exporter, *(int(other) for _, other in used)}) == 4
            assert all(answers(int(other), "/-/ready") for _, other in used)


def test_servers_configured_with_the_same_port_use_different_ports(directory: Path) -> None:
    port = free_port()
    flags = ["--port", str(port), "--prometheus-port", str(port), "--alertmanager-port", str(port)]
    with Demo(directory, *flags) as demo:
        wait_until(lambda: answers(port, "/metrics"), "no exporter", START_SECONDS)
        used = [int(each) for each in re.findall(r" uses (\d+) instead", demo.output)]
        assert len({port, *used}) == 3
        assert all(answers(each, "/-/ready") for each in used)


def test_files_of_an_earlier_run_do_not_break_the_next(directory: Path) -> None:
    stack, elsewhere = directory / "stack", directory.parent / "elsewhere"
    with Demo(directory) as demo:
        demo.wait_until_serving()
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (stack / "prometheus/data/00000000000000000000000000").mkdir()
    (stack / "link").symlink_to(elsewhere)
    with Demo(directory) as again:
        again.wait_until_serving()
        assert answers(again.prometheus, "/-/ready")
        assert not (stack / "link").is_symlink()
        assert "00000000000000000000000000" not in names_in(stack / "prometheus/data")
    assert (elsewhere / "kept").exists()


def test_a_directory_with_other_files_is_left_alone(directory: Path) -> None:
    (directory / "stack").mkdir()
    (directory / "stack" / "mine").write_text("mine")
    with Demo(directory) as demo:
        assert demo.wait(START_SECONDS) == 1
    held = (
        f"{directory / 'stack'} holds files that the demo did not write; name another --directory\n"
    )
    assert demo.output.endswith(f"demo: {held}")
    assert names_in(directory / "stack") == {"mine"}


def test_only_the_for_of_a_rule_is_shortened_and_never_lengthened() -> None:
    def rules(*durations: str | None) -> dict[str, Any]:
        rule = {"alert": "A", "expr": 'x{for="1h"} > 0', "annotations": {"summary": "for: 1h"}}
        written = [rule | ({} if each is None else {"for": each}) for each in durations]
        return {"groups": [{"name": "g", "interval": "1m", "rules": written}]}

    shipped = rules("1h", "1h30m", "6s", "5s", "4s500ms", "500ms", "0s", None)
    assert shorten_for(shipped) == rules("5s", "5s", "5s", "5s", "4s500ms", "500ms", "0s", None)
