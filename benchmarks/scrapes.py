"""Scrapes over HTTP, one after the other on one connection, while the exporter is idle or scans."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import sleep

from benchmarks.measure import ProgramError, percentile
from benchmarks.serve_process import Serve
from benchmarks.setting import Bench, say
from benchmarks.table import Findings, Median, seconds_text

_SERIES = 10_000
_MANY_SERIES = 100_000
_LEAST_EACH, _MOST_EACH = 5, 6
"""Series of a repository: an empty one has no time of its last push."""
_PAUSE_SECONDS = 0.01  # so that the scrapes see every part of a scan
_HIGH = 0.99

Reduce = Callable[[list[float]], float]


@dataclass(frozen=True, slots=True)
class _Page:
    """A page to scrape: how many repositories of a store, and at least how many series."""

    root: Path
    repositories: int
    series: int


@dataclass(frozen=True, slots=True)
class _Work:
    """Work of the exporter meanwhile: its module, its interval, whether it rests between scans."""

    module: tuple[str, ...]
    interval: str
    rests: bool


def measure_scrapes(bench: Bench) -> Findings:
    """Measure scrapes of pages of two sizes, and of the smaller one also during scans."""
    small, large = (round(each * bench.scale) for each in (_SERIES, _MANY_SERIES))
    repositories = repositories_of_pages(bench)
    root = bench.root_with(repositories)
    few = _Page(root, -(-small // _MOST_EACH), small)
    many = _Page(root, repositories, large)
    resting = _Work(("exporter", "serve"), "1h", rests=True)
    restless = _Work(("benchmarks.restless",), "100ms", rests=False)
    return (
        _measure(bench, "scrape", few, resting, _high)
        | _measure(bench, "busy-scrape", few, restless, _high)
        | _measure(bench, "large-scrape", many, resting, median)
    )


def repositories_of_pages(bench: Bench) -> int:
    """Return the number of repositories of the store whose pages are scraped."""
    return -(-round(_MANY_SERIES * bench.scale) // _LEAST_EACH)


def _high(seconds: list[float]) -> float:
    return percentile(seconds, _HIGH)


def _measure(bench: Bench, name: str, page: _Page, work: _Work, reduce: Reduce) -> Findings:
    """Reduce each round to one value, and return the median of all, in milliseconds."""
    flags = ("--metrics.max-repositories", str(page.repositories), "--scan.interval", work.interval)
    results, medians = [], []
    with bench.scratch() as state, Serve(page.root, state, *flags, module=work.module) as serve:
        serve.wait_until_ready()
        if work.rests:
            serve.wait_until_quiet()
        series = sum(1 for line in serve.page().splitlines() if not line.startswith(b"#"))
        print(f"{series:,} series, {' '.join(work.module)}")
        if series < page.series:
            raise ProgramError(
                f"the page has {series:,} series, fewer than the {page.series:,} to be scraped"
            )
        for number in bench.numbers():
            with serve.connect() as connection:
                seconds = []
                for _ in range(bench.scrapes):
                    seconds.append(connection.scrape()[0])
                    sleep(_PAUSE_SECONDS)
            say(f"{1000 * reduce(seconds):.2f} ms, median {1000 * median(seconds):.2f} ms")
            if number:
                results.append(1000 * reduce(seconds))
                medians.append(median(seconds))
    meanwhile = "idle" if work.rests else "scanning"
    what = f"scrape of {series:,} series, {meanwhile}, median"
    return Findings({name: median(results)}, medians=[Median(what, seconds_text(median(medians)))])
