"""systemd accepts the unit, and the unit lets the exporter only read and serve."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from exporter.settings.model import Settings
from exporter.settings.sources import setting_paths, variable_name
from tests.deployments import DEPLOY, environment_file, unit
from tests.in_process import run_command
from tests.reliability import Record

NAME = "registry-storage-exporter.service"
HOME = DEPLOY / "systemd"
SCHEDULED = (
    *("collect-garbage.service", "collect-garbage.timer"),
    *("registry-maintenance.service", "registry-maintenance.timer"),
)
UNIT = unit(NAME)
DROP_INS = ["network.conf", "registry-api.conf", "root-owned-store.conf"]
PROGRAM = "/opt/registry-storage-exporter/bin/registry-storage-exporter"

SANDBOX = {
    "DynamicUser": "yes",
    "StateDirectory": "registry-storage-exporter",
    "ProtectSystem": "strict",
    "ReadOnlyPaths": f"-{Settings().storage.root}",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RestrictSUIDSGID": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "SystemCallArchitectures": "native",
}


WORST_EXPOSURE = 2.0
"""Of 10, as systemd rates it; the rest is the network, and files that are world-readable."""


def verify(directory: Path, *drop_ins: str, **replacements: str) -> str:
    """Return systemd's warnings about the unit, with a program that exists on this host."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    program = shutil.which("true") or "/bin/true"
    text = (HOME / NAME).read_text("utf-8").replace(PROGRAM, program)
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new)
    copy = directory / NAME
    copy.write_text(text)
    extra = directory / f"{NAME}.d"
    extra.mkdir()
    for name in drop_ins:
        shutil.copy(HOME / name, extra)
    done = subprocess.run(
        [analyze, "verify", copy],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_LOG_COLOR": "0"},
    )
    # an unknown directive is only a warning
    return done.stderr + (f"ended with {done.returncode}" if done.returncode else "")


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    assert verify(tmp_path) == ""


@pytest.mark.parametrize("drop_in", DROP_INS)
def test_systemd_accepts_the_unit_with_a_drop_in(tmp_path: Path, drop_in: str) -> None:
    assert verify(tmp_path, drop_in) == ""


@pytest.mark.reliability("privilege")
def test_systemd_rates_the_service_as_hardly_exposed(tmp_path: Path, record: Record) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    copy = tmp_path / NAME
    shutil.copy(HOME / NAME, copy)
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    rated = re.search(r"exposure level for \S+: ([\d.]+) (\w+)", done.stdout)
    assert rated, done.stdout + done.stderr
    assert float(rated[1]) <= WORST_EXPOSURE
    record("`systemd-analyze security` rates the unit, from 0 to 10", f"{rated[1]} ({rated[2]})")


@pytest.mark.parametrize("name", SCHEDULED)
def test_systemd_accepts_the_units_of_the_scripts(tmp_path: Path, name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed; on Debian: apt-get install systemd")
    program = shutil.which("true") or "/bin/true"
    for each in SCHEDULED:
        text = (HOME / each).read_text("utf-8")
        (tmp_path / each).write_text(re.sub(r"/usr/local/sbin/[a-z-]+\.sh", program, text))
    done = subprocess.run(
        [analyze, "verify", tmp_path / name], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_timer_of_the_maintenance_runs_it_and_then_opens_the_registry() -> None:
    service = unit("registry-maintenance.service")
    assert service["ExecStart"] == ["/usr/local/sbin/maintenance.sh --yes"]
    assert service["ExecStopPost"] == ["/usr/local/sbin/collect-garbage.sh --open"]
    assert service["SuccessExitStatus"] == ["3"]
    assert unit("registry-maintenance.timer")["Persistent"] == ["true"]


def test_the_timer_runs_the_script_and_then_opens_the_registry_even_if_that_was_killed() -> None:
    service = unit("collect-garbage.service")
    script = "/usr/local/sbin/collect-garbage.sh"
    assert service["ExecStart"][0].startswith(f"{script} --yes --result /")
    assert service["ExecStopPost"] == [f"{script} --open"]
    assert unit("collect-garbage.timer")["Persistent"] == ["true"]


def test_systemd_reports_an_unknown_directive(tmp_path: Path) -> None:
    assert "ProtectSystems" in verify(tmp_path, ProtectSystem="ProtectSystems")


@pytest.mark.parametrize(("directive", "value"), SANDBOX.items())
def test_the_sandbox_is_closed(directive: str, value: str) -> None:
    assert UNIT[directive] == [value]


def test_system_calls_are_limited_to_unprivileged_ones_of_services() -> None:
    assert UNIT["SystemCallFilter"] == ["@system-service", "~@privileged"]


def test_only_the_state_directory_is_writable() -> None:
    openings = {"ReadWritePaths", "BindPaths", "User", "Group", "RootDirectory", "ProcSubset"}
    for name in (NAME, *DROP_INS):
        assert not unit(name).keys() & openings, name


def test_the_unit_reads_its_settings_file_and_stays_down_on_invalid_settings() -> None:
    assert UNIT["ExecStart"] == [f"{PROGRAM} serve"]
    assert UNIT["EnvironmentFile"] == ["-/etc/default/registry-storage-exporter"]
    assert "XDG_STATE_HOME=%S" in UNIT["Environment"]
    wrong = run_command("serve", environment={"REGISTRY_EXPORTER_SCAN_INTERVAL": "soon"})
    assert UNIT["RestartPreventExitStatus"] == [str(wrong.exit_code)]


def test_the_password_is_a_credential_and_not_in_a_settings_file(tmp_path: Path) -> None:
    drop_in = unit("registry-api.conf")
    (credential,) = drop_in["LoadCredential"]
    name, _, path = credential.partition(":")
    setting = variable_name(("registry", "password_file"))
    assert ("registry", "password_file") in setting_paths()
    assert drop_in["Environment"] == [f"{setting}=%d/{name}"]
    assert path in (HOME / "README.md").read_text("utf-8")
    variables = environment_file(HOME / "registry-storage-exporter.env", with_examples=True)
    assert not any("PASSWORD" in variable for variable in variables)
    secret = tmp_path / name
    secret.write_text("of-a-test\n")
    outcome = run_command("check-config", environment=variables | {setting: str(secret)})
    assert outcome.exit_code == 0, outcome.complaints


def test_the_network_is_limited_to_this_host_by_default() -> None:
    assert unit("network.conf") == {"IPAddressDeny": ["any"], "IPAddressAllow": ["localhost"]}


def test_reading_a_root_owned_store_needs_one_capability() -> None:
    assert unit("root-owned-store.conf") == {
        "CapabilityBoundingSet": ["CAP_DAC_READ_SEARCH"],
        "AmbientCapabilities": ["CAP_DAC_READ_SEARCH"],
    }


def test_the_steps_install_the_files_where_the_unit_expects_them() -> None:
    steps = (HOME / "README.md").read_text("utf-8")
    for path in HOME.iterdir():
        if path.suffix != ".md":
            assert f"deploy/systemd/{path.name}" in steps, path.name
    (settings,) = UNIT["EnvironmentFile"]
    assert f"deploy/systemd/registry-storage-exporter.env {settings.removeprefix('-')}" in steps
    assert f"venv {Path(PROGRAM).parent.parent}" in steps
