"""A snapshot as its readers see it, with what takes long to compute kept while it is current."""

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TypeVar, cast

from exporter.analysis.analyst import AnalysisOptions
from exporter.analysis.blob_states import BlobStates
from exporter.analysis.reverse_references import referenced_as_blobs
from exporter.domain.alert_threshold import AlertThreshold
from exporter.domain.digests import BlobNumber
from exporter.domain.errors import HistoryUnusableError, NotReadYetError
from exporter.domain.holders import BlobHolders
from exporter.domain.model import Inventory, Repository
from exporter.domain.scan_progress import ScanProgress
from exporter.domain.snapshot import RepositoryFigures, Snapshot, StoreReading
from exporter.history.port import DAY_SECONDS, History
from exporter.store.port import Store
from exporter.views.action import CommandLines
from exporter.views.app_uses import AppLookup
from exporter.views.detail.timed_reading import TimedReader
from exporter.views.digest_search import DigestSearch

Result = TypeVar("Result")

GROWTH_SPAN = 7 * DAY_SECONDS
"""Over which the growth of repositories is shown."""

_GROWTH_SECONDS = 600.0
"""How long it is kept while nothing changes."""


class Memo:
    """Computes each value once, however many threads ask for it, and keeps the last ones used."""

    def __init__(self, size: int = 64) -> None:
        """Keep ``size`` values."""
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def get(
        self,
        key: Hashable,
        compute: Callable[[], Result],
        is_worth_keeping: Callable[[Result], bool] = lambda _: True,
    ) -> Result:
        """Return the value of a key, computed when it is first asked for.

        A value that is not worth keeping is computed again the next time.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.is_known:
                return cast("Result", entry.value)
            value = compute()
            entry.value, entry.is_known = value, is_worth_keeping(value)
            return value


class _Entry:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_known = False
        self.value: object = None


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """What does not change while the exporter runs.

    Attributes:
        store: the store, to read manifests and configurations from.
        analysis: how it is analysed.
        commands: what its operator runs.
        storage_limit: a budget for the store in bytes; None without one.
        thresholds: those of the alerts.
        history: figures over time; None if none are kept.
        reader: reads from the store for pages.
        past: keeps what was computed from the history: a new scan does not change that.

    """

    store: Store
    analysis: AnalysisOptions
    commands: CommandLines
    storage_limit: int | None = None
    thresholds: tuple[AlertThreshold, ...] = ()
    history: History | None = None
    reader: TimedReader = field(default_factory=TimedReader)
    past: Memo = field(default_factory=Memo)

    def threshold(self, alert: str, severity: str) -> float | None:
        """Return a threshold by the alert's name; None if there is none."""
        found = (
            each.value
            for each in self.thresholds
            if (each.alert, each.severity) == (alert, severity)
        )
        return next(found, None)


@dataclass(frozen=True, slots=True)
class SnapshotView:
    """One snapshot, and what was computed from it.

    Attributes:
        snapshot: what is known.
        options: what does not change.
        progress: of the full scan that runs now; None if none runs.
        memo: keeps what was computed from the store and its uses.
        revision: a number that differs from one snapshot to the next.
        now: Unix seconds.

    """

    snapshot: Snapshot
    options: ViewOptions
    progress: ScanProgress | None = None
    memo: Memo = field(default_factory=Memo)
    revision: int = 0
    now: float = 0.0

    @property
    def reading(self) -> StoreReading:
        """The last scan that succeeded. Raises NotReadYetError before there is one."""
        if self.snapshot.store is None:
            raise NotReadYetError(self.snapshot.scan.failure or "the first scan is not done yet")
        return self.snapshot.store

    @property
    def inventory(self) -> Inventory:
        """What that scan found. Raises NotReadYetError."""
        return self.reading.inventory

    @property
    def figures(self) -> Mapping[str, RepositoryFigures]:
        """The figures of each repository, by its name, largest first. Raises NotReadYetError."""
        repositories = self.reading.figures.repositories
        return self.memo.get("figures", lambda: {each.name: each for each in repositories})

    @property
    def growth(self) -> Mapping[str, int] | None:
        """Bytes by which the exclusive bytes of repositories grew in the last 7 days, by name.

        Only those that are not 0, also those of repositories that are gone. None while the history
        is shorter, or cannot be read.
        """
        history, part = self.options.history, int(self.now // _GROWTH_SECONDS)
        if history is None:
            return None
        return self.memo.get(
            ("growth", part), lambda: _growth(history), lambda found: found is not None
        )

    @property
    def holders(self) -> BlobHolders:
        """How many repositories reach each blob. Raises NotReadYetError."""
        reading = self.reading
        if reading.holders is not None:
            return reading.holders
        return self.memo.get("holders", lambda: BlobStates.of(reading.inventory).holders)

    @property
    def digest_search(self) -> DigestSearch:
        """Finds blobs by the beginning of their digest. Raises NotReadYetError."""
        return self.memo.get("digests", lambda: DigestSearch(self.inventory.digests))

    @property
    def unlisted(self) -> AbstractSet[BlobNumber]:
        """The manifests that another one references without listing them."""
        return self.memo.get("unlisted", lambda: referenced_as_blobs(self.inventory))

    @property
    def apps(self) -> AppLookup | None:
        """Finds the apps that use an image; None while it is unknown which images they use."""
        inventory, platform = self.inventory, self.snapshot.platform
        images = None if platform is None else platform.images
        if images is None:
            return None
        return self.memo.get("apps", lambda: AppLookup(inventory, images))

    def repository(self, name: str) -> Repository | None:
        """Return a repository by its name; None if there is none. Raises NotReadYetError."""
        repositories = self.inventory.repositories
        place = bisect_left(repositories, name, key=lambda each: each.name)
        if place == len(repositories) or repositories[place].name != name:
            return None
        return repositories[place]

    def owner_of(self, repository: str) -> str | None:
        """Return the app that a repository belongs to; None if it belongs to none."""
        ownership = self.options.analysis.ownership
        return None if ownership is None else ownership.owner_of(repository)


def _growth(history: History) -> Mapping[str, int] | None:
    try:
        return history.repositories_growth(GROWTH_SPAN)
    except HistoryUnusableError:
        return None


class Viewer:
    """Returns views of the current snapshot; they share what was computed while it is current."""

    def __init__(
        self,
        read_snapshot: Callable[[], Snapshot],
        options: ViewOptions,
        read_progress: Callable[[], ScanProgress | None] = lambda: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Show what ``read_snapshot`` returns; ``clock`` returns Unix seconds."""
        self._read_snapshot = read_snapshot
        self._options = options
        self._read_progress = read_progress
        self._clock = clock
        self._lock = threading.Lock()
        self._basis: tuple[object, ...] = ()
        self._memo = Memo()
        self._snapshot: Snapshot | None = None
        self._revision = 0

    def view(self) -> SnapshotView:
        """Return a view of the current snapshot."""
        snapshot = self._read_snapshot()
        # a new reading of the disk's space, for one, changes nothing that is kept
        images = None if snapshot.platform is None else snapshot.platform.images
        basis = (snapshot.store, snapshot.uses, images)
        with self._lock:
            is_same = len(basis) == len(self._basis) and all(
                a is b for a, b in zip(basis, self._basis, strict=True)
            )
            if not is_same:
                self._basis, self._memo = basis, Memo()
            if snapshot is not self._snapshot:
                self._snapshot, self._revision = snapshot, self._revision + 1
            memo, revision = self._memo, self._revision
        return SnapshotView(
            snapshot, self._options, self._read_progress(), memo, revision, self._clock()
        )
