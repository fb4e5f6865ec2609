"""``restore`` on real registries: what was deleted comes back, whatever happens meanwhile."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.commands.restore.wanted import WantedManifest, select
from exporter.registry.editor import open_editor
from exporter.registry.http import RegistryEndpoint
from exporter.registry.schema_1 import SCHEMA_1_TYPES
from exporter.registry.session import Pace
from exporter.support.step_progress import step_progress
from tests.exporter_process import REPOSITORY, Metrics, environment_of
from tests.fake_registry import Reply, Request, ignore
from tests.in_process import Outcome, run_command
from tests.registry_proxy import RegistryProxy, failing
from tests.restored_shop import (
    EPOCH,
    OTHER,
    SHOP,
    content_of,
    delete_shop,
    figures_of,
    manifests_of,
    push_shop,
    save,
    set_times,
    tag_directory,
    tags_by_time,
    write_journal,
)
from tests.servers import (
    DockerRegistry,
    RegistryClient,
    digest_of,
    require,
    require_registry,
    schema_1_manifest,
)
from tests.test_commands import run_on_terminal

KILLS = int(os.environ.get("RESTORE_KILLS", "3"))
HEAD = '{"format": 1, "plan": "", "store": "", "backup": null, "time": 1}\n'
TAGS = ["9", "8", "7", "6", "1"]
BOTH = pytest.mark.parametrize("version", [2, 3])


@pytest.fixture
def version() -> int:
    return 2


@pytest.fixture
def registry(tmp_path: Path, version: int) -> Iterator[DockerRegistry]:
    """Run a registry with the shop in it."""
    program = require_registry(version)
    with DockerRegistry(tmp_path / "store", program=program) as server:
        with RegistryClient(server.url) as client:
            assert push_shop(client) == TAGS
        set_times(server.root, TAGS)
        yield server


def restore(
    registry: DockerRegistry, source: Path, *more: str | Path, url: str | None = None
) -> Outcome:
    return run_command(
        "restore",
        source,
        "--registry.url",
        url or registry.url,
        "--storage.root",
        registry.root,
        "--cache.path",
        registry.root.parent / "state/inventory.sqlite",
        "--max-rate",
        "100000",
        *more,
    )


def recorded(registry: DockerRegistry) -> list[dict[str, object]]:
    path = registry.root.parent / "state/restored.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def pulled(registry: DockerRegistry, to: Path) -> dict[str, str]:
    """Pull every image of the shop with all platforms; return their digests."""
    address = f"docker://{registry.url.removeprefix('http://')}/{SHOP}"
    digests = {}
    to.mkdir()
    for tag in TAGS[:4]:  # the signature is no image
        command = [require("skopeo"), "copy", "--all", "--src-tls-verify=false"]
        subprocess.run(
            [*command, f"{address}:{tag}", f"dir:{to / tag}"], check=True, capture_output=True
        )
        digests[tag] = digest_of((to / tag / "manifest.json").read_bytes())
    return digests


@BOTH
def test_an_apply_is_taken_back_to_the_byte_by_its_journal_alone(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before, figures = content_of(registry.root), figures_of(registry.root)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    assert figures_of(registry.root) != figures
    outcome = restore(registry, journal)
    assert outcome.exit_code == 0, outcome
    assert content_of(registry.root) == before
    assert figures_of(registry.root) == figures
    assert tags_by_time(registry.root) == TAGS
    assert "restored 7 manifests and 5 tags; 0 blobs sent" in outcome.output
    assert (
        "the registry dates what was restored with the present time; the old times of tags are"
        in outcome.output
    )
    assert [(each["tag"], each["pushed_at"]) for each in recorded(registry)] == [
        (tag, EPOCH + 60 * number) for number, tag in enumerate(TAGS)
    ]
    assert {each["store"] for each in recorded(registry)} == {str(registry.root.resolve())}
    again = restore(registry, journal)
    assert again.exit_code == 0
    assert "restored 0 manifests and 0 tags" in again.output
    assert "12 were there already" in again.output
    assert len(recorded(registry)) == 5


@BOTH
@pytest.mark.parametrize("collected", [False, True])
def test_what_apply_deletes_by_a_plan_comes_back_by_its_journal(
    registry: DockerRegistry, tmp_path: Path, collected: bool
) -> None:
    before, figures = content_of(registry.root), figures_of(registry.root)
    store = ("--storage.root", registry.root)
    api = ("--registry.url", registry.url)
    plan = tmp_path / "plan.txt"
    chosen = ("--match", f"{SHOP}:.*", "--include-children", "--output", plan)
    assert run_command("plan", *store, *chosen).exit_code == 0
    saved = ("--backup", tmp_path / "backup", "--backup-blobs", "--same-filesystem")
    backup = saved if collected else ("--no-backup",)
    applied = run_command("apply", plan, "--yes", *backup, *store, *api)
    assert applied.exit_code == 0, applied
    if collected:
        registry.stop()
        registry.garbage_collect()
        registry.start()
    assert content_of(registry.root) != before
    outcome = restore(registry, tmp_path / "plan.txt.journal")
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    assert content_of(registry.root) == before
    assert figures_of(registry.root) == figures
    assert tags_by_time(registry.root) == TAGS


@BOTH
def test_indexes_in_indexes_and_odd_names_come_back(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    odd = "0.a_b/c--d/e__f-9"
    with RegistryClient(registry.url) as client:
        images = [client.push_image(odd, None, [name.encode()], oci=True) for name in "xy"]
        inner = [client.push_index(odd, None, [image], oci=True) for image in images]
        client.push_index(odd, "_V1.0_x--Y.", [*inner, images[0]], oci=True)
    before = content_of(registry.root)
    save(registry.root, tmp_path / "backup")
    lines = [*delete_shop(registry, odd), *delete_shop(registry, OTHER), *delete_shop(registry)]
    registry.stop()
    registry.garbage_collect()
    registry.start()
    journal = write_journal(tmp_path / "journal", registry.root, lines, backup=tmp_path / "backup")
    outcome = restore(registry, journal)
    assert outcome.exit_code == 0, outcome
    assert content_of(registry.root) == before


def test_a_manifest_of_schema_1_comes_back_where_the_registry_takes_it(tmp_path: Path) -> None:
    payload = schema_1_manifest([b"layer"])
    with DockerRegistry(tmp_path / "store", schema_1=True) as registry:
        endpoint = RegistryEndpoint(registry.url)
        with (
            RegistryClient(registry.url) as client,
            open_editor(endpoint, None, ignore, Pace(None)) as editor,
        ):
            client.push_blob("app", b"layer")
            editor.put_manifest("app", "1", payload, SCHEMA_1_TYPES[1])
        before = content_of(registry.root)
        save(registry.root, tmp_path / "backup")
        delete_shop(registry, "app")
        registry.stop()
        registry.garbage_collect()
        registry.start()
        outcome = restore(registry, tmp_path / "backup")
        assert outcome.exit_code == 0, outcome
        assert content_of(registry.root) == before
        assert payload in before.values()
    with DockerRegistry(tmp_path / "store") as registry:
        delete_shop(registry, "app")
        outcome = restore(registry, tmp_path / "backup")
        assert outcome.exit_code == 3
        assert "answered 500: the registry or a proxy in front of it fails" in outcome.output
        assert "not restored: app:1: its manifest is not there" in outcome.output


@BOTH
def test_after_the_collector_a_backup_with_blobs_brings_everything_back(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before, figures = content_of(registry.root), figures_of(registry.root)
    images = pulled(registry, tmp_path / "before")
    save(registry.root, tmp_path / "backup")
    journal = write_journal(
        tmp_path / "journal", registry.root, delete_shop(registry), backup=tmp_path / "backup"
    )
    registry.stop()
    registry.garbage_collect()
    registry.start()
    kept = sum(name.endswith("/data") for name in content_of(registry.root))
    assert kept < sum(name.endswith("/data") for name in before)
    outcome = restore(registry, journal)
    assert outcome.exit_code == 0, outcome
    assert content_of(registry.root) == before
    assert figures_of(registry.root) == figures
    assert pulled(registry, tmp_path / "after") == images
    assert re.search(r"restored 7 manifests and 5 tags; \d+ blobs sent", outcome.output)
    # the backup itself names the same and more
    whole = restore(registry, tmp_path / "backup")
    assert (whole.exit_code, whole.complaints) == (0, "")
    assert "restored 0 manifests and 0 tags" in whole.output


def test_a_backup_without_the_blobs_says_what_is_missing_after_the_collector(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    save(registry.root, tmp_path / "backup", blobs=False)
    delete_shop(registry)
    registry.stop()
    registry.garbage_collect()
    registry.start()
    outcome = restore(registry, tmp_path / "backup")
    assert outcome.exit_code == 3
    assert "which neither the registry nor the backup has" in outcome.output
    assert f"not restored: {SHOP}:9: its manifest is not there" in outcome.output
    assert f"{OTHER}@" not in outcome.output
    assert "not restored, see above" in outcome.output


def test_a_journal_without_a_backup_says_that_the_collector_has_run(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    registry.stop()
    registry.garbage_collect()
    registry.start()
    outcome = restore(registry, journal)
    assert outcome.exit_code == 3
    assert "is not in the store any more: the collector has run, and there is no backup" in (
        outcome.output
    )
    assert outcome.output.count("not restored: ") == 12


def test_a_journal_alone_needs_the_files_of_the_store(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    outcome = restore(registry, journal, "--storage.root", tmp_path / "nothing")
    assert outcome.exit_code == 3
    assert "there is no backup, and the store's files cannot be read" in outcome.complaints
    assert "is nowhere: there is no backup, and no store to read" in outcome.output
    assert restore(registry, journal).exit_code == 0


def test_a_backup_that_was_moved_is_found_where_it_is_now(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before = content_of(registry.root)
    save(registry.root, tmp_path / "backup")
    lines = delete_shop(registry)
    journal = write_journal(tmp_path / "journal", registry.root, lines, backup=tmp_path / "backup")
    (tmp_path / "backup").rename(tmp_path / "moved")
    unread = ("--storage.root", tmp_path / "nothing")
    outcome = restore(registry, journal, *unread)
    assert outcome.exit_code == 3
    assert "holds no backup" in outcome.complaints
    assert "if it was moved, give its place as --backup" in outcome.complaints
    outcome = restore(registry, journal, *unread, "--backup", tmp_path / "moved")
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    assert content_of(registry.root) == before


def test_tags_that_point_elsewhere_now_stay_unless_it_is_forced(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before = content_of(registry.root)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    with RegistryClient(registry.url) as client:
        newer = client.push_image(SHOP, "8", [b"pushed meanwhile"])
        outcome = restore(registry, journal)
        assert outcome.exit_code == 3
        moved = (
            rf"not restored: {SHOP}:8: it points to {newer} now; --force moves it back to sha256:"
        )
        assert re.search(moved, outcome.output)
        assert "restored 7 manifests and 4 tags" in outcome.output
        assert client.tags(SHOP) == sorted(TAGS)
        assert restore(registry, journal, "--force").exit_code == 0
    after = content_of(registry.root)
    assert {name: after[name] for name in before} == before


def test_only_what_is_asked_for_comes_back_with_what_belongs_to_it(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    save(registry.root, tmp_path / "backup")
    manifests = manifests_of(registry.root, SHOP)
    delete_shop(registry)
    outcome = restore(registry, tmp_path / "backup", "--match", f"{SHOP}:7")
    assert outcome.exit_code == 0, outcome
    found = manifests_of(registry.root, SHOP)
    assert sorted(tag for tags in found.values() for tag in tags) == ["1", "7"]
    assert len(found) == 4  # the index, its two platforms, its signature
    assert "restored 4 manifests and 2 tags" in outcome.output
    (plain,) = (digest for digest, tags in manifests.items() if "9" in tags)
    outcome = restore(registry, tmp_path / "backup", "--match", f"{SHOP}@{plain}")
    assert "restored 1 manifest and 2 tags" in outcome.output
    outcome = restore(registry, tmp_path / "backup", "--repository", OTHER)
    assert "restored 0 manifests and 0 tags; 0 blobs sent (0 B); 4 were" in outcome.output
    for options, named in (
        (("--repository", "team"), "--repository team"),
        (("--repository", SHOP, "--repository", "typo"), "--repository typo"),
        (("--match", "no/such:tag"), "--match"),
    ):
        outcome = restore(registry, tmp_path / "backup", *options)
        assert outcome.exit_code == 2
        assert f"{named}: matches nothing in {tmp_path / 'backup'}" in outcome.complaints
        assert f"repositories such as {SHOP}, {OTHER}" in outcome.complaints


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_an_index_without_a_platform_that_cannot_come_back_is_no_success(
    registry: DockerRegistry, tmp_path: Path, dry_run: tuple[str, ...]
) -> None:
    save(registry.root, tmp_path / "backup")
    with RegistryClient(registry.url) as client:
        content, _ = client.manifest(SHOP, "7")
        platform = json.loads(content)["manifests"][0]["digest"]
        client.delete_manifest(SHOP, platform)
    (tmp_path / "backup/_blobs/sha256" / platform.removeprefix("sha256:")).unlink()
    unread = ("--storage.root", tmp_path / "nothing")  # the content is there, after a deletion
    outcome = restore(registry, tmp_path / "backup", "--match", f"{SHOP}:7", *unread, *dry_run)
    assert outcome.exit_code == 3, outcome
    assert re.search(rf"not restored: {SHOP}@sha256:\w+: it lists {platform}: ", outcome.output)
    assert f"not restored: {SHOP}:7" not in outcome.output  # its other platform can be pulled


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    save(registry.root, tmp_path / "backup")
    delete_shop(registry)
    registry.stop()
    registry.garbage_collect()
    registry.start()
    before = content_of(registry.root)
    outcome = restore(registry, tmp_path / "backup", "--dry-run")
    assert outcome.exit_code == 0
    assert content_of(registry.root) == before
    assert not (tmp_path / "state").exists()
    real = restore(registry, tmp_path / "backup")
    assert outcome.output.strip() == (
        real.output.splitlines()[0].replace("restored", "would restore").replace("sent", "to send")
    )


def test_another_store_is_not_restored_into_unless_it_is_forced(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    save(registry.root, tmp_path / "backup")
    with DockerRegistry(tmp_path / "second/store") as second:
        with RegistryClient(second.url) as client:
            client.push_image("app", "1", [b"layer"])
        outcome = restore(second, tmp_path / "backup")
        assert outcome.exit_code == 2
        assert f"--storage.root {second.root}: is the store" in outcome.complaints
        assert "--force" in outcome.complaints
        outcome = restore(second, tmp_path / "backup", "--force")
        assert outcome.exit_code == 0, outcome
        with RegistryClient(second.url) as client:
            assert client.tags(SHOP) == sorted(TAGS)


def test_the_old_store_at_hand_does_not_speak_for_another_registry(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    save(registry.root, tmp_path / "backup")
    with DockerRegistry(tmp_path / "second/store") as second:
        outcome = restore(registry, tmp_path / "backup", url=second.url)
        assert outcome.exit_code == 0, outcome
        assert outcome.complaints.count("it keeps its data elsewhere") == 1
        with RegistryClient(second.url) as client:
            assert client.tags(SHOP) == sorted(TAGS)
        assert pulled(second, tmp_path / "pulled")


@BOTH
def test_blobs_of_which_the_registry_only_remembers_that_it_had_them(
    tmp_path: Path, version: int
) -> None:
    """After a collector run without a restart the registry answers from its memory."""
    program = require_registry(version)
    with DockerRegistry(tmp_path / "store", cached=True, program=program) as registry:
        with RegistryClient(registry.url) as client:
            push_shop(client)
        before = content_of(registry.root)
        save(registry.root, tmp_path / "backup")
        delete_shop(registry)
        registry.garbage_collect()
        outcome = restore(registry, tmp_path / "backup")
        assert outcome.exit_code == 3, outcome
        assert "restart the registry, and run this again" in outcome.output
        registry.restart()
        outcome = restore(registry, tmp_path / "backup")
        assert outcome.exit_code == 0, outcome
        assert content_of(registry.root) == before


def test_failures_now_and_then_change_nothing(registry: DockerRegistry, tmp_path: Path) -> None:
    before = content_of(registry.root)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    with RegistryProxy(registry.url, gate=failing(9, Reply(b"", 500))) as proxy:
        outcome = restore(registry, journal, url=proxy.url)
    assert outcome.exit_code == 0, outcome
    assert content_of(registry.root) == before


def test_a_registry_that_fails_at_one_manifest_gets_all_others(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    manifests = manifests_of(registry.root, SHOP)
    (broken,) = (digest for digest, tags in manifests.items() if "6" in tags)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))

    def gate(request: Request) -> Reply | None:
        return Reply(b"", 500) if request.path.endswith(broken) else None

    with RegistryProxy(registry.url, gate=gate) as proxy:
        outcome = restore(registry, journal, url=proxy.url)
    assert outcome.exit_code == 3
    assert f"not restored: {SHOP}@{broken}: {proxy.url}" in outcome.output
    assert "restored 6 manifests and 4 tags" in outcome.output


def test_a_registry_that_fails_at_everything_ends_it(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    with RegistryProxy(registry.url, gate=lambda _: Reply(b"", 500)) as proxy:
        outcome = restore(registry, journal, url=proxy.url)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "ended before 12 manifests and tags" in outcome.complaints
    assert "answered 500" in outcome.complaints


def test_a_registry_whose_storage_fails_ends_it_soon(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))

    def gate(request: Request) -> Reply | None:
        return Reply(b"", 501) if request.path != "/v2/" else None  # 501 is not repeated

    with RegistryProxy(registry.url, gate=gate) as proxy:
        outcome = restore(registry, journal, url=proxy.url)
    assert outcome.exit_code == 1
    assert outcome.output.count("not restored: ") == 4
    assert "ended before 8 manifests and tags; the same command goes on" in outcome.complaints


def test_a_damaged_tag_is_mended(registry: DockerRegistry, tmp_path: Path) -> None:
    before = content_of(registry.root)
    save(registry.root, tmp_path / "backup")
    link = tag_directory(registry.root) / "9/current/link"
    link.write_bytes(b"")
    outcome = restore(registry, tmp_path / "backup", "--match", f"{SHOP}:9")
    assert outcome.exit_code == 0, outcome
    assert "restored 0 manifests and 1 tag" in outcome.output
    assert content_of(registry.root) == before


def test_a_registry_that_refuses_is_asked_no_more(registry: DockerRegistry, tmp_path: Path) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    refused = Reply(b'{"errors":[{"code":"DENIED","message":"no push"}]}', 403)
    asked: list[str] = []

    def gate(request: Request) -> Reply | None:
        asked.append(request.method)
        return refused if request.method == "PUT" else None

    with RegistryProxy(registry.url, gate=gate) as proxy:
        outcome = restore(registry, journal, url=proxy.url)
    assert outcome.exit_code == 1
    assert "answered 403 to PUT (DENIED: no push)" in outcome.complaints
    assert "ended before 12 manifests and tags; the same command goes on" in outcome.complaints
    assert asked.count("PUT") == 1


def started(registry: DockerRegistry, source: Path, url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "exporter", "restore", source, "--registry.url", url),
            *("--storage.root", registry.root, "--max-rate", "100000"),
            *("--cache.path", registry.root.parent / "state/inventory.sqlite"),
        ],
        cwd=REPOSITORY,
        env=environment_of(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Interruption:
    """A gate that sends a signal to a process when it has made some requests.

    Attributes:
        process: that makes them.
        left: requests up to the one at which the signal is sent.

    """

    def __init__(self, number: signal.Signals, left: int, *, passes_on: bool = True) -> None:
        """``passes_on``: whether that request gets to the registry."""
        self.process: subprocess.Popen[str] | None = None
        self.left = left
        self._number = number
        self._passes_on = passes_on

    def __call__(self, _: Request) -> Reply | None:
        self.left -= 1
        if self.left != 0 or self.process is None:
            return None
        self.process.send_signal(self._number)
        return None if self._passes_on else Reply(b"", 503)


def test_an_interrupt_ends_it_after_the_running_request(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before = content_of(registry.root)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    interruption = Interruption(signal.SIGINT, 9)
    with RegistryProxy(registry.url, gate=interruption) as proxy:
        interruption.process = started(registry, journal, proxy.url)
        output, complaints = interruption.process.communicate(timeout=60)
    assert interruption.process.returncode == 130, complaints
    assert interruption.left > -3
    assert output == ""
    assert re.search(r"ended before \d+ manifests and tags; the same command goes on", complaints)
    assert restore(registry, journal).exit_code == 0
    assert content_of(registry.root) == before


def test_an_interrupt_ends_an_upload(registry: DockerRegistry, tmp_path: Path) -> None:
    before = content_of(registry.root)
    save(registry.root, tmp_path / "backup")
    delete_shop(registry)
    registry.stop()
    registry.garbage_collect()
    registry.start()
    running: list[subprocess.Popen[str]] = []

    def gate(request: Request) -> Reply | None:
        if request.method == "POST":
            running[0].send_signal(signal.SIGINT)
        return None

    with RegistryProxy(registry.url, gate=gate) as proxy:
        running.append(started(registry, tmp_path / "backup", proxy.url))
        output, complaints = running[0].communicate(timeout=60)
        assert [each.method for each in proxy.requests].count("POST") == 1
    assert (running[0].returncode, output) == (130, "")
    assert "the same command goes on" in complaints
    assert restore(registry, tmp_path / "backup").exit_code == 0
    assert content_of(registry.root) == before


def test_a_terminal_shows_how_far_it_is(registry: DockerRegistry, tmp_path: Path) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    with RegistryClient(registry.url) as client:
        client.push_image(SHOP, "8", [b"pushed meanwhile"])
    arguments = (journal, "--registry.url", registry.url, "--storage.root", registry.root)
    state = ("--cache.path", tmp_path / "state/inventory.sqlite")
    exit_code, written, shown = run_on_terminal("restore", *arguments, *state)
    assert exit_code == 3
    assert "Restoring" in shown
    assert "12/12" in shown
    assert [line.partition(" ")[0] for line in written.splitlines()] == ["not", "restored", "the"]


def test_without_a_terminal_the_log_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    seconds = iter(range(0, 1000, 20))
    with (
        caplog.at_level("INFO"),
        step_progress("Restoring", 5, lambda: next(seconds)) as progress,
    ):
        for _ in range(5):
            progress.advance()
            with progress.aside():
                pass
        progress.close()
    assert [vars(each)["fields"]["done"] for each in caplog.records] == [2, 4]
    assert {each.message for each in caplog.records} == {"restoring"}


def test_a_reader_that_goes_away_is_no_success(registry: DockerRegistry, tmp_path: Path) -> None:
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    process = started(registry, journal, registry.url)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        process.stdout.close()
        assert process.wait(60) == 1
    assert restore(registry, journal).exit_code == 0


def without_uploads(figures: Metrics) -> Metrics:
    """Leave out what a killed upload leaves; the registry removes it after a week."""
    return Metrics(
        (series, value) for series, value in figures.items() if "upload" not in series[0]
    )


def test_it_may_be_killed_at_any_moment_and_run_again(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before, figures = content_of(registry.root), figures_of(registry.root)
    save(registry.root, tmp_path / "backup")
    delete_shop(registry)
    registry.stop()
    registry.garbage_collect()
    shutil.copytree(registry.root, tmp_path / "deleted")
    registry.start()
    with RegistryProxy(registry.url) as proxy:
        assert restore(registry, tmp_path / "backup", url=proxy.url).exit_code == 0
        requests = len(proxy.requests)
    chance = random.Random(19)  # noqa: S311 - no secret
    for _ in range(KILLS):
        shutil.rmtree(registry.root)  # it looks there anew for each request
        shutil.copytree(tmp_path / "deleted", registry.root)
        arrives = chance.random() < 0.5
        kill = Interruption(signal.SIGKILL, chance.randint(1, requests), passes_on=arrives)
        with RegistryProxy(registry.url, gate=kill) as proxy:
            kill.process = started(registry, tmp_path / "backup", proxy.url)
            kill.process.communicate(timeout=60)
        assert kill.process.returncode == -signal.SIGKILL
        outcome = restore(registry, tmp_path / "backup")
        assert outcome.exit_code == 0, outcome
        assert content_of(registry.root) == before
        assert tags_by_time(registry.root) == TAGS
    assert without_uploads(figures_of(registry.root)) == without_uploads(figures)
    assert {line["tag"] for line in recorded(registry)} == set(TAGS)


def test_half_a_line_that_a_crash_left_is_ended(registry: DockerRegistry, tmp_path: Path) -> None:
    path = tmp_path / "state/restored.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"store": "cut sh')
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    assert restore(registry, journal).exit_code == 0
    first, *others = path.read_text().splitlines()
    assert first == '{"store": "cut sh'
    assert [json.loads(line)["tag"] for line in others] == TAGS


def test_without_a_place_for_the_old_times_it_goes_on(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("no directory")
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    outcome = restore(registry, journal)
    assert outcome.exit_code == 0
    assert outcome.complaints.count("the old times of tags are not recorded") == 1
    assert "recorded in" not in outcome.output


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not even the first line of a journal is in it"),
        ("team/app@sha256:0\t1\t-\n", "journal: line 1 of the journal is not one"),
        (f"{HEAD}{{}}\n", "line 2 of the journal is not one"),
        (
            f'{HEAD}{{"time": 1, "repository": "../up", "digest": "", "result": "gone"}}\n',
            r"a line about \.\./up holds names that no registry has",
        ),
    ],
)
def test_what_is_no_journal_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "journal").write_text(content)
    outcome = run_command("restore", tmp_path / "journal", "--registry.url", "http://localhost:1")
    assert outcome.exit_code == 1
    assert re.search(problem, outcome.complaints)


def test_what_somebody_else_deleted_stays_away(registry: DockerRegistry, tmp_path: Path) -> None:
    lines = delete_shop(registry)
    (lines[0]["result"], lines[1]["result"]) = ("gone", "asked")
    outcome = restore(registry, write_journal(tmp_path / "journal", registry.root, lines))
    assert outcome.exit_code == 0, outcome
    held = manifests_of(registry.root, SHOP)
    assert set(held) == {str(each["digest"]) for each in lines[1:]}


def test_a_line_that_a_crash_has_cut_short_is_left_out(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    before = content_of(registry.root)
    journal = write_journal(tmp_path / "journal", registry.root, delete_shop(registry))
    with journal.open("a") as file:
        file.write('{"repository": "team/')
    assert restore(registry, journal).exit_code == 0
    assert content_of(registry.root) == before


def test_wrong_usage_is_named(tmp_path: Path) -> None:
    (tmp_path / "backup/_blobs").mkdir(parents=True)
    for arguments, problem in (
        ((tmp_path / "nothing",), "give the directory of a backup, or the journal"),
        ((tmp_path,), "holds no backup"),
        ((tmp_path / "backup", "--backup", tmp_path), "--backup: only with a journal"),
        ((tmp_path / "backup",), "registry.url: missing"),
        ((tmp_path, "--match", "("), "is not a regular expression"),
        ((tmp_path, "--max-rate", "0"), "is not a number of requests"),
    ):
        outcome = run_command("restore", *arguments)
        assert outcome.exit_code in {1, 2}
        assert problem in outcome.complaints


def test_artifacts_of_artifacts_come_with_their_image() -> None:
    image, signature, note = (f"sha256:{digit * 64}" for digit in "123")
    named = WantedManifest("app", signature, {f"sha256-{'1' * 64}.sig": 2.0})
    noted = WantedManifest("app", note)
    other = WantedManifest("app", f"sha256:{'4' * 64}", {"2.0": 3.0})
    tagged = WantedManifest("app", image, {"1.0": 1.0, "latest": 1.0}, 5.0)
    subjects = {note: signature}
    chosen = select([noted, other, named, tagged], (), re.compile("app:1.*"), subjects.get)
    assert [(each.digest, dict(each.tags)) for each in chosen] == [
        (signature, {f"sha256-{'1' * 64}.sig": 2.0}),
        (note, {}),
        (image, {"1.0": 1.0}),
    ]
