"""Measure how long the alert rules take on a Prometheus with a day of samples.

``python -m benchmarks.rules``: a day of scrapes of one exporter is written into blocks, with only
the metrics that the rules read. A real Prometheus evaluates the shipped rules on them, and its own
metrics show how long each group took.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from alerts.rules import RULES, RuleFile, read_rules
from demo.ports import HOST, WantedPort, usable_port
from demo.sample import build_sample, write_captain_config
from demo.supervisor import Program, Supervisor

MAX_SECONDS = 1.0
"""Goal for one evaluation of all groups together."""

_JOB = 'job="registry-storage",instance="benchmark:10996"'
_DAY = 86400
_BLOCK = 2 * 3600
_AHEAD = 900  # the rules query the current time, also while they are measured
_PER_REPOSITORY = ("docker_registry_repository_exclusive_bytes", "docker_registry_repository_tags")
_READY_SECONDS = 120.0
_DURATION = "prometheus_rule_group_last_duration_seconds"
_RECORDED = "prometheus_rule_group_last_evaluation_samples"
_EVALUATIONS = "prometheus_rule_group_iterations_total"
_INTERVAL_SECONDS = 5


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--repositories", type=int, default=1000)
    parser.add_argument("--scrape-interval", type=int, default=15, help="in seconds")
    parser.add_argument("--rounds", type=int, default=6, help="evaluations to measure")
    options = parser.parse_args()
    missing = [each for each in ("prometheus", "promtool") if shutil.which(each) is None]
    if missing:
        print(f"{' and '.join(missing)}: not installed; on Debian: apt-get install prometheus")
        return 1
    with tempfile.TemporaryDirectory(prefix="rules-") as directory:
        home = Path(directory)
        samples = _fill(home, options.repositories, options.scrape_interval)
        print(
            f"{options.repositories} repositories, a day of scrapes each"
            f" {options.scrape_interval} s: {samples:,} samples"
        )
        rounds, recorded = _measure(home, options.rounds)
    if recorded < options.repositories:
        print(f"the rules recorded only {recorded} series: they did not see the repositories")
        return 1
    for group in rounds[0]:
        print(f"{group}: {1000 * median(each[group] for each in rounds):.0f} ms")
    slowest = max(sum(each.values()) for each in rounds)
    verdict = "met" if slowest < MAX_SECONDS else "missed"
    print(f"{verdict}: slowest evaluation of all groups {slowest:.2f} s, goal {MAX_SECONDS:.0f} s")
    return 0 if slowest < MAX_SECONDS else 1


def _fill(home: Path, repositories: int, interval: int) -> int:
    """Write a day of samples into blocks, two hours at a time; return their number."""
    now = int(time.time())
    steady = list(_steady_series(home / "sample", read_rules()))
    growing = [_Growing(number) for number in range(repositories)]
    written = 0
    start = (now - _DAY - interval) // _BLOCK * _BLOCK
    for begin in range(start, now + _AHEAD, _BLOCK):
        first = max(begin, now - _DAY - interval)
        times = range(first, min(begin + _BLOCK, now + _AHEAD), interval)
        stamps = [f" {each}\n" for each in times]
        path = home / "samples.om"
        with path.open("w") as file:
            for series, value in steady:
                file.write("".join(f"{series} {value}{stamp}" for stamp in stamps))
            for each in growing:
                file.writelines(each.lines(stamps))
            file.write("# EOF\n")
        written += len(stamps) * (len(steady) + len(_PER_REPOSITORY) * repositories)
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        subprocess.run([*command, path, home / "data"], check=True, stdout=subprocess.DEVNULL)
        path.unlink()
        if sys.stderr.isatty():
            print(f"\r{100 * (begin - start) // _DAY} %", end="\r", file=sys.stderr, flush=True)
    return written


class _Growing:
    """A repository with a push now and then."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)  # noqa: S311 - the same repositories each time
        self._labels = f'{{{_JOB},repository="team/app-{number}"}}'
        self._values = [self._random.randrange(10**6, 10**10), 5]

    def lines(self, stamps: list[str]) -> Iterator[str]:
        """Yield a line for each metric and time; a push comes every few hours."""
        push = self._random.randrange(3 * len(stamps))
        for place, name in enumerate(_PER_REPOSITORY):
            before = self._values[place]
            self._values[place] += self._random.randrange(1, 10**7) if place == 0 else 1
            for number, stamp in enumerate(stamps):
                value = before if number < push else self._values[place]
                yield f"{name}{self._labels} {value}{stamp}"
            if push >= len(stamps):
                self._values[place] = before


def _steady_series(directory: Path, rules: RuleFile) -> Iterator[tuple[str, float]]:
    """Yield the series that the rules read, but for repositories', from the sample store."""
    build_sample(directory / "registry", time.time())
    write_captain_config(directory / "captain", time.time())
    command = [sys.executable, "-m", "exporter", "collect", "--storage.limit", "1GiB"]
    command += ["--storage.root", str(directory / "registry")]
    command += ["--caprover.config-dir", str(directory / "captain")]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expressions = " ".join([*rules.recordings().values(), *(each.expr for each in rules.alerts())])
    read = set(re.findall(r"[a-z_]+", expressions)) - set(_PER_REPOSITORY)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in read:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                yield f"{sample.name}{{{_JOB}{',' * bool(labels)}{labels}}}", sample.value
    yield f"up{{{_JOB}}}", 1
    yield f"process_start_time_seconds{{{_JOB}}}", time.time()


def _measure(home: Path, rounds: int) -> tuple[list[dict[str, float]], int]:
    """Run Prometheus on the blocks.

    Return the seconds of each group for each evaluation, and how many series one evaluation
    recorded.
    """
    port = usable_port(WantedPort("Prometheus", "", 0))
    settings = {
        "global": {"evaluation_interval": f"{_INTERVAL_SECONDS}s"},
        "rule_files": [str(RULES)],
    }
    (home / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = (
        str(shutil.which("prometheus")),
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--web.listen-address={HOST}:{port}",
    )
    program = Program("Prometheus", command, home / "log")
    url = f"http://{HOST}:{port}/metrics"
    seen: list[dict[str, float]] = []
    recorded = 0
    with Supervisor() as supervisor:
        supervisor.start(program)

        def enough() -> bool:
            seconds = _of_groups(_DURATION, url)
            if seconds is not None and (not seen or seconds != seen[-1]):
                seen.append(seconds)
            return len(seen) > rounds

        patience = _READY_SECONDS + 2 * rounds * _INTERVAL_SECONDS
        supervisor.wait_for(enough, program, patience)
        recorded = int(sum((_of_groups(_RECORDED, url) or {}).values()))
    if len(seen) <= rounds:
        sys.exit(f"Prometheus evaluated only {len(seen)} times:\n{(home / 'log').read_text()}")
    return seen[1:], recorded


def _of_groups(metric: str, url: str) -> dict[str, float] | None:
    """Return a metric of each group, or None until all groups have been evaluated."""
    try:
        page = httpx.get(url, trust_env=False, timeout=5).raise_for_status().text
    except httpx.HTTPError:
        return None
    values = {
        (sample.name, sample.labels["rule_group"].partition(";")[2]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name in {metric, _EVALUATIONS}
    }
    groups = [each.name for each in read_rules().groups]
    if not all(values.get((_EVALUATIONS, group)) for group in groups):
        return None
    return {group: values[metric, group] for group in groups}


if __name__ == "__main__":
    sys.exit(main())
