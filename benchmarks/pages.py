"""Pages of the explorer over HTTP: one after the other, and for fifty readers at a time."""

import gzip
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.measure import ProgramError, peak_bytes, percentile
from benchmarks.scrapes import repositories_of_pages
from benchmarks.serve_process import Connection, Serve
from benchmarks.setting import Bench, say
from benchmarks.table import Findings, Median, seconds_text

_HIGH = 0.99
REQUESTS = 200
"""How many pages of each kind are requested in a round."""

_READERS = 50
_THINK_SHARES = 1 / 120, 1 / 40
"""Time between two pages of a reader, as shares of the time that all of them read: about 1 s."""
_SCRAPE_SECONDS = 0.25
_MEGABYTE = 10**6
_OK = 200

Addresses = Callable[["_Known"], Iterator[str]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a store holds, to write addresses with.

    Attributes:
        repositories: some of their names.
        images: some digests of images.

    """

    repositories: list[str]
    images: list[str]


def _repositories(known: _Known) -> Iterator[str]:
    return (f"/repositories/{name}" for name in itertools.cycle(known.repositories))


def _table(_: _Known) -> Iterator[str]:
    sorts = itertools.cycle(("size", "exclusive", "name", "tags", "last-push"))
    return (
        f"/repositories?sort={sort}&page={page}"
        for page, sort in zip(_pages(), sorts, strict=False)
    )


def _pages() -> Iterator[int]:
    return itertools.cycle(range(1, 6))


def _search(known: _Known) -> Iterator[str]:
    for image, name in zip(
        itertools.cycle(known.images), itertools.cycle(known.repositories), strict=False
    ):
        yield f"/search?q={image.removeprefix('sha256:')[:10]}"
        yield f"/search?q={name[:-1]}"


def _map(known: _Known) -> Iterator[str]:
    places = [each.rpartition("/")[0] for each in known.repositories]
    for place in itertools.cycle(dict.fromkeys(places)):
        yield "/map"
        yield f"/map?colour=age&in={place}/" if place else "/map?colour=age"


def _what_if(_: _Known) -> Iterator[str]:
    return (f"/clean-up?keep-last={keep}" for keep in itertools.cycle(range(2, 40)))


_KINDS: Mapping[str, Addresses] = {
    "overview-page": lambda _: itertools.repeat("/"),
    "repository-page": _repositories,
    "table-page": _table,
    "search-page": _search,
    "map-page": _map,
    "what-if-page": _what_if,
}
"""Addresses by the name of their target."""


def measure_pages(bench: Bench) -> Findings:
    """Measure pages of a store with many repositories, and what they take in memory."""
    root = bench.root_with(repositories_of_pages(bench))
    slowest: dict[str, list[float]] = {name: [] for name in _KINDS}
    typical: dict[str, list[float]] = {name: [] for name in _KINDS}
    added = []
    for number in bench.numbers():
        with bench.scratch() as state, Serve(root, state, "--scan.interval", "1h") as serve:
            serve.wait_until_ready()
            serve.page()
            serve.wait_until_quiet()
            before = peak_bytes(serve.pid)
            with serve.connect() as connection:
                known = _known(connection)
                for name, addresses in _KINDS.items():
                    seconds = _times(connection, addresses(known))
                    say(f"{name} {1000 * percentile(seconds, _HIGH):.1f} ms")
                    if number:
                        slowest[name].append(1000 * percentile(seconds, _HIGH))
                        typical[name].append(median(seconds))
            if number:
                added.append((peak_bytes(serve.pid) - before) / _MEGABYTE)
            say(f"{(peak_bytes(serve.pid) - before) / _MEGABYTE:.1f} MB")
    return Findings(
        {name: median(each) for name, each in slowest.items()} | {"page-memory": median(added)},
        medians=[
            Median(f"{name.replace('-', ' ')}, median", seconds_text(median(each)))
            for name, each in typical.items()
        ],
    )


def measure_readers(bench: Bench) -> Findings:
    """Measure pages and scrapes while fifty readers click around on the large store."""
    names = ("readers", "reader-scrape")
    if not bench.is_large:
        reason = "needs 20 GB of disk, see --large"
        return Findings(unmeasured=dict.fromkeys(names, reason))
    root, seconds = bench.larger_root, 2 * bench.watch_seconds
    with bench.scratch() as state, Serve(root, state, "--scan.interval", "1h") as serve:
        serve.wait_until_ready()
        serve.page()
        serve.wait_until_quiet()
        with serve.connect() as connection:
            known = _known(connection)
            alone = _scrape_for(connection, seconds / 6)
        readers = [_Reader(serve, known, seed, seconds) for seed in range(_READERS)]
        for each in readers:
            each.start()
        with serve.connect() as connection:
            beside = _scrape_for(connection, seconds)
        for each in readers:
            each.join()
    failures = [each.failure for each in readers if each.failure]
    if failures:
        raise ProgramError(f"{len(failures)} of {_READERS} readers failed: {failures[0]}")
    times = [each for reader in readers for each in reader.times]
    say(f"{len(times)} pages, 99 % within {1000 * percentile(times, _HIGH):.0f} ms")
    return Findings(
        {
            "readers": 1000 * percentile(times, _HIGH),
            "reader-scrape": median(beside) / median(alone),
        },
        medians=[
            Median("page, median of 50 readers (ten times M)", seconds_text(median(times))),
            Median("scrape beside 50 readers, median", seconds_text(median(beside))),
        ],
    )


class _Reader(threading.Thread):
    """Somebody who opens a page, looks at it, and opens the next one."""

    def __init__(self, serve: Serve, known: _Known, seed: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._serve = serve
        self._random = random.Random(seed)  # noqa: S311 - not a secret
        kinds = [addresses(known) for name, addresses in _KINDS.items() if name != "what-if-page"]
        self._addresses = [itertools.islice(each, seed, None) for each in kinds]
        self._seconds = seconds
        self.times: list[float] = []
        self.failure = ""

    def run(self) -> None:
        """Read."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._serve.connect() as connection:
                while time.monotonic() < deadline:
                    time.sleep(self._seconds * self._random.uniform(*_THINK_SHARES))
                    address = next(self._random.choice(self._addresses))
                    self.times.append(_get(connection, address))
        except (OSError, ProgramError) as error:
            self.failure = str(error)


def _known(connection: Connection) -> _Known:
    listed = _json(connection, "/api/v1/repositories?limit=1000&sort=tags")["repositories"]
    names = [each["figures"]["name"] for each in listed]
    images = [each["digest"] for each in _json(connection, "/api/v1/search?q=:")["tags"]]
    return _Known(names, images)


def _times(connection: Connection, addresses: Iterator[str]) -> list[float]:
    return [_get(connection, address) for address in itertools.islice(addresses, REQUESTS)]


def _scrape_for(connection: Connection, seconds: float) -> list[float]:
    deadline, times = time.monotonic() + seconds, []
    while time.monotonic() < deadline:
        times.append(connection.scrape()[0])
        time.sleep(_SCRAPE_SECONDS)
    return times


def _get(connection: Connection, address: str) -> float:
    seconds, status, _ = connection.get(address)
    if status != _OK:
        raise ProgramError(f"{address} was answered with status {status}")
    return seconds


def _json(connection: Connection, address: str) -> Any:  # noqa: ANN401 - any JSON
    _, status, body = connection.get(address)
    if status != _OK:
        raise ProgramError(f"{address} was answered with status {status}")
    if body.startswith(b"\x1f\x8b"):
        body = gzip.decompress(body)
    return json.loads(body)
