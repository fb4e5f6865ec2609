"""What apps use each tag for, and how many bytes no app needs any more.

Where "running", "rollback", "superseded", "orphaned" and "unmanaged" are assigned.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property

from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.deletion.artifacts import artifacts_of, names_artifacts
from exporter.analysis.integrity import PullCheck, serves, sound_links
from exporter.analysis.reachability import Reaches, RepositoryReach, reached_by_many, with_listed
from exporter.domain.digests import BlobNumber, Digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import (
    Inventory,
    Repository,
    Tag,
)
from exporter.domain.snapshot import BlobState, Integrity, StoreFigures, StoreReading
from exporter.domain.uses import OwnershipRules, TagUses, Use, UseFigures, UseTotal

_NAMED = (Use.RUNNING, Use.ROLLBACK)


def uses_of_tags(
    reading: StoreReading,
    reaches: Reaches,
    images: AppImages,
    rules: OwnershipRules,
    sizes: BytesOnDisk,
    read_at: float | None = None,
    platform: str = "",
) -> UseFigures:
    """Return the use of every tag, and what the uses add up to.

    Images are compared by repository and tag, whatever their domain: it may have changed. The
    ``images`` were read at ``read_at`` (Unix seconds) and know nothing that was pushed later.
    ``platform`` is what the apps' hosts run, such as ``linux/amd64``; empty if it is unknown.
    """
    inventory, figures = reading.inventory, reading.figures
    recent = _pushed_since(read_at, figures)
    integrity = figures.integrity or Integrity((), ())
    served = _Served(inventory, reaches, integrity, platform)
    tagged_bytes = figures.blobs[BlobState.TAGGED].bytes
    named = _by_repository(images)
    uses: dict[str, TagUses] = {}
    pinned: dict[str, Mapping[BlobNumber, Use]] = {}
    orphaned = set()
    lacking = {}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        otherwise = _otherwise(repository.name, named, images.apps, rules)
        names = named.get(repository.name)
        digests = {} if names is None else _numbered(names.digests, inventory)
        if digests:
            pinned[repository.name] = digests
        is_recent = repository.name in recent
        if is_recent and otherwise is Use.ORPHANED:
            otherwise = Use.UNMANAGED  # perhaps its app is new
        by_name = _uses(repository, names, digests, otherwise, inventory)
        if read_at is not None and is_recent and otherwise is Use.SUPERSEDED:
            by_name |= _too_new(repository, by_name, read_at)
        found = TagUses(repository.tags, by_name, otherwise)
        if names_artifacts(repository):
            attached = artifacts_of(inventory, repository, reach).tags
            followed = by_name | _followed(repository, attached, found, digests, inventory)
            by_name = {name: use for name, use in followed.items() if use is not otherwise}
            found = TagUses(repository.tags, by_name, otherwise)
        uses[repository.name] = found
        if otherwise is Use.ORPHANED:
            orphaned.add(repository.name)
        if names is not None and served.has_partial_tags(repository.name):
            lacking[repository.name] = _lacking(repository, names, digests, inventory, served)
    totals = _totals(inventory, reaches, uses, tagged_bytes, sizes)
    return UseFigures(
        totals={use: totals[use] for use in Use if use in rules.known_uses},
        repositories=uses,
        pinned=pinned,
        orphaned_repositories=frozenset(orphaned),
        missing_images=_count_missing(inventory, images, served),
        lacking_platform=lacking,
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
    repository: str, named: Mapping[str, _Named], apps: frozenset[str], rules: OwnershipRules
) -> Use:
    """Return the use of the tags that no app names."""
    use = Use.UNMANAGED
    if repository in named:
        use = Use.SUPERSEDED
    else:
        app = rules.owner_of(repository)
        if app is not None and app not in apps:
            use = Use.ORPHANED
    return use if use in rules.known_uses else Use.UNMANAGED


def _pushed_since(moment: float | None, figures: StoreFigures) -> set[str]:
    """Return the repositories that were pushed to after a moment; none if it is unknown."""
    if moment is None:
        return set()
    pushes = ((each.name, each.last_push_at) for each in figures.repositories)
    return {name for name, last in pushes if last is not None and last > moment}


def _too_new(repository: Repository, uses: Mapping[str, Use], read_at: float) -> Mapping[str, Use]:
    """Return the tags that were pushed after the images were read: an app may name them now."""
    return {
        tag.name: Use.UNMANAGED
        for tag in repository.tags
        if tag.name not in uses and (tag.updated_at or 0.0) > read_at
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
    """Return the uses of the tags that apps name, by tag or by digest."""
    if named is None:
        return {}
    names = {tag.name for tag in repository.tags}
    uses = {name: use for name, use in named.tags.items() if name in names}
    if pinned:
        for tag in repository.tags:
            known = uses.get(tag.name, otherwise)
            use = min((known, *_uses_below(tag, pinned, inventory)), key=_STRENGTH.__getitem__)
            if use is not otherwise:
                uses[tag.name] = use
    return uses


def _followed(
    repository: Repository,
    attached: Mapping[str, BlobNumber | None],
    uses: TagUses,
    pinned: Mapping[BlobNumber, Use],
    inventory: Inventory,
) -> dict[str, Use]:
    """Return the uses of artifacts' tags whose image has a use, unless an app names the tag.

    ``attached`` are the images of the artifacts' tags, ``uses`` those of the tags themselves.
    """
    needed: dict[Use, set[BlobNumber]] = {use: set() for use in Use}
    for number, use in pinned.items():
        needed[use].add(number)
    for tag in repository.tags:
        if tag.name not in attached and tag.target is not None:
            needed[uses[tag.name]].add(tag.target)
    images: dict[BlobNumber, Use] = {}
    for use, targets in needed.items():  # the strongest first
        images = dict.fromkeys(with_listed(inventory, targets), use) | images
    return {
        name: images[image]
        for name, image in attached.items()
        if image in images and uses[name] not in _NAMED
    }


_STRENGTH = {use: place for place, use in enumerate(Use)}


def _uses_below(tag: Tag, pinned: Mapping[BlobNumber, Use], inventory: Inventory) -> Iterator[Use]:
    """Yield the uses of manifests that a tag reaches and apps name by digest, platforms too."""
    if tag.target is not None:
        manifests = with_listed(inventory, (tag.target,))
        yield from (use for number, use in pinned.items() if number in manifests)


def _totals(
    inventory: Inventory,
    reaches: Reaches,
    uses: Mapping[str, TagUses],
    tagged_bytes: int,
    sizes: BytesOnDisk,
) -> Mapping[Use, UseTotal]:
    tags: Counter[Use] = Counter()
    reached: dict[Use, list[AbstractSet[BlobNumber]]] = {use: [] for use in Use}
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        by_name = uses[repository.name]
        here = by_name.count()
        tags.update(here)
        used = sorted(here, key=_STRENGTH.__getitem__)
        if not used:
            continue
        for use, targets in _targets(repository, by_name, used[:-1]).items():
            reached[use].append(reached_by_many(inventory.manifests, targets))
        # what stronger uses reach is subtracted below
        reached[used[-1]].append(reach.tagged)
    seen: set[BlobNumber] = set()
    before = 0
    totals = {use: UseTotal(0, 0) for use in Use}
    found = [use for use in Use if reached[use]]
    for use in found:
        total = tagged_bytes
        if use is not found[-1]:
            seen.update(*reached[use])
            total = sizes.of(seen)
        totals[use] = UseTotal(tags[use], total - before)
        before = total
    return totals


def _targets(
    repository: Repository, by_name: TagUses, uses: Collection[Use]
) -> Mapping[Use, set[BlobNumber]]:
    """Return what the tags of some uses point to."""
    named, otherwise = by_name.named, by_name.otherwise
    targets: dict[Use, set[BlobNumber]] = {use: set() for use in uses}
    if targets:
        for tag in repository.tags:
            use = named.get(tag.name, otherwise)
            if use in targets and tag.target is not None:
                targets[use].add(tag.target)
    return targets


def _lacking(
    repository: Repository,
    named: _Named,
    pinned: Mapping[BlobNumber, Use],
    inventory: Inventory,
    served: "_Served",
) -> frozenset[str]:
    """Return the partial tags from which an app cannot get the image that it runs."""
    running = {number for number, use in pinned.items() if use is Use.RUNNING}

    def lacks(tag: Tag) -> bool:
        if tag.target is None or not served.is_partial(repository.name, tag.name):
            return False
        needed = running & with_listed(inventory, (tag.target,))
        if named.tags.get(tag.name) is Use.RUNNING:
            needed.add(tag.target)
        return not all(served.has_number(repository.name, number) for number in needed)

    return frozenset(tag.name for tag in repository.tags if lacks(tag))


def _count_missing(inventory: Inventory, images: AppImages, served: "_Served") -> Mapping[Use, int]:
    """Count the distinct images of this registry that are not in the store or not whole.

    While a part of the store is unread, an image that is not found may be there: it does not count.
    An image that lacks only platforms that the apps' hosts do not run is whole.
    """
    named = {image.repository for image in (*images.running, *images.rollback)}
    tags = {
        each.name: {tag.name: tag.target for tag in each.tags}
        for each in inventory.repositories
        if each.name in named
    }

    def is_missing(image: ImageName) -> bool:
        if image.digest is not None:
            return not inventory.unread and not served.has_digest(image.repository, image.digest)
        here = tags.get(image.repository, {})
        if image.tag is not None and image.tag in here:
            return not served.has_tag(image.repository, image.tag, here[image.tag])
        return not inventory.unread

    def count(group: Iterable[ImageName]) -> int:
        return sum(is_missing(image) for image in group if image.is_local)

    return {Use.RUNNING: count(images.running), Use.ROLLBACK: count(images.rollback)}


class _Served:
    """Knows which images the hosts of apps can pull."""

    def __init__(
        self, inventory: Inventory, reaches: Reaches, integrity: Integrity, platform: str
    ) -> None:
        self._inventory = inventory
        self._reaches = reaches
        self._platform = platform
        self._broken = {(each.repository, each.tag) for each in integrity.broken_tags}
        self._partial = {(each.repository, each.tag) for each in integrity.partial_tags}
        self._with_partial = {repository for repository, _ in self._partial}

    def has_partial_tags(self, repository: str) -> bool:
        return repository in self._with_partial

    def is_partial(self, repository: str, tag: str) -> bool:
        return (repository, tag) in self._partial

    def has_tag(self, repository: str, tag: str, target: BlobNumber | None) -> bool:
        if not self.is_partial(repository, tag):
            return (repository, tag) not in self._broken
        return target is not None and self.has_number(repository, target)

    def has_digest(self, repository: str, digest: Digest) -> bool:
        number = self._inventory.digests.find(digest)
        return number is not None and self.has_number(repository, number)

    def has_number(self, name: str, number: BlobNumber) -> bool:
        """Return whether a manifest can be pulled whole, or at least what the hosts need of it."""
        if name not in self._repositories:
            return False
        repository, reach = self._repositories[name]
        held = sound_links(repository, reach)
        if self._check.fault(repository, number, held) is None:
            return True
        if not self._platform or number not in self._inventory.indexes:
            return False
        return serves(self._check.images(repository, number, held), self._platform)

    @cached_property
    def _check(self) -> PullCheck:
        return PullCheck(self._inventory)

    @cached_property
    def _repositories(self) -> Mapping[str, tuple[Repository, RepositoryReach]]:
        pairs = zip(self._inventory.repositories, self._reaches, strict=True)
        return {repository.name: (repository, reach) for repository, reach in pairs}
