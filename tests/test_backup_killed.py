"""``backup`` killed or interrupted: what is there is whole, and the next run continues."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.backup.reader import BackupReader
from exporter.store.format.manifests import parse_manifest
from tests.exporter_process import REPOSITORY, environment_of
from tests.in_process import run_command
from tests.test_commands import command_line

KILLS = int(os.environ.get("BACKUP_KILLS", "3"))
MOST_KILLS = 200
START_SECONDS = 60.0
AT_MOST = 1.2
"""Maximum delay of a kill, as a multiple of the duration of an undisturbed run's writing."""


def build(root: Path) -> StoreBuilder:
    store = StoreBuilder(root)
    for name in ("a", "a/b", "c"):
        for number in range(12):
            layers = [noise("base", 200_000), noise(f"{name}{number}", 20_000)]
            store.image(name, f"{number}", layers)
    return store


def write_until_killed(store: StoreBuilder, place: Path, delay: float | None) -> float:
    """Run the command, and kill it ``delay`` seconds after its first write.

    Without a delay it runs to its end. Return how long it wrote, in seconds.
    """
    (place / "_lock").unlink(missing_ok=True)  # the first file that a run makes
    arguments = ("--storage.root", store.root, "--same-filesystem", place)
    with subprocess.Popen(
        command_line("backup", *arguments),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env=environment_of(),
    ) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not (place / "_lock").exists():
                assert time.monotonic() < deadline, "it writes nothing"
            started = time.monotonic()
            if delay is None:
                assert process.wait(START_SECONDS) == 0
            else:
                time.sleep(delay)
        finally:
            process.kill()
    return time.monotonic() - started


def assert_whole(place: Path) -> None:
    """Assert that every file is what its name says, and that all that an index names is there."""
    for path in (place / "_blobs").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    backup = BackupReader(place)
    for repository in backup.repositories():
        for entry in backup.entries_so_far(repository):
            content = parse_manifest(backup.content(entry.digest))
            for digest in content.blobs:
                assert backup.blob_size(f"sha256:{digest.hex()}") is not None


def test_a_kill_at_any_moment_leaves_what_is_whole_and_the_next_run_continues(
    tmp_path: Path,
) -> None:
    store, place = build(tmp_path / "registry"), tmp_path / "backup"
    seconds = write_until_killed(store, place, None)
    chance = random.Random(19)  # noqa: S311 - roughly reproducible
    interrupted = number = 0
    while (number < KILLS or not interrupted) and number < MOST_KILLS:
        if number % 3 == 0:  # else it continues what the last one has left
            shutil.rmtree(place)
        number += 1
        write_until_killed(store, place, chance.uniform(0, AT_MOST * seconds))
        interrupted += any(place.glob("_temporary/*"))
        if (place / "_blobs").exists():
            assert_whole(place)
    assert interrupted > 0
    outcome = run_command("backup", "--storage.root", store.root, "--same-filesystem", place)
    assert outcome.exit_code == 0, outcome
    assert_whole(place)
    assert run_command("verify", "--backup", place).exit_code == 0
    assert not list(place.glob("_temporary/*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_it_and_the_same_command_continues(
    tmp_path: Path, number: signal.Signals
) -> None:
    store, place = StoreBuilder(tmp_path / "registry"), tmp_path / "backup"
    store.image("first", "1")
    for each in range(800):  # takes seconds
        store.image("later", f"{each}")
    arguments = ("backup", "--storage.root", store.root, "--same-filesystem", place)
    with subprocess.Popen(
        command_line(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment_of(),
    ) as process:
        deadline = time.monotonic() + START_SECONDS
        while not (place / "first/_layout/index.json").exists():
            assert time.monotonic() < deadline, "it writes nothing"
        process.send_signal(number)
        output, complaints = process.communicate(timeout=30)
    assert process.returncode == 130, complaints
    assert "interrupted; what is saved can be used, and the same command continues" in complaints
    assert "whole store in the backup: 2 repositories" in output
    assert_whole(place)
    assert list(BackupReader(place).repositories()) == ["first"]
    assert b'"last_complete": null' in (place / "_backup.json").read_bytes()
    outcome = run_command(*arguments)
    assert outcome.exit_code == 0
    assert "copied 0 files" not in outcome.output
    assert run_command("verify", "--backup", place).exit_code == 0
