"""One scan beside the programs that an operator would run instead: whole processes, in turn."""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.measure import ProgramError, first_scan_environment, run
from benchmarks.setting import Bench, say
from benchmarks.table import Findings, Median, seconds_text

_COLD_ROUNDS = 3  # each takes long
_COLLECT = "collect"
_DU = "du -s"
_COLLECTOR = "garbage-collect --dry-run"
_COLLECTOR_PROGRAMS = ("docker-registry", "registry")
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_PAGES_AND_INODES = "3\n"

Commands = Mapping[str, Sequence[str]]


def measure_warm(bench: Bench) -> Findings:
    """Compare with ``du`` and the registry's own collector, with a warm cache."""
    root = bench.root
    with bench.scratch() as scratch:
        commands = {**_commands(root), **_collector(root, scratch)}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in bench.numbers():
            for name, took in _round(commands, scratch).items():
                if number:
                    seconds[name].append(took)
        _check_bytes((scratch / _COLLECT).read_text(), root)
    medians = {name: median(each) for name, each in seconds.items()}
    names = {"du": _DU, "collector": _COLLECTOR}
    missing = {
        "du": "du is not installed",
        "collector": f"neither {' nor '.join(_COLLECTOR_PROGRAMS)} is installed",
    }
    return Findings(
        {key: medians[_COLLECT] / medians[name] for key, name in names.items() if name in medians},
        {key: missing[key] for key, name in names.items() if name not in medians},
        _for_orientation(medians, "M"),
    )


def measure_cold(bench: Bench) -> Findings:
    """Compare with ``du``, with a cold cache."""
    if not bench.is_cold:
        return Findings(unmeasured={"cold": "--no-cold was given"})
    if shutil.which("du") is None:
        return Findings(unmeasured={"cold": "du is not installed"})
    if not _drop_caches():
        return Findings(unmeasured={"cold": "needs root"})
    rounds = cold_rounds_of(bench)
    commands, root = _commands(bench.root), bench.root
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with bench.scratch() as scratch:
        for number in bench.numbers(rounds):
            for name, command in commands.items():
                _drop_caches()
                took = _round({name: command}, scratch)[name]
                if number:
                    seconds[name].append(took)
        _check_bytes((scratch / _COLLECT).read_text(), root)
    medians = {name: median(each) for name, each in seconds.items()}
    return Findings(
        {"cold": medians[_COLLECT] / medians[_DU]}, medians=_for_orientation(medians, "M, cold")
    )


def cold_rounds_of(bench: Bench) -> int:
    """Return how many rounds are measured with a cold cache."""
    return min(bench.rounds, _COLD_ROUNDS)


def _commands(root: Path) -> Commands:
    collect = (sys.executable, "-m", "exporter", "collect", "--storage.root", str(root))
    commands: dict[str, Sequence[str]] = {_COLLECT: collect}
    if shutil.which("du"):
        commands[_DU] = ("du", "-s", str(root))
    return commands


def _collector(root: Path, scratch: Path) -> Commands:
    """Return the command of the registry's own collector, if it is installed."""
    program = next(filter(shutil.which, _COLLECTOR_PROGRAMS), None)
    if program is None:
        return {}
    configuration = scratch / "garbage-collect.yml"
    configuration.write_text(
        'version: 0.1\nlog: {level: warn}\nhttp: {addr: "127.0.0.1:0"}\n'
        f"storage: {{filesystem: {{rootdirectory: {json.dumps(str(root))}}}}}\n"
    )
    return {_COLLECTOR: (program, "garbage-collect", "--dry-run", str(configuration))}


def _round(commands: Commands, scratch: Path) -> dict[str, float]:
    """Run all programs once, with each one's output in a file of its name; return the seconds."""
    seconds = {}
    for name, command in commands.items():
        state = scratch / "state"
        state.mkdir()
        environment = first_scan_environment(state)
        seconds[name] = run(command, scratch / name, scratch / "errors", environment)
        shutil.rmtree(state)
        say(f"{name} {seconds_text(seconds[name])}")
    return seconds


def _drop_caches() -> bool:
    """Drop the kernel's caches; return whether this user may."""
    os.sync()
    try:
        _DROP_CACHES.write_text(_PAGES_AND_INODES)
    except OSError:
        return False
    return True


def _check_bytes(metrics: str, root: Path) -> None:
    """Check the bytes that a scan found: a wrong scan may not count as a quick one.

    Raises:
        ProgramError: they are not those on disk.

    """
    lines = metrics.splitlines()
    values = [line.split()[-1] for line in lines if line.startswith("docker_registry_blob_bytes{")]
    found = int(sum(float(value) for value in values))
    on_disk = sum(
        (Path(directory) / "data").stat().st_size
        for directory, _, files in os.walk(root / "docker" / "registry" / "v2" / "blobs")
        if "data" in files
    )
    if found != on_disk:
        raise ProgramError(f"collect reports {found:,} bytes of blobs, but {on_disk:,} are on disk")


def _for_orientation(medians: Mapping[str, float], on: str) -> list[Median]:
    return [Median(f"`{name}` ({on})", seconds_text(value)) for name, value in medians.items()]
