"""Measure the time that simulation, integrity, uses and policies add to the analysis.

``python -m benchmarks.analysis``: one scan of the benchmark store, then all parts in turn, round
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
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.store_figures import analyse, integrity_and_runs
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import Inventory
from exporter.domain.snapshot import PlatformStatus, StoreReading
from exporter.platforms.caprover.naming import ownership_rules
from exporter.store.filesystem.scanner import scan_store

MAX_ADDED = 0.25
"""Goal: at most a quarter of the time of the analysis without them."""

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
    whole, simulated, concluded = (median(part) for part in zip(*rounds, strict=True))
    without = median(all_of_it - part for all_of_it, part, _ in rounds)
    parts = (("collector and integrity", simulated), ("uses and policies", concluded))
    print(f"analysis without them {1000 * without:.0f} ms, with {1000 * whole:.0f} ms")
    for name, seconds in parts:
        print(f"{name}: {1000 * seconds:.0f} ms, {seconds / without:.2f} of the analysis")
    added = (simulated + concluded) / without
    print(f"{'met' if added <= MAX_ADDED else 'missed'}: added {added:.2f}, goal {MAX_ADDED}")
    return 0 if added <= MAX_ADDED else 1


def _round(inventory: Inventory) -> tuple[float, float, float]:
    """Return the seconds of the whole analysis, of the simulation in it, and of the conclusions."""
    states = BlobStates.of(inventory)
    whole, figures = _timed(lambda: analyse(inventory))
    # the store is complete and consistent: the simulation starts from these totals
    simulated, _ = _timed(lambda: integrity_and_runs(inventory, states, 2, figures.blobs))
    reading = StoreReading(inventory, figures)
    options = AnalysisOptions(ownership=ownership_rules("captain"), keep_last=_KEEP_LAST)
    status, analyst = PlatformStatus("CapRover", _images(inventory)), Analyst(options)
    concluded, _ = _timed(lambda: analyst.conclude(reading, status, states.reaches))
    return whole, simulated, concluded


def _images(inventory: Inventory) -> AppImages:
    """Assign every other repository to an app: its last tag runs, tags before it are rollbacks."""
    running, rollback = set(), set()
    for repository in inventory.repositories[::2]:
        names = [ImageName(repository.name, tag.name, None, True) for tag in repository.tags]  # noqa: FBT003 - its last field
        running.update(names[-1:])
        rollback.update(names[:-1][-_ROLLBACKS:])
    return AppImages(frozenset({"app"}), frozenset(running), frozenset(rollback))


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Measure as ``timeit`` does: with Python's garbage collector switched off."""
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    result = work()
    duration = time.perf_counter() - started
    gc.enable()
    return duration, result


if __name__ == "__main__":
    sys.exit(main())
