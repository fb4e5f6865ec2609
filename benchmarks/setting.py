"""Settings that all parts of the benchmark share."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.store import prepare

LARGER = 10
"""How many times larger the large store is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What to measure, and how often.

    Attributes:
        directory: of the stores, which are kept from run to run.
        scale: of the store.
        rounds: how many to measure.
        is_cold: whether the kernel's caches may be dropped.
        is_large: whether ten times the store may be written and measured.
        scrapes: how many in each round.
        warms_up: whether to run a round first that is not measured.
        watch_seconds: how long to measure an idle process, in each round.

    """

    directory: Path
    scale: float = 1.0
    rounds: int = 5
    is_cold: bool = True
    is_large: bool = False
    scrapes: int = 500
    warms_up: bool = True
    watch_seconds: float = 30.0

    @property
    def root(self) -> Path:
        """The registry's root directory; written if it is missing."""
        return prepare(self.directory, self.scale)

    @property
    def larger_root(self) -> Path:
        """The root directory of the large store."""
        return prepare(self.directory, self.scale * LARGER)

    def root_with(self, repositories: int) -> Path:
        """Return the root directory of a store with the same images in this many repositories."""
        return prepare(self.directory, self.scale, repositories)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield an empty directory on the stores' disk, and remove it when the context ends."""
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            yield Path(scratch)

    def numbers(self, rounds: int | None = None) -> Iterator[int]:
        """Count the rounds and print each: number 0 warms up and is not measured."""
        last = self.rounds if rounds is None else rounds
        for number in range(0 if self.warms_up else 1, last + 1):
            print(f"round {number} of {last}" if number else "warming up", end="", flush=True)
            yield number
            print(flush=True)


def say(text: str) -> None:
    """Append to the line of a round."""
    print(f", {text}", end="", flush=True)
