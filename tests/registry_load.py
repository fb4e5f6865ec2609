"""A registry under load: writers in their own threads, and its collector now and then.

No writer pushes while the collector runs, as its documentation demands.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from tests.registry_truth import Truth
from tests.registry_writers import Writer
from tests.servers import RegistryClient

_REPOSITORIES = (
    ("shop/web", "shop/worker", "shop/web/assets"),
    ("team/tools", "team/mirror", "backup"),
)
"""Repositories of each writer."""


class Load:
    """The load, which lasts as long as the context.

    Attributes:
        truth: the certain contents of the registry.

    """

    def __init__(
        self,
        url: str,
        collect: Callable[[], object],
        *,
        collect_seconds: float,
        pause_seconds: float = 0.0,
        seed: int = 1,
    ) -> None:
        """Prepare the load.

        ``collect`` runs the collector, every ``collect_seconds``. Each writer waits for
        ``pause_seconds`` after each step.
        """
        self.truth = Truth()
        self._collect = collect
        self._collect_seconds = collect_seconds
        self._pause_seconds = pause_seconds
        self._clients = [RegistryClient(url) for _ in _REPOSITORIES]
        self._writers = [
            Writer(client, self.truth, names, seed + number)
            for number, (client, names) in enumerate(zip(self._clients, _REPOSITORIES, strict=True))
        ]
        self._at_work = [threading.Lock() for _ in self._writers]
        self._may_write = threading.Event()
        self._stop = threading.Event()
        self._collections = 0
        self._threads = ThreadPoolExecutor(len(self._writers) + 1)
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._may_write.set()
        loops = zip(self._writers, self._at_work, strict=True)
        self._futures = [self._threads.submit(self._write, *each) for each in loops]
        self._futures.append(self._threads.submit(self._keep_collecting))
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        self._stop.set()
        self._may_write.set()
        self._threads.shutdown()
        for client in self._clients:
            client.close()
        if error is None:
            self.check()

    def check(self) -> None:
        """Raise the errors of the load itself."""
        for future in self._futures:
            if future.done():
                future.result()

    @property
    def done(self) -> Counter[str]:
        """Numbers of pushes, retags, deletions and collector runs."""
        done = Counter({"collector runs": self._collections})
        for writer in self._writers:
            done.update(writer.done)
        return done

    @contextmanager
    def _held_up(self) -> Iterator[None]:
        """Wait until no writer is within a step, and stop all of them."""
        self._may_write.clear()
        for lock in self._at_work:
            lock.acquire()
        try:
            yield
        finally:
            for lock in self._at_work:
                lock.release()
            self._may_write.set()

    def _write(self, writer: Writer, at_work: threading.Lock) -> None:
        while not self._stop.wait(self._pause_seconds):
            self._may_write.wait()
            with at_work:
                writer.step()

    def _keep_collecting(self) -> None:
        while not self._stop.wait(self._collect_seconds):
            with self._held_up():
                self._collect()
                self._collections += 1
