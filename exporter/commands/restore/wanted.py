"""Which manifests and tags are to be restored, and in which order. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

_ARTIFACT_TAG = re.compile(r"(sha256|sha512)-([0-9a-f]{64}|[0-9a-f]{128})(\.[\w.-]+)?")
"""Tags that signatures and the like have if they are named after their image."""


@dataclass(frozen=True, slots=True)
class WantedManifest:
    """A manifest that a repository had.

    Attributes:
        repository: where.
        digest: as text.
        tags: that pointed to it, each with when it was written, Unix seconds; None if unknown.
        linked_at: when the repository got it, Unix seconds; None if unknown.

    """

    repository: str
    digest: str
    tags: Mapping[str, float | None] = field(default_factory=dict)
    linked_at: float | None = None

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class WantedTag:
    """A tag that a repository had.

    Attributes:
        repository: where.
        name: the tag.
        digest: of the manifest that it pointed to.
        pushed_at: when it was written, Unix seconds; None if unknown.

    """

    repository: str
    name: str
    digest: str
    pushed_at: float | None

    def __str__(self) -> str:
        return f"{self.repository}:{self.name}"


Subject = Callable[[str], str | None]
"""Returns the digest of the image that a manifest, by its digest, is an artifact of."""


def select(
    wanted: Iterable[WantedManifest],
    repositories: Collection[str],
    match: "re.Pattern[str] | None",
    subject: Subject,
) -> list[WantedManifest]:
    """Return the manifests that are asked for, the oldest first.

    Of a manifest that only some tags of match, the others are left out. Signatures and other
    artifacts belong to their image: by their tag, or by the subject that they name.
    """
    held: dict[str, list[WantedManifest]] = {}
    for each in wanted:
        if not repositories or each.repository in repositories:
            held.setdefault(each.repository, []).append(each)
    chosen = [
        each
        for manifests in held.values()
        for each in (manifests if match is None else _matching(manifests, match, subject))
    ]
    return sorted(chosen, key=lambda each: (each.linked_at or 0.0, each.repository, each.digest))


def _matching(
    manifests: Sequence[WantedManifest], match: "re.Pattern[str]", subject: Subject
) -> list[WantedManifest]:
    """Return the manifests of one repository that match, and their artifacts."""
    chosen: dict[str, WantedManifest] = {}
    others: list[WantedManifest] = []
    for each in manifests:
        tags = {
            tag: time
            for tag, time in each.tags.items()
            if match.fullmatch(f"{each.repository}:{tag}")
        }
        if match.fullmatch(str(each)):
            chosen[each.digest] = each
        elif tags:
            chosen[each.digest] = replace(each, tags=tags)
        else:
            others.append(each)
    found = bool(chosen)
    while found:  # an artifact may have artifacts
        found = False
        for each in tuple(others):
            images = {_image_of_tag(tag) for tag in each.tags} | {subject(each.digest)}
            if not images.isdisjoint(chosen):
                chosen[each.digest] = each
                others.remove(each)
                found = True
    return list(chosen.values())


def _image_of_tag(tag: str) -> str | None:
    match = _ARTIFACT_TAG.fullmatch(tag)
    return None if match is None else f"{match[1]}:{match[2]}"


def tags_in_order(wanted: Iterable[WantedManifest]) -> list[WantedTag]:
    """Return the tags, the oldest first: restored like this, they keep their order by time."""
    tags = [
        WantedTag(each.repository, tag, each.digest, time)
        for each in wanted
        for tag, time in each.tags.items()
    ]
    return sorted(tags, key=lambda each: (each.pushed_at or 0.0, each.repository, each.name))
