"""Search: repositories, tags, digests and apps that a text names."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest

from exporter.domain.digests import BlobNumber, format_digest
from exporter.views.digest_search import parse_prefix
from exporter.views.snapshot_view import SnapshotView

MOST_HITS = 20
"""How many of each kind are listed."""


@dataclass(frozen=True, slots=True)
class TagHit:
    """A tag that was found."""

    repository: str
    tag: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class DigestHit:
    """A digest that was found.

    Attributes:
        digest: in full.
        is_manifest: whether it is that of a manifest or index.
        bytes: on disk; None if it is not there, or its size is unknown.

    """

    digest: str
    is_manifest: bool
    bytes: int | None


@dataclass(frozen=True, slots=True)
class AppHit:
    """An app that was found, and the repositories that belong to it."""

    app: str
    repositories: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, at most :data:`MOST_HITS` of each kind.

    Attributes:
        query: the text.
        repositories: names that contain it, those that equal it or end with it first.
        repositories_found: how many there are.
        tags: tags that contain it, those that equal it first.
        tags_found: how many there are.
        digests: digests that begin with it; also of blobs that are only referenced.
        digests_found: how many there are.
        apps: apps whose name contains it.
        apps_found: how many there are.

    """

    query: str
    repositories: tuple[str, ...] = ()
    repositories_found: int = 0
    tags: tuple[TagHit, ...] = ()
    tags_found: int = 0
    digests: tuple[DigestHit, ...] = ()
    digests_found: int = 0
    apps: tuple[AppHit, ...] = ()
    apps_found: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not (
            self.repositories_found or self.tags_found or self.digests_found or self.apps_found
        )


def search(view: SnapshotView, query: str) -> SearchResult:
    """Return what a text finds; upper and lower case are the same. Raises NotReadYetError."""
    inventory, wanted = view.inventory, query.strip().lower()
    if not wanted:
        return SearchResult("")
    names = [each for each in view.figures if wanted in each]
    names.sort(key=lambda each: (each != wanted, not each.endswith(f"/{wanted}"), each))
    tags = list(_tags(view, wanted))
    first_tags = nsmallest(MOST_HITS, tags, key=lambda hit: (_is_other(hit, wanted), *hit[:2]))
    prefix = parse_prefix(wanted)
    digests = {} if prefix is None else view.digest_search.find(prefix)
    apps = _apps(view, wanted)
    return SearchResult(
        query=query.strip(),
        repositories=tuple(names[:MOST_HITS]),
        repositories_found=len(names),
        tags=tuple(
            TagHit(name, tag, None if target is None else format_digest(inventory.digests[target]))
            for name, tag, target in first_tags
        ),
        tags_found=len(tags),
        digests=tuple(_digest_hit(view, *each) for each in list(digests.items())[:MOST_HITS]),
        digests_found=len(digests),
        apps=tuple(AppHit(*each) for each in list(apps.items())[:MOST_HITS]),
        apps_found=len(apps),
    )


def _tags(view: SnapshotView, wanted: str) -> Iterator[tuple[str, str, BlobNumber | None]]:
    """Yield tags by a part of their name, or by ``repository:tag`` as far as it is given."""
    name, colon, tag_part = wanted.rpartition(":")
    names = view.memo.get("tag names", lambda: _tag_names(view))
    for repository in view.inventory.repositories:
        part = wanted
        if colon and repository.name.endswith(name):
            part = tag_part
        elif colon or not repository.tags:
            continue
        if part not in names.get(repository.name, ""):
            continue
        for tag in repository.tags:
            if part in tag.name.lower():
                yield repository.name, tag.name, tag.target


def _tag_names(view: SnapshotView) -> dict[str, str]:
    """Return all tags of each repository as one text, which is searched faster than a list."""
    return {
        each.name: "\n".join([tag.name for tag in each.tags]).lower()
        for each in view.inventory.repositories
    }


def _is_other(hit: tuple[str, str, BlobNumber | None], wanted: str) -> bool:
    repository, tag = hit[0], hit[1].lower()
    return wanted not in (tag, f"{repository}:{tag}")


def _digest_hit(view: SnapshotView, digest: str, number: BlobNumber) -> DigestHit:
    size = view.inventory.sizes[number]
    return DigestHit(digest, number in view.inventory.manifests, size if size >= 0 else None)


def _apps(view: SnapshotView, wanted: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for name in view.figures:
        owner = view.owner_of(name)
        if owner is not None and wanted in owner.lower():
            found.setdefault(owner, []).append(name)
    platform = view.snapshot.platform
    users = {} if platform is None or platform.images is None else platform.images.users
    for image, apps in users.items():
        for app in apps:
            if wanted in app.lower():
                names = found.setdefault(app, [])
                if image.repository in view.figures and image.repository not in names:
                    names.append(image.repository)
    return {app: tuple(sorted(names)) for app, names in sorted(found.items())}
