"""One repository as it was read, in digests; and what shows whether that is still so."""

import os
from dataclasses import dataclass, field

from exporter.model import MANIFESTS, Digest, Upload
from exporter.storage.layout import REPOSITORIES
from exporter.storage.stamps import Stamp, newest_of, stamp_of


@dataclass(slots=True)
class RepositoryContent:
    """One repository as read.

    Attributes:
        name: with slashes.
        directories: see :attr:`exporter.model.Repository.directories`.
        tags: name, digest of the target (None: not known), modification time (None: no link).
        revisions: digest of the manifest, modification time of its link (None: unreadable).
        uploads: unfinished uploads.
        mislinked: see :attr:`exporter.model.Repository.mislinked`.
        tag_obstacles: see :attr:`exporter.model.Repository.tag_obstacles`.
        unlisted: which of ``revisions``, ``tags``, ``_uploads`` could not be listed whole.
        unread_tags: tags whose link could not be read.
        stamps: of all that was listed or read below ``_manifests``, by its path from there; None:
            it was not there.
        newest: when any of that last changed, nanoseconds since 1970.

    """

    name: str
    directories: set[str] = field(default_factory=set)
    tags: list[tuple[str, Digest | None, float | None]] = field(default_factory=list)
    revisions: list[tuple[Digest, float | None]] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    mislinked: dict[Digest, Digest | None] = field(default_factory=dict)
    tag_obstacles: list[str] = field(default_factory=list)
    unlisted: set[str] = field(default_factory=set)
    unread_tags: set[str] = field(default_factory=set)
    stamps: dict[str, Stamp | None] = field(default_factory=dict)
    newest: int = 0

    def note(self, path: str, status: os.stat_result | None) -> None:
        """Note the stamp of a place below ``_manifests``; ``path`` is that from the store."""
        place = path[len(f"{REPOSITORIES}/{self.name}/{MANIFESTS}/") :]
        self.stamps[place] = None if status is None else stamp_of(status)
        if status is not None:
            self.newest = max(self.newest, newest_of(status))

    def adrift(self) -> set[Digest]:
        """Give what tags point to and the repository has no link to."""
        targets = {target for _, target, _ in self.tags if target is not None}
        return targets.difference(digest for digest, _ in self.revisions)
