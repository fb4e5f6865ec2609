"""The table of a run, for a terminal and as docs/performance.md. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.table import Median, Row

_HEADINGS = ("on", "figure", "goal", "best conceivable", "measured", "verdict")

_INTRODUCTION = """\
# Performance

Written by `make bench BENCH_FLAGS=--large`, never by hand: 25 GB of disk, about half an hour, and
root for the cold cache. Without the flag, or for one line with `--only`, it prints what it measures
and writes nothing. Times depend on the machine, ratios much less: what is compared runs in turn,
round after round, in one sitting.

*Best conceivable* is an estimate, from what the system calls and a prototype took. An operator gets
what is below *measured*.
"""

_NOTES = """\
## How it is measured

- The cache is warm unless a line says *cold*, and then both programs read everything from the disk,
  in {cold_rounds} rounds, since each takes long.
- `collect`, `garbage-collect` and `du -s` are whole processes, from start to end. `du -s` reads the
  whole root directory of the registry, `collect` finds nothing that an earlier run kept.
- A *full* refresh reads, analyses and renders everything, as `serve` does at its start and once an
  hour. The others read what has changed. All are done by the code of `serve` with a page that
  somebody has asked for, and their wall times are compared.
- Between rounds of refreshes, what has been still for {settled:g} s is relied on; `serve` waits for
  5 s. What was written in those 5 s before a sweep is read again by the next sweep, too.
- After a push that events told of, a second, shorter look is taken at what began to be watched just
  then. It is in the second table, not in the ratio.
- All of `serve` between two sweeps: the processor time, user and system, of all threads of a
  running `serve`, over {watch:g} s in which nothing changes and nobody scrapes, times what makes
  that 5 minutes, the default interval; over the processor time of a full refresh.
- Ready: from the start of the process until `/-/ready` answers 200; polled every 5 ms.
- Peak memory is `VmHWM` of a running `serve` after its first scan, sweeps, a change of 1 % of the
  tags, and scrapes. On ten times M it is measured once.
- A scrape asks as Prometheus does: OpenMetrics, gzip, on a kept connection, over loopback,
  {scrapes} in each round, 10 ms apart. Client and server share the machine. The store has M's
  images in {repositories} repositories, of which the largest have the series.
- *Scanning*: it is `serve`, but each scan reads everything, and begins 0.1 s after the one before.
"""


@dataclass(frozen=True, slots=True)
class About:
    """What a run was made of.

    Attributes:
        machine: cores, kernel, Python.
        store: what M is.
        rounds: how often.
        cold_rounds: how often with a cold cache.
        settled_seconds: how long what refreshes rely on was still.
        watch_seconds: how long a waiting process was looked at.
        scrapes: in each round.
        repositories: of the store whose pages were scraped.

    """

    machine: str
    store: str
    rounds: str
    cold_rounds: int
    settled_seconds: float
    watch_seconds: float
    scrapes: int
    repositories: int


def lines(rows: Sequence[Row], medians: Sequence[Median]) -> list[str]:
    """Write what was measured for a terminal."""
    judged = [
        f"{row.verdict:12}  {row.on}: {row.figure}: {row.measured}, goal {row.goal}" for row in rows
    ]
    return [*(f"{each.what}: {each.value}" for each in medians), "", *judged]


def markdown(about: About, rows: Sequence[Row], medians: Sequence[Median]) -> str:
    """Write the page."""
    notes = _NOTES.format(
        settled=about.settled_seconds,
        watch=about.watch_seconds,
        scrapes=about.scrapes,
        repositories=f"{about.repositories:,}",
        cold_rounds=about.cold_rounds,
    )
    parts = [
        _INTRODUCTION,
        f"M: {about.store}.",
        f"{about.machine}. {about.rounds}",
        "",
        *_table(_HEADINGS, [_cells(row) for row in rows]),
        "",
        "## For orientation",
        "",
        "Medians of the same run; another machine has others.",
        "",
        *_table(("what", "median"), [(each.what, each.value) for each in medians]),
        "",
        notes,
    ]
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    return row.on, row.figure, row.goal, row.best, row.measured, row.verdict


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
