"""Protection: tags and manifests that stay whatever is selected."""

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from exporter.domain.digests import BlobNumber, format_digest
from exporter.domain.model import Inventory, Repository
from exporter.domain.uses import TagUses, Use, UseFigures


@dataclass(frozen=True, slots=True)
class Protected:
    """What must stay, by repository.

    Attributes:
        tags: the names of tags.
        manifests: what these tags point to, and manifests that are protected by their digest.

    """

    tags: Mapping[str, AbstractSet[str]] = field(default_factory=dict)
    manifests: Mapping[str, AbstractSet[BlobNumber]] = field(default_factory=dict)


NOTHING_PROTECTED = Protected()


def find_protected(
    inventory: Inventory,
    patterns: Sequence["re.Pattern[str]"],
    unlisted: AbstractSet[BlobNumber] = frozenset(),
) -> Protected:
    """Return the tags whose whole ``repository:tag`` matches a pattern, and their manifests.

    The same for manifests whose ``repository@digest`` matches, and for those of ``unlisted``: an
    index references them by a media type that the registry does not know, and a client may follow
    it nevertheless.
    """
    tags, manifests = {}, {}
    for repository in inventory.repositories if patterns or unlisted else ():
        name = repository.name
        found = [tag for tag in repository.tags if is_protected(f"{name}:{tag.name}", patterns)]
        numbers = {tag.target for tag in found if tag.target is not None}
        for revision in repository.revisions:
            if revision.manifest in unlisted:
                numbers.add(revision.manifest)
            elif patterns:
                manifest = f"{name}@{format_digest(inventory.digests[revision.manifest])}"
                if is_protected(manifest, patterns):
                    numbers.add(revision.manifest)
        if found or numbers:
            tags[name] = {tag.name for tag in found}
            manifests[name] = numbers
    return Protected(tags, manifests)


def is_protected(name: str, patterns: Sequence["re.Pattern[str]"]) -> bool:
    """Return whether a pattern matches the whole ``repository:tag`` or ``repository@digest``."""
    return any(pattern.fullmatch(name) for pattern in patterns)


def uses_with(
    inventory: Inventory,
    uses: UseFigures | None,
    patterns: Sequence["re.Pattern[str]"],
    unlisted: AbstractSet[BlobNumber],
) -> UseFigures | None:
    """Return the uses with everything that :func:`find_protected` finds as running."""
    return with_protected(inventory, uses, find_protected(inventory, patterns, unlisted))


def with_protected(
    inventory: Inventory, uses: UseFigures | None, protected: Protected
) -> UseFigures | None:
    """Return the uses with everything that is protected as running: what runs always stays."""
    if not protected.manifests:
        return uses
    if uses is None:
        uses = UseFigures({}, {}, {}, frozenset(), {})
    known = uses.repositories
    pinned = dict(uses.pinned)
    for name, numbers in protected.manifests.items():
        pinned[name] = {**pinned.get(name, {}), **dict.fromkeys(numbers, Use.RUNNING)}
    return replace(
        uses,
        repositories={
            each.name: _uses(each, known.get(each.name), protected)
            for each in inventory.repositories
        },
        pinned=pinned,
    )


def _uses(repository: Repository, uses: TagUses | None, protected: Protected) -> TagUses:
    uses = uses or TagUses(repository.tags, {}, Use.UNMANAGED)
    names = protected.tags.get(repository.name, ())
    return replace(uses, named={**uses.named, **dict.fromkeys(names, Use.RUNNING)})
