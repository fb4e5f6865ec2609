"""What is measured, what it should be, and how it came out. Pure.

The goals come from what the system calls and a prototype took. They are not to be moved to where a
run happens to end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Target:
    """One figure that the exporter should reach.

    Attributes:
        name: as ``--only`` takes it.
        on: the store or the page that it is measured on.
        figure: what it is.
        goal: at most this.
        best: the best conceivable, None where nobody knows.
        unit: of all three; empty for a ratio.

    """

    name: str
    on: str
    figure: str
    goal: float
    best: float | None = None
    unit: str = ""

    def text(self, value: float | None) -> str:
        """Write one of its values with three digits that count."""
        if value is None:
            return "-"
        return f"{value:.3g} {self.unit}".rstrip()


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
)


@dataclass(frozen=True, slots=True)
class Median:
    """A number for orientation: another machine has others.

    Attributes:
        what: was measured.
        value: with its unit.

    """

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a part of the benchmark has found.

    Attributes:
        measured: values by the name of their target.
        unmeasured: why there is none, by the same names.
        medians: what the values were made from.

    """

    measured: Mapping[str, float] = field(default_factory=dict)
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    medians: Sequence[Median] = ()

    def __or__(self, other: "Findings") -> "Findings":
        """Put two parts together."""
        return Findings(
            {**self.measured, **other.measured},
            {**self.unmeasured, **other.unmeasured},
            (*self.medians, *other.medians),
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        on: the store or the page.
        figure: what was measured.
        goal: at most this.
        best: the best conceivable.
        measured: what came out, or why nothing did.
        verdict: whether that is the goal.

    """

    on: str
    figure: str
    goal: str
    best: str
    measured: str
    verdict: Verdict


def row_of(target: Target, findings: Findings) -> Row:
    """Judge one target."""
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
    """Write a duration with three digits that count."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
