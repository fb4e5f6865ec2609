"""A store in a directory of this host."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporter.domain.census import Census
from exporter.domain.model import FilesystemUsage, Inventory
from exporter.domain.text import printable
from exporter.store.filesystem.blobs import FilesystemBlobs
from exporter.store.filesystem.census import take_census
from exporter.store.filesystem.disk_space import FilesystemProbe
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.looker import FilesystemLooker
from exporter.store.filesystem.privilege import read_privilege, warnings_of
from exporter.store.filesystem.root import (
    is_in_store,
    is_on_filesystem_of_store,
    open_known_store,
)
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import CensusControl, Follower, Kept, KeptCodec, ScanControl


class FilesystemStore:
    """The store below one root directory, the one that holds ``docker/registry/v2``."""

    def __init__(self, root: Path, options: FollowOptions | None = None) -> None:
        self._root = root
        self._options = options or FollowOptions()
        self._probe = FilesystemProbe(root)

    @property
    def location(self) -> str:
        """The root directory, safe to print."""
        return printable(str(self._root))

    @property
    def identity(self) -> str:
        """The root directory with no symbolic link in it, safe to print."""
        return printable(os.path.realpath(self._root))

    def scan(self, control: ScanControl) -> Inventory:
        """Read all of it once. Raises as :func:`scan_store` does."""
        limit = self._options.max_ops_per_second
        return scan_store(
            self._root,
            control=control,
            max_ops_per_second=limit,
            layer_links_later=not control.layer_links,
        )

    def follow(self, codec: KeptCodec[Kept]) -> Follower[Kept]:
        """Begin to scan it again and again, as the options say."""
        from exporter.store.filesystem.follower import (  # noqa: PLC0415 - only `serve` needs it
            FilesystemFollower,
        )

        return FilesystemFollower(self._root, self._options, codec)

    def census(self, control: CensusControl) -> Census:
        """Count what it takes on its disk. Raises as :func:`take_census` does."""
        return take_census(self._root, control)

    def capacity(self) -> FilesystemUsage | None:
        """Return the usage of its filesystem; None if that cannot be read, or not in time."""
        return self._probe.read()

    @contextmanager
    def open_blobs(self) -> Iterator[FilesystemBlobs]:
        """Open it to read blobs. Raises StoreUnreadableError."""
        with open_known_store(self._root) as store:
            yield FilesystemBlobs(store)

    @contextmanager
    def open_looker(self) -> Iterator[FilesystemLooker]:
        """Open it to look at single repositories. Raises StoreUnreadableError."""
        with open_known_store(self._root) as store:
            looker = FilesystemLooker(store)
            try:
                yield looker
            finally:
                looker.close()

    def holds(self, path: Path) -> bool:
        """Return whether a file is or would be in the store."""
        return is_in_store(path, self._root)

    def shares_filesystem(self, path: Path) -> bool:
        """Return whether a file is or would be on the filesystem of the store's blobs."""
        return is_on_filesystem_of_store(path, self._root)

    def excess_rights(self) -> Sequence[str]:
        """Describe what this process may do beyond reading the store, each with its remedy."""
        return warnings_of(read_privilege(self._root))
