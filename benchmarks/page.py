"""The table of a run, for a terminal and as docs/performance.md. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.pages import REQUESTS
from benchmarks.table import Median, Row

_HEADINGS = ("on", "figure", "goal", "best conceivable", "measured", "verdict")

_INTRODUCTION = """\
# Performance

Written by `make bench BENCH_FLAGS=--large`, never by hand. It needs 25 GB of disk, about half an
hour, and root for the cold cache. Without the flag, or for one line with `--only`, it prints the
results and writes nothing. Times depend on the machine, ratios much less: the compared programs run
in turn, round after round, in one sitting.

*Best conceivable* is an estimate, from the time of the system calls and of a prototype. *Measured*
is what an operator gets.
"""

_NOTES = """\
## How it is measured

- The cache is warm unless a line says *cold*: then both programs read everything from the disk, in
  {cold_rounds} rounds, since each takes long.
- `collect`, `garbage-collect` and `du -s` are whole processes, from start to end. `du -s` reads the
  whole root directory of the registry. `collect` finds no cache of an earlier run.
- A *full* refresh reads, analyses and renders everything, as `serve` does at its start; once an
  hour it looks at layer links too. The other refreshes read what has changed. All use the code of
  `serve`, with a page that was requested before. Their wall times are compared.
- Here, files are trusted once they have not changed for {settled:g} s; `serve` waits for 5 s. It
  reads a file written less than 5 s before a sweep again in the next sweep, too.
- A refresh that events woke is followed by a shorter one, which reads the directories that began to
  be watched during the first. It is in the second table, not in the ratio.
- All of `serve` between two sweeps: the processor time, user and system, of all threads of a
  running `serve`, over {watch:g} s in which nothing changes and nobody scrapes, scaled to the
  default interval of 5 minutes, and divided by the processor time of a full refresh. The census,
  which is taken once a day, is switched off meanwhile.
- Ready: from the start of the process until `/-/ready` answers 200; polled every 5 ms.
- Peak memory is `VmHWM` of a running `serve` after its first scan, sweeps, a change of 1 % of the
  tags, and scrapes. On ten times M it is measured once.
- A scrape is a request as Prometheus sends it: OpenMetrics, gzip, on one kept connection, over
  loopback, {scrapes} in each round, 10 ms apart. Client and server share the machine. The store has
  the images of M in {repositories} repositories; only the largest have series of their own.
- A page of the explorer is a request with gzip on one kept connection, {requests} of each kind one
  after the other, each time another repository, digest, column, namespace or number of tags. The
  memory is the growth of `VmHWM` meanwhile. Fifty readers open a page every second or so, for a
  minute, of every kind but what-ifs.
- *Scanning*: `serve`, but each scan reads everything, and begins 0.1 s after the one before.
"""


@dataclass(frozen=True, slots=True)
class About:
    """Circumstances of a run.

    Attributes:
        machine: cores, kernel, Python.
        store: size of M.
        rounds: how many.
        cold_rounds: how many with a cold cache.
        settled_seconds: how long files are unchanged before refreshes trust them.
        watch_seconds: how long an idle process was measured.
        scrapes: how many in each round.
        repositories: how many the store of the scraped pages has.

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
    """Return the results as lines for a terminal."""
    judged = [
        f"{row.verdict:12}  {row.on}: {row.figure}: {row.measured}, goal {row.goal}" for row in rows
    ]
    return [*(f"{each.what}: {each.value}" for each in medians), "", *judged]


def markdown(about: About, rows: Sequence[Row], medians: Sequence[Median]) -> str:
    """Return the page."""
    notes = _NOTES.format(
        settled=about.settled_seconds,
        watch=about.watch_seconds,
        scrapes=about.scrapes,
        requests=REQUESTS,
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
