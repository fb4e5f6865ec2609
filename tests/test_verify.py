"""``verify``: its findings, the blobs it reads, and how it continues after an interruption."""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.child_process import STOP_SECONDS
from demo.store import StoreBuilder, digest_of, noise
from exporter.commands.verify.checkpoint import default_path
from exporter.commands.verify.hashing import CHUNK_BYTES, RateLimiter
from exporter.commands.verify.options import Task
from exporter.commands.verify.run import Environment, Verdict, verify
from exporter.store.filesystem.blobs import FilesystemBlobs
from exporter.store.filesystem.store import FilesystemStore
from tests.exporter_process import REPOSITORY, environment_of, run_exporter
from tests.in_process import Outcome, run_command
from tests.servers import GarbageCollector, require_registry
from tests.test_commands import (
    as_nobody,
    command_line,
    needs_root,
    run_on_terminal,
    run_until_first_line,
)

PROGRAM = "registry-storage-exporter"
BLOB_BYTES = 1000


@pytest.fixture
def builder(tmp_path: Path) -> StoreBuilder:
    root = tmp_path / "registry"
    root.mkdir()
    return StoreBuilder(root)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "state" / "verify.json"


@pytest.fixture
def run(builder: StoreBuilder, checkpoint: Path) -> Callable[..., Outcome]:
    """Return a function that runs the command on the store of ``builder``."""

    def verify_store(*arguments: str | Path) -> Outcome:
        flags = ("--storage.root", builder.root, "--checkpoint", checkpoint)
        return run_command("verify", *flags, *arguments)

    return verify_store


def summary(outcome: Outcome) -> str:
    """Return the last line without the duration, which varies."""
    return re.sub(r", in [^:]+:", ":", outcome.output.splitlines()[-1])


def findings(outcome: Outcome) -> list[str]:
    return outcome.output.splitlines()[:-1]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


# findings


def test_a_sound_store_results_in_a_summary_and_success(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    builder.image("team/app", "1", [noise("layer", 3000)], noise("config", 100))
    builder.unlinked_blob(noise("garbage", 700))
    sizes = [path.stat().st_size for path in builder.root.rglob("blobs/**/data")]
    outcome = run()
    assert (outcome.exit_code, outcome.complaints, findings(outcome)) == (0, "", [])
    size = f"{sum(sizes) / 1024:.1f} KiB"
    assert summary(outcome) == f"verified {len(sizes)} blobs, {size}: 0 corrupt, 0 unreadable"


def test_a_store_without_a_push_is_sound(run: Callable[..., Outcome]) -> None:
    outcome = run()
    assert outcome.exit_code == 0
    assert summary(outcome) == "verified 0 blobs, 0 B: 0 corrupt, 0 unreadable"


def test_a_flipped_byte_is_reported_with_both_digests_and_the_affected_tags(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    base = noise("base", 3000)
    builder.image("team/app", "1", [base])
    builder.image("team/app", "2", [base, noise("more", 10)])
    builder.image("other", "latest", [noise("unrelated", 10)])
    damaged = builder.blob_path(digest_of(base))
    flip_a_byte(damaged)
    outcome = run()
    assert outcome.exit_code == 1
    (line,) = findings(outcome)
    assert line == (
        f"corrupt: {digest_of(base)}: its 3,000 bytes on disk hash to "
        f"{digest_of(damaged.read_bytes())}; reached by team/app:1, team/app:2"
    )
    assert summary(outcome).endswith(": 1 corrupt, 0 unreadable")


def test_a_truncated_blob_is_corrupt(builder: StoreBuilder, run: Callable[..., Outcome]) -> None:
    builder.image("team/app", "1")
    digest = builder.unlinked_blob(noise("garbage", 700))
    os.truncate(builder.blob_path(digest), 699)
    outcome = run()
    assert outcome.exit_code == 1
    (line,) = findings(outcome)
    assert line.startswith(f"corrupt: {digest}: its 699 bytes on disk hash to sha256:")
    assert line.endswith("; nothing references it")


def test_an_empty_file_in_place_of_a_blob_is_corrupt(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    builder.blob_path(builder.unlinked_blob(b"content")).write_bytes(b"")
    (line,) = findings(run())
    assert f"its 0 bytes on disk hash to {digest_of(b'')}" in line


@pytest.mark.parametrize("algorithm", ["sha512", "sha384"])
def test_longer_digests_are_verified_too(
    builder: StoreBuilder, run: Callable[..., Outcome], algorithm: str
) -> None:
    digest = builder.blob(noise("layer", 100), algorithm=algorithm)
    assert summary(run()) == "verified 1 blob, 100 B: 0 corrupt, 0 unreadable"
    flip_a_byte(builder.blob_path(digest))
    outcome = run()
    assert outcome.exit_code == 1
    assert f"corrupt: {digest}: its 100 bytes on disk hash to {algorithm}:" in outcome.output


def test_an_unknown_algorithm_is_reported_and_is_not_damage(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    path = builder.blob_path(f"blake3:{'ab' * 32}")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    builder.repository_path("team/app").mkdir(parents=True)
    outcome = run()
    assert outcome.exit_code == 0
    (line,) = findings(outcome)
    assert line == (
        f"cannot be verified: blake3:{'ab' * 32}: the algorithm blake3 is not one of "
        "sha256, sha384, sha512; nothing references it"
    )
    assert summary(outcome) == (
        "verified 0 blobs, 0 B: 0 corrupt, 0 unreadable, 1 cannot be verified"
    )


@pytest.mark.parametrize("is_referenced", [True, False])
def test_a_special_file_is_unreadable_and_the_other_blobs_are_verified(
    builder: StoreBuilder, run: Callable[..., Outcome], is_referenced: bool
) -> None:
    layer = noise("layer", 3000)
    builder.image("team/app", "1", [layer] if is_referenced else [noise("another", 10)])
    path = builder.blob_path(builder.blob(layer))
    path.unlink()
    path.mkdir()
    outcome = run()
    assert outcome.exit_code == 1
    who = "reached by team/app:1" if is_referenced else "nothing references it"
    assert findings(outcome) == [
        f"unreadable: {digest_of(layer)}: not a regular file; {who}",
    ]
    assert ": 0 corrupt, 1 unreadable" in summary(outcome)


def test_symbolic_links_are_not_followed_and_count_as_unreadable(
    builder: StoreBuilder, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    layer = builder.blob(noise("layer", 100))
    builder.image("team/app", "1", [layer])
    aside = tmp_path / "aside"
    shutil.move(builder.blob_path(layer).parent, aside)
    builder.blob_path(layer).parent.symlink_to(aside)
    outcome = run()
    assert outcome.exit_code == 1
    assert f"unreadable: {layer}: a symbolic link; not followed" in outcome.output


@needs_root
def test_a_blob_without_permission_is_unreadable_with_the_reason(
    builder: StoreBuilder, run: Callable[..., Outcome], checkpoint: Path
) -> None:
    digest = builder.blob(noise("layer", 100))
    builder.image("team/app", "1", [digest])
    builder.blob_path(digest).chmod(0)
    checkpoint.parent.mkdir()
    checkpoint.parent.chmod(0o777)
    with as_nobody(builder.root / "docker"):
        outcome = run()
    assert (outcome.exit_code, outcome.complaints) == (1, "")
    assert findings(outcome) == [
        f"unreadable: {digest}: Permission denied; reached by team/app:1",
    ]


@needs_root
def test_a_directory_of_blobs_without_permission_is_never_sound(
    builder: StoreBuilder, run: Callable[..., Outcome], checkpoint: Path
) -> None:
    digest = builder.unlinked_blob(noise("garbage", 100))
    prefix = builder.blob_path(digest).parents[1]
    prefix.chmod(0)
    checkpoint.parent.mkdir()
    checkpoint.parent.chmod(0o777)
    with as_nobody(builder.root / "docker"):
        outcome = run()
    assert outcome.exit_code == 1
    assert findings(outcome) == [f"unreadable: blobs/sha256/{prefix.name}: Permission denied"]


def test_it_does_not_change_the_store(builder: StoreBuilder, run: Callable[..., Outcome]) -> None:
    builder.image("team/app", "1")

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in builder.root.rglob("*")
        }

    before = state()
    assert run().exit_code == 0
    assert state() == before


# affected tags


def test_only_some_of_many_tags_are_listed_and_the_others_counted(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    base = noise("base", 100)
    for number in range(9):
        builder.image("team/app", f"v{number}", [base, noise(str(number), 10)])
    flip_a_byte(builder.blob_path(digest_of(base)))
    (line,) = findings(run())
    shown = ", ".join(f"team/app:v{number}" for number in range(5))
    assert line.endswith(f"; reached by {shown} and 4 more")


def test_a_tag_is_found_through_an_index(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    layer = noise("layer", 100)
    child = builder.image("team/app", None, [layer])
    builder.index("team/app", "multi", [builder.index("team/app", None, [child])])
    flip_a_byte(builder.blob_path(digest_of(layer)))
    (line,) = findings(run())
    assert line.endswith("; reached by team/app:multi")


def test_a_blob_without_a_tag_is_reported_with_its_manifest(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    layer = noise("layer", 100)
    manifest = builder.image("team/app", None, [layer])
    builder.image("team/app", "2", [noise("other", 10)])
    flip_a_byte(builder.blob_path(digest_of(layer)))
    (line,) = findings(run())
    assert line.endswith(f"; reached by team/app@{manifest}")


def test_a_corrupt_manifest_is_reported_with_its_own_tag(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    manifest = builder.image("team/app", "1")
    builder.blob_path(manifest).write_bytes(b"\0" * 10)
    lines = [line for line in findings(run()) if manifest in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"corrupt: {manifest}: its 10 bytes")
    assert lines[0].endswith("; reached by team/app:1")


# --repository


def test_a_single_repository_is_verified_with_its_untagged_manifests(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    mine, others = noise("mine", 100), noise("others", 100)
    builder.image("team/app", None, [mine])
    builder.image("team/app/web", "1", [others])
    flip_a_byte(builder.blob_path(digest_of(others)))
    outcome = run("--repository", "team/app")
    assert outcome.exit_code == 0
    assert summary(outcome).startswith("verified 3 blobs, ")
    flip_a_byte(builder.blob_path(digest_of(mine)))
    outcome = run("--repository", "team/app")
    assert outcome.exit_code == 1
    assert [line.split(": ")[1] for line in findings(outcome)] == [digest_of(mine)]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("team/ap", "did you mean team/app?"),
        ("nothing-like-it", "`report` lists the repositories"),
        ("\x1b[31m", "`report` lists the repositories"),
    ],
)
def test_an_unknown_repository_is_refused_with_a_hint(
    builder: StoreBuilder, run: Callable[..., Outcome], name: str, fix: str
) -> None:
    builder.image("team/app", "1")
    shown = name.replace("\x1b", "\\x1b")
    problem = f"--repository {shown}: the store has no such repository; {fix}"
    assert run("--repository", name) == (2, "", f"{PROGRAM}: {problem}\n")


# --max-rate


class FakeClock:
    """A clock that advances only during a sleep."""

    def __init__(self, on_sleep: Callable[[], object] = lambda: None) -> None:
        self.now = 0.0
        self._on_sleep = on_sleep

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self._on_sleep()
        self.now += seconds


def test_the_rate_limits_reads_of_any_size() -> None:
    clock = FakeClock()
    limiter = RateLimiter(1000, clock, clock.sleep)
    for size in (1, 999, 4000, 5000):
        limiter.spend(size, lambda: False)
    assert clock.now == pytest.approx(10.0)


def test_a_pause_is_not_followed_by_a_burst() -> None:
    clock = FakeClock()
    limiter = RateLimiter(1000, clock, clock.sleep)
    clock.now = 60.0
    limiter.spend(5000, lambda: False)
    assert clock.now == pytest.approx(65.0)


def test_reading_that_is_slower_than_the_rate_never_waits() -> None:
    clock = FakeClock()
    limiter = RateLimiter(1000, clock, clock.sleep)
    for second in range(1, 10):
        limiter.spend(500, lambda: False)
        clock.now = float(second)
    assert clock.now == 9.0


def test_without_a_rate_nothing_waits() -> None:
    clock = FakeClock()
    RateLimiter(None, clock, clock.sleep).spend(10**15, lambda: False)
    assert clock.now == 0.0


def test_a_request_to_stop_ends_the_longest_wait() -> None:
    clock = FakeClock()
    RateLimiter(1, clock, clock.sleep).spend(10**6, lambda: clock.now >= 1)
    assert clock.now < 2


@pytest.mark.parametrize(
    ("rate", "chunk"), [(None, CHUNK_BYTES), (10**12, CHUNK_BYTES), (40_000, 10_000), (1, 4096)]
)
def test_a_low_rate_reads_small_pieces(rate: int | None, chunk: int) -> None:
    clock = FakeClock()
    assert RateLimiter(rate, clock, clock.sleep).chunk_bytes == chunk


@pytest.mark.parametrize("rate", ["unlimited", "50MiB", "50MiB/s", "1"])
def test_rates_are_sizes_per_second(run: Callable[..., Outcome], rate: str) -> None:
    assert run("--max-rate", rate).exit_code == 0


@pytest.mark.parametrize("rate", ["fast", "0", "0MiB", "-1", "50MiB/h", ""])
def test_other_rates_are_refused(run: Callable[..., Outcome], rate: str) -> None:
    outcome = run(f"--max-rate={rate}")
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert outcome.complaints.startswith(f"{PROGRAM}: argument --max-rate: {rate}")
    assert "unlimited" in outcome.complaints


# what lies beside blobs and links


def leave(path: Path, size: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"." * size)
    return path


def test_files_beside_blobs_and_links_are_found_with_their_bytes(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    layer = noise("layer", 300)
    digest = builder.image("app", "1", [layer])
    history = builder.tag_link("app", "1").parents[1] / "index" / digest.replace(":", "/")
    beside = [
        builder.blob_path(digest_of(layer)).with_name("data.4a.tmp"),
        builder.layer_link("app", digest_of(layer)).with_name("link.1.tmp"),
        builder.revision_link("app", digest).with_name("link.2.tmp"),
        builder.tag_link("app", "1").with_name("link.3.tmp"),
        history / "link.4.tmp",
    ]
    for place, path in enumerate(beside, 1):
        leave(path, place * 1000)
    outcome = run()
    assert outcome.exit_code == 0
    assert sorted(findings(outcome)) == sorted(
        f"left over: {path.relative_to(builder.version_path)}: 1 file, {place},000 bytes; "
        "no part of the registry"
        for place, path in enumerate(beside, 1)
    )
    assert summary(outcome).endswith("0 corrupt, 0 unreadable, 5 left over (14.6 KiB)")


def test_half_written_data_of_a_blob_that_is_not_there_is_found(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    builder.image("app", "1")
    directory = builder.blob_path(f"sha256:{'0' * 64}").parent
    directory.mkdir(parents=True)
    leave(directory / "x", 0)
    (line,) = findings(run())
    assert line.startswith(f"left over: blobs/sha256/00/{'0' * 64}/x: 1 file, 0 bytes")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("place", ["blob", "revision"])
def test_what_the_collector_aborts_on_is_said(
    builder: StoreBuilder,
    run: Callable[..., Outcome],
    place: str,
    version: int,
) -> None:
    digest = builder.image("app", "1")
    file = builder.blob_path(digest) if place == "blob" else builder.revision_link("app", digest)
    leave(file.parent / ".AppleDouble" / "notes", 10)
    collector = GarbageCollector(require_registry(version))
    assert collector.run(builder.root) is not None
    (line,) = findings(run())
    assert "/.AppleDouble: 1 file, 10 bytes; made by netatalk or macOS" in line
    assert "aborts" not in line
    leave(file.parent / ".AppleDouble" / file.name, 10)
    assert collector.run(builder.root) is None
    (line,) = findings(run())
    assert line.endswith("; the registry's collector aborts on it")


def test_only_what_a_repository_reaches_is_searched(
    builder: StoreBuilder, run: Callable[..., Outcome]
) -> None:
    for name in ("app", "other"):
        digest = builder.image(name, "1")
        leave(builder.blob_path(digest).with_name("x"), 1)
        leave(builder.revision_link(name, digest).with_name("x"), 1)
    assert len(findings(run())) == 4
    assert len(findings(run("--repository", "app"))) == 2


@needs_root
def test_directories_that_cannot_be_searched_are_counted(
    builder: StoreBuilder, run: Callable[..., Outcome], checkpoint: Path
) -> None:
    layer = noise("layer", 300)
    builder.image("app", "1", [layer])
    builder.layer_link("app", digest_of(layer)).parent.chmod(0)
    checkpoint.parent.mkdir()
    checkpoint.parent.chmod(0o777)
    with as_nobody(builder.root / "docker"):
        outcome = run()
    assert outcome.exit_code == 0
    assert (
        "1 directories could not be searched for leftovers, the first repositories/app/_layers/"
        in outcome.complaints
    )


def test_a_file_that_vanishes_meanwhile_is_not_left_over(builder: StoreBuilder) -> None:
    path = builder.blob_path(builder.unlinked_blob(b"x"))
    for number in range(3):
        leave(path.with_name(f"data.{number}.tmp"), 1)
    with FilesystemStore(builder.root).open_blobs() as blobs:
        found = blobs.leftovers([], None)
        assert next(found) is not None
        for temporary in path.parent.glob("*.tmp"):
            temporary.unlink()
        assert list(filter(None, found)) == []


# continuing after an interruption


class CountingStore(FilesystemStore):
    """A store that counts how often its blobs were opened: to be hashed, then for leftovers."""

    openings = 0

    @contextmanager
    def open_blobs(self) -> Iterator[FilesystemBlobs]:
        self.openings += 1
        with super().open_blobs() as blobs:
            yield blobs


@dataclass
class Verification:
    """Runs of the command on one store, with a clock that advances only while it waits.

    Each blob has the number of bytes that the rate allows in a second.
    """

    builder: StoreBuilder
    checkpoint: Path
    digests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        blobs = [noise(str(number), BLOB_BYTES) for number in range(6)]
        self.digests = sorted(self.builder.unlinked_blob(blob) for blob in blobs)

    def run(
        self,
        stop_after: float | None = None,
        *,
        repository: str | None = None,
        restart: bool = False,
        on_sleep: Callable[[], object] = lambda: None,
        rate: int | None = BLOB_BYTES,
        stop_in_search: bool = False,
    ) -> "Run":
        """Run until the given number of blobs is read, or the search begins, or to the end."""
        clock = FakeClock(on_sleep)
        output, notes = io.StringIO(), list[str]()
        store = CountingStore(self.builder.root)
        verdict = verify(
            store,
            Task(repository, rate, self.checkpoint, restart),
            Environment(
                output,
                notes.append,
                clock,
                clock.sleep,
                lambda: (
                    (stop_after is not None and clock.now >= stop_after)
                    or (stop_in_search and store.openings > 1)
                ),
            ),
        )
        return Run(verdict, output.getvalue().splitlines(), notes, clock.now)

    def corrupt(self, place: int) -> str:
        """Damage the blob at a place in the order of reading; return its digest."""
        flip_a_byte(self.builder.blob_path(self.digests[place]))
        return self.digests[place]


class Run(NamedTuple):
    """The result of a run; ``seconds`` equals the number of blobs that it read."""

    verdict: Verdict
    output: list[str]
    notes: list[str]
    seconds: float


@pytest.fixture
def verification(builder: StoreBuilder, checkpoint: Path) -> Verification:
    return Verification(builder, checkpoint)


def test_a_request_to_stop_is_heeded_while_nothing_is_found_to_be_left_over(
    verification: Verification,
) -> None:
    interrupted = verification.run(stop_in_search=True)
    assert interrupted.verdict is Verdict.INTERRUPTED
    (note,) = interrupted.notes
    assert note.startswith("interrupted after the last blob, while searching for leftovers")
    again = verification.run()
    assert (again.verdict, again.seconds) == (Verdict.SOUND, 0)


def test_leftovers_are_searched_again_after_an_interruption(verification: Verification) -> None:
    leave(verification.builder.blob_path(verification.digests[0]).with_name("x"), 1)
    assert verification.run(stop_in_search=True).verdict is Verdict.INTERRUPTED
    again = verification.run()
    assert again.verdict is Verdict.SOUND
    assert again.output[0].startswith("left over: ")


def test_reading_the_store_takes_as_long_as_the_rate_requires(verification: Verification) -> None:
    assert verification.run().seconds == pytest.approx(6.0)
    assert verification.run(rate=None).seconds == 0


def test_an_interrupted_run_is_continued_where_it_stopped(verification: Verification) -> None:
    first = verification.run(stop_after=2.5)
    assert (first.verdict, first.output) == (Verdict.INTERRUPTED, [])
    assert first.notes == [
        "interrupted, 4 of 6 blobs are left; the same command continues there",
    ]
    assert stat.S_IMODE(verification.checkpoint.stat().st_mode) == 0o600
    second = verification.run()
    assert second.verdict is Verdict.SOUND
    assert second.seconds == pytest.approx(4.0)
    assert second.notes == [
        "continuing an interrupted run; 4 of 6 blobs are left; --restart starts again",
    ]
    assert second.output == ["verified 6 blobs, 5.9 KiB, in 6.6s: 0 corrupt, 0 unreadable"]


def test_a_run_can_be_interrupted_again_and_again(verification: Verification) -> None:
    runs = [verification.run(stop_after=1.5) for _ in range(5)]
    assert {run.verdict for run in runs} == {Verdict.INTERRUPTED}
    last = verification.run()
    assert last.verdict is Verdict.SOUND
    assert last.seconds == pytest.approx(1.0)
    assert last.output[0].startswith("verified 6 blobs, ")


def test_a_finished_run_leaves_no_checkpoint_and_the_next_starts_again(
    verification: Verification,
) -> None:
    verification.run(stop_after=1.5)
    verification.run()
    assert list(verification.checkpoint.parent.iterdir()) == []
    again = verification.run()
    assert again.notes == []
    assert again.seconds == pytest.approx(6.0)


def test_a_corruption_found_before_the_interruption_is_still_reported(
    verification: Verification,
) -> None:
    digest = verification.corrupt(0)
    first = verification.run(stop_after=3.5)  # a corrupt blob is read twice
    second = verification.run()
    assert (first.verdict, second.verdict) == (Verdict.INTERRUPTED, Verdict.DAMAGED)
    assert len(first.output) == 1
    assert first.output[0].startswith(f"corrupt: {digest}: its 1,000 bytes on disk hash to sha256:")
    assert second.output[0] == first.output[0]
    assert second.output[1].endswith(": 1 corrupt, 0 unreadable")


def test_an_unreadable_path_found_before_the_interruption_is_still_reported(
    verification: Verification,
) -> None:
    place = verification.builder.version_path / "blobs" / "sha256" / "zz"
    place.symlink_to("/nowhere")
    first = verification.run(stop_after=1.5)
    place.unlink()
    second = verification.run()
    assert second.verdict is Verdict.DAMAGED
    assert first.output[0].startswith("unreadable: blobs/sha256/zz: a symbolic link")
    assert second.output[0] == first.output[0]


def test_a_path_that_stays_unreadable_is_reported_once(verification: Verification) -> None:
    place = verification.builder.version_path / "blobs" / "sha256" / "zz"
    place.symlink_to("/nowhere")
    verification.run(stop_after=1.5)
    second = verification.run()
    assert len(second.output) == 2
    assert second.output[1].endswith(": 0 corrupt, 1 unreadable")


def test_a_continued_run_does_not_read_blobs_before_its_position(
    verification: Verification,
) -> None:
    verification.run(stop_after=2.5)
    verification.corrupt(0)
    assert verification.run().verdict is Verdict.SOUND
    assert verification.run().verdict is Verdict.DAMAGED


def test_restart_starts_again(verification: Verification) -> None:
    verification.run(stop_after=4.5)
    again = verification.run(restart=True)
    assert again.notes == []
    assert again.seconds == pytest.approx(6.0)


def test_progress_is_saved_every_few_seconds(verification: Verification) -> None:
    saved = set()

    def look() -> None:
        saved.add(json.loads(verification.checkpoint.read_text())["tally"]["position"])

    verification.run(on_sleep=look)
    assert saved == {None, verification.digests[4]}


def test_a_request_to_stop_during_the_scan_ends_it(verification: Verification) -> None:
    stopped = verification.run(stop_after=0.0)
    assert stopped.verdict is Verdict.INTERRUPTED
    assert stopped.output == []
    assert not verification.checkpoint.exists()


def test_a_blob_that_vanishes_meanwhile_is_not_an_error(verification: Verification) -> None:
    path = verification.builder.blob_path(verification.digests[-1])
    run = verification.run(on_sleep=lambda: path.unlink(missing_ok=True))
    assert run.verdict is Verdict.SOUND
    assert run.output == [
        "verified 5 blobs, 4.9 KiB, in 5s: 0 corrupt, 0 unreadable, 1 vanished meanwhile"
    ]


def test_a_half_written_blob_is_read_again(verification: Verification) -> None:
    path = verification.builder.blob_path(verification.digests[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    run = verification.run(on_sleep=lambda: path.write_bytes(whole))
    assert run.verdict is Verdict.SOUND


def test_progress_is_logged_now_and_then(
    verification: Verification, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        verification.run(rate=BLOB_BYTES // 25)
    lines = [
        vars(record)["fields"]
        for record in caplog.records
        if record.getMessage() == "verifying blobs"
    ]
    # each blob is read at once and followed by 25 seconds of waiting
    assert [line["bytes"] for line in lines] == [3000, 5000]
    assert lines[0] == {
        "bytes": 3000,
        "total_bytes": 6000,
        "bytes_per_second": 60,
        "seconds_left": 50,
    }


# an unusable checkpoint


def notes_of(verification: Verification, repository: str | None = None) -> list[str]:
    """Return the notes of a whole run about the checkpoint that it finds."""
    run = verification.run(repository=repository)
    assert run.verdict is Verdict.SOUND
    return run.notes


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b"[]",
        b'{"version": 1}',
        b'{"version": "1"}',
        b'{"version":1,"root":"\xff","repository":null,"tally":{}}',
        b'{"version":1,"x":' + b"[" * 20_000,
        b'{"version":1,"root":"/","repository":null,"tally":{"blobs":-1}}',
        b'{"version":1,"root":"/","repository":null,"tally":{"position":"../etc"}}',
    ],
)
def test_a_damaged_checkpoint_is_ignored_with_one_line(
    verification: Verification, content: bytes
) -> None:
    verification.checkpoint.parent.mkdir()
    verification.checkpoint.write_bytes(content)
    (note,) = notes_of(verification)
    assert note.startswith(f"the checkpoint {verification.checkpoint} is damaged (")
    assert note.endswith("); starting again")
    assert "\n" not in note


def test_a_checkpoint_of_another_version_is_ignored(verification: Verification) -> None:
    verification.checkpoint.parent.mkdir()
    verification.checkpoint.write_text('{"version": 2, "position": []}')
    name = f"the checkpoint {verification.checkpoint}"
    assert notes_of(verification) == [
        f"{name} is of another version of this program; starting again"
    ]


def test_a_checkpoint_of_another_store_is_ignored(
    verification: Verification, tmp_path: Path
) -> None:
    other = StoreBuilder(tmp_path / "other")
    Verification(other, verification.checkpoint).run(stop_after=1.5)
    (note,) = notes_of(verification)
    assert note.endswith(f" is of another store, {other.root}; starting again")


def test_a_checkpoint_of_another_selection_is_ignored(verification: Verification) -> None:
    verification.builder.image("team/app", "1", [noise("layer", 3000)])
    verification.run(stop_after=1.5, repository="team/app")
    (note,) = notes_of(verification)
    assert note.endswith(" is of another selection, repository team/app; starting again")
    verification.run(stop_after=1.5)
    (note,) = notes_of(verification, "team/app")
    assert note.endswith(" is of another selection, the whole store; starting again")


def test_a_checkpoint_fits_its_store_under_another_path(
    verification: Verification, tmp_path: Path
) -> None:
    verification.run(stop_after=2.5)
    link = tmp_path / "link"
    link.symlink_to(verification.builder.root)
    verification.builder.root = link
    assert verification.run().seconds == pytest.approx(4.0)


def test_text_of_a_checkpoint_is_escaped(verification: Verification) -> None:
    verification.run(stop_after=1.5)
    content = json.loads(verification.checkpoint.read_text())
    evil = {"condition": "corrupt", "subject": "\x1b[31m", "size": 1, "detail": "\x1b]0;x\n"}
    content["tally"]["findings"] = [evil]
    verification.checkpoint.write_text(json.dumps(content))
    run = verification.run()
    assert run.verdict is Verdict.DAMAGED
    assert run.output[0] == "corrupt: \\x1b[31m: its 1 bytes on disk hash to \\x1b]0;x\\n"


# a checkpoint that cannot be written


@pytest.mark.parametrize("way", ["", "docker/registry/v2/blobs", "docker"])
def test_a_checkpoint_in_the_store_is_refused(
    builder: StoreBuilder, run: Callable[..., Outcome], way: str
) -> None:
    builder.image("team/app", "1")
    file = builder.root / way / "verify.json"
    problem = f"is in the store {builder.root}, which is never written to"
    fix = "give a file elsewhere"
    problem_line = f"{PROGRAM}: --checkpoint {file}: {problem}; {fix}\n"
    assert run("--checkpoint", file) == (2, "", problem_line)
    assert not file.exists()


def test_a_checkpoint_with_a_link_into_the_store_is_refused(
    builder: StoreBuilder, run: Callable[..., Outcome], tmp_path: Path
) -> None:
    builder.image("team/app", "1")
    moved = tmp_path / "disk"
    shutil.move(builder.root / "docker", moved)
    (builder.root / "docker").symlink_to(moved)
    (tmp_path / "link").symlink_to(moved / "registry")
    for file in (moved / "verify.json", tmp_path / "link" / "verify.json"):
        outcome = run("--checkpoint", file)
        assert outcome.exit_code == 2
        assert "is in the store" in outcome.complaints
        assert not file.exists()


@pytest.mark.parametrize("place", ["file/verify.json", "directory"])
def test_a_checkpoint_that_cannot_be_written_is_a_warning(
    builder: StoreBuilder, run: Callable[..., Outcome], tmp_path: Path, place: str
) -> None:
    builder.image("team/app", "1")
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    outcome = run("--checkpoint", tmp_path / place)
    assert outcome.exit_code == 0
    assert f"{PROGRAM}: the checkpoint {tmp_path / place} " in outcome.complaints
    assert outcome.complaints.count("give a file that can be written as --checkpoint") == 1
    assert (tmp_path / "directory").is_dir()


def test_an_interrupted_run_without_a_checkpoint_starts_again(
    verification: Verification, tmp_path: Path
) -> None:
    (tmp_path / "state").touch()
    stopped = verification.run(stop_after=2.5)
    assert stopped.verdict is Verdict.INTERRUPTED
    assert stopped.notes[-1] == "interrupted, 4 of 6 blobs are left; the next run starts again"


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"XDG_STATE_HOME": "/var/lib", "HOME": "/root"}, "/var/lib/{}"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/root"}, "/root/.local/state/{}"),
        ({"HOME": "/root"}, "/root/.local/state/{}"),
        ({}, None),
    ],
)
def test_the_checkpoint_is_in_the_xdg_state_directory(
    environment: dict[str, str], path: str | None
) -> None:
    name = "registry-storage-exporter/verify.json"
    assert default_path(environment) == (None if path is None else Path(path.format(name)))


def test_without_any_place_for_a_checkpoint_it_continues(verification: Verification) -> None:
    output, notes = io.StringIO(), list[str]()
    clock = FakeClock()
    verdict = verify(
        FilesystemStore(verification.builder.root),
        Task(None, None, None, restart=False),
        Environment(output, notes.append, clock, clock.sleep, lambda: False),
    )
    assert verdict is Verdict.SOUND
    assert len(notes) == 1
    assert notes[0].startswith("there is no place for a checkpoint")


# separate processes


def test_a_large_blob_is_read_in_bounded_memory(builder: StoreBuilder, checkpoint: Path) -> None:
    size = 96 * 1024 * 1024
    content = hashlib.sha256()
    for _ in range(size // CHUNK_BYTES):
        content.update(bytes(CHUNK_BYTES))
    path = builder.blob_path(f"sha256:{content.hexdigest()}")
    path.parent.mkdir(parents=True)
    path.touch()
    os.truncate(path, size)
    clock = FakeClock()
    task = Task(None, None, checkpoint, restart=False)
    environment = Environment(io.StringIO(), print, clock, clock.sleep, lambda: False)
    tracemalloc.start()
    try:
        assert verify(FilesystemStore(builder.root), task, environment) is Verdict.SOUND
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * CHUNK_BYTES


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_it_and_the_same_command_continues(
    builder: StoreBuilder, tmp_path: Path, number: signal.Signals
) -> None:
    blobs = [noise(str(each), 200_000) for each in range(12)]  # takes seconds, for a slow machine
    damaged = min(builder.unlinked_blob(blob) for blob in blobs)
    flip_a_byte(builder.blob_path(damaged))
    arguments = ("verify", "--storage.root", builder.root, "--max-rate")
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(
        command_line(*arguments, "300kB"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=environment_of(environment),
    ) as process:
        assert process.stdout is not None
        found = process.stdout.readline()
        process.send_signal(number)
        _, complaints = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 130
    assert found.startswith(f"corrupt: {damaged}: ")
    assert complaints.endswith("of 12 blobs are left; the same command continues there\n")
    assert (tmp_path / PROGRAM / "verify.json").is_file()
    done = run_exporter(*arguments, "unlimited", environment=environment)
    assert done.returncode == 1
    assert "continuing an interrupted run; " in done.stderr
    assert done.stdout.startswith(found)
    assert "\nverified 12 blobs, " in done.stdout
    assert not (tmp_path / PROGRAM / "verify.json").exists()


def test_a_closed_output_does_not_make_the_store_sound(
    builder: StoreBuilder, checkpoint: Path
) -> None:
    for number in range(2000):
        path = builder.blob_path(f"blake3:{number:064x}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    flags = ("--storage.root", builder.root, "--checkpoint", checkpoint)
    assert run_until_first_line("verify", *flags) == (b"", 1)
    assert checkpoint.is_file()


def test_a_terminal_shows_the_bytes_and_the_output_stays_clean(
    builder: StoreBuilder, checkpoint: Path
) -> None:
    digest = builder.unlinked_blob(noise("blob", 200_000))
    flip_a_byte(builder.blob_path(digest))
    flags = ("--storage.root", builder.root, "--checkpoint", checkpoint, "--max-rate", "500kB")
    exit_code, written, shown = run_on_terminal("verify", *flags)
    assert exit_code == 1
    assert written.startswith(f"corrupt: {digest}: ")
    assert len(written.splitlines()) == 2
    assert "\x1b" not in written
    assert "Verifying" in shown
    assert "/195.3 KiB" in shown
    assert "KiB/s" in shown
    assert "corrupt" not in shown


def test_serve_does_not_import_it() -> None:
    code = (
        "import sys, exporter.serve.run, exporter.cli\n"
        "sys.exit(any(each.startswith('exporter.verify') for each in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
