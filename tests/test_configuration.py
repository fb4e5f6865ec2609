"""Settings: their sources, the refused values, and that no secret gets out."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from exporter.settings.sources import SettingPath, flag_name, setting_paths, variable_name
from tests.exporter_process import Metrics
from tests.in_process import Outcome, run_command
from tests.servers import free_port

INVALID = sorted((Path(__file__).parent / "invalid_configurations").glob("*.yml"))
SECRET = "hunter2"
PASSWORD: SettingPath = ("registry", "password")
PASSWORD_VARIABLE = variable_name(PASSWORD)
URL = "https://registry.example.com:996"
GIB = 1024**3
PROGRAM = "registry-storage-exporter"
AS_ROOT = "serve, started like this, warns: running as root: "
ROOT_VARIABLE = "REGISTRY_EXPORTER_STORAGE_ROOT"
NOT_AN_ADDRESS = "is not an address; write e.g. :10996, 127.0.0.1:10996, [::1]:10996"
NOT_A_SIZE = "is not a size; write e.g. 50GiB, 2GB, or a number of bytes"

# Each setting as written, and as check-config prints it. Tests replace FILE with the path of a
# real file.
FILE = "<file>"
SAMPLES: dict[str, tuple[str, object]] = {
    "storage.root": ("/srv/registry", "/srv/registry"),
    "storage.limit": ("5GiB", 5 * GIB),
    "scan.interval": ("7m", "420s"),
    "scan.watch": ("false", False),
    "scan.max-ops-per-second": ("1000", 1000),
    "scan.census-interval": ("0", "0s"),
    "cache.path": ("/srv/state/inventory.sqlite", "/srv/state/inventory.sqlite"),
    "history.max-size": ("100MB", 100_000_000),
    "registry.url": ("https://registry.example.com:996/", URL),
    "registry.username": ("007", "007"),
    "registry.password-file": (FILE, FILE),
    "registry.ca-file": (FILE, FILE),
    "registry.insecure-skip-verify": ("true", True),
    "registry.timeout": ("1.5s", "1.5s"),
    "registry.gc-dialect": ("3", 3),
    "caprover.config-dir": ("/captain/data,/mnt/b", ["/captain/data", "/mnt/b"]),
    "caprover.image-prefix": ("acme/apps", "acme/apps"),
    "retention.keep-last": ("20,5", [5, 20]),
    "retention.untagged": ("7d", "604800s"),
    "retention.orphaned": ("0s", "0s"),
    "retention.protect": (".*:latest\ntools/.*", [".*:latest", "tools/.*"]),
    "backup.dir": ("/mnt/backup", "/mnt/backup"),
    "maintenance.result-file": ("/var/lib/x/result.prom", "/var/lib/x/result.prom"),
    "metrics.max-repositories": ("7", 7),
    "metrics.include-repositories": ("team/.{1,30}", ["team/.{1,30}"]),
    "metrics.exclude-repositories": ("team/pr-[0-9]+\n.*/cache", ["team/pr-[0-9]+", ".*/cache"]),
    "web.listen-address": ("[::1]:9090", "[::1]:9090"),
    "web.config.file": (FILE, FILE),
    "web.explorer": ("false", False),
    "web.external-url": (URL + "/", URL),
    "web.route-prefix": ("registry/", "/registry"),
    "web.max-connections": ("12", 12),
    "web.request-timeout": ("3s", "3s"),
    "web.response-timeout": ("2m", "120s"),
    "web.max-header-bytes": ("8KiB", 8192),
    "log.level": ("debug", "debug"),
    "log.format": ("json", "json"),
    "alerts.storage-almost-full.warning": ("0.25", 0.25),
    "alerts.storage-almost-full.critical": ("0.1", 0.1),
    "alerts.storage-filling-up.warning": ("5d", "432000s"),
    "alerts.storage-filling-up.critical": ("36h", "129600s"),
    "alerts.storage-limit-approaching.warning": ("0.7", 0.7),
    "alerts.storage-limit-approaching.critical": ("0.9", 0.9),
    "alerts.storage-growth-high.warning": ("0.1", 0.1),
    "alerts.storage-growth-high.critical": ("0.2", 0.2),
    "alerts.repository-growth-high.warning": ("7GB", 7_000_000_000),
    "alerts.inodes-almost-exhausted.warning": ("0.25", 0.25),
    "alerts.inodes-almost-exhausted.critical": ("0.1", 0.1),
    "alerts.reclaimable-high.warning": ("0.5", 0.5),
    "alerts.tag-count-high.warning": ("250", 250),
    "alerts.uploads-abandoned.warning": ("3600", "3600s"),
    "alerts.orphaned-repositories.warning": ("512MiB", 512 * 1024**2),
    "alerts.backup-headroom-low.warning": ("1.5", 1.5),
    "alerts.backup-missing.warning": ("3d", "259200s"),
    "alerts.maintenance-failing.warning": ("15d", "1296000s"),
    "alerts.certificate-expiring.warning": ("3w", "1814400s"),
    "alerts.certificate-expiring.critical": ("7d", "604800s"),
    "alerts.scan-stale.critical": ("20m", "1200s"),
}
THRESHOLDS = {
    ("StorageAlmostFull", "warning"): 0.15,
    ("StorageAlmostFull", "critical"): 0.05,
    ("StorageFillingUp", "warning"): 345_600,
    ("StorageFillingUp", "critical"): 86_400,
    ("StorageLimitApproaching", "warning"): 0.80,
    ("StorageLimitApproaching", "critical"): 0.95,
    ("StorageGrowthHigh", "warning"): 0.05,
    ("StorageGrowthHigh", "critical"): 0.15,
    ("RepositoryGrowthHigh", "warning"): 5 * GIB,
    ("InodesAlmostExhausted", "warning"): 0.15,
    ("InodesAlmostExhausted", "critical"): 0.05,
    ("ReclaimableHigh", "warning"): 0.30,
    ("TagCountHigh", "warning"): 100,
    ("UploadsAbandoned", "warning"): 691_200,
    ("OrphanedRepositories", "warning"): GIB,
    ("BackupHeadroomLow", "warning"): 2,
    ("BackupMissing", "warning"): 172_800,
    ("MaintenanceFailing", "warning"): 691_200,
    ("CertificateExpiring", "warning"): 1_209_600,
    ("CertificateExpiring", "critical"): 259_200,
    ("ScanStale", "critical"): 900,
}


class Given(NamedTuple):
    """A configuration from flags, environment variables and a file."""

    flags: Sequence[str] = ()
    variables: Mapping[str, str] = {}
    settings: Mapping[str, object] = {}


def check(tmp_path: Path, given: Given) -> Outcome:
    """Run ``check-config``; settings of the file are named like flags, without the dashes."""
    arguments = ["check-config", *given.flags]
    if given.settings:
        file = tmp_path / "settings.yml"
        file.write_text(yaml.safe_dump(nested(given.settings)))
        arguments += ["--config.file", str(file)]
    return run_command(*arguments, environment=given.variables)


def nested(settings: Mapping[str, object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for name, value in settings.items():
        *groups, last = name.split(".")
        place = tree
        for group in groups:
            inner = place.setdefault(group, {})
            assert isinstance(inner, dict)
            place = inner
        place[last] = value
    return tree


def flat(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def effective(outcome: Outcome) -> dict[str, object]:
    """Return the settings that ``check-config`` printed, named like flags."""
    assert outcome.exit_code == 0
    complaints = outcome.complaints.splitlines()
    assert not [each for each in complaints if not each.startswith(f"{PROGRAM}: {AS_ROOT}")]
    return dict(flat(yaml.safe_load(outcome.output)))


def variable_of(name: str) -> str:
    return f"REGISTRY_EXPORTER_{name.replace('.', '_').replace('-', '_').upper()}"


def problems(outcome: Outcome) -> list[str]:
    assert (outcome.exit_code, outcome.output) == (2, "")
    lines = outcome.complaints.splitlines()
    assert all(line.startswith(f"{PROGRAM}: ") for line in lines)
    return [line.removeprefix(f"{PROGRAM}: ") for line in lines]


def companions(name: str, file: Path) -> dict[str, str]:
    """Return the variables that a setting requires."""
    needed = {
        "registry.username": {"registry.url": URL, "registry.password-file": str(file)},
        "registry.password-file": {"registry.url": URL, "registry.username": "captain"},
    }
    return {variable_of(each): value for each, value in needed.get(name, {}).items()}


SWITCHES = {"true": "--", "false": "--no-"}


def as_flag(name: str, value: str) -> Given:
    switch = SWITCHES.get(value)
    return Given(flags=[f"--{name}", value] if switch is None else [f"{switch}{name}"])


def as_flag_with_equals_sign(name: str, value: str) -> Given:
    switch = SWITCHES.get(value)
    return Given(flags=[f"--{name}={value}" if switch is None else f"{switch}{name}"])


def as_variable(name: str, value: str) -> Given:
    return Given(variables={variable_of(name): value})


def as_setting(name: str, value: str) -> Given:
    return Given(settings={name: value})


Way = Callable[[str, str], Given]
WAYS = [as_flag, as_flag_with_equals_sign, as_variable, as_setting]


def test_the_samples_cover_all_settings() -> None:
    paths = [path for path in setting_paths() if path != PASSWORD]
    assert [flag_name(path) for path in paths] == [f"--{name}" for name in SAMPLES]
    assert [variable_name(path) for path in paths] == [variable_of(name) for name in SAMPLES]


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_setting_is_a_flag_a_variable_and_a_key_of_the_file(
    tmp_path: Path, name: str, way: Way
) -> None:
    file = tmp_path / "some-file"
    file.touch()
    value, expected = SAMPLES[name]
    given = way(name, value.replace(FILE, str(file)))
    variables = {**companions(name, file), **given.variables}
    outcome = check(tmp_path, given._replace(variables=variables))
    assert effective(outcome)[name] == (str(file) if expected == FILE else expected)


def test_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    settings = effective(check(tmp_path, Given()))
    assert {name: value for name, value in settings.items() if not name.startswith("alerts.")} == {
        "storage.root": "/captain/data/registry",
        "scan.interval": "300s",
        "scan.watch": True,
        "scan.census-interval": "86400s",
        "history.max-size": 50_000_000,
        "registry.insecure-skip-verify": False,
        "registry.timeout": "10s",
        "registry.gc-dialect": 2,
        "caprover.config-dir": [],
        "caprover.image-prefix": "captain",
        "retention.keep-last": [],
        "retention.protect": [],
        "metrics.max-repositories": 1000,
        "metrics.include-repositories": [],
        "metrics.exclude-repositories": [],
        "web.listen-address": ":10996",
        "web.explorer": True,
        "web.max-connections": 256,
        "web.request-timeout": "10s",
        "web.response-timeout": "60s",
        "web.max-header-bytes": 16384,
        "log.level": "info",
        "log.format": "logfmt",
    }


@pytest.mark.parametrize(
    ("name", "flag", "variable", "setting", "default"),
    [
        ("log.level", "debug", "warning", "error", "info"),
        ("scan.interval", "1s", "2s", "3s", "300s"),
        ("metrics.max-repositories", 1, 2, 3, 1000),
        ("alerts.reclaimable-high.warning", 0.1, 0.2, 0.4, 0.3),
    ],
)
def test_flag_beats_variable_beats_file_beats_default(
    tmp_path: Path, name: str, flag: object, variable: object, setting: object, default: object
) -> None:
    flags, variables = [f"--{name}", str(flag)], {variable_of(name): str(variable)}
    settings = {name: setting}

    def found(given: Given) -> object:
        return effective(check(tmp_path, given))[name]

    assert found(Given(flags, variables, settings)) == flag
    assert found(Given((), variables, settings)) == variable
    assert found(Given((), {}, settings)) == setting
    assert found(Given()) == default


def test_a_switch_can_be_turned_off_again(tmp_path: Path) -> None:
    name = "registry.insecure-skip-verify"
    given = Given([f"--no-{name}"], {variable_of(name): "true"}, {name: True})
    assert effective(check(tmp_path, given))[name] is False


def test_a_repeated_flag_overrides_the_first(tmp_path: Path) -> None:
    flags = ["--scan.interval", "1s", "--scan.interval", "2s"]
    assert effective(check(tmp_path, Given(flags)))["scan.interval"] == "2s"


def test_a_variable_can_name_the_file_and_a_flag_beats_it(tmp_path: Path) -> None:
    one, other = tmp_path / "one.yml", tmp_path / "other.yml"
    one.write_text("log: {level: debug}")
    other.write_text("log: {level: error}")
    environment = {"REGISTRY_EXPORTER_CONFIG_FILE": str(one)}
    alone = run_command("check-config", environment=environment)
    both = run_command("check-config", "--config.file", other, environment=environment)
    assert effective(alone)["log.level"] == "debug"
    assert effective(both)["log.level"] == "error"


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "storage:\nscan:\n  interval:\n", "{}"])
def test_a_file_may_omit_every_setting(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.yml"
    file.write_text(content)
    outcome = run_command("check-config", "--config.file", file)
    assert effective(outcome) == effective(check(tmp_path, Given()))


def test_values_in_the_file_are_read_as_text(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("storage: {root: 2026-01-01}\nregistry: {insecure-skip-verify: on}\n")
    settings = effective(run_command("check-config", "--config.file", file))
    assert settings["storage.root"] == "2026-01-01"
    assert settings["registry.insecure-skip-verify"] is True


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", "0.25s"),
        ("30s", "30s"),
        ("5m", "300s"),
        ("1h30m", "5400s"),
        ("36h", "129600s"),
        ("100d", "8640000s"),
        ("2w", "1209600s"),
    ],
)
@pytest.mark.parametrize("name", ["scan.interval", "alerts.uploads-abandoned.warning"])
def test_durations_have_a_unit(tmp_path: Path, name: str, text: str, seconds: str) -> None:
    assert effective(check(tmp_path, Given([f"--{name}", text])))[name] == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("53687091200", 50 * GIB),
        ("50GiB", 50 * GIB),
        ("50 GiB", 50 * GIB),
        ("1.5kib", 1536),
        ("2GB", 2_000_000_000),
        ("1TB", 10**12),
        ("9223372036854775807", 2**63 - 1),
    ],
)
@pytest.mark.parametrize("name", ["storage.limit", "alerts.repository-growth-high.warning"])
def test_sizes_are_bytes_or_have_a_unit(tmp_path: Path, name: str, text: str, size: int) -> None:
    assert effective(check(tmp_path, Given([f"--{name}", text])))[name] == size


@pytest.mark.parametrize(
    "flags",
    [
        ("--scan.interval", "9" * 400 + "s"),
        ("--storage.limit", "9" * 400),
        ("--storage.limit", "9" * 400 + "TiB"),
        ("--storage.limit", "9" * 5000),
        ("--alerts.orphaned-repositories.warning", "9" * 400),
        ("--alerts.uploads-abandoned.warning", "9" * 400),
        ("--alerts.tag-count-high.warning", "1e999"),
        ("--metrics.max-repositories", "9" * 5000),
        ("--web.listen-address", ":" + "9" * 400),
    ],
    ids=lambda flags: flags[0],
)
def test_huge_numbers_are_refused(tmp_path: Path, flags: Sequence[str]) -> None:
    (problem,) = problems(check(tmp_path, Given(flags)))
    assert problem.startswith(flags[0])


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_an_invalid_file_is_refused_with_its_one_problem(file: Path) -> None:
    first = file.read_bytes().split(b"\n", 1)[0].decode()
    expected = first.removeprefix("# expect: ")
    assert expected != first
    outcome = run_command("check-config", "--config.file", file)
    found = problems(outcome)
    assert any(re.search(expected, problem) for problem in found), found
    assert len(found) == 1
    assert SECRET not in outcome.complaints


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    outcome = run_command("check-config", "--config.file", file)
    assert problems(outcome) == [f"--config.file {file}: cannot be read: No such file or directory"]


def test_a_file_too_large_for_settings_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    with file.open("wb") as stream:
        stream.truncate(1024**3)
    (problem,) = problems(run_command("check-config", "--config.file", file))
    assert problem.endswith("larger than 1048576 bytes; not a settings file")


@pytest.mark.parametrize("command", ["serve", "collect", "report", "check-config", "healthcheck"])
def test_all_problems_of_all_sources_are_reported_at_once(tmp_path: Path, command: str) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("log: {level: loud}\ncolour: red\nmetrics: {max-repositories: -1}\n")
    flags = ["--scan.interval", "5", "surplus", "--web.listen-address=10996", "--scan.wach"]
    flags += ["--registry.ca-file", "/none.pem"]
    environment = {
        "REGISTRY_EXPORTER_STORAGE_LIMIT": "lots",
        "REGISTRY_EXPORTER_STORAGE_ROT": "/registry",
        "REGISTRY_EXPORTER_METRICS_MAX_REPOSITORIES": "-2",
    }
    outcome = run_command(command, *flags, "--config.file", file, environment=environment)
    assert set(problems(outcome)) == {
        "--scan.interval 5: is not a duration; write e.g. 30s, 5m, 1h30m, 36h",
        "--scan.wach: unknown option; did you mean --scan.watch?",
        f"--web.listen-address 10996: {NOT_AN_ADDRESS}",
        "REGISTRY_EXPORTER_METRICS_MAX_REPOSITORIES -2: input should be greater than or equal to 0",
        f"REGISTRY_EXPORTER_STORAGE_LIMIT lots: {NOT_A_SIZE}",
        f"REGISTRY_EXPORTER_STORAGE_ROT: unknown variable; did you mean {ROOT_VARIABLE}?",
        f"colour in {file}: unknown setting",
        f"log.level in {file} loud: input should be 'debug', 'info', 'warning' or 'error'",
        "surplus: unexpected argument; a command comes first, before all flags",
        "--registry.ca-file /none.pem: cannot be read: No such file or directory",
    }


@pytest.mark.parametrize(
    "flags",
    [
        ("--web.tls", "web.yml"),
    ],
    ids=" ".join,
)
def test_unknown_flags_are_refused(tmp_path: Path, flags: Sequence[str]) -> None:
    name = flags[0].partition("=")[0]
    (problem,) = problems(check(tmp_path, Given(flags)))
    assert problem.startswith(f"{name}: unknown option")


@pytest.mark.parametrize(
    "flags",
    [
        ("--scan.inter", "5m"),
        ("--scan.inter=5m",),
        ("--registry.insecure",),
        ("--config", "settings.yml"),
        ("--vers",),
        ("--hel",),
    ],
    ids=" ".join,
)
def test_abbreviations_are_refused(tmp_path: Path, flags: Sequence[str]) -> None:
    name = flags[0].partition("=")[0]
    (problem,) = problems(check(tmp_path, Given(flags)))
    assert problem.startswith(f"{name}: unknown option")


@pytest.mark.parametrize("flag", ["--scan.interval", "--config.file", "--registry.password"])
def test_a_flag_without_its_value_is_refused(tmp_path: Path, flag: str) -> None:
    assert problems(check(tmp_path, Given([flag]))) == [
        f"argument {flag}: expected one argument; see --help"
    ]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("REGISTRY_EXPORTER_SCAN_INTERVALL", "REGISTRY_EXPORTER_SCAN_INTERVAL"),
        ("REGISTRY_EXPORTER_scan_interval", None),
        ("REGISTRY_EXPORTER_", None),
        ("REGISTRY_EXPORTER_SERVICE_HOSTS", None),
        ("REGISTRY_EXPORTER_PORTS", None),
    ],
)
def test_unknown_variables_are_refused(tmp_path: Path, variable: str, meant: str | None) -> None:
    (problem,) = problems(check(tmp_path, Given(variables={variable: SECRET})))
    assert problem.startswith(f"{variable}: unknown variable")
    assert SECRET not in problem
    assert meant is None or problem.endswith(f"; did you mean {meant}?")


def test_service_variables_set_by_kubernetes_are_ignored(
    tmp_path: Path,
) -> None:
    injected = {
        "SERVICE_HOST": "10.0.171.239",
        "WEB_SERVICE_HOST": "10.0.171.240",
        "WEB_PORT_10996_TCP_ADDR": "10.0.171.240",
        "SERVICE_PORT": "10996",
        "SERVICE_PORT_METRICS": "10996",
        "PORT": "tcp://10.0.171.239:10996",
        "PORT_10996_TCP": "tcp://10.0.171.239:10996",
        "PORT_10996_TCP_PROTO": "tcp",
        "PORT_10996_TCP_PORT": "10996",
        "PORT_10996_TCP_ADDR": "10.0.171.239",
    }
    variables = {f"REGISTRY_EXPORTER_{name}": value for name, value in injected.items()}
    assert effective(check(tmp_path, Given(variables=variables))) == effective(
        check(tmp_path, Given())
    )


def test_variables_set_by_a_container_link_are_ignored(tmp_path: Path) -> None:
    injected = {
        "NAME": "/web/registry-exporter",
        "PORT": "tcp://172.17.0.5:10996",
        "PORT_53_UDP_ADDR": "172.17.0.5",
        "ENV_PATH": "/usr/bin",
        "ENV_REGISTRY_EXPORTER_STORAGE_ROOT": "/registry",
    }
    variables = {f"REGISTRY_EXPORTER_{name}": value for name, value in injected.items()}
    assert effective(check(tmp_path, Given(variables=variables))) == effective(
        check(tmp_path, Given())
    )


def test_an_empty_variable_is_ignored(tmp_path: Path) -> None:
    empty = {variable_name(path): "" for path in setting_paths()}
    given = Given(
        variables={**empty, "REGISTRY_EXPORTER_CONFIG_FILE": ""}, settings={"log.level": "debug"}
    )
    settings = effective(check(tmp_path, given))
    assert settings == effective(check(tmp_path, Given())) | {"log.level": "debug"}


@pytest.mark.parametrize("name", ["registry.password-file", "registry.ca-file"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["missing", "directory"],
)
def test_a_file_that_a_setting_names_must_be_readable(
    tmp_path: Path, name: str, make: Callable[[Path], object], reason: str
) -> None:
    file = tmp_path / "named"
    make(file)
    given = Given(as_flag(name, str(file)).flags, companions(name, file))
    assert problems(check(tmp_path, given)) == [f"--{name} {file}: cannot be read: {reason}"]


@pytest.mark.parametrize("kind", ["include", "exclude"])
def test_patterns_may_hold_commas_and_be_repeated_or_one_per_line(
    tmp_path: Path, kind: str
) -> None:
    name, patterns = f"metrics.{kind}-repositories", ["a{1,3}/.*", "[b,c]+", "d"]
    flags = [part for pattern in patterns for part in (f"--{name}", pattern)]
    lines = "\n  a{1,3}/.*\n\n[b,c]+\nd\n"
    for given in (
        Given(flags),
        Given(flags=[f"--{name}", lines]),
        Given(variables={variable_of(name): lines}),
        Given(settings={name: patterns}),
        Given(settings={name: lines}),
    ):
        assert effective(check(tmp_path, given))[name] == patterns


NAME = "metrics.include-repositories"
NOT_A_PATTERN = "is not a regular expression"
PATTERN_FIX = "write e.g. team/.*"
EMPTY = f"is empty; {PATTERN_FIX}"
ENDLESS = (
    "repeats a repetition, which may never end on a long name; "
    "make the inner one possessive, as in ([a-z]++/)*"
)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("", EMPTY),
        (" \n ", EMPTY),
        ("*", f"{NOT_A_PATTERN}: nothing to repeat at position 0; {PATTERN_FIX}"),
        ("a{9999999999}", f"{NOT_A_PATTERN}: the repetition number is too large; {PATTERN_FIX}"),
        ("(a+)+b", ENDLESS),
        ("(?:[a-z0-9]+-?)*/x", ENDLESS),
        ("((a{2,})?b)*?", ENDLESS),
        ("(?P<team>.*/){1,9}app", ENDLESS),
    ],
)
def test_an_invalid_or_endless_pattern_is_refused_without_the_others(
    tmp_path: Path, pattern: str, reason: str
) -> None:
    shown = pattern.strip() or "''"
    ways = [
        Given([f"--{NAME}", "team/.*", f"--{NAME}", pattern]),
        Given(settings={NAME: [pattern]}),
    ]
    found = [problem for given in ways for problem in problems(check(tmp_path, given))]
    file = tmp_path / "settings.yml"
    assert found == [f"--{NAME} {shown}: {reason}", f"{NAME} in {file} {shown}: {reason}"]


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:[a-z]++/)*app",
        "(?>[a-z]+/)*app",
        "(?:team|tools)+/.*",
        "(?:[a-z]+/){2}.*",
        r"(\(.*+\+)+",
        "([*+]a)*",
        r"([]\]*]-)+",
        "(a(?#.*))*",
        "(?i:Team)/(.+)?",
    ],
)
def test_repetitions_that_match_in_only_one_way_are_allowed(tmp_path: Path, pattern: str) -> None:
    assert effective(check(tmp_path, Given([f"--{NAME}", pattern])))[NAME] == [pattern]


@pytest.mark.parametrize(
    ("root", "cache"),
    [
        ("/srv/registry", "/srv/registry/inventory.sqlite"),
        ("/srv/registry", "/srv/state/../registry/docker/x"),
        ("registry", "./registry/x"),
        (None, "/captain/data/registry/x"),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_cache_in_the_store_is_refused(
    tmp_path: Path, way: Way, root: str | None, cache: str
) -> None:
    given = way("cache.path", cache)
    place = "the store /captain/data/registry"
    if root is not None:
        given = Given([*given.flags, "--storage.root", root], given.variables, given.settings)
        place = f"the store, --storage.root {root}"
    (problem,) = problems(check(tmp_path, given))
    assert problem.endswith(
        f" {cache}: is in {place}, which is never written to; give a file elsewhere"
    )


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text('storage: {root: "a\\0b"}')
    (problem,) = problems(run_command("check-config", "--config.file", file))
    assert problem.endswith(": is not a path; write e.g. /srv/registry")


@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        (
            ["--registry.url", URL, "--registry.username", "captain"],
            {},
            "registry: username and password-file go together; one is missing",
        ),
        (
            ["--registry.url", URL],
            {PASSWORD_VARIABLE: SECRET},
            "registry: username and password-file go together; one is missing",
        ),
        (
            ["--registry.username", "captain"],
            {PASSWORD_VARIABLE: SECRET},
            "registry: username is given without url; give the registry's address",
        ),
        (
            [
                "--registry.url",
                URL,
                "--registry.username",
                "c",
                "--registry.password-file",
                __file__,
            ],
            {PASSWORD_VARIABLE: SECRET},
            "registry: password and password-file are both given; give one",
        ),
    ],
)
def test_incomplete_or_duplicate_credentials_are_refused(
    tmp_path: Path, flags: Sequence[str], variables: Mapping[str, str], expected: str
) -> None:
    assert problems(check(tmp_path, Given(flags, variables))) == [expected]


@pytest.mark.parametrize(
    "flags",
    [
        ("--registry.password", SECRET),
        (f"--registry.password={SECRET}",),
        ("--registry.passwd", SECRET),
        (f"--registry.passwd={SECRET}",),
        ("--registry.url", f"https://captain:{SECRET}@registry.example.com"),
        ("--registry.url", f"https://captain:{SECRET}/@registry.example.com"),
        ("--registry.url", f"captain:{SECRET}@registry.example.com"),
        ("--registry.url", f"https://registry.example.com?token={SECRET}"),
        ("--registry.url", f"https://registry.example.com#{SECRET}"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("command", ["serve", "collect", "report", "check-config", "healthcheck"])
def test_a_secret_in_a_flag_is_refused_and_not_repeated(command: str, flags: Sequence[str]) -> None:
    outcome = run_command(command, *flags)
    (problem,) = problems(outcome)
    assert problem.startswith(flags[0].partition("=")[0])
    assert SECRET not in outcome.complaints


def test_a_password_in_a_flag_is_refused_with_the_alternatives(tmp_path: Path) -> None:
    (problem,) = problems(check(tmp_path, Given(["--registry.password", SECRET])))
    assert "use --registry.password-file or REGISTRY_EXPORTER_REGISTRY_PASSWORD" in problem


@pytest.mark.parametrize("command", ["collect", "report", "check-config"])
@pytest.mark.parametrize("way", ["variable", "file"])
def test_neither_output_nor_log_holds_the_password(tmp_path: Path, command: str, way: str) -> None:
    root, file = tmp_path / "registry", tmp_path / "password"
    root.mkdir()
    file.write_text(SECRET)
    flags = ["--storage.root", str(root), "--log.level", "debug", "--registry.username", "captain"]
    flags += ["--registry.url", f"http://127.0.0.1:{free_port()}", "--registry.timeout", "1s"]
    flags += ["--registry.password-file", str(file)] if way == "file" else []
    environment = {PASSWORD_VARIABLE: SECRET} if way == "variable" else {}
    outcome = run_command(command, *flags, environment=environment)
    assert outcome.exit_code == 0
    assert SECRET not in outcome.output
    assert SECRET not in outcome.complaints
    assert command == "check-config" or "Connection refused" in outcome.complaints


def test_the_output_of_check_config_is_an_equivalent_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.touch()
    flags = [
        argument
        for name, (value, _) in SAMPLES.items()
        for argument in as_flag(name, str(password) if value == FILE else value).flags
    ]
    printed = run_command("check-config", *flags)
    file = tmp_path / "printed.yml"
    file.write_text(printed.output)
    again = run_command("check-config", "--config.file", file)
    assert effective(printed) == effective(again)
    assert len(effective(printed)) == len(SAMPLES)
    assert again.output == printed.output


@pytest.mark.parametrize("interval", ["0.0001ms", "1ms", "1234567.891s", "366d"])
def test_durations_of_any_length_are_printed_exactly(tmp_path: Path, interval: str) -> None:
    printed = check(tmp_path, Given(["--scan.interval", interval]))
    settings = effective(printed)
    again = check(tmp_path, Given(["--scan.interval", str(settings["scan.interval"])]))
    assert effective(again) == settings


def test_check_config_masks_a_password_and_prints_a_valid_file(
    tmp_path: Path,
) -> None:
    flags = ["--registry.url", URL, "--registry.username", "captain"]
    variables = {PASSWORD_VARIABLE: SECRET}
    printed = check(tmp_path, Given(flags, variables))
    assert printed.output.splitlines()[-1] == (
        f"# registry.password: **********, from {PASSWORD_VARIABLE}"
    )
    file = tmp_path / "printed.yml"
    file.write_text(printed.output)
    again = run_command("check-config", "--config.file", file, environment=variables)
    assert again.output == printed.output


def thresholds(tmp_path: Path, given: Given) -> dict[tuple[str, str], float]:
    """Return the thresholds that ``collect`` exposes, by alert and severity."""
    root = tmp_path / "registry"
    root.mkdir(exist_ok=True)
    flags = ["--storage.root", str(root), "--backup.dir", str(tmp_path / "backup")]
    flags += ["--maintenance.result-file", str(tmp_path / "result.prom"), *given.flags]
    if given.settings:
        file = tmp_path / "settings.yml"
        file.write_text(yaml.safe_dump(nested(given.settings)))
        flags += ["--config.file", str(file)]
    outcome = run_command("collect", *flags, environment=given.variables)
    assert outcome.exit_code == 0, outcome.complaints
    return {
        (dict(labels)["alert"], dict(labels)["severity"]): value
        for (name, labels), value in Metrics.parse(outcome.output).items()
        if name == "docker_registry_alert_threshold"
    }


def threshold_of(name: str) -> tuple[str, str]:
    _, alert, severity = name.split(".")
    return alert.title().replace("-", ""), severity


def test_every_alert_with_a_number_has_a_threshold(tmp_path: Path) -> None:
    assert thresholds(tmp_path, Given()) == THRESHOLDS


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith("alerts.")])
@pytest.mark.parametrize("way", [as_flag, as_variable, as_setting], ids=lambda way: way.__name__)
def test_a_configured_threshold_is_exposed(tmp_path: Path, name: str, way: Way) -> None:
    given, expected = SAMPLES[name]
    seconds = float(str(expected).removesuffix("s"))
    found = thresholds(tmp_path, way(name, given))
    assert found == THRESHOLDS | {threshold_of(name): seconds}


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [("1s", 900), ("5m", 900), ("300001ms", 900.003), ("10m", 1800), ("1d", 259_200)],
)
def test_a_scan_is_stale_after_three_intervals_but_not_before_fifteen_minutes(
    tmp_path: Path, interval: str, seconds: float
) -> None:
    found = thresholds(tmp_path, Given(["--scan.interval", interval]))
    assert found["ScanStale", "critical"] == pytest.approx(seconds)


def test_the_stale_scan_threshold_can_be_set_for_any_interval(tmp_path: Path) -> None:
    flags = ["--scan.interval", "1d", "--alerts.scan-stale.critical", "10s"]
    assert thresholds(tmp_path, Given(flags))["ScanStale", "critical"] == 10


@pytest.mark.parametrize(
    ("alert", "warning", "critical"),
    [
        ("storage-almost-full", "0.1", "0.1"),
        ("storage-filling-up", "1d", "86400"),
        ("storage-limit-approaching", "0.9", "0.9"),
        ("storage-growth-high", "0", "0"),
        ("inodes-almost-exhausted", "1", "1"),
        ("certificate-expiring", "7d", "1w"),
    ],
)
def test_warning_and_critical_thresholds_may_be_equal(
    tmp_path: Path, alert: str, warning: str, critical: str
) -> None:
    flags = [f"--alerts.{alert}.warning", warning, f"--alerts.{alert}.critical", critical]
    found = thresholds(tmp_path, Given(flags))
    name = alert.title().replace("-", "")
    assert found[name, "warning"] == found[name, "critical"]


@pytest.mark.parametrize(
    ("flag", "value", "direction"),
    [
        ("storage-almost-full.warning", "0.04", "above"),
        ("storage-almost-full.critical", "0.16", "above"),
        ("storage-filling-up.warning", "86399", "above"),
        ("storage-limit-approaching.warning", "0.96", "below"),
        ("storage-limit-approaching.critical", "0.79", "below"),
        ("storage-growth-high.critical", "0.04", "below"),
        ("inodes-almost-exhausted.critical", "0.16", "above"),
        ("certificate-expiring.critical", "15d", "above"),
    ],
)
def test_a_warning_beyond_its_critical_threshold_is_refused(
    tmp_path: Path, flag: str, value: str, direction: str
) -> None:
    (problem,) = problems(check(tmp_path, Given([f"--alerts.{flag}", value])))
    assert problem.startswith(f"alerts.{flag.partition('.')[0]}: warning ")
    assert problem.endswith(f"set warning {direction} critical")
