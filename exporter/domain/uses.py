"""What tags are used for, and what a retention policy would do: definitions and figures.

The five uses are defined here; :mod:`exporter.analysis.tag_uses` assigns them.
"""

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.domain.digests import BlobNumber
from exporter.domain.model import Tag


class Use(enum.StrEnum):
    """What a platform needs a tag for, strongest first.

    ``running``: an app runs it. ``rollback``: an app can be rolled back to it. ``unmanaged``: no
    app owns its repository, or its app names no image there. ``superseded``: its app exists, and
    names other images of the repository. ``orphaned``: the platform does not know its app.
    """

    RUNNING = "running"
    ROLLBACK = "rollback"
    UNMANAGED = "unmanaged"
    SUPERSEDED = "superseded"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True)
class OwnershipRules:
    """How a platform assigns repositories to its apps, and which uses it can determine.

    Attributes:
        platform: the platform's name, for messages.
        owner_of: returns the app that a repository belongs to; None if it belongs to no app.
        known_uses: the uses that the platform can determine; it calls all other tags unmanaged.

    """

    platform: str
    owner_of: Callable[[str], str | None]
    known_uses: frozenset[Use]


@dataclass(frozen=True, slots=True)
class UseTotal:
    """Tags of one use, and the bytes of the blobs whose strongest use it is."""

    tags: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TagUses(Mapping[str, Use]):
    """The use of each tag of one repository, by the tag's name.

    Attributes:
        tags: all tags of the repository.
        named: uses of the tags whose use is not ``otherwise``.
        otherwise: the use of all other tags.

    """

    tags: tuple[Tag, ...]
    named: Mapping[str, Use]
    otherwise: Use

    def __getitem__(self, name: str) -> Use:
        return self.named.get(name, self.otherwise)

    def __iter__(self) -> Iterator[str]:
        return (tag.name for tag in self.tags)

    def __len__(self) -> int:
        return len(self.tags)

    def with_use(self, use: Use) -> set[str]:
        """Return the names of the tags that have one use."""
        if use is self.otherwise:
            return {tag.name for tag in self.tags if self[tag.name] is use}
        return {name for name, other in self.named.items() if other is use}

    def count(self) -> Counter[Use]:
        """Count the tags by use."""
        counts = Counter(self.named.values())
        if len(self.tags) > len(self.named):
            counts[self.otherwise] += len(self.tags) - len(self.named)
        return counts


@dataclass(frozen=True, slots=True)
class UseFigures:
    """What the tagged bytes are used for, as the platform says.

    Attributes:
        totals: for every use that the platform can determine; the bytes add up to the tagged bytes.
        repositories: by repository, the use of each of its tags.
        pinned: by repository, the manifests that apps name by digest, with the strongest use.
        orphaned_repositories: names of the repositories whose app the platform does not know.
        missing_images: how many images apps rely on and this store cannot serve, by use.
        lacking_platform: by repository, the partial tags that apps run and that lack the platform
            that these apps need.

    """

    totals: Mapping[Use, UseTotal]
    repositories: Mapping[str, TagUses]
    pinned: Mapping[str, Mapping[BlobNumber, Use]]
    orphaned_repositories: frozenset[str]
    missing_images: Mapping[Use, int]
    lacking_platform: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a retention policy would do.

    Attributes:
        policy: its name, such as ``keep-last-5``.
        candidate_tags: how many tags it would delete; None if it is unknown which are the newest.
        reclaimable_bytes: what a collector run would then free, beyond what it frees anyway;
            None if unknown.
        unordered: the repositories in which nothing says which tags are the newest.
        refused: why it is unknown for all of them; None if it is not.

    """

    policy: str
    candidate_tags: int | None
    reclaimable_bytes: int | None
    unordered: tuple[str, ...] = ()
    refused: str | None = None
