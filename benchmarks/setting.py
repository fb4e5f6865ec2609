"""What all parts of the benchmark are given."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.store import prepare

LARGER = 10
"""The large store is so many times the other."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured, and how often.

    Attributes:
        directory: where stores are kept from run to run.
        scale: of the store.
        rounds: to be measured.
        is_cold: whether the kernel's caches may be dropped.
        is_large: whether ten times the store may be made and measured.
        scrapes: in each round.
        warms_up: whether a round that is not measured comes first.
        watch_seconds: how long a process that only waits is looked at, in each round.

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
        """The registry's root directory, made where it is not there."""
        return prepare(self.directory, self.scale)

    @property
    def larger_root(self) -> Path:
        """That of the large store."""
        return prepare(self.directory, self.scale * LARGER)

    def root_with(self, repositories: int) -> Path:
        """Give that of a store with the same images in so many repositories."""
        return prepare(self.directory, self.scale, repositories)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty directory on the same disk as the stores, which goes with the context."""
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            yield Path(scratch)

    def numbers(self, rounds: int | None = None) -> Iterator[int]:
        """Count the rounds and say so: number 0 warms up and is not measured."""
        last = self.rounds if rounds is None else rounds
        for number in range(0 if self.warms_up else 1, last + 1):
            print(f"round {number} of {last}" if number else "warming up", end="", flush=True)
            yield number
            print(flush=True)


def say(text: str) -> None:
    """Add to the line of a round."""
    print(f", {text}", end="", flush=True)
