"""Measures what a rescan costs beside a scan of everything.

``python -m benchmarks.rescan``: reading and analysing the benchmark store in this process, round
after round: everything, then with nothing changed, then after one tag was written again.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.store import store_directory
from exporter.analysis.conclusions import AnalysisOptions, analyse_all
from exporter.model import Inventory
from exporter.storage.memory import StoreMemory
from exporter.storage.scanner import scan_store

GOALS = {"nothing changed": 0.10, "one tag written": 0.12}
"""At most so much of a full scan and its analysis."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescan", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the store")
    parser.add_argument("--rounds", type=int, default=5, help="rounds to measure")
    parser.add_argument("--directory", type=Path, default=Path(".bench"), help="where stores are")
    options = parser.parse_args()
    root = store_directory(options.directory, options.scale) / "registry"
    links = sorted(root.glob("docker/registry/v2/repositories/*/*/_manifests/tags/*/current/link"))
    memory = StoreMemory()
    latest = scan_store(root, memory=memory)
    rounds = []
    for number in range(options.rounds):
        full, _ = _refresh(root, None, None)
        still, latest = _refresh(root, latest, memory)
        os.utime(links[number % len(links)])
        one, latest = _refresh(root, latest, memory)
        rounds.append((full, still, one))
    full, *others = (median(part) for part in zip(*rounds, strict=True))
    print(f"everything: {1000 * full:.0f} ms")
    met = True
    for (name, goal), seconds in zip(GOALS.items(), others, strict=True):
        ratio = seconds / full
        met &= ratio <= goal
        verdict = "met" if ratio <= goal else "missed"
        print(f"{name}: {1000 * seconds:.0f} ms, {ratio:.3f} of it; {verdict}, goal {goal}")
    return 0 if met else 1


def _refresh(
    root: Path, previous: Inventory | None, memory: StoreMemory | None
) -> tuple[float, Inventory]:
    """Give the seconds of a scan, with the analysis where something is new, and its result."""
    started = time.perf_counter()
    inventory = scan_store(root, previous, memory=memory)
    if inventory is not previous:
        analyse_all(inventory, None, AnalysisOptions())
    return time.perf_counter() - started, inventory


if __name__ == "__main__":
    sys.exit(main())
