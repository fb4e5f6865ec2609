"""How far a scan is: what it tells while it goes on, and where that is kept meanwhile. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["blobs", "repositories", "manifests"]

# Where each stage begins and what it takes, as shares of the time of a full scan: measured on a
# store of 100,000 blobs.
_SHARES: dict[Stage, tuple[float, float]] = {
    "blobs": (0.0, 0.3),
    "repositories": (0.3, 0.35),
    "manifests": (0.65, 0.35),
}


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is.

    Attributes:
        stage: what it is reading.
        done: parts done of this stage.
        total: parts known so far.
        ratio: how much of the whole scan is done, 0 to 1.
        is_full: whether it reads everything, and not only what has changed.

    """

    stage: Stage
    done: int
    total: int
    ratio: float = 0.0
    is_full: bool = True

    def __str__(self) -> str:
        return f"{int(100 * self.ratio)} %, {self.stage} {self.done} of {self.total}"


ProgressListener = Callable[[ScanProgress], None]


class Advance:
    """Tells a listener how far one scan is; the ratio never falls, and is 1 in the end."""

    def __init__(self, listener: ProgressListener, *, is_full: bool) -> None:
        self._listener = listener
        self._is_full = is_full
        self._ratio = 0.0

    def tell(self, stage: Stage, done: int, total: int) -> None:
        """Tell that so many parts of a stage are done, of those known so far."""
        start, share = _SHARES[stage]
        # manifests are found while manifests are read: their total grows
        self._ratio = max(self._ratio, min(start + share * done / max(total, 1), 1.0))
        self._listener(ScanProgress(stage, done, total, self._ratio, self._is_full))

    def finish(self) -> None:
        """Tell that all is done, where the last stage did not: it may have had nothing to do."""
        if self._ratio < 1:
            self._ratio = 1.0
            self._listener(ScanProgress("manifests", 0, 0, 1.0, self._is_full))


class RunningScan:
    """Holds how far the scan is that runs now.

    Written by the thread that scans and read by others; what is read is always whole, as one
    reference is swapped.

    Attributes:
        progress: of a full scan; None while none runs.

    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Hold nothing yet; ``clock`` gives seconds, of whatever beginning."""
        self.progress: ScanProgress | None = None
        self._clock = clock
        self._told_at: float | None = None

    @property
    def ratio(self) -> float | None:
        """How much of it is done, 0 to 1; None while no full scan runs."""
        progress = self.progress
        return None if progress is None else progress.ratio

    @property
    def still_seconds(self) -> float:
        """How long a scan, full or not, has told nothing of getting on; 0 while none runs."""
        told_at = self._told_at
        return 0.0 if told_at is None else self._clock() - told_at

    def begin(self) -> None:
        """Take in that a scan begins."""
        self._told_at = self._clock()

    def tell(self, progress: ScanProgress) -> None:
        """Take in how far a scan is."""
        self._told_at = self._clock()
        if progress.is_full:
            self.progress = progress

    def end(self) -> None:
        """Take in that it has ended, in whatever way."""
        self.progress = self._told_at = None
