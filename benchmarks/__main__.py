"""Measure the exporter against its goals, and beside the programs an operator would run instead.

Programs that are compared run in turn, round after round in one sitting: times on a shared machine
drift, their ratios much less. The first round is not measured. A run of everything on the usual
store, with --large, writes docs/performance.md; other runs only print.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.internals import SETTLED_SECONDS
from benchmarks.measure import ProgramError
from benchmarks.page import About, lines, markdown
from benchmarks.pages import measure_pages, measure_readers
from benchmarks.programs import cold_rounds_of, measure_cold, measure_warm
from benchmarks.refreshes import measure_refreshes, measure_watching
from benchmarks.running import measure_memory, measure_restart
from benchmarks.scrapes import measure_scrapes, repositories_of_pages
from benchmarks.setting import Bench
from benchmarks.store import Plan, StoreError, blobs_of
from benchmarks.table import TARGETS, Findings, Target, row_of
from demo.child_process import ChildEndedError
from demo.errors import DemoError

PAGE = Path("docs/performance.md")

_USUAL = Bench(Path(".bench"))
_INTERRUPTED = 130

_PARTS: tuple[tuple[Callable[[Bench], Findings], tuple[str, ...]], ...] = (
    (measure_warm, ("collector", "du")),
    (measure_refreshes, ("unchanged", "push", "event", "retag")),
    (measure_watching, ("watching",)),
    (measure_restart, ("restart",)),
    (measure_memory, ("memory", "growth")),
    (measure_scrapes, ("scrape", "busy-scrape", "large-scrape")),
    (
        measure_pages,
        (
            "overview-page",
            "repository-page",
            "table-page",
            "search-page",
            "map-page",
            "what-if-page",
            "page-memory",
        ),
    ),
    (measure_readers, ("readers", "reader-scrape")),
    (measure_cold, ("cold",)),  # last: all the others want a warm cache
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if a goal is missed or nothing could be measured."""
    options = _parse(arguments)
    # changes to the store, which are undone when a context ends, are undone at SIGTERM, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = _bench(options)
    wanted = [each for each in TARGETS if not options.only or each.name in options.only]
    try:
        bench.directory.mkdir(parents=True, exist_ok=True)
        findings = _measure(bench, {each.name for each in wanted})
        rows = [row_of(each, findings) for each in wanted]
        print("", *lines(rows, findings.medians), sep="\n")
        page = _page(options, wanted)
        if page is not None:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(markdown(_about(bench), rows, findings.medians), encoding="utf-8")
    except (ChildEndedError, DemoError, OSError, ProgramError, StoreError) as error:
        print(f"\nbenchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 1 if any(row.verdict == "missed" for row in rows) else 0


def _measure(bench: Bench, wanted: set[str]) -> Findings:
    findings = Findings()
    for part, names in _PARTS:
        if wanted.intersection(names):
            print(f"\n{', '.join(names)}", flush=True)
            findings |= part(bench)
    return findings


def _page(options: argparse.Namespace, wanted: Sequence[Target]) -> Path | None:
    """Return where to write the page, or None for a run that measures only a part."""
    if len(wanted) < len(TARGETS):
        return None
    if options.page is not None:
        return Path(options.page)
    is_whole = options.large and options.cold and options.warm_up and options.scale == 1
    return PAGE if is_whole and options.rounds >= _USUAL.rounds else None


def _bench(options: argparse.Namespace) -> Bench:
    return Bench(
        directory=options.directory.absolute(),
        scale=options.scale,
        rounds=options.rounds,
        is_cold=options.cold,
        is_large=options.large,
        scrapes=options.scrapes,
        warms_up=options.warm_up,
        watch_seconds=options.watch_seconds,
    )


def _about(bench: Bench) -> About:
    plan, system = Plan.at(bench.scale), os.uname()
    return About(
        machine=f"Python {sys.version.split()[0]}, {system.sysname} "
        f"{system.release.split('-')[0]}, {os.cpu_count()} cores",
        store=f"{blobs_of(bench.root):,} blobs, {plan.manifests:,} manifests, {plan.tags:,} tags, "
        f"{plan.repositories:,} repositories",
        rounds=f"Rounds: {bench.rounds}; their medians."
        + bench.warms_up * " One more before them was not measured.",
        cold_rounds=cold_rounds_of(bench),
        settled_seconds=SETTLED_SECONDS,
        watch_seconds=bench.watch_seconds,
        scrapes=bench.scrapes,
        repositories=repositories_of_pages(bench),
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--large",
        action="store_true",
        help="measure ten times the store, too; needs 20 GB of disk, and minutes to write it",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[each.name for each in TARGETS],
        metavar="ROW",
        help=f"measure only this row; repeatable: {', '.join(each.name for each in TARGETS)}",
    )
    parser.add_argument("--scale", type=_positive, default=_USUAL.scale, help="size of the store")
    parser.add_argument(
        "--rounds",
        type=_count,
        default=_USUAL.rounds,
        help="rounds to measure (default: %(default)s)",
    )
    parser.add_argument(
        "--scrapes",
        type=_count,
        default=_USUAL.scrapes,
        help="scrapes in a round (default: %(default)s)",
    )
    parser.add_argument(
        "--watch-seconds",
        type=_positive,
        default=_USUAL.watch_seconds,
        help="how long to measure an idle exporter, in a round (default: %(default)s)",
    )
    parser.add_argument(
        "--cold",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="drop the kernel's caches, which slows down everything on this host",
    )
    parser.add_argument(
        "--warm-up",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run one more round first, and leave it out",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=_USUAL.directory,
        help="directory of the stores, which are kept from run to run (default: %(default)s)",
    )
    parser.add_argument(
        "--page", metavar="FILE", help="write the page to FILE, whatever the size of the store"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: use a number above 0, such as 0.1 or 10")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: use a whole number from 1 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
