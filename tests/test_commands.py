"""The commands ``collect`` and ``report``, and the options that all commands share."""

import csv
import io
import json
import os
import pty
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from exporter import __version__
from exporter.settings.sources import flag_name, setting_paths
from tests.exporter_process import REPOSITORY, Metrics, environment_of
from tests.fake_registry import FakeServer, routes_of
from tests.in_process import run_command
from tests.servers import free_port

COMMANDS = (
    *("serve", "collect", "report", "plan", "backup", "apply", "restore", "verify"),
    *("check-config", "healthcheck"),
)
NOBODY = 65534
PROGRAM = "registry-storage-exporter"
PUSHED_AT, OTHER_PUSHED_AT = 1_700_000_000.0, 1_710_000_000.0
STARTED_AT = 1_600_000_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


@dataclass(frozen=True)
class Store:
    """A store and its expected figures.

    ``team/app`` has a tag and an untagged manifest on a base that ``other`` shares.
    """

    builder: StoreBuilder
    tagged: int
    untagged: int
    other: int

    @property
    def root(self) -> Path:
        return self.builder.root

    @property
    def app_bytes(self) -> int:
        return 3000 + 1000 + 500 + 100 + self.tagged + self.untagged

    @property
    def other_bytes(self) -> int:
        return 3000 + 50 + self.other

    @property
    def blobs(self) -> dict[str, dict[str, int]]:
        return {
            "tagged": {"blobs": 6, "bytes": 4150 + self.tagged + self.other},
            "untagged": {"blobs": 2, "bytes": 500 + self.untagged},
            "unreferenced": {"blobs": 1, "bytes": 700},
        }

    @property
    def repositories(self) -> list[dict[str, object]]:
        app = {
            "name": "team/app",
            "tags": 1,
            "manifests": 2,
            "untagged_manifests": 1,
            "referenced_bytes": self.app_bytes,
            "exclusive_bytes": self.app_bytes - 3000,
            "last_push_at": PUSHED_AT,
        }
        other = {
            "name": "other",
            "tags": 1,
            "manifests": 1,
            "untagged_manifests": 0,
            "referenced_bytes": self.other_bytes,
            "exclusive_bytes": self.other_bytes - 3000,
            "last_push_at": OTHER_PUSHED_AT,
        }
        return [app, other]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    builder = StoreBuilder(tmp_path / "registry")
    base, config = noise("base", 3000), noise("config", 100)
    digests = [
        builder.image("team/app", "1", [base, noise("1", 1000)], config, at=PUSHED_AT),
        builder.image("team/app", None, [base, noise("2", 500)], config, at=PUSHED_AT),
        builder.image("other", "latest", [base], noise("other", 50), at=OTHER_PUSHED_AT),
    ]
    builder.unlinked_blob(noise("garbage", 700))
    builder.upload("team/app", b"part", STARTED_AT)
    builder.upload("other", b"whole", None, at=STARTED_AT + 1)
    builder.stray("docker/registry/v2/copy.tar", b"123")
    return Store(builder, *(builder.blob_path(digest).stat().st_size for digest in digests))


@contextmanager
def as_nobody(path: Path) -> Iterator[None]:
    """Act as an unprivileged user who may reach ``path``."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# collect


def test_collect_writes_only_the_metrics_of_the_store(store: Store) -> None:
    outcome = run_command("collect", "--storage.root", store.root)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    metrics = Metrics.parse(outcome.output)
    assert all(name.startswith("docker_registry_") for name, _ in metrics)
    assert metrics.by("state", "docker_registry_blob_bytes") == {
        state: total["bytes"] for state, total in store.blobs.items()
    }
    assert metrics.by("repository", "docker_registry_repository_exclusive_bytes") == {
        "team/app": store.app_bytes - 3000,
        "other": store.other_bytes - 3000,
    }
    assert metrics.value("docker_registry_scan_success") == 1
    assert metrics.value("docker_registry_scans_total") == 1
    assert metrics.value("docker_registry_api_up") is None


def test_collect_of_an_empty_root_reports_zeros_and_success(tmp_path: Path) -> None:
    outcome = run_command("collect", "--storage.root", tmp_path)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    metrics = Metrics.parse(outcome.output)
    assert metrics.value("docker_registry_scan_success") == 1
    assert metrics.value("docker_registry_scan_complete") == 1
    assert metrics.value("docker_registry_repositories") == 0
    assert metrics.by("state", "docker_registry_blobs") == {
        "tagged": 0,
        "untagged": 0,
        "unreferenced": 0,
    }


def test_collect_leaves_the_store_unchanged(store: Store) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in store.root.rglob("*")
        }

    before = state()
    run_command("collect", "--storage.root", store.root)
    assert state() == before


def test_collect_queries_a_configured_api(store: Store) -> None:
    routes = routes_of(other=["latest", "2"])
    with FakeServer(routes) as server:
        outcome = run_command("collect", "--storage.root", store.root, "--registry.url", server.url)
    metrics = Metrics.parse(outcome.output)
    assert outcome.exit_code == 0
    assert metrics.value("docker_registry_api_up") == 1
    assert metrics.value("docker_registry_api_tag_differences") == 2
    assert not [name for name, _ in metrics if name.startswith("docker_registry_api_request")]


def test_an_api_that_is_down_is_logged_and_does_not_stop_collect(store: Store) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    outcome = run_command("collect", "--storage.root", store.root, "--registry.url", url)
    metrics = Metrics.parse(outcome.output)
    assert outcome.exit_code == 0
    assert f"{url}/v2/ did not answer: Connection refused" in outcome.complaints
    assert metrics.value("docker_registry_api_up") == 0
    assert metrics.value("docker_registry_repositories") == 2


# collect --output


def test_the_output_file_equals_standard_output_and_is_world_readable(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "registry.prom"
    mask = os.umask(0o077)
    try:
        outcome = run_command("collect", "--storage.root", store.root, "--output", file)
    finally:
        os.umask(mask)
    assert outcome == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    plain = run_command("collect", "--storage.root", store.root).output
    assert Metrics.parse(file.read_text()).keys() == Metrics.parse(plain).keys()


def test_output_may_be_in_the_current_directory(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "textfiles"
    directory.mkdir()
    monkeypatch.chdir(directory)
    outcome = run_command("collect", "--storage.root", store.root, "--output", "registry.prom")
    assert outcome.exit_code == 0
    assert [path.name for path in directory.iterdir()] == ["registry.prom"]


def test_a_reader_of_the_old_file_keeps_reading_the_old_file(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "registry.prom"
    file.write_text("old")
    with file.open() as reader:
        run_command("collect", "--storage.root", store.root, "--output", file)
        assert reader.read() == "old"
    assert file.read_text().startswith("# HELP docker_registry_")


@pytest.mark.parametrize("where", ["missing/registry.prom", "file/registry.prom"])
def test_an_output_file_that_cannot_be_created_is_named_in_the_error(
    store: Store, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").touch()
    file = tmp_path / where
    outcome = run_command("collect", "--storage.root", store.root, "--output", file)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert outcome.complaints.startswith(f"{PROGRAM}: cannot write {file}: ")
    assert "give a file in a directory that uid" in outcome.complaints
    assert len(outcome.complaints.splitlines()) == 1


def test_a_directory_is_not_replaced(store: Store, tmp_path: Path) -> None:
    directory = tmp_path / "textfiles" / "registry.prom"
    directory.mkdir(parents=True)
    outcome = run_command("collect", "--storage.root", store.root, "--output", directory)
    assert outcome.exit_code == 1
    assert f"cannot write {directory}: not a regular file" in outcome.complaints
    assert list(directory.parent.iterdir()) == [directory]


def test_a_failed_scan_leaves_the_old_file_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "registry.prom"
    file.write_text("old")
    outcome = run_command("collect", "--storage.root", tmp_path / "missing", "--output", file)
    assert outcome.exit_code == 1
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_old_file_whole_and_no_other_file(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "textfiles" / "registry.prom"
    file.parent.mkdir()
    file.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        outcome = run_command("collect", "--storage.root", store.root, "--output", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert outcome.exit_code == 1
    assert f"cannot write {file}: File too large" in outcome.complaints
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


@needs_root
def test_a_read_only_directory_leaves_the_old_file_unchanged(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "textfiles" / "registry.prom"
    file.parent.mkdir(mode=0o755)
    file.write_text("old")
    with as_nobody(file):
        outcome = run_command("collect", "--storage.root", store.root, "--output", file)
    assert outcome.exit_code == 1
    assert f"cannot write {file}: Permission denied" in outcome.complaints
    assert f"a directory that uid {NOBODY} may write to" in outcome.complaints
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


# invalid roots

needs_store = pytest.mark.parametrize("command", ["collect", "report"])


@needs_store
def test_a_missing_root_is_an_error_with_the_fix(tmp_path: Path, command: str) -> None:
    root = tmp_path / "missing"
    fix = "give the directory that holds docker/registry/v2 as --storage.root"
    outcome = run_command(command, "--storage.root", root)
    assert outcome == (1, "", f"{PROGRAM}: {root} does not exist: {fix}\n")


@needs_store
def test_a_root_that_is_a_file_is_an_error(tmp_path: Path, command: str) -> None:
    root = tmp_path / "file"
    root.touch()
    outcome = run_command(command, "--storage.root", root)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert f"cannot open {root}: Not a directory" in outcome.complaints


@needs_store
@pytest.mark.parametrize("place", ["..", "docker", "docker/registry", "docker/registry/v2"])
def test_a_directory_near_the_root_is_an_error_that_names_the_root(
    store: Store, command: str, place: str
) -> None:
    root = (store.root / place).resolve()
    outcome = run_command(command, "--storage.root", root)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert outcome.complaints.startswith(f"{PROGRAM}: {root} holds ")
    assert outcome.complaints.endswith(f"but no docker/: did you mean {store.root}?\n")


@needs_store
def test_an_unrelated_directory_is_an_error_and_not_an_empty_store(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "photos").mkdir()
    outcome = run_command(command, "--storage.root", tmp_path)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert outcome.complaints == (
        f"{PROGRAM}: {tmp_path} holds photos but no docker/: "
        "give the registry's root directory, the one that holds docker/registry/v2\n"
    )


@needs_root
@needs_store
def test_an_unreadable_root_is_an_error_that_names_the_user(store: Store, command: str) -> None:
    store.root.chmod(0o700)
    with as_nobody(store.root):
        outcome = run_command(command, "--storage.root", store.root)
    fix = f"it must be a directory that uid {NOBODY} may read"
    problem = f"cannot open {store.root}: Permission denied; {fix}"
    assert outcome == (1, "", f"{PROGRAM}: {problem}\n")


# report


def report(store: Store, *arguments: str | Path) -> str:
    outcome = run_command("report", "--storage.root", store.root, *arguments)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    return outcome.output


def report_json(store: Store, *arguments: str | Path) -> dict[str, Any]:
    document = json.loads(report(store, "--format", "json", *arguments))
    assert isinstance(document, dict)
    return document


def test_json_holds_every_figure(store: Store) -> None:
    # whatever space is left on the disk of the tests
    never = [f"--alerts.storage-almost-full.{each}=0" for each in ("warning", "critical")]
    document = report_json(store, "--storage.limit", "10kB", *never)
    assert document["scanned_at"] > PUSHED_AT
    assert document["scan_duration_seconds"] > 0
    filesystem = document["filesystem"]
    assert filesystem["size_bytes"] >= filesystem["free_bytes"] >= filesystem["avail_bytes"] > 0
    assert [action["frees_bytes"] for action in document["actions"]] == [
        700, 700 + 500 + store.untagged, 500 + store.untagged,
    ]  # fmt: skip
    for each in ("scanned_at", "scan_duration_seconds", "filesystem", "actions"):
        del document[each]
    for repository in document["repositories"]:
        for unknown in ("owner", "uses", "orphaned"):
            assert repository.pop(unknown) is None
    assert document == {
        "root": str(store.root),
        "storage_limit_bytes": 10_000,
        "blobs": store.blobs,
        "logical_bytes": (3000 + 1000 + 100 + store.tagged) + (3000 + 50 + store.other),
        "shared_bytes": 3000,
        "repositories": store.repositories,
        "uploads": {"uploads": 2, "bytes": 9, "unpurgeable": 1, "oldest_start_at": STARTED_AT},
        "strays": {"files": 1, "bytes": 3, "frees_bytes": 3},
        "artifacts": {"attached": 0, "detached": 0},
        "issues": [],
        "complete": True,
        "integrity": {"missing_blobs": [], "broken_tags": [], "partial_tags": []},
        "collector": {
            "default": {"frees": {"blobs": 1, "bytes": 700}, "endangered": [], "blockers": []},
            "delete_untagged": {
                "frees": {"blobs": 3, "bytes": 700 + 500 + store.untagged},
                "endangered": [],
                "blockers": [],
            },
        },
        "api": None,
        "caprover": None,
        "uses": None,
        "missing_images": None,
        "policies": [],
    }


def test_the_parts_of_json_add_up_to_the_store_on_disk(store: Store) -> None:
    document = report_json(store)
    on_disk = [path.stat().st_size for path in store.root.rglob("blobs/**/data")]
    total = sum(state["bytes"] for state in document["blobs"].values())
    exclusive = sum(each["exclusive_bytes"] for each in document["repositories"])
    assert total == sum(on_disk)
    assert (
        exclusive + document["shared_bytes"] + document["blobs"]["unreferenced"]["bytes"] == total
    )


def test_json_lists_what_could_not_be_read(store: Store) -> None:
    store.builder.tag_link("other", "latest").write_text("nonsense")
    (issue,) = report_json(store)["issues"]
    assert issue["cause"] == "invalid_link"
    assert issue["path"] == "repositories/other/_manifests/tags/latest/current/link"
    assert issue["detail"]


def test_json_and_table_show_differences_between_disk_and_api(store: Store) -> None:
    with FakeServer(routes_of(other=["latest", "2"])) as server:
        api = report_json(store, "--registry.url", server.url)["api"]
        table = report(store, "--registry.url", server.url)
    assert api == {
        "up": True,
        "repository_tags": {"other": 2},
        "tag_differences": 2,
        "certificate_not_after": None,
    }
    assert "Disk and API differ in 2 tags." in table


def test_the_table_shows_that_the_api_is_down(store: Store) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    outcome = run_command("report", "--storage.root", store.root, "--registry.url", url)
    assert outcome.exit_code == 0
    assert "The registry's API gave no whole answer; see above." in outcome.output
    assert f"{url}/v2/ did not answer: Connection refused" in outcome.complaints


def test_csv_has_one_line_per_repository_largest_first(store: Store) -> None:
    text = report(store, "--format", "csv")
    assert len(text.splitlines()) == 3
    assert list(csv.DictReader(io.StringIO(text))) == [
        {name: str(value) for name, value in each.items()} for each in store.repositories
    ]


def test_csv_leaves_an_unknown_time_empty(tmp_path: Path) -> None:
    builder = StoreBuilder(tmp_path)
    builder.upload("new", b"part", STARTED_AT)
    outcome = run_command("report", "--storage.root", tmp_path, "--format", "csv")
    assert outcome.output.splitlines()[1] == "new,0,0,0,0,0,"


def rows(table: str) -> dict[str, list[str]]:
    """Return the cells of each row of a table, by the first cell."""
    lines = (re.split(r" {2,}", line.strip()) for line in table.splitlines())
    return {cells[0]: cells[1:] for cells in lines}


def test_the_table_shows_totals_with_their_meaning(store: Store) -> None:
    found = rows(report(store, "--storage.limit", "20kB"))
    unreferenced = "nothing references it: freed by `registry garbage-collect`"
    assert found["Blobs"][0] == "9"
    assert found["Blobs"][-1] == "each once"
    assert found["tagged"][0] == "6"
    assert found["untagged"][0] == "2"
    assert found["unreferenced"] == ["1", "700 B", unreferenced]
    assert found["Shared"] == ["2.9 KiB", "in two or more repositories"]
    assert found["Unfinished uploads"][:2] == ["2", "9 B"]
    assert re.fullmatch(
        r"oldest \d+d; 1 that the registry never removes", found["Unfinished uploads"][2]
    )
    assert found["Stray files"] == ["1", "3 B", "no part of the registry's layout"]
    used = (sum(total["bytes"] for total in store.blobs.values()) + 9) / 20_000
    assert found["Limit"] == ["19.5 KiB", f"{used:.0%} used"]
    assert found["Filesystem"][-1].endswith("available")


def test_the_table_shows_each_repository_largest_first(store: Store) -> None:
    table = report(store)
    found = rows(table)
    app, exclusive = store.app_bytes / 1024, (store.app_bytes - 3000) / 1024
    assert found["team/app"][:5] == ["1", "2", "1", f"{app:.1f} KiB", f"{exclusive:.1f} KiB"]
    assert found["other"][:3] == ["1", "1", "0"]
    assert re.fullmatch(r"\d+d ago", found["other"][5])
    assert table.index("team/app") < table.index("other")


def test_the_table_of_an_empty_store_has_no_repositories(tmp_path: Path) -> None:
    outcome = run_command("report", "--storage.root", tmp_path)
    assert outcome.exit_code == 0
    assert rows(outcome.output)["Blobs"][:2] == ["0", "0 B"]
    assert "Stray files" not in outcome.output
    assert "Unfinished uploads" not in outcome.output


def test_the_table_shows_never_for_a_repository_without_a_push(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).upload("new", b"part", STARTED_AT)
    outcome = run_command("report", "--storage.root", tmp_path)
    assert rows(outcome.output)["new"][-1] == "never"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[red]Bad", "[red]Bad"),
        ("[bold", "[bold"),
        ("[link=https:evil.example]Bad", "[link=https:evil.example]Bad"),
        ("Bad:warning:", "Bad:warning:"),
        ("Bad\\", "Bad\\"),
        ("\x1b[31mBad", "\\x1b[31mBad"),
        ("Bad\nname", "Bad\\nname"),
    ],
)
def test_the_table_shows_hostile_names_as_they_are(store: Store, name: str, shown: str) -> None:
    store.builder.stray(f"docker/registry/v2/repositories/{name}/_manifests/x")
    table = report(store)
    assert f"bad_name: repositories/{shown}: not the name of a repository" in table
    assert "\x1b" not in table


def test_the_table_shows_a_hostile_root_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "[red]:bug:"
    root.mkdir()
    outcome = run_command("report", "--storage.root", root)
    assert outcome.output.startswith(f"{root}, read ")


def test_the_table_shows_some_issues_and_counts_the_others(store: Store) -> None:
    for number in range(15):
        (store.builder.version_path / "blobs" / f"link-{number:02}").symlink_to("/")
    table = report(store)
    assert "15 parts of the store could not be read" in table
    assert table.count("  symlink: blobs/link-") == 10
    assert "and 5 more; --format json has all of them" in table
    assert len(report_json(store)["issues"]) == 15


# all commands


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_setting_and_every_command(command: str) -> None:
    outcome = run_command(command, "--help")
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    assert outcome.output.startswith(f"usage: {PROGRAM} {command} ")
    flags = {flag_name(path) for path in setting_paths()} - {"--registry.password"}
    found = set(re.findall(r"(?<=^  )--[a-z.-]+", outcome.output, re.MULTILINE))
    assert flags | {"--config.file", "--version"} <= found
    assert "--registry.password " not in outcome.output
    assert "REGISTRY_EXPORTER_REGISTRY_PASSWORD" in outcome.output
    assert all(f"\n  {each} " in outcome.output for each in COMMANDS)


@pytest.mark.parametrize(
    ("command", "options"),
    [("collect", {"--output"}), ("report", {"--format"}), ("serve", set())],
)
def test_help_lists_only_the_options_of_its_command(command: str, options: set[str]) -> None:
    outcome = run_command(command, "-h")
    assert {each for each in ("--output", "--format") if each in outcome.output} == options


def test_help_without_a_command_is_the_help_of_serve() -> None:
    assert run_command("--help") == run_command("serve", "--help")


@pytest.mark.parametrize("command", [(), *((each,) for each in COMMANDS)])
def test_version_is_the_version_of_the_package(command: Sequence[str]) -> None:
    assert run_command(*command, "--version") == (0, f"{PROGRAM} {__version__}\n", "")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("colect", "did you mean collect?"),
        ("checkconfig", "did you mean check-config?"),
        ("healtcheck", "did you mean healthcheck?"),
        ("Report", "did you mean report?"),
        ("frobnicate", f"one of: {', '.join(COMMANDS)}"),
        ("", f"one of: {', '.join(COMMANDS)}"),
    ],
)
def test_an_unknown_command_is_refused_with_a_hint(word: str, hint: str) -> None:
    assert run_command(word) == (2, "", f"{PROGRAM}: {word}: unknown command; {hint}\n")


@pytest.mark.parametrize(
    "arguments", [("report", "--format", "xml"), ("collect", "--output"), ("serve", "--output=x")]
)
def test_wrong_options_of_a_command_are_refused(arguments: Sequence[str]) -> None:
    outcome = run_command(*arguments)
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert arguments[1].partition("=")[0] in outcome.complaints


# on terminals and in pipes


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "exporter", *map(str, arguments)]


def run_until_first_line(*arguments: str | Path) -> tuple[bytes, int]:
    """Read only one line of a command's output; return its standard error and exit code."""
    with subprocess.Popen(
        command_line(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env=environment_of(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        return process.stderr.read(), process.wait(30)


@pytest.mark.parametrize("command", [["collect"], ["report"], ["report", "--format", "json"]])
def test_a_reader_that_closes_the_pipe_early_is_not_an_error(
    tmp_path: Path, command: Sequence[str]
) -> None:
    builder = StoreBuilder(tmp_path)
    for number in range(700):  # more than fits into a pipe
        builder.upload(f"team/a-name-of-some-length-{number}", b"", STARTED_AT)
    assert run_until_first_line(*command, "--storage.root", tmp_path) == (b"", 0)


def run_on_terminal(*arguments: str | Path) -> tuple[int, str, str]:
    """Run a command with standard error on a terminal; return exit code, output and screen."""
    terminal, end = pty.openpty()
    try:
        process = subprocess.Popen(
            command_line(*arguments),
            stdout=subprocess.PIPE,
            stderr=end,
            cwd=REPOSITORY,
            env={**environment_of(), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
        )
    finally:
        os.close(end)
    with process, open(terminal, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor
        shown = b"".join(iter(lambda: read_screen(screen), b""))
        assert process.stdout is not None
        written = process.stdout.read()
    return process.returncode, written.decode(), shown.decode()


def read_screen(screen: io.FileIO) -> bytes:
    try:
        return screen.read(65536)
    except OSError:  # on Linux: the other end is closed
        return b""


def test_a_terminal_shows_the_progress_and_the_output_stays_clean(store: Store) -> None:
    exit_code, written, shown = run_on_terminal("collect", "--storage.root", store.root)
    assert exit_code == 0
    for stage in ("blobs", "repositories", "manifests", "layer links"):
        assert f"Reading {stage}" in shown
    assert "\x1b" not in written
    assert Metrics.parse(written).value("docker_registry_repositories") == 2


def test_an_error_on_a_terminal_is_one_line_after_the_progress_bars(tmp_path: Path) -> None:
    exit_code, written, shown = run_on_terminal("report", "--storage.root", tmp_path / "missing")
    assert (exit_code, written) == (1, "")
    last = shown.splitlines()[-1]
    assert last.endswith("give the directory that holds docker/registry/v2 as --storage.root")
    assert "Traceback" not in shown
