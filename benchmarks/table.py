"""The figures that are measured, their goals, and their verdicts. Pure.

The goals come from the time of the system calls and of a prototype. Do not move a goal to the
result of a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that the exporter should reach.

    Attributes:
        name: for ``--only``.
        on: the store or page that is measured.
        figure: its description.
        goal: the largest value that meets it.
        best: the best conceivable value; None if unknown.
        unit: of all values; empty for a ratio.

    """

    name: str
    on: str
    figure: str
    goal: float
    best: float | None = None
    unit: str = ""

    def text(self, value: float | None) -> str:
        """Format a value with three significant digits."""
        if value is None:
            return "-"
        return f"{value:.3g} {self.unit}".rstrip()


_MANY = "20,000 repositories"

TARGETS = (
    Target("collector", "M", "`collect` / `garbage-collect --dry-run`", 0.30, 0.22),
    Target("du", "M", "`collect` / `du -s`", 0.45, 0.34),
    Target("cold", "M, cold", "`collect` / `du -s`", 0.28, 0.23),
    Target("unchanged", "M", "exact refresh with nothing changed / full", 0.10, 0.06),
    Target("watching", "M", "all of `serve` between two sweeps, watching / full", 0.005, 0.001),
    Target("push", "M", "refresh after one push, by the sweep / full", 0.12),
    Target("event", "M", "refresh after one push, woken by its events / full", 0.03),
    Target("retag", "M", "refresh after 1 % of the tags changed / full", 0.25, 0.20),
    Target("restart", "M", "ready after a restart with a cache / first start", 0.25, 0.12),
    Target("memory", "M", "peak memory of `serve`", 130, 60, "MB"),
    Target(
        "growth",
        "M to ten times M",
        "growth of peak memory per million blobs",
        300,
        110,
        "MB",
    ),
    Target("scrape", "10,000 series", "scrape, 99th percentile, idle", 5, 1.7, "ms"),
    Target("busy-scrape", "10,000 series", "scrape, 99th percentile, scanning", 25, 2.7, "ms"),
    Target("large-scrape", "100,000 series", "scrape, median", 10, 1.5, "ms"),
    Target("overview-page", _MANY, "overview, 99th percentile", 50, None, "ms"),
    Target("repository-page", _MANY, "page of a repository, 99th percentile", 50, None, "ms"),
    Target("table-page", _MANY, "table of repositories, 99th percentile", 100, None, "ms"),
    Target("search-page", _MANY, "search, 99th percentile", 100, None, "ms"),
    Target("map-page", _MANY, "map, 99th percentile", 200, None, "ms"),
    Target("what-if-page", _MANY, "what-if of the whole store, 99th percentile", 300, None, "ms"),
    Target("page-memory", _MANY, "peak memory that pages add", 20, None, "MB"),
    Target("readers", "ten times M", "any page, 50 readers, 99th percentile", 300, None, "ms"),
    Target("reader-scrape", "ten times M", "scrape beside 50 readers / alone, median", 1.1),
)


@dataclass(frozen=True, slots=True)
class Median:
    """A number for orientation: other machines have others.

    Attributes:
        what: description.
        value: with its unit.

    """

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Results of a part of the benchmark.

    Attributes:
        measured: values by the names of their targets.
        unmeasured: reasons for missing values, by the same names.
        medians: the times behind the values.

    """

    measured: Mapping[str, float] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    medians: Sequence[Median] = ()

    def __or__(self, other: "Findings") -> "Findings":
        """Return both results together."""
        return Findings(
            {**self.measured, **other.measured},
            {**self.unmeasured, **other.unmeasured},
            (*self.medians, *other.medians),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        on: the store or page.
        figure: its description.
        goal: the goal.
        best: the best conceivable value.
        measured: the value, or the reason why it is missing.
        verdict: whether the goal is met.

    """

    on: str
    figure: str
    goal: str
    best: str
    measured: str
    verdict: Verdict


def row_of(target: Target, findings: Findings) -> Row:
    """Return the row of one target, with its verdict."""
    value = findings.measured.get(target.name)
    verdict: Verdict = "not measured"
    if value is None:
        measured = f"not measured: {findings.unmeasured[target.name]}"
    else:
        measured = target.text(value)
        verdict = "met" if value <= target.goal else "missed"
    goal, best = f"at most {target.text(target.goal)}", target.text(target.best)
    return Row(target.on, target.figure, goal, best, measured, verdict)


def seconds_text(seconds: float) -> str:
    """Format a duration with three significant digits."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
