"""Integrity: blobs that are referenced and missing, tags that cannot be pulled."""

from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from exporter.analysis.reachability import ManifestReach, RepositoryReach
from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import (
    ABSENT,
    LAYERS,
    NO_PLATFORM,
    Inventory,
    Manifest,
    Repository,
    Tag,
    linked_parts,
)
from exporter.domain.snapshot import BrokenTag, PartialTag


class ImagePart(NamedTuple):
    """An image that a tag leads to.

    Attributes:
        manifest: its manifest.
        platform: as its index states it; empty without one.
        is_whole: whether it can be pulled whole.

    """

    manifest: BlobNumber
    platform: str
    is_whole: bool


class PullCheck:
    """Checks which tags can be pulled whole, as far as the disk shows it."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._absent: set[BlobNumber] = set()
        if not inventory.all_measured:
            sizes = enumerate(inventory.sizes)
            self._absent = {number for number, size in sizes if size == ABSENT}
        self._faults = dict(self._find_faults(inventory.misfits))
        self._unlinked = inventory.broken_layer_links
        self._sound: dict[str, bool] = {}

    def missing_blobs(self) -> tuple[str, ...]:
        """Return the digests that something references and that are not on disk, sorted.

        A layer with download URLs need not be on disk.
        """
        if not self._absent:
            return ()
        manifests = self._inventory.manifests.values()
        missing = set(self._absent)
        elsewhere = missing & {number for each in manifests for number in each.foreign}
        if elsewhere:
            needed = {
                number
                for each in manifests
                if not elsewhere.isdisjoint(each.blobs)
                for number in set(each.blobs) - set(each.foreign)
            }
            missing -= elsewhere - needed
        return tuple(sorted(format_digest(self._inventory.digests[number]) for number in missing))

    def is_sound(self, repository: Repository, reach: RepositoryReach) -> bool:
        """Return whether nothing is wrong with what the repository's tags reach and its links."""
        sound = self._sound.get(repository.name)
        if sound is None:
            sound = self._sound[repository.name] = self._look_for_faults(repository, reach)
        return sound

    def _look_for_faults(self, repository: Repository, reach: RepositoryReach) -> bool:
        return (
            has_sound_links(repository, reach)
            and repository.name not in self._unlinked
            and self._faults.keys().isdisjoint(reach.tagged_manifests)
        )

    @property
    def is_faultless(self) -> bool:
        """Whether nothing is wrong with any manifest, and no layer link is broken."""
        return not (self._faults or self._unlinked)

    def faulty_tags(
        self, repository: Repository, reach: RepositoryReach
    ) -> Iterator[BrokenTag | PartialTag]:
        """Yield the tags of a repository that cannot be pulled whole."""
        sound = self.is_sound(repository, reach)
        if sound and not reach.has_lost_tags:
            return
        held = sound_links(repository, reach)
        for tag in repository.tags:
            if sound and tag.target is not None:
                continue
            reason = self._tag_fault(repository, tag, held)
            if reason is not None:
                yield self._faulty_tag(repository, tag, reason, held)

    def _faulty_tag(
        self, repository: Repository, tag: Tag, reason: str, held: set[BlobNumber]
    ) -> BrokenTag | PartialTag:
        parts = () if tag.target is None else tuple(self.images(repository, tag.target, held))
        whole = {each.platform for each in parts if each.is_whole}
        if not whole:
            return BrokenTag(repository.name, tag.name, reason)
        lacks = {each.platform for each in parts if not each.is_whole} - whole
        return PartialTag(
            repository.name, tag.name, reason, _sorted_names(whole), _sorted_names(lacks)
        )

    def _tag_fault(self, repository: Repository, tag: Tag, held: set[BlobNumber]) -> str | None:
        if tag.target is None:
            if tag.updated_at is not None:
                return "its link does not hold a digest"
            # while something is unread, it may be its link
            return None if self._inventory.unread else "it has no link"
        return self.fault(repository, tag.target, held)

    def fault(
        self,
        repository: Repository,
        target: BlobNumber,
        held: Container[BlobNumber],
        kept: Container[BlobNumber] | None = None,
    ) -> str | None:
        """Return why a manifest of a repository cannot be pulled whole; None if it can.

        ``held`` are the manifests that the repository has links to. ``kept`` are the blobs that
        remain on disk; None for all.
        """
        pending, seen = [target], {target}
        while pending:
            number = pending.pop()
            if number in self._faults:
                return self._faults[number]
            if number not in held and not self._inventory.unread:
                return f"manifest {self._name(number)} is not linked in the repository"
            manifest = self._inventory.manifests.get(number)
            if manifest is None:
                continue  # it exists and could not be read; perhaps the registry can read it
            if LAYERS not in repository.layout.directories and set(manifest.blobs) - set(
                manifest.foreign
            ):
                return "the repository has no directory _layers"
            unlinked = self._unlinked_parts(repository, manifest)
            if unlinked:
                return f"the layer link of blob {self._name(min(unlinked))} is missing or damaged"
            if kept is not None and not (number in kept and _are_kept(manifest, kept)):
                return "blobs would be gone"
            pending += [child for child in manifest.children if child not in seen]
            seen.update(manifest.children)
        return None

    def images(
        self,
        repository: Repository,
        target: BlobNumber,
        held: Container[BlobNumber],
        kept: Container[BlobNumber] | None = None,
    ) -> Iterator["ImagePart"]:
        """Yield the images that an index lists, through indexes of any depth, or one image alone.

        ``held`` and ``kept`` are as for :meth:`fault`. An index that cannot be read itself counts
        as one image that is not whole. Attestations are not images.
        """
        pending = [(target, "")]
        seen = set(pending)
        while pending:
            number, platform = pending.pop()
            manifest = self._inventory.manifests.get(number)
            if (
                manifest is None
                or not self._leads_on(number, manifest, held, kept)
                or self._unlinked_parts(repository, manifest)
            ):
                is_whole = self.fault(repository, number, held, kept) is None
                yield ImagePart(number, platform, is_whole)
                continue
            names = manifest.platforms or ("",) * len(manifest.children)
            below = {
                # the platform of an index is of no use: those that it lists have their own
                (child, "" if child in self._inventory.indexes else name)
                for child, name in zip(manifest.children, names, strict=True)
                if name != NO_PLATFORM
            }
            pending += below - seen
            seen |= below

    def _unlinked_parts(self, repository: Repository, manifest: Manifest) -> set[BlobNumber]:
        """Return what a manifest needs and its repository cannot serve for want of a link."""
        unlinked = self._unlinked.get(repository.name)
        if unlinked is None:
            return set()
        return linked_parts(manifest) & unlinked.keys()

    def _leads_on(
        self,
        number: BlobNumber,
        manifest: Manifest,
        held: Container[BlobNumber],
        kept: Container[BlobNumber] | None,
    ) -> bool:
        """Return whether a manifest is an index from which clients get to what it lists."""
        return (
            bool(manifest.children)
            and number not in self._own_faults
            and (number in held or self._inventory.unread)
            and (kept is None or (number in kept and _are_kept(manifest, kept)))
        )

    @cached_property
    def _own_faults(self) -> Mapping[BlobNumber, str]:
        """The manifests with a fault that is not only the size of a manifest that they list."""
        misfits = {
            number: parts
            for number, parts in self._inventory.misfits.items()
            if not set(parts) <= set(self._inventory.manifests.get(number, Manifest()).children)
        }
        return dict(self._find_faults(misfits))

    def _find_faults(
        self, misfits: Mapping[BlobNumber, tuple[BlobNumber, ...]]
    ) -> Iterator[tuple[BlobNumber, str]]:
        """Yield the manifests that have a fault, and the fault."""
        inventory, absent = self._inventory, self._absent
        for number in absent:
            yield number, f"manifest {self._name(number)} is missing"
        for number in inventory.unusual:
            if not inventory.manifests[number].schema:
                yield number, f"manifest {self._name(number)} is of a type no registry knows"
        for number, manifest in inventory.manifests.items() if absent else ():
            if not absent.isdisjoint(manifest.blobs):
                gone = absent.intersection(manifest.blobs).difference(manifest.foreign)
                if gone:
                    yield number, f"blob {self._name(min(gone))} is missing"
        for number, parts in misfits.items():
            size = inventory.sizes[parts[0]]
            detail = f"has {size} bytes, not what its manifest says"
            yield number, f"blob {self._name(parts[0])} {detail}"
        for number in inventory.senseless:
            yield number, f"manifest {self._name(number)} references an invalid digest"
        for number in inventory.unreadable:
            yield number, f"manifest {self._name(number)} cannot be understood"

    def _name(self, number: BlobNumber) -> str:
        return format_digest(self._inventory.digests[number])


def has_sound_links(repository: Repository, reach: RepositoryReach) -> bool:
    """Return whether a repository has links to every manifest that its tags reach."""
    return (
        LAYERS in repository.layout.directories
        and not repository.layout.mislinked
        and reach.tagged_manifests <= reach.held
    )


def sound_links(repository: Repository, reach: ManifestReach) -> set[BlobNumber]:
    """Return the manifests that the repository's links really lead to."""
    if not repository.layout.mislinked:
        return reach.held
    return reach.held - repository.layout.mislinked.keys()


def serves(images: Iterable[ImagePart], platform: str) -> bool:
    """Return whether one of the images is for a platform such as ``linux/arm64``, and whole.

    A variant (``v8``) is not compared: hosts run several. An image whose platform is not stated is
    for none.
    """
    return any(each.is_whole and f"{each.platform}/".startswith(f"{platform}/") for each in images)


def _sorted_names(platforms: set[str]) -> tuple[str, ...]:
    return tuple(sorted(platforms - {""}))


def _are_kept(manifest: Manifest, kept: Container[BlobNumber]) -> bool:
    return all(number in kept or number in manifest.foreign for number in manifest.blobs)
