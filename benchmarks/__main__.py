"""Compare one scan of the exporter with ``du`` and with the registry's own garbage collector.

All programs run in turn, round after round in one sitting, on the same store with a warm cache:
times on a shared machine drift, their ratios much less. The first round is not measured.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ProgramError, Run, Summary, memory_floor, run, summarise
from benchmarks.store import MARKER, Plan, store_directory

_COLLECT = "exporter collect"
_DU = "du -s blobs"
_COLLECTOR = "garbage-collect"
_COLLECTOR_PROGRAMS = ("docker-registry", "registry")

MAX_TIME_RATIO = 1.0
"""Goal: one scan takes no longer than the registry's own collector takes to look."""

MAX_PEAK_BYTES = 250 * 10**6
"""Goal: one scan fits beside everything else on a small server."""

_MIB = 1024 * 1024
_HEADINGS = ("program", "median s", "min s", "peak MiB", "/ du", "/ collector")


@dataclass(frozen=True, slots=True)
class Program:
    """One program of the comparison.

    Attributes:
        name: as the table says it.
        command: what is run.

    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing the exporter must reach.

    Attributes:
        text: the goal, and what was measured.
        met: whether it is; None where it could not be measured.

    """

    text: str
    met: bool | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = _parse(arguments)
    directory = options.directory.absolute()
    # Made in a process of its own: this one must stay small (see memory_floor).
    command = [sys.executable, "-m", "benchmarks.store", "--directory", str(directory)]
    if subprocess.run([*command, "--scale", str(options.scale)], check=False).returncode:
        return 1
    home = store_directory(directory, options.scale)
    try:
        goals = _benchmark(home, options)
    except (ProgramError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 1 if any(goal.met is False for goal in goals) else 0


def _benchmark(home: Path, options: argparse.Namespace) -> Sequence[Goal]:
    """Measure, print and write the comparison on the store in ``home``."""
    root = home / "registry"
    programs, skipped = _programs(root, home)
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        summaries = _compare(programs, options.rounds, Path(scratch))
        said = _said_bytes((Path(scratch) / "collect.prom").read_text())
    rows = _rows(summaries, skipped)
    goals = [*_goals(summaries), _check_bytes(said, _bytes_on_disk(root))]
    about = _about(options.scale, options.rounds, home)
    _show(about, rows, goals)
    if options.markdown is not None:
        options.markdown.parent.mkdir(parents=True, exist_ok=True)
        options.markdown.write_text(_markdown(about, rows, goals), encoding="utf-8")
    return goals


def _programs(root: Path, home: Path) -> tuple[list[Program], dict[str, str]]:
    """List what can be run here, and why the rest cannot."""
    collect = (sys.executable, "-m", "exporter", "collect", "--storage.root", str(root))
    programs = [Program(_COLLECT, collect)]
    skipped = {}
    blobs = root / "docker" / "registry" / "v2" / "blobs"
    if shutil.which("du"):
        programs.append(Program(_DU, ("du", "-s", "--apparent-size", str(blobs))))
    else:
        skipped[_DU] = "du is not installed"
    collector = next(filter(shutil.which, _COLLECTOR_PROGRAMS), None)
    if collector is None:
        skipped[_COLLECTOR] = f"neither {' nor '.join(_COLLECTOR_PROGRAMS)} is installed"
    else:
        configuration = home / "garbage-collect.yml"
        configuration.write_text(
            'version: 0.1\nlog: {level: warn}\nhttp: {addr: "127.0.0.1:0"}\n'
            f"storage: {{filesystem: {{rootdirectory: {json.dumps(str(root))}}}}}\n"
        )
        command = (collector, "garbage-collect", "--dry-run", str(configuration))
        programs.append(Program(_COLLECTOR, command))
    return programs, skipped


def _compare(programs: Sequence[Program], rounds: int, scratch: Path) -> dict[str, Summary]:
    """Run all programs in turn; leaves the exporter's last metrics in ``collect.prom``."""
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    for number in range(rounds + 1):
        for program in programs:
            name = "collect.prom" if program.name == _COLLECT else "output"
            with tempfile.TemporaryDirectory(dir=scratch) as state:
                environment = _environment(state)
                one = run(program.command, scratch / name, scratch / "errors", environment)
            label = f"round {number}" if number else "warming up"
            print(f"{label}: {program.name} {one.seconds:.2f} s", flush=True)
            if number:
                runs[program.name].append(one)
    return {name: summarise(measured) for name, measured in runs.items()}


def _environment(state: str) -> Mapping[str, str]:
    """Give the exporter an empty place for its kept inventory: each round is a first scan."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return kept | {"XDG_STATE_HOME": state}


def _said_bytes(metrics: str) -> int:
    """Add up what the exporter said of the blobs, all states."""
    lines = metrics.splitlines()
    values = [line.split()[-1] for line in lines if line.startswith("docker_registry_blob_bytes{")]
    return int(sum(float(value) for value in values))


def _bytes_on_disk(root: Path) -> int:
    blobs = root / "docker" / "registry" / "v2" / "blobs"
    return sum(
        (Path(directory) / "data").stat().st_size
        for directory, _, files in os.walk(blobs)
        if "data" in files
    )


def _goals(summaries: Mapping[str, Summary]) -> list[Goal]:
    collect = summaries[_COLLECT]
    if _COLLECTOR in summaries:
        ratio = collect.median_seconds / summaries[_COLLECTOR].median_seconds
        met = ratio <= MAX_TIME_RATIO
        measured = f"{ratio:.2f}"
    else:
        met, measured = None, "not measured"
    peak = collect.peak_bytes / 10**6
    return [
        Goal(f"time / {_COLLECTOR} at most {MAX_TIME_RATIO:.1f}: {measured}", met),
        Goal(
            f"peak memory below {MAX_PEAK_BYTES // 10**6} MB: {peak:.0f} MB",
            collect.peak_bytes < MAX_PEAK_BYTES,
        ),
    ]


def _check_bytes(said: int, on_disk: int) -> Goal:
    text = f"docker_registry_blob_bytes summed, {said:,}, equals the files' sizes, {on_disk:,}"
    return Goal(text, said == on_disk)


def _about(scale: float, rounds: int, home: Path) -> str:
    made, plan, system = json.loads((home / MARKER).read_text()), Plan.at(scale), os.uname()
    return (
        f"{made['blobs']:,} blobs, {plan.manifests:,} manifests, {plan.tags:,} tags, "
        f"{plan.repositories:,} repositories; {rounds} rounds, warm cache; "
        f"Python {sys.version.split()[0]}, {system.sysname} {system.release.split('-')[0]}, "
        f"{os.cpu_count()} cores."
    )


def _rows(summaries: Mapping[str, Summary], skipped: Mapping[str, str]) -> list[list[str]]:
    floor = memory_floor()
    rows = []
    for name, summary in summaries.items():
        # The floor is this process's peak, so it may have grown a little since the run.
        small = summary.peak_bytes <= floor
        peak = f"{'≤ ' if small else ''}{summary.peak_bytes / _MIB:.0f}"
        row = [name, f"{summary.median_seconds:.2f}", f"{summary.min_seconds:.2f}", peak]
        for other in (_DU, _COLLECTOR):
            base = summaries.get(other)
            row.append(f"{summary.median_seconds / base.median_seconds:.2f}" if base else "-")
        rows.append(row)
    rows += [[name, f"skipped: {why}", "-", "-", "-", "-"] for name, why in skipped.items()]
    return rows


def _verdict(goal: Goal) -> str:
    return "not measured" if goal.met is None else "met" if goal.met else "missed"


def _show(about: str, rows: Sequence[Sequence[str]], goals: Sequence[Goal]) -> None:
    from rich.console import Console  # noqa: PLC0415 - imported early it would raise the floor
    from rich.table import Table  # noqa: PLC0415

    console = Console()
    table = Table(*_HEADINGS)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(about, highlight=False)
    for goal in goals:
        console.print(f"{_verdict(goal)}: {goal.text}", highlight=False, markup=False)


def _markdown(about: str, rows: Sequence[Sequence[str]], goals: Sequence[Goal]) -> str:
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "|---|" + "---:|" * (len(_HEADINGS) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    verdicts = [f"- {goal.text}: **{_verdict(goal)}**" for goal in goals]
    return "\n".join([about, "", *lines, "", *verdicts, ""])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=_positive, default=1.0, help="size of the store")
    parser.add_argument("--rounds", type=int, choices=range(1, 101), default=5, metavar="1-100")
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(".bench"),
        help="where stores are kept from run to run (default: %(default)s)",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0, such as 0.1 or 10")
    return value


if __name__ == "__main__":
    sys.exit(main())
