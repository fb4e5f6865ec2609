"""What CapRover needs each tag for, and which bytes nobody needs any more."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from exporter.analysis.garbage import Reaches
from exporter.analysis.integrity import PullCheck, sound_links
from exporter.analysis.reachability import RepositoryReach, expand, reachable
from exporter.analysis.repositories import bytes_on_disk
from exporter.app_images import AppImages, ImageName
from exporter.model import BlobNumber, Digest, Inventory, Repository, Tag
from exporter.snapshot import BrokenTag, Use, UseFigures, UseTotal

_NAMED = (Use.RUNNING, Use.ROLLBACK)
_BUILD = "img-captain-"


def tell_uses(
    inventory: Inventory,
    reaches: Reaches,
    images: AppImages,
    prefix: str,
    broken: Iterable[BrokenTag],
    recent: Mapping[str, float] = MappingProxyType({}),
) -> UseFigures:
    """Tell the use of every tag; ``prefix`` is the first part of CapRover's repositories.

    ``broken`` are the tags that cannot be pulled whole; ``recent`` the repositories that were
    pushed to since ``images`` were read, with when that was (Unix seconds). The uses are those of
    CapRover's terms: an image is compared by repository and tag, whatever its domain, which may
    have changed.
    """
    named = _by_repository(images)
    uses: dict[str, Mapping[str, Use]] = {}
    pinned: dict[str, Mapping[BlobNumber, Use]] = {}
    orphaned = set()
    for repository in inventory.repositories:
        otherwise = _otherwise(repository.name, named, images.apps, prefix)
        names = named.get(repository.name)
        digests = {} if names is None else _numbered(names.digests, inventory)
        if digests:
            pinned[repository.name] = digests
        read_at = recent.get(repository.name)
        if read_at is not None and otherwise is Use.ORPHANED:
            otherwise = Use.UNMANAGED  # perhaps its app is new
        told = _uses(repository, names, digests, otherwise, inventory)
        if read_at is not None and names is not None:
            told |= _too_new(repository, told, read_at)
        uses[repository.name] = told
        if otherwise is Use.ORPHANED:
            orphaned.add(repository.name)
    return UseFigures(
        totals=_totals(inventory, reaches, uses),
        repositories=uses,
        pinned=pinned,
        orphaned_repositories=frozenset(orphaned),
        missing_images=_count_missing(inventory, reaches, images, broken),
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """What apps name in one repository."""

    tags: dict[str, Use] = field(default_factory=dict)
    digests: dict[Digest, Use] = field(default_factory=dict)


def _by_repository(images: AppImages) -> dict[str, _Named]:
    named: defaultdict[str, _Named] = defaultdict(_Named)
    for use, group in zip(_NAMED, (images.running, images.rollback), strict=True):
        for image in group:
            place = named[image.repository]
            if image.digest is not None:
                place.digests.setdefault(image.digest, use)
            if image.tag is not None:
                place.tags.setdefault(image.tag, use)
    return dict(named)


def _otherwise(
    repository: str, named: Mapping[str, _Named], apps: frozenset[str], prefix: str
) -> Use:
    """Give the use of the tags that no app names."""
    if repository in named:
        return Use.SUPERSEDED
    app = app_of(repository, prefix)
    return Use.UNMANAGED if app is None or app in apps else Use.ORPHANED


def app_of(repository: str, prefix: str) -> str | None:
    """Give the app that CapRover pushed a repository for; None where it is none of its own.

    Before version 1.5.1 it wrote one more hyphen, which no app's name can begin with.
    """
    start = f"{prefix}/{_BUILD}"
    if not repository.startswith(start):
        return None
    app = repository[len(start) :].removeprefix("-")
    return app if app and "/" not in app else None


def _too_new(repository: Repository, uses: Mapping[str, Use], read_at: float) -> Mapping[str, Use]:
    """Give the tags that no app named yet when that was read: perhaps one does now."""
    return {
        tag.name: Use.UNMANAGED
        for tag in repository.tags
        if uses[tag.name] is Use.SUPERSEDED and (tag.updated_at or 0.0) > read_at
    }


def _numbered(digests: Mapping[Digest, Use], inventory: Inventory) -> dict[BlobNumber, Use]:
    numbers = ((inventory.digests.find(digest), use) for digest, use in digests.items())
    return {number: use for number, use in numbers if number is not None}


def _uses(
    repository: Repository,
    named: _Named | None,
    pinned: Mapping[BlobNumber, Use],
    otherwise: Use,
    inventory: Inventory,
) -> dict[str, Use]:
    if named is None:
        return dict.fromkeys((tag.name for tag in repository.tags), otherwise)
    uses = {tag.name: named.tags.get(tag.name, otherwise) for tag in repository.tags}
    if pinned:
        for tag in repository.tags:
            candidates = [uses[tag.name], *_uses_below(tag, pinned, inventory)]
            uses[tag.name] = min(candidates, key=_STRENGTH.__getitem__)
    return uses


_STRENGTH = {use: place for place, use in enumerate(Use)}


def _uses_below(tag: Tag, pinned: Mapping[BlobNumber, Use], inventory: Inventory) -> Iterator[Use]:
    """Give the uses of what a tag reaches, where apps name that by digest: a platform of it too."""
    if tag.target is not None:
        manifests = expand(inventory.manifests, (tag.target,))[1]
        yield from (use for number, use in pinned.items() if number in manifests)


def _totals(
    inventory: Inventory, reaches: Reaches, uses: Mapping[str, Mapping[str, Use]]
) -> Mapping[Use, UseTotal]:
    tags: Counter[Use] = Counter()
    reached: dict[Use, set[BlobNumber]] = {use: set() for use in Use}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        by_name = uses[repository.name]
        tags.update(by_name.values())
        used = sorted(set(by_name.values()), key=_STRENGTH.__getitem__)
        if not used:
            continue
        for use, targets in _targets(repository, by_name, used[:-1]).items():
            reached[use] |= reachable(inventory.manifests, targets)
        # what only stronger uses reach is theirs, below
        reached[used[-1]] |= reach.tagged
    seen: set[BlobNumber] = set()
    totals = {}
    for use in Use:
        own = reached[use] - seen
        seen |= own
        totals[use] = UseTotal(tags[use], bytes_on_disk(inventory, own))
    return totals


def _targets(
    repository: Repository, by_name: Mapping[str, Use], uses: Collection[Use]
) -> Mapping[Use, set[BlobNumber]]:
    """Give what the tags of some uses point to."""
    targets: dict[Use, set[BlobNumber]] = {use: set() for use in uses}
    if targets:
        for tag in repository.tags:
            use = by_name[tag.name]
            if use in targets and tag.target is not None:
                targets[use].add(tag.target)
    return targets


def _count_missing(
    inventory: Inventory, reaches: Reaches, images: AppImages, broken: Iterable[BrokenTag]
) -> Mapping[Use, int]:
    """Count the distinct images of this registry that are not on disk or not whole.

    Where something could not be read, what is not found may be behind it, and does not count.
    """
    served = {each.name: {tag.name for tag in each.tags} for each in inventory.repositories}
    damaged = {(tag.repository, tag.tag) for tag in broken}
    digests = _ServedDigests(inventory, reaches)

    def is_missing(image: ImageName) -> bool:
        if image.digest is not None:
            return not inventory.unread and not digests.has(image.repository, image.digest)
        if image.tag in served.get(image.repository, ()):
            return (image.repository, image.tag) in damaged
        return not inventory.unread

    running = {image for image in images.running if image.is_local}
    rollback = {image for image in images.rollback if image.is_local} - running
    return {
        Use.RUNNING: sum(map(is_missing, running)),
        Use.ROLLBACK: sum(map(is_missing, rollback)),
    }


class _ServedDigests:
    """Tells which manifests can be pulled by digest."""

    def __init__(self, inventory: Inventory, reaches: Reaches) -> None:
        self._inventory = inventory
        self._reaches = reaches

    @cached_property
    def _check(self) -> PullCheck:
        return PullCheck(self._inventory)

    @cached_property
    def _repositories(self) -> Mapping[str, tuple[Repository, RepositoryReach]]:
        pairs = zip(self._inventory.repositories, self._reaches, strict=True)
        return {repository.name: (repository, reach) for repository, reach in pairs}

    def has(self, name: str, digest: Digest) -> bool:
        number = self._inventory.digests.find(digest)
        if number is None or name not in self._repositories:
            return False
        repository, reach = self._repositories[name]
        return self._check.fault(repository, number, sound_links(repository, reach)) is None
