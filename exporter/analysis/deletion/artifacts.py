"""Artifacts: signatures, attestations, SBOMs and the like, and the image that each belongs to.

An artifact says what it belongs to in one of three ways: by a tag that is named after the image's
digest with a suffix (cosign's ``sha256-<hex>.sig``, ``.att``, ``.sbom``); by being listed in the
index of the tag ``sha256-<hex>``, for registries without the referrers API; or by the field
``subject`` of its manifest. The rules are those of distribution-spec ("Referrers Tag Schema") and
of cosign's ``SIGNATURE_SPEC``.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from exporter.analysis.reachability import ManifestReach, ManifestReaches, with_listed
from exporter.domain.artifacts import ArtifactFigures
from exporter.domain.digests import BlobNumber, Digest, format_digest, parse_digest
from exporter.domain.model import Inventory, Repository, Tag

_ALGORITHMS = ("sha256-", "sha512-")
_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(\.[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The artifacts of one repository.

    Attributes:
        tags: by the name of each artifact's tag, the image that it belongs to; None if the
            repository does not hold that image.
        manifests: the same by manifest, for those that a tag names, an artifact index lists, or
            that name a subject; without the indexes that only list artifacts.

    """

    tags: Mapping[str, BlobNumber | None] = field(default_factory=dict)
    manifests: Mapping[BlobNumber, BlobNumber | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tags or self.manifests)


NO_ARTIFACTS = Artifacts()

Images = Mapping[BlobNumber, AbstractSet[BlobNumber]]
"""By artifact, the images that it belongs to."""


def names_artifacts(repository: Repository) -> bool:
    """Return whether a tag looks as if it were named after an image's digest."""
    return any(tag.name.startswith(_ALGORITHMS) for tag in repository.tags)


def artifacts_of(inventory: Inventory, repository: Repository, reach: ManifestReach) -> Artifacts:
    """Return the artifacts of a repository.

    An artifact of an artifact, such as the signature of an SBOM, belongs to the image too.
    """
    tagged = [each for each in repository.tags if each.name.startswith(_ALGORITHMS)]
    named = {each.name: found for each in tagged if (found := _TAG.fullmatch(each.name))}
    linked = reach.held & inventory.with_subject if inventory.with_subject else set()
    if not named and not linked:
        return NO_ARTIFACTS
    held = _Held(inventory, reach)
    subjects: dict[BlobNumber, BlobNumber | None] = {}
    for number in linked:
        digest = inventory.manifests[number].subject
        subjects[number] = None if digest is None else held.find(digest)
    tags: dict[str, BlobNumber | None] = {}
    listing: set[BlobNumber] = set()
    for tag in tagged:
        if tag.name not in named or tag.target is None:
            continue
        algorithm, encoded, suffix = named[tag.name].groups()
        subject = tags[tag.name] = held.find_text(f"{algorithm}:{encoded}")
        if suffix is None and tag.target in inventory.indexes:
            listing.add(tag.target)
            for child in inventory.manifests[tag.target].children:
                subjects.setdefault(child, subject)
        else:
            subjects.setdefault(tag.target, subject)
    return Artifacts(
        {name: _root(subject, subjects) for name, subject in tags.items()},
        {
            number: _root(subject, subjects)
            for number, subject in subjects.items()
            if number in reach.held and number not in listing
        },
    )


class _Held:
    """Finds manifests that a repository holds, by digest."""

    def __init__(self, inventory: Inventory, reach: ManifestReach) -> None:
        self._digests = inventory.digests
        self._held = reach.held

    def find(self, digest: Digest) -> BlobNumber | None:
        number = self._digests.find(digest)
        return number if number in self._held else None

    def find_text(self, text: str) -> BlobNumber | None:
        """Find one by its text; the fallback tag of a sha512 digest has half of it."""
        digest = parse_digest(text)
        if digest is not None:
            return self.find(digest)
        texts = ((number, format_digest(self._digests[number])) for number in self._held)
        return next((number for number, each in texts if each.startswith(text)), None)


def _root(
    subject: BlobNumber | None, subjects: Mapping[BlobNumber, BlobNumber | None]
) -> BlobNumber | None:
    """Return the image at the end of a chain of artifacts; None if one of them is gone."""
    seen: set[BlobNumber] = set()
    while subject is not None and subject in subjects and subject not in seen:
        seen.add(subject)
        subject = subjects[subject]
    return subject


def images_by_artifact(repository: Repository, artifacts: Artifacts) -> Images:
    """Return the images of artifacts, and of the indexes that list them, if they are there."""
    found = defaultdict[BlobNumber, set[BlobNumber]](set)
    for number, image in artifacts.manifests.items():
        if image is not None and image != number:
            found[number].add(image)
    for tag in repository.tags if artifacts.tags else ():
        image = artifacts.tags.get(tag.name)
        if image is not None and tag.target is not None and image != tag.target:
            found[tag.target].add(image)
    return found


def followers(
    inventory: Inventory,
    repository: Repository,
    artifacts: Artifacts,
    images: AbstractSet[BlobNumber],
    detached: Collection[Tag] = (),
) -> tuple[Sequence[Tag], set[BlobNumber]]:
    """Return the tags and the manifests of the artifacts that go with images, or are ``detached``.

    Something that stays may need some of the manifests too.
    """
    tags = [tag for tag in repository.tags if artifacts.tags.get(tag.name) in images]
    tags += detached
    found = {number for number, image in artifacts.manifests.items() if image in images}
    return tags, found | with_listed(inventory, targets_of(tags))


def targets_of(tags: Iterable[Tag]) -> set[BlobNumber]:
    """Return the manifests that tags point to."""
    return {tag.target for tag in tags if tag.target is not None}


def count_artifacts(
    inventory: Inventory, reaches: ManifestReaches, found: Iterable[Artifacts] | None = None
) -> ArtifactFigures:
    """Count the artifacts of all repositories, by whether their image is there."""
    roots = [
        root
        for each in (found or all_artifacts(inventory, reaches))
        for root in each.manifests.values()
    ]
    detached = roots.count(None)
    return ArtifactFigures(attached=len(roots) - detached, detached=detached)


def all_artifacts(inventory: Inventory, reaches: ManifestReaches) -> Iterator[Artifacts]:
    """Yield the artifacts of each repository, in the inventory's order."""
    for repository, reach in zip(inventory.repositories, reaches, strict=True):
        yield artifacts_of(inventory, repository, reach)


def count_endangered(inventory: Inventory, reaches: ManifestReaches) -> int:
    """Count the artifacts without a tag whose image has one.

    The registry's collector deletes them with ``--delete-untagged``: it follows no ``subject``.
    """
    count = 0
    for found, reach in zip(all_artifacts(inventory, reaches), reaches, strict=True):
        untagged = found.manifests.keys() - reach.tagged_manifests if found else ()
        count += sum(found.manifests[each] in reach.tagged_manifests for each in untagged)
    return count
