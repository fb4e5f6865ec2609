"""Whose the images are, in CapRover's terms, and what a retention policy would do: figures."""

import enum
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.domain.digests import BlobNumber
from exporter.domain.model import Tag


class Use(enum.StrEnum):
    """What CapRover needs a tag for, strongest first."""

    RUNNING = "running"
    ROLLBACK = "rollback"
    UNMANAGED = "unmanaged"
    SUPERSEDED = "superseded"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True)
class UseTotal:
    """Tags of one use, and the bytes of the blobs whose strongest use it is."""

    tags: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TagUses(Mapping[str, Use]):
    """The use of each tag of one repository, by the tag's name; made for its own tags only.

    Attributes:
        tags: of the repository.
        named: uses of the tags that are used in another way than most.
        otherwise: the use of all others.

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
        """Give the names of the tags of one use."""
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
    """Whose the tagged bytes are, in CapRover's terms.

    Attributes:
        totals: every use is there; the bytes add up to the tagged ones.
        repositories: of every repository, the use of each of its tags, by the tag's name.
        pinned: by repository, the manifests that apps name by digest, with the strongest use.
        orphaned_repositories: names of the repositories of apps that no longer exist.
        missing_images: how many images CapRover counts on and this store cannot serve.

    """

    totals: Mapping[Use, UseTotal]
    repositories: Mapping[str, TagUses]
    pinned: Mapping[str, Mapping[BlobNumber, Use]]
    orphaned_repositories: frozenset[str]
    missing_images: Mapping[Use, int]


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a retention policy would do.

    Attributes:
        policy: its name, such as ``keep-last-5``.
        candidate_tags: tags it would delete.
        reclaimable_bytes: what a collector run would then free, on top of what it frees anyway;
            None where that is not known.

    """

    policy: str
    candidate_tags: int
    reclaimable_bytes: int | None
