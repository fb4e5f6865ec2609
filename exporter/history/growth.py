"""What has changed since a point of the history. Pure."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.domain.snapshot import RepositoryFigures
from exporter.history.points import RepositoryPoint, StorePoint


@dataclass(frozen=True, slots=True)
class Growth:
    """Two points of a store, and the differences between them.

    Attributes:
        before: the earlier point.
        now: the later one.

    """

    before: StorePoint
    now: StorePoint

    @property
    def seconds(self) -> int:
        """The time between the two."""
        return self.now.at - self.before.at

    @property
    def store_bytes(self) -> int:
        """By how many bytes blobs and unfinished uploads have grown."""
        return self.now.store_bytes - self.before.store_bytes

    @property
    def avail_bytes(self) -> int | None:
        """By how many bytes the available space has grown; None if either is unknown."""
        if self.now.avail_bytes is None or self.before.avail_bytes is None:
            return None
        return self.now.avail_bytes - self.before.avail_bytes


class Change(enum.StrEnum):
    """What has become of a repository."""

    CAME = "came"
    WENT = "went"
    GREW = "grew"
    SHRANK = "shrank"


@dataclass(frozen=True, slots=True)
class RepositoryChange:
    """What has changed of one repository.

    Attributes:
        name: with slashes.
        change: what has become of it; by the bytes that it owns alone, then by the others.
        exclusive_bytes: by how many bytes the blobs that it owns alone have grown.
        referenced_bytes: by how many bytes all of its blobs have grown.
        tags: by how many tags it has grown.

    """

    name: str
    change: Change
    exclusive_bytes: int
    referenced_bytes: int
    tags: int


def repository_changes(
    before: Mapping[str, RepositoryPoint], now: Iterable[RepositoryFigures]
) -> list[RepositoryChange]:
    """Return the repositories that have come, gone, or changed in bytes; the largest change first.

    ``before`` has the repositories that were there.
    """
    gone = dict(before)
    changes = []
    for each in now:
        old = gone.pop(each.name, None)
        exclusive = each.exclusive_bytes - (old.exclusive_bytes if old else 0)
        referenced = each.referenced_bytes - (old.referenced_bytes if old else 0)
        tags = each.tags - (old.tags or 0 if old else 0)
        growth = exclusive or referenced
        if old is None:
            change = Change.CAME
        elif growth:
            change = Change.GREW if growth > 0 else Change.SHRANK
        else:
            continue
        changes.append(RepositoryChange(each.name, change, exclusive, referenced, tags))
    changes += (
        RepositoryChange(
            name, Change.WENT, -old.exclusive_bytes, -old.referenced_bytes, -(old.tags or 0)
        )
        for name, old in gone.items()
    )
    return sorted(
        changes,
        key=lambda each: (-abs(each.exclusive_bytes), -abs(each.referenced_bytes), each.name),
    )
