"""Readers of foreign input keep their promises for any bytes.

``make fuzz`` runs this for ten minutes, or FUZZ_SECONDS, with other inputs each time. Otherwise it
takes about twenty seconds with the corpus, and uses the same inputs each time.
"""

import os
import random
import re
from pathlib import Path

import pytest

from tests.fuzz_api import API, HEADERS
from tests.fuzz_cache import CACHE
from tests.fuzz_caprover import CAPROVER
from tests.fuzz_configuration import CONFIGURATIONS, OPTIONS, SECRETS
from tests.fuzz_storage import LINKS, MANIFESTS
from tests.fuzzing import (
    EndlessError,
    FindingError,
    Limit,
    Target,
    corpus_files,
    fuzz,
    limited,
    plain,
)
from tests.reliability import Record

pytestmark = pytest.mark.fuzz

TARGETS = (MANIFESTS, LINKS, CAPROVER, HEADERS, API, CONFIGURATIONS, OPTIONS, SECRETS, CACHE)
NAMES = [target.name for target in TARGETS]

_SECONDS = "FUZZ_SECONDS"
LONG_SECONDS = 600.0
SHORT_INPUTS = {
    "manifests": 2800,
    "links": 1700,
    "caprover": 5000,
    "headers": 600,
    "api": 340,
    "configurations": 120,
    "options": 140,
    "secrets": 14,
    "cache": 7500,
}
"""Each takes about two seconds."""
MEMORY_BYTES, MEMORY_PER_BYTE = 8 * 2**20, 200
RESET_PEAK = "5"  # see clear_refs in proc(5)


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_corpus_is_read_with_little_memory(target: Target, tmp_path: Path) -> None:
    with target.checking(tmp_path) as check:
        check(b"")  # loads modules and fills caches
        for path in corpus_files(target.name):
            content = path.read_bytes()
            before = resident_bytes("VmRSS")
            Path("/proc/self/clear_refs").write_text(RESET_PEAK)
            with limited():
                check(content)
            grown = resident_bytes("VmHWM") - before
            assert grown <= MEMORY_BYTES + MEMORY_PER_BYTE * len(content), path.name


def resident_bytes(field: str) -> int:
    """Return the current or the peak memory of this process."""
    (kibibytes,) = re.findall(
        rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE
    )
    return int(kibibytes) * 1024


@pytest.mark.reliability("fuzz")
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_every_input_keeps_the_promise(
    target: Target,
    tmp_path: Path,
    at_length: bool,
    record: Record,
    capsys: pytest.CaptureFixture[str],
) -> None:
    is_long = at_length or _SECONDS in os.environ
    share = float(os.environ.get(_SECONDS, LONG_SECONDS)) / len(TARGETS)
    limit = Limit(seconds=share) if is_long else Limit(inputs=SHORT_INPUTS[target.name])
    first_seed = random.randrange(2**32) if is_long else 0  # noqa: S311 - not a secret

    def report(progress: str) -> None:
        if is_long:
            with capsys.disabled():
                print(f"\n{progress}", end="", flush=True)  # noqa: T201 - shows the progress

    count = fuzz(target, tmp_path, limit, first_seed, report)
    assert count > 0 if is_long else count == limit.inputs
    record(f"{target.name}: {target.promise}", f"{count:,} inputs in {share:.0f} s")


# The fuzzing itself


def broken_by(marker: bytes) -> Target:
    def check(content: bytes) -> None:
        assert marker not in content

    return Target("manifests", "", lambda _: plain(check), MANIFESTS.made_up)


def test_an_input_that_breaks_a_promise_is_found_shrunk_and_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzzing.FINDINGS", tmp_path / "findings")
    with pytest.raises(FindingError, match=r"AssertionError[^$]*with 6 bytes: b'config'") as caught:
        fuzz(broken_by(b"config"), tmp_path, Limit(inputs=100_000), 0, lambda _: None)
    (saved,) = (tmp_path / "findings" / "manifests").iterdir()
    assert saved.read_bytes() == b"config"
    assert str(saved) in str(caught.value)


def test_the_same_seed_generates_the_same_inputs(tmp_path: Path) -> None:
    def inputs(first_seed: int) -> list[bytes]:
        seen: list[bytes] = []

        def check(content: bytes) -> None:
            seen.append(content)

        target = Target("links", "", lambda _: plain(check), LINKS.made_up)
        assert fuzz(target, tmp_path, Limit(inputs=300), first_seed, lambda _: None) == 300
        return seen

    assert inputs(1) == inputs(1) != inputs(2)


def test_an_endless_reader_is_interrupted() -> None:
    with pytest.raises(EndlessError, match=r"more than 0\.05 s of the processor, in .*endless"):
        endless()


def endless() -> None:
    with limited(0.05):
        while True:
            pass
