"""Killed with -9 during a write: the file is the old one or the new one, complete."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from exporter.store.filesystem.scanner import scan_store
from exporter.support.output_files import replace_file
from tests.exporter_process import REPOSITORY, Exporter, Metrics, environment_of, run_exporter
from tests.followed_store import figures_cache
from tests.in_process import run_command
from tests.reliability import Record
from tests.test_cache import cache_path_in, of_the_store, state_variables
from tests.test_commands import command_line
from tests.test_rescan import described

pytestmark = pytest.mark.reliability("faults")

JOURNAL = "inventory.sqlite-journal"
WRITTEN = "docker_registry_cache_write_success"
WRITTEN_IN = re.compile(r"kept what the scan knows.* duration_seconds=(\S+)")
AT_MOST = 2.0
"""Maximum delay of a kill, as a multiple of the duration of an undisturbed write."""
MOST_KILLS = 200
"""After which a write must have been interrupted."""
BLOBS = 1500
"""Enough for a write of some milliseconds."""

Description = dict[str, Any]


class KilledWriter:
    """Starts the exporter on one store repeatedly, and kills it while it writes.

    Attributes:
        store: gets another image before each kill.
        outcomes: number of kills after which the file was old, new, or absent as before.

    """

    def __init__(self, directory: Path) -> None:
        self.store = StoreBuilder(directory / "registry")
        for number in range(BLOBS):
            self.store.unlinked_blob(noise(f"blob {number}", 10))
        self.store.image("app", "first")
        self.outcomes: Counter[str] = Counter()
        self.interrupted = 0
        self._directory = directory
        self._path = cache_path_in(directory)
        self._home = state_variables(directory)
        self._journal = self._path.with_name(JOURNAL)
        self._flags = ("--storage.root", self.store.root)
        self._chance = random.Random(5)  # noqa: S311 - roughly reproducible
        self._generations: dict[int, Description] = {}
        self._write_seconds = 0.0
        self._note_generation()

    def begin(self) -> None:
        """Write the first generation, and measure the duration of a write."""
        with Exporter(*self._flags, "--log.level", "debug", environment=self._home) as exporter:
            self._push_and_see(exporter)
            exporter.terminate()
            *_, last = WRITTEN_IN.findall(exporter.log)
        self._write_seconds = float(last)
        assert self._kept() == self._tags

    def kill_during_the_last_write(self) -> None:
        """Kill it during its last write, after the signal to stop."""
        self._push()
        with Exporter(*self._flags, environment=self._home) as exporter:
            self._assert_truth(exporter)
            self._push_and_see(exporter)
            before = self._written_at()
            os.kill(exporter.process_id, signal.SIGTERM)
            self._kill_soon(exporter.process_id, before)
        self._count(self._tags - 1)

    def kill_during_the_first_write(self) -> None:
        """Kill it during its first write, without an earlier file."""
        shutil.rmtree(self._path.parent)
        with subprocess.Popen(
            command_line("serve", "--web.listen-address", "127.0.0.1:0", *self._flags),
            stderr=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env=environment_of(self._home),
        ) as process:
            try:
                self._kill_soon(process.pid, before=None)
            finally:
                process.kill()
        self._count(None)

    def finish(self) -> None:
        """Assert that the last kill has done no harm."""
        with Exporter(*self._flags, environment=self._home) as exporter:
            self._assert_truth(exporter)
            exporter.terminate()
        assert self._kept() == self._tags
        assert not self._journal.exists()

    @property
    def _tags(self) -> int:
        return len(list((self.store.repository_path("app") / "_manifests" / "tags").iterdir()))

    def _note_generation(self) -> None:
        self._generations[self._tags] = described(scan_store(self.store.root))

    def _push(self) -> None:
        self.store.image("app", f"{self._tags}")
        self._note_generation()

    def _push_and_see(self, exporter: Exporter) -> None:
        """Push after the first write, so that another write is due at exit."""
        exporter.wait_for(lambda page: page.value(WRITTEN) == 1)
        self._push()
        tags = self._tags
        exporter.wait_for(lambda page: page.value("docker_registry_tags") == tags)

    def _written_at(self) -> int | None:
        """Return the time of the last write; None without a file."""
        return self._path.stat().st_mtime_ns if self._path.exists() else None

    def _kill_soon(self, process_id: int, before: int | None) -> None:
        """Kill it at a random moment during or soon after the next write."""
        delay = self._chance.uniform(0.0, AT_MOST * self._write_seconds)
        deadline = time.monotonic() + 60
        while not self._journal.exists() and self._written_at() == before:
            assert time.monotonic() < deadline, "it writes nothing"
        end = time.monotonic() + delay
        while time.monotonic() < end:
            pass
        os.kill(process_id, signal.SIGKILL)

    def _assert_truth(self, exporter: Exporter) -> None:
        """Assert that it shows the figures of a new scan; it may only warn of an empty file."""
        page = run_command("collect", "--storage.root", self.store.root).output
        assert of_the_store(exporter.metrics()) == of_the_store(Metrics.parse(page))
        assert all("is empty: everything is read again" in line for line in exporter.complaints)

    def _count(self, old: int | None) -> None:
        """Assert that the file is complete, old or new, and alone; count the outcome."""
        names = {each.name for each in self._path.parent.iterdir()}
        assert names <= {self._path.name, JOURNAL}
        self.interrupted += JOURNAL in names
        kept = self._kept()
        assert kept in (old, self._tags)
        self.outcomes["new" if kept == self._tags else "none" if kept is None else "old"] += 1

    def _kept(self) -> int | None:
        """Return the number of tags in a copy of the cache; assert that the copy is complete."""
        copy = self._directory / "copy"
        shutil.copytree(self._path.parent, copy)
        try:
            kept = figures_cache(copy / self._path.name, self.store.root).load()
        finally:
            shutil.rmtree(copy)
        if kept is None:
            return None
        tags = len(kept.known.inventory.repositories[0].tags)
        assert described(kept.known.inventory) == self._generations[tags]
        return tags


def test_a_kill_at_any_moment_of_a_cache_write_costs_only_time(
    tmp_path: Path, record: Record, *, at_length: bool
) -> None:
    kills = 100 if at_length else 8
    writer = KilledWriter(tmp_path)
    writer.begin()
    # on a busy machine a few may all come before or after a write
    while writer.outcomes.total() < kills or (
        not writer.interrupted and writer.outcomes.total() < MOST_KILLS
    ):
        if writer.outcomes.total() % 4 == 3:
            writer.kill_during_the_first_write()
        else:
            writer.kill_during_the_last_write()
    writer.finish()
    kills = writer.outcomes.total()
    old, new, none = (writer.outcomes[each] for each in ("old", "new", "none"))
    assert writer.interrupted > 0
    assert not at_length or (old and new and none), "the kills did not spread over the write"
    record(
        "Killed with -9 while it writes the cache: the next start is ready and has the right "
        "figures, the file holds the old or the new, whole, and no other file is left",
        f"{kills} kills, {writer.interrupted} in the middle of a transaction: {old} left the old, "
        f"{new} the new, {none} nothing where there was none; 0 damaged, 0 wrong figures",
    )


def test_verify_killed_while_saving_its_checkpoint_continues_and_leaves_no_files(
    tmp_path: Path, record: Record, *, at_length: bool
) -> None:
    store = StoreBuilder(tmp_path / "registry")
    for number in range(20):
        store.unlinked_blob(noise(f"{number}", 10_000))
    checkpoint = tmp_path / "state" / "verify.json"
    checkpoint.parent.mkdir()
    flags = ("verify", "--storage.root", store.root, "--checkpoint", checkpoint, "--max-rate")
    kills, most, left_any = 30 if at_length else 4, 0, 0

    def left() -> set[Path]:
        return set(checkpoint.parent.glob(".verify.json.*"))

    for _ in range(kills):
        before = left()
        with subprocess.Popen(
            command_line(*flags, "10kB"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env=environment_of(),
        ) as process:
            kill_once(process, lambda before=before: bool(left() - before))  # type: ignore[misc]
        left_any += bool(left())
        most = max(most, len(left()))
        for each in left():  # as if killed an hour ago
            os.utime(each, (time.time() - 3600,) * 2)
    assert most == 1
    assert checkpoint.exists() or left_any == kills
    done = run_exporter(*flags, "unlimited")
    assert done.returncode == 0
    assert "damaged" not in done.stderr
    assert [*checkpoint.parent.iterdir()] == []
    record(
        "`verify` killed with -9 while it saves how far it is: goes on, and leaves no files behind",
        f"{kills} kills, {left_any} before the file was whole; never more than {most} left, "
        "0 after the next run",
    )


def kill_once(process: "subprocess.Popen[bytes]", holds: Callable[[], bool]) -> None:
    """Kill a process as soon as a condition holds."""
    deadline = time.monotonic() + 60
    try:
        while not holds():
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "the condition never holds"
    finally:
        process.kill()


def test_other_files_in_the_directory_of_an_output_are_left_alone(tmp_path: Path) -> None:
    names = [".page.prom.abcdefgh", ".page.prom.abcdefgh.tmp", ".page.prom.mine.tmp", "a.tmp"]
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".page.prom.justnow_.tmp").touch()
    (tmp_path / ".page.prom.somelink.tmp").symlink_to("nowhere")
    replace_file(tmp_path / "page.prom", b"1")
    names.remove(".page.prom.abcdefgh.tmp")
    assert {each.name for each in tmp_path.iterdir()} == {
        *names,
        "page.prom",
        ".page.prom.justnow_.tmp",
        ".page.prom.somelink.tmp",
    }
