"""Measures what the simulated collector, integrity, uses and policies add to the analysis.

``python -m benchmarks.analysis``: one scan of the benchmark store, then both parts in turn, round
after round in this process.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks.store import store_directory
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.blob_states import Ledger
from exporter.analysis.store_figures import analyse, integrity_and_runs
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import Inventory
from exporter.domain.snapshot import PlatformStatus, StoreReading
from exporter.platforms.caprover.naming import ownership_rules
from exporter.store.filesystem.scanner import scan_store

MAX_ADDED = 0.25
"""Goal: at most a quarter of the time that the analysis takes without it."""

_KEEP_LAST = (5,)
_ROLLBACKS = 49
Result = TypeVar("Result")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the store")
    parser.add_argument("--rounds", type=int, default=9, help="rounds to measure")
    parser.add_argument("--directory", type=Path, default=Path(".bench"), help="where stores are")
    options = parser.parse_args()
    inventory = scan_store(store_directory(options.directory, options.scale) / "registry")
    rounds = [_round(inventory) for _ in range(options.rounds + 1)][1:]
    all_of_it, foretold, concluded = (median(part) for part in zip(*rounds, strict=True))
    without = median(whole - told for whole, told, _ in rounds)
    parts = (("collector and integrity", foretold), ("uses and policies", concluded))
    print(f"analysis without them {1000 * without:.0f} ms, with {1000 * all_of_it:.0f} ms")
    for name, seconds in parts:
        print(f"{name}: {1000 * seconds:.0f} ms, {seconds / without:.2f} of the analysis")
    added = (foretold + concluded) / without
    print(f"{'met' if added <= MAX_ADDED else 'missed'}: added {added:.2f}, goal {MAX_ADDED}")
    return 0 if added <= MAX_ADDED else 1


def _round(inventory: Inventory) -> tuple[float, float, float]:
    """Give the seconds of the whole analysis, of what foretells in it, and of conclusions."""
    ledger = Ledger.of(inventory)
    whole, figures = _timed(lambda: analyse(inventory))
    # complete and in good order: these totals are what it starts from
    foretold, _ = _timed(lambda: integrity_and_runs(inventory, ledger, 2, figures.blobs))
    reading = StoreReading(inventory, figures)
    options = AnalysisOptions(ownership=ownership_rules("captain"), keep_last=_KEEP_LAST)
    status, analyst = PlatformStatus("CapRover", _images(inventory)), Analyst(options)
    concluded, _ = _timed(lambda: analyst.conclude(reading, status, ledger.reaches))
    return whole, foretold, concluded


def _images(inventory: Inventory) -> AppImages:
    """Make every other repository that of an app: its last tag runs, some before can come back."""
    running, rollback = set(), set()
    for repository in inventory.repositories[::2]:
        names = [ImageName(repository.name, tag.name, None, True) for tag in repository.tags]  # noqa: FBT003 - its last field
        running.update(names[-1:])
        rollback.update(names[:-1][-_ROLLBACKS:])
    return AppImages(frozenset({"app"}), frozenset(running), frozenset(rollback))


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Measure as ``timeit`` does: without what Python's collector happens to do meanwhile."""
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    result = work()
    duration = time.perf_counter() - started
    gc.enable()
    return duration, result


if __name__ == "__main__":
    sys.exit(main())
