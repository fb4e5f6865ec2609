"""The port to a registry's storage: scan it, follow it, measure its space, read its blobs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from exporter.domain.census import Census
from exporter.domain.digests import Digest
from exporter.domain.model import FilesystemUsage, Inventory
from exporter.domain.scan_progress import ProgressListener

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class ScanControl:
    """How a scan reports its progress, and how it is stopped.

    Attributes:
        on_progress: called as the scan makes progress.
        should_stop: whether the scan is to end with ScanCancelledError.
        layer_links: whether a scan that reads everything looks at layer links too, which takes
            about a seventh longer. A store that has none ignores it.

    """

    on_progress: ProgressListener = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    layer_links: bool = True


@dataclass(frozen=True, slots=True)
class CensusControl:
    """How a census reports its progress, how fast it is, and how it is stopped.

    Attributes:
        on_progress: called now and then with the number of files and directories counted so far.
        should_stop: whether the census is to end with ScanCancelledError.
        max_ops_per_second: limit on what it reads; None for no limit.

    """

    on_progress: Callable[[int], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False
    max_ops_per_second: int | None = None


class KeptCodec(Protocol[Kept]):
    """Packs what was computed from an inventory, so that a store can keep it over a restart."""

    def pack(self, kept: Kept) -> bytes:
        """Return it as bytes."""

    def unpack(self, packed: bytes, inventory: Inventory) -> Kept | None:
        """Return what was packed with ``inventory``; None if it cannot be used any more.

        Raises CacheUnfitError if the bytes make no sense.
        """


@dataclass(frozen=True, slots=True)
class FollowedScan(Generic[Kept]):
    """The result of one scan of a store that is followed.

    Attributes:
        inventory: what the store holds; the same object as long as nothing has changed.
        looked_everywhere: whether changes were looked for in the whole store.
        kept: what was kept with this inventory over a restart; None if nothing was.

    """

    inventory: Inventory
    looked_everywhere: bool = True
    kept: Kept | None = None


class Follower(Protocol[Kept]):
    """Scans one store again and again, reading only what may have changed. For one thread."""

    def wait(self, seconds: float) -> None:
        """Wait until a scan is due, for ``seconds`` at most."""

    def scan(self, control: ScanControl) -> FollowedScan[Kept]:
        """Scan now. Raises as :meth:`Store.scan` does."""

    def accept(self, kept: Kept) -> None:
        """Rely on the last scan from now on; ``kept`` is what was computed from its inventory.

        A scan that is not accepted is followed by one that looks everywhere.
        """

    def finish(self) -> None:
        """Keep over a restart what is not kept yet."""

    def close(self) -> None:
        """End all waiting, now and later; may be called from any thread."""


class BlobStream(Protocol):
    """An open blob."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def readinto(self, buffer: memoryview) -> int:
        """Read the next bytes into ``buffer``; return how many, 0 at the end. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or directory beside a blob or a link, where only that one file belongs.

    Attributes:
        path: safe to print.
        files: how many files it is.
        bytes: their sizes added up.
        stops_collector: whether the registry's collector aborts on it.
        problem: why this directory could not be searched; empty if it is a leftover.

    """

    path: str
    files: int = 0
    bytes: int = 0
    stops_collector: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class WrongLink:
    """A link to a layer or configuration that does not hold the digest it stands for.

    The registry does not serve that blob from this repository.

    Attributes:
        repository: the repository that it belongs to.
        digest: what it should hold.
        path: safe to print.

    """

    repository: str
    digest: Digest
    path: str


class BlobSource(Protocol):
    """Where blobs are read from."""

    def open(self, digest: Digest) -> AbstractContextManager[BlobStream]:
        """Open one blob. Raises FileNotFoundError if it is not there, OSError if unreadable."""


class Blobs(BlobSource, Protocol):
    """The blobs of a store that is open for reading."""

    def is_layer_of(self, repository: str, digest: Digest) -> bool:
        """Return whether a repository links a blob as a layer or configuration."""

    def leftovers(
        self, repositories: Iterable[str], digests: Iterable[Digest] | None
    ) -> Iterator[Leftover | WrongLink | None]:
        """Yield what is beside the links of repositories, and beside ``digests`` or all blobs.

        Also yield layer links that do not hold their digest, and None for each directory
        that was searched, so that the caller can stop.
        """


TagLink = tuple[Digest | None, float | None]
"""What a tag points to, None if its link cannot be understood, and when the link was written, in
Unix seconds, None if there is none."""

TagLinks = Mapping[str, TagLink]
"""By name, the tags that a repository has."""


class Looker(Protocol):
    """Looks at single repositories of a store again and again; for one thread.

    What it returns was read during the call. All methods that look raise StoreUnreadableError.
    """

    def tags(self, repository: str) -> TagLinks:
        """Return the tags that a repository has; none if it is gone."""

    def created(self) -> AbstractSet[str]:
        """Return the tags that were created since the second last call of :meth:`tags`.

        Only up to the last one, only if both were of one repository, and only as far as the store
        can know. They may be gone again.
        """

    def linked_at(self, repository: str, digest: Digest) -> float | None:
        """Return when a repository's link to a manifest was written; None if it has none."""

    def was_pushed(self, repository: str, digest: Digest) -> bool:
        """Return whether a repository's link to a manifest was written since the last call for it.

        False if the call before was for another one, and where the store cannot know. The link may
        be gone again.
        """


class Store(Protocol):
    """The storage of one registry, which is only ever read."""

    @property
    def location(self) -> str:
        """Where it is, safe to print."""

    @property
    def identity(self) -> str:
        """Distinguishes it from other stores, in all runs, whichever path leads to it."""

    def scan(self, control: ScanControl) -> Inventory:
        """Read all of it once.

        Raises StoreUnreadableError if the store as a whole cannot be read, ScanCancelledError soon
        after ``control`` says to stop.
        """

    def follow(self, codec: KeptCodec[Kept]) -> Follower[Kept]:
        """Begin to scan it again and again."""

    def census(self, control: CensusControl) -> Census | None:
        """Count what it takes on its disk; None if a store of this type cannot know.

        Raises as :meth:`scan` does.
        """

    def capacity(self) -> FilesystemUsage | None:
        """Return the space that it has; None if that is unknown or has no bound."""

    def open_blobs(self) -> AbstractContextManager[Blobs]:
        """Open it to read blobs. Raises StoreUnreadableError."""

    def open_looker(self) -> AbstractContextManager[Looker]:
        """Open it to look at single repositories. Raises StoreUnreadableError."""

    def holds(self, path: Path) -> bool:
        """Return whether a local file is or would be in the store."""

    def shares_filesystem(self, path: Path) -> bool:
        """Return whether a local file is or would be on a filesystem that the store is on."""

    def excess_rights(self) -> Sequence[str]:
        """Describe rights that this process has and does not need, each with its remedy."""
