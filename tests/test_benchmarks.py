"""The benchmark measures every row of its table and leaves its store unchanged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.pushes import pushed, repositories_of, retagged
from benchmarks.store import prepare
from benchmarks.table import TARGETS, Findings, Target, row_of
from tests.exporter_process import REPOSITORY, environment_of

SCALE = 0.002
TINY = ("--scale", str(SCALE), "--rounds", "1", "--no-warm-up")


def run_benchmarks(directory: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--directory", str(directory), *TINY, *flags],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=REPOSITORY,
        env=environment_of(),
    )


def tree(root: Path) -> dict[str, bytes | None]:
    """Return the content of each file, and None for each directory, by path."""
    found: dict[str, bytes | None] = {}
    for directory, _, files in os.walk(root):
        found[directory] = None
        found.update({f"{directory}/{name}": Path(directory, name).read_bytes() for name in files})
    return found


def cells_of(page: str, target: Target) -> list[str]:
    begin = f"| {target.on} | {target.figure} |"
    (line,) = [each for each in page.splitlines() if each.startswith(begin)]
    return [each.strip() for each in line.strip("|").split("|")]


@pytest.mark.slow
def test_a_run_measures_or_explains_every_row_and_leaves_the_store_unchanged(
    tmp_path: Path,
) -> None:
    root = prepare(tmp_path, SCALE)
    before = tree(root)
    page = tmp_path / "docs" / "performance.md"
    quick = ("--large", "--no-cold", "--scrapes", "20", "--watch-seconds", "0.2")
    short = (*quick, "--rounds", "1")
    done = run_benchmarks(tmp_path, *short, "--page", str(page))
    assert done.stderr == ""
    assert tree(root) == before
    verdicts = set()
    for target in TARGETS:
        *_, measured, verdict = cells_of(page.read_text(), target)
        verdicts.add(verdict)
        reason = measured.removeprefix("not measured: ")
        if verdict == "not measured":
            assert reason not in {"", measured}
        else:
            value = float(measured.removesuffix(target.unit))
            assert (value <= target.goal) == (verdict == "met")
    assert done.returncode == ("missed" in verdicts)
    assert "not measured: --no-cold was given" in page.read_text()


def test_a_partial_run_prints_its_rows_and_writes_no_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    done = run_benchmarks(tmp_path, "--only", "du", "--page", str(page))
    assert done.stderr == ""
    assert "M: `collect` / `du -s`: " in done.stdout
    assert "garbage-collect --dry-run`:" not in done.stdout.split("\n\n")[-1]
    assert not page.exists()


def test_an_unknown_row_is_a_usage_error(tmp_path: Path) -> None:
    done = run_benchmarks(tmp_path, "--only", "everything")
    assert done.returncode == 2
    assert "'everything'" in done.stderr


def test_simulated_pushes_and_retags_are_undone(tmp_path: Path) -> None:
    root = prepare(tmp_path, 5 * SCALE)
    before = tree(root)
    repository = repositories_of(root)[0]
    with pushed(root, repository, "new"), pushed(root, repository, "newer"):
        assert len(tree(root)) > len(before)
    assert tree(root) == before
    with retagged(root, 0.1) as changed:
        now = tree(root)
        different = {path for path in before if now[path] != before[path]}
        assert len(different) == changed > 10
        assert all(path.endswith("/current/link") for path in different)
        assert len({path.split("/_manifests/")[0] for path in different}) > 3
    assert tree(root) == before


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.1, "met"), (0.1001, "missed"), (None, "not measured")]
)
def test_a_goal_is_met_up_to_and_including_its_value(value: float | None, verdict: str) -> None:
    target = Target("du", "M", "time", 0.1)
    measured = {} if value is None else {"du": value}
    row = row_of(target, Findings(measured, {"du": "du is not installed"}))
    assert row.verdict == verdict
    assert (row.measured == "not measured: du is not installed") == (value is None)


def test_every_row_has_a_unique_name() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)
    assert len({(target.on, target.figure) for target in TARGETS}) == len(TARGETS)
