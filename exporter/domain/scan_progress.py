"""Progress of a scan: what it reports while it runs, and where others read it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["blobs", "repositories", "manifests", "layer links"]

# Start and length of each stage, as shares of the time of a full scan: measured on a store of
# 100,000 blobs.
_SHARES: dict[Stage, tuple[float, float]] = {
    "blobs": (0.0, 0.27),
    "repositories": (0.27, 0.31),
    "manifests": (0.58, 0.32),
    "layer links": (0.9, 0.1),
}


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """Progress of a scan.

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
    """Reports the progress of one scan; the ratio never falls, and ends at 1."""

    def __init__(self, listener: ProgressListener, *, is_full: bool) -> None:
        self._listener = listener
        self._is_full = is_full
        self._ratio = 0.0

    def report(self, stage: Stage, done: int, total: int) -> None:
        """Report that ``done`` parts of a stage are done, of ``total`` known so far."""
        start, share = _SHARES[stage]
        # manifests are found while manifests are read: their total grows
        self._ratio = max(self._ratio, min(start + share * done / max(total, 1), 1.0))
        self._listener(ScanProgress(stage, done, total, self._ratio, self._is_full))

    def finish(self) -> None:
        """Report the end, if the last stage did not: it may have had nothing to do."""
        if self._ratio < 1:
            self._ratio = 1.0
            self._listener(ScanProgress("manifests", 0, 0, 1.0, self._is_full))


class RunningScan:
    """Holds the progress of the running scan.

    The thread that scans writes it, others read it; one reference is swapped, so that what they
    read is always consistent.

    Attributes:
        progress: of a full scan; None while none runs.

    """

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Start without a scan; ``clock`` returns seconds since any fixed moment."""
        self.progress: ScanProgress | None = None
        self._clock = clock
        self._reported_at: float | None = None

    @property
    def ratio(self) -> float | None:
        """How much of the full scan is done, 0 to 1; None while none runs."""
        progress = self.progress
        return None if progress is None else progress.ratio

    @property
    def still_seconds(self) -> float:
        """Seconds since a scan, full or not, last reported progress; 0 while none runs."""
        reported_at = self._reported_at
        return 0.0 if reported_at is None else self._clock() - reported_at

    def begin(self) -> None:
        """Record that a scan begins."""
        self._reported_at = self._clock()

    def record(self, progress: ScanProgress) -> None:
        """Record the progress of a scan."""
        self._reported_at = self._clock()
        if progress.is_full:
            self.progress = progress

    def end(self) -> None:
        """Record that it has ended, successfully or not."""
        self.progress = self._reported_at = None
