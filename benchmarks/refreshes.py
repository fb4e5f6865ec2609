"""Cost of a refresh compared with one that reads everything, and cost of waiting for the next.

Refreshes are those of ``serve``, in this process: scan, analysis, and rendering of the page.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import sleep

from benchmarks.internals import Cost, Refreshing
from benchmarks.measure import ProgramError, cpu_seconds
from benchmarks.pushes import pushed, repositories_of, retagged
from benchmarks.serve_process import Serve
from benchmarks.setting import Bench, say
from benchmarks.table import Findings, Median, seconds_text
from exporter.settings.model import ScanSettings

_RETAGGED_SHARE = 0.01
_FULL = "full"
_FOLLOW_UP = "follow-up"
_SAID = {
    _FULL: "full refresh",
    "unchanged": "refresh with nothing changed",
    "push": "refresh after one push, by the sweep",
    "event": "refresh after one push, woken by its events",
    _FOLLOW_UP: "the shorter refresh that follows it",
    "retag": "refresh after 1 % of the tags changed",
}
_UNWATCHED = "the store cannot be watched here"


def measure_refreshes(bench: Bench) -> Findings:
    """Compare refreshes after various changes with one that reads everything."""
    root = bench.root
    rounds: list[dict[str, float]] = []
    with ExitStack() as stack:
        refreshing = stack.enter_context(Refreshing(root, watch=True))
        refreshing.sweep()
        for number in bench.numbers():
            # pushed images stay until the end: to remove them would be a change, too
            costs = _round(root, refreshing, number, stack)
            for name, cost in costs.items():
                say(f"{name} {seconds_text(cost.seconds)}")
            if number:
                rounds.append({name: cost.seconds for name, cost in costs.items()})
    medians = {name: median(each[name] for each in rounds) for name in _common(rounds)}
    full = medians[_FULL]
    named = ("unchanged", "push", "event", "retag")
    return Findings(
        {name: medians[name] / full for name in named if name in medians},
        {name: _UNWATCHED for name in named if name not in medians},
        [Median(f"{_SAID[name]} (M)", seconds_text(took)) for name, took in medians.items()],
    )


def _common(rounds: Sequence[dict[str, float]]) -> list[str]:
    return [name for name in rounds[0] if all(name in each for each in rounds)]


def _round(root: Path, refreshing: Refreshing, number: int, pushes: ExitStack) -> dict[str, Cost]:
    costs = {_FULL: _full(root)}
    refreshing.settle()
    before = refreshing.published
    costs["unchanged"] = refreshing.sweep()
    if refreshing.published is not before:
        raise ProgramError(
            f"{root}: another program changed it while it was measured; run again without it"
        )
    repositories = repositories_of(root)
    repository = repositories[number % len(repositories)]
    pushes.enter_context(pushed(root, repository, f"pushed-{number}"))
    costs["push"] = refreshing.sweep()
    refreshing.settle()
    pushes.enter_context(pushed(root, repository, f"pushed-too-{number}"))
    before = refreshing.published
    woken = refreshing.woken()
    if refreshing.published is not before:
        costs["event"] = woken
        costs[_FOLLOW_UP] = refreshing.woken()  # reads directories whose watches have just begun
    refreshing.settle()
    with retagged(root, _RETAGGED_SHARE):
        costs["retag"] = refreshing.sweep()
    return costs


def _full(root: Path) -> Cost:
    with Refreshing(root) as fresh:
        return fresh.sweep()


def measure_watching(bench: Bench) -> Findings:
    """Compare the processor time of an idle, watching ``serve`` with that of a full refresh."""
    root = bench.root
    intervals = ScanSettings().interval / bench.watch_seconds
    watching, full = [], []
    flags = ("--scan.interval", "1h", "--scan.census-interval", "0")
    with bench.scratch() as state, Serve(root, state, *flags) as serve:
        serve.wait_until_ready()
        serve.page()  # from now on ``serve`` renders what it publishes
        serve.wait_until_quiet()
        for number in bench.numbers():
            cost = _full(root)
            before = cpu_seconds(serve.pid)
            sleep(bench.watch_seconds)
            took = intervals * (cpu_seconds(serve.pid) - before)
            say(f"between two sweeps {seconds_text(took)}")
            if number:
                watching.append(took)
                full.append(cost.cpu_seconds)
    return Findings(
        {"watching": median(a / b for a, b in zip(watching, full, strict=True))},
        medians=[
            Median("full refresh, processor time (M)", seconds_text(median(full))),
            Median(
                "`serve` between two sweeps, processor time (M)", seconds_text(median(watching))
            ),
        ],
    )
