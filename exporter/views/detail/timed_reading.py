"""Read from the store for a page, with a time limit: its disk or mount may hang."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from exporter.domain.errors import NotReadInTimeError, StoreUnreadableError
from exporter.views.detail.image_text import ImageText

Result = TypeVar("Result")

_SECONDS = 2.0
_MOST_THREADS = 4
_TEXTS_KEPT = 32
_PLATFORMS_KEPT = 2000


class Kept(Generic[Result]):
    """The last things that were read, by their digest: what a digest names never changes."""

    def __init__(self, size: int) -> None:
        """Keep ``size`` things."""
        self._size = size
        self._lock = threading.Lock()
        self._things: OrderedDict[Hashable, Result] = OrderedDict()

    def get(self, key: Hashable) -> Result | None:
        """Return what is kept for a key; None if nothing is."""
        with self._lock:
            if key not in self._things:
                return None
            self._things.move_to_end(key)
            return self._things[key]

    def put(self, key: Hashable, thing: Result) -> None:
        """Keep a thing in place of the one that was not used for the longest time."""
        with self._lock:
            self._things[key] = thing
            while len(self._things) > self._size:
                self._things.popitem(last=False)


class TimedReader:
    """Reads in threads of its own, and waits for each a limited time.

    A thread that hangs stays until the disk answers. While several hang, nothing more is read.

    Attributes:
        texts: what manifests and configurations say.
        platforms: the platforms of manifests.

    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        """Wait for ``seconds``."""
        self.texts: Kept[ImageText] = Kept(_TEXTS_KEPT)
        self.platforms: Kept[tuple[str, ...]] = Kept(_PLATFORMS_KEPT)
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running = 0

    def read(self, work: Callable[[], Result]) -> Result:
        """Return what ``work`` reads. Raises NotReadInTimeError, and StoreUnreadableError."""
        with self._lock:
            if self._running >= _MOST_THREADS:
                raise NotReadInTimeError("earlier reads still wait for the store's disk or mount")
            self._running += 1
        task = _Task(work, self._end)
        task.start()
        task.join(self._seconds)
        if task.is_alive():
            raise NotReadInTimeError(f"it could not be read within {self._seconds:g} s")
        return task.result

    def _end(self) -> None:
        with self._lock:
            self._running -= 1


class _Task(threading.Thread, Generic[Result]):
    """Reads once; a daemon, so that a disk that hangs does not keep the process alive."""

    def __init__(self, work: Callable[[], Result], on_end: Callable[[], None]) -> None:
        super().__init__(daemon=True, name="reading for a page")
        self._work = work
        self._on_end = on_end
        self._results: list[Result] = []
        self._failure: StoreUnreadableError | None = None

    def run(self) -> None:
        """Read."""
        try:
            self._results.append(self._work())
        except StoreUnreadableError as error:
            self._failure = error
        finally:
            self._on_end()

    @property
    def result(self) -> Result:
        """What was read. Raises StoreUnreadableError."""
        if self._failure is not None:
            raise self._failure
        if not self._results:
            raise NotReadInTimeError("it could not be read")  # the thread's traceback is logged
        return self._results[0]
