"""A history that a test writes point by point, with a clock of its own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporter.domain.snapshot import BlobState, GcMode, RepositoryFigures
from exporter.history.points import StorePoint
from exporter.history.reader import HistoryReader
from exporter.history.recorder import HistoryFile

ROOT = "/srv/registry"
HOUR = 3600
DAY = 24 * HOUR
NOON = 1_800_000_000 // DAY * DAY + 12 * HOUR
EMPTY = StorePoint(
    at=0,
    blob_bytes=dict.fromkeys(BlobState, 0),
    uploads=0,
    upload_bytes=0,
    strays=0,
    stray_bytes=0,
    tags=0,
    repositories=0,
    reclaimable_bytes=dict.fromkeys(GcMode),
)


def repository(name: str, size: int, tags: int = 1) -> RepositoryFigures:
    """Return a repository of ``size`` bytes, half of them its own."""
    return RepositoryFigures(name, tags, tags, 0, size, size // 2, None)


class RecordedHistory:
    """Writes a history, and reads it."""

    def __init__(self, path: Path, max_bytes: int = 50_000_000, root: str = ROOT) -> None:
        """Write to ``path``; the clock stands at noon of a day."""
        self.path = path
        self.now = NOON
        self.file = HistoryFile(path, lambda: root, max_bytes)
        self.reader = HistoryReader(path, lambda: root, lambda: self.now)

    def record(self, *repositories: RepositoryFigures, avail: int | None = None) -> None:
        """Record these repositories now."""
        self.record_all(repositories, avail)

    def record_all(
        self, repositories: Sequence[RepositoryFigures], avail: int | None = None
    ) -> None:
        """Record many repositories now."""
        size = sum(each.referenced_bytes for each in repositories)
        point = replace(
            EMPTY,
            at=self.now,
            blob_bytes={**EMPTY.blob_bytes, BlobState.TAGGED: size},
            repositories=len(repositories),
            tags=sum(each.tags for each in repositories),
            avail_bytes=avail,
        )
        self.file.record(point, repositories)

    def sizes(self, since: float = 0) -> list[tuple[int, int]]:
        """Return when, from the first noon on, the store had how many bytes."""
        return [(each.at - NOON, each.store_bytes) for each in self.reader.store_points(since)]

    def sizes_of(self, name: str, since: float = 0) -> list[tuple[int, int]]:
        """Return when, from the first noon on, a repository had how many bytes."""
        points = self.reader.repository_points(name, since)
        return [(each.at - NOON, each.referenced_bytes) for each in points]

    def bytes_on_disk(self) -> int:
        """Return what the file takes, with the files beside it."""
        return sum(each.stat().st_size for each in self.path.parent.iterdir())
