"""What may go from one repository when space is needed, and in which order.

The order is safe to stop at: whatever has not gone yet is whole. So an index goes before what it
lists, and an image before its artifacts.
"""

import enum
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from exporter.analysis.deletion.artifacts import (
    Artifacts,
    Images,
    artifacts_of,
    images_by_artifact,
)
from exporter.analysis.deletion.protection import NOTHING_PROTECTED, Protected
from exporter.analysis.deletion.untagged import without_needed
from exporter.analysis.integrity import sound_links
from exporter.analysis.reachability import RepositoryReach, with_listed
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository, Tag
from exporter.domain.uses import Use, UseFigures

_NUMBER = re.compile(r"([0-9]+)")


class Kind(enum.IntEnum):
    """What may go, the least needed first."""

    SUPERSEDED = enum.auto()
    UNTAGGED = enum.auto()
    ORPHANED = enum.auto()
    ROLLBACK = enum.auto()


class Reason(enum.Enum):
    """Why a tag stays, in the order in which their bytes are counted."""

    RUNNING = enum.auto()
    PROTECTED = enum.auto()
    RECENT = enum.auto()
    UNMANAGED = enum.auto()


class Place(NamedTuple):
    """Where in the order something goes: by kind, then the oldest first.

    What goes with something else, such as the platforms of an image, has the same place.
    """

    kind: Kind
    written_at: float
    repository: str
    rank: int


class Candidate(NamedTuple):
    """A manifest that may go, with the tags that point to it."""

    place: Place
    manifest: BlobNumber
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Freeable:
    """What may go from one repository.

    Attributes:
        candidates: in an order in which each of them may be the last.
        staying: what tags that stay point to, by the reason.

    """

    candidates: Sequence[Candidate]
    staying: Mapping[Reason, set[BlobNumber]]


@dataclass(frozen=True, slots=True)
class Needs:
    """What is needed, as far as it is known.

    Attributes:
        uses: of the tags; None without a platform: then every tag stays.
        changed_at: when the platform's configuration last changed, in Unix seconds: what was
            pushed later stays, unless an app names it. None if unknown.
        protected: what stays in any case.

    """

    uses: UseFigures | None = None
    changed_at: float | None = None
    protected: Protected = NOTHING_PROTECTED

    def fate_of(self, repository: str, tag: Tag) -> Kind | Reason:
        """Return as what a tag may go, or why it stays."""
        use = Use.UNMANAGED
        if self.uses is not None:
            use = self.uses.repositories[repository][tag.name]
        if use is Use.RUNNING:
            return Reason.RUNNING
        if tag.name in self.protected.tags.get(repository, ()):
            return Reason.PROTECTED
        if use is Use.UNMANAGED:
            return Reason.UNMANAGED
        if use is Use.ROLLBACK:
            return Kind.ROLLBACK
        # a configuration that is older than a push may not know what it is for
        if self.changed_at is not None and (
            tag.updated_at is None or tag.updated_at > self.changed_at
        ):
            return Reason.RECENT
        return Kind.SUPERSEDED if use is Use.SUPERSEDED else Kind.ORPHANED

    def pinned(self, repository: str) -> Mapping[BlobNumber, Use]:
        """Return the manifests that apps name by digest."""
        return {} if self.uses is None else self.uses.pinned.get(repository, {})


def freeable(
    inventory: Inventory, repository: Repository, reach: RepositoryReach, needs: Needs
) -> Freeable:
    """Return what may go from one repository."""
    artifacts = artifacts_of(inventory, repository, reach)
    places, staying = _divide(repository, artifacts, needs)
    images = images_by_artifact(repository, artifacts)
    going = sound_links(repository, reach) - with_listed(
        inventory, set[BlobNumber]().union(*staying.values())
    )
    if reach.has_lost_tags or reach.tagged_manifests & inventory.unreadable:
        # what a damaged tag needs is unknown: it may be any untagged manifest
        listed = with_listed(inventory, places)
        listed |= {number for number, found in images.items() if not found.isdisjoint(listed)}
        going &= with_listed(inventory, listed)
    going = without_needed(inventory, reach, images, going)
    if not going:
        return Freeable((), staying)
    return Freeable(_in_order(inventory, repository, going, places, images), staying)


Places = dict[BlobNumber, Place]


def _divide(
    repository: Repository, artifacts: Artifacts, needs: Needs
) -> tuple[Places, Mapping[Reason, set[BlobNumber]]]:
    """Return where what tags point to goes, the last of its tags deciding, and what stays.

    The tag of an artifact whose image is there goes when the image goes.
    """
    places: Places = {}
    staying: dict[Reason, set[BlobNumber]] = {reason: set() for reason in Reason}
    pinned = needs.pinned(repository.name)
    staying[Reason.RUNNING] |= {each for each, use in pinned.items() if use is Use.RUNNING}
    for number, written_at in _written(repository, pinned.keys()).items():
        places[number] = Place(Kind.ROLLBACK, written_at, repository.name, number)
    staying[Reason.PROTECTED] |= needs.protected.manifests.get(repository.name, set())
    for rank, tag in enumerate(sorted(repository.tags, key=_age)):
        if tag.target is None:
            continue
        fate = needs.fate_of(repository.name, tag)
        follows = artifacts.tags.get(tag.name) is not None
        if isinstance(fate, Reason):
            if not follows or fate in (Reason.RUNNING, Reason.PROTECTED):
                staying[fate].add(tag.target)
        elif not follows or fate is Kind.ROLLBACK:
            place = Place(fate, tag.updated_at or 0.0, repository.name, rank)
            places[tag.target] = max(place, places.get(tag.target, place))
    return places, staying


def _age(tag: Tag) -> tuple[float, tuple[str | int, ...]]:
    """Return a key that is least for the oldest tag; of the same time, 2 is older than 10."""
    parts = _NUMBER.split(tag.name)
    return tag.updated_at or 0.0, tuple(
        int(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _written(repository: Repository, manifests: AbstractSet[BlobNumber]) -> dict[BlobNumber, float]:
    """Return when manifests were linked."""
    return {
        each.manifest: each.linked_at or 0.0
        for each in (repository.revisions if manifests else ())
        if each.manifest in manifests
    }


def _in_order(
    inventory: Inventory,
    repository: Repository,
    going: set[BlobNumber],
    places: Places,
    images: Images,
) -> list[Candidate]:
    after = defaultdict[BlobNumber, list[BlobNumber]](list)
    for index in going & inventory.indexes:
        # at any depth: what lies between may be gone already
        after[index] += (with_listed(inventory, (index,)) & going) - {index}
    for artifact in images.keys() & going:
        for image in images[artifact] & going:
            after[image].append(artifact)
    waiting = Counter(number for numbers in after.values() for number in numbers)
    found = {number: place for number, place in places.items() if number in going}
    untagged = going - found.keys() - waiting.keys()
    for number, written_at in _written(repository, untagged).items():
        found[number] = Place(Kind.UNTAGGED, written_at, repository.name, number)
    tags = defaultdict[BlobNumber, list[str]](list)
    for tag in repository.tags:
        if tag.target in going:
            tags[tag.target].append(tag.name)
    # what two manifests of a hostile store make wait for each other never becomes ready, and stays
    ready = sorted(number for number in going if not waiting[number])
    for number in ready:
        for other in after.get(number, ()):
            found[other] = max(found[number], found.get(other, found[number]))
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    candidates = (Candidate(found[each], each, tuple(tags.get(each, ()))) for each in ready)
    return sorted(candidates, key=lambda each: each.place)


def freeable_of(
    inventory: Inventory, reaches: Sequence[RepositoryReach], needs: Needs
) -> Iterator[Freeable]:
    """Yield what may go from each repository, in the inventory's order."""
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        yield freeable(inventory, repository, reach, needs)
