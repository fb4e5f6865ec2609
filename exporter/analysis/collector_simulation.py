"""Simulation of the registry's garbage collector, link by link: what a run would do now.

Follows ``MarkAndSweep`` in distribution's ``registry/storage/garbagecollect.go``: version 2 marks
each revision and what it references directly, version 3 follows indexes and looks at a repository
where it has ``_manifests``, not ``_layers``. What each aborts on was tried on 2.8.2 and 3.0.0.

In a plain repository (every link is correct, every manifest that another lists is linked in it) the
marks follow from what it reaches; only other repositories are walked link by link.

Version 3 also reads every link below ``_layers`` and aborts on one that holds no digest. Only links
to blobs that tags need are looked at, and only those of an unusual size are read: others are not
simulated.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.analysis.collector_fast_path import is_plain
from exporter.analysis.reachability import Reaches, RepositoryReach, referenced_by
from exporter.domain.digests import BlobNumber, Digest, format_digest
from exporter.domain.layer_links import LayerLinkFault
from exporter.domain.model import (
    ABSENT,
    LAYERS,
    MANIFESTS,
    TAGS_DIRECTORY,
    Inventory,
    Repository,
)
from exporter.domain.snapshot import VERSION_2, Dialect, GcMode
from exporter.domain.text import printable
from exporter.store.format.foreign_directories import advice_below, advice_on
from exporter.store.format.layout import (
    REPOSITORIES,
    TAGS,
    blob_directory,
    is_storage_name,
    layer_link,
    revision_link,
    tag_directory,
)

_SENSELESS = "the registry cannot make sense of this place"
_NO_DIGEST = "does not hold a digest"
_LOST_COPY = "a copy of a blob that is gone: the registry cannot delete it"


@dataclass(slots=True)
class Marks:
    """What a run marks, and what it does with revisions.

    Attributes:
        blobs: what it keeps.
        plain: repositories whose marks follow from what they reach.
        removed: by repository, the revisions whose links it deletes.
        blockers: by path, what it aborts on.

    """

    blobs: set[BlobNumber] = field(default_factory=set)
    plain: set[str] = field(default_factory=set)
    removed: dict[str, set[BlobNumber]] = field(default_factory=dict)
    blockers: dict[str, str] = field(default_factory=dict)


def mark(
    inventory: Inventory,
    reaches: Reaches,
    dialect: Dialect,
    mode: GcMode,
    deleted: Mapping[str, Collection[BlobNumber]] | None = None,
) -> Marks:
    """Walk as the collector does; ``deleted`` are revisions to regard as deleted, by repository."""
    marks = Marks()
    odd = inventory.unreadable | inventory.unusual
    pairs = list(zip(inventory.repositories, reaches, strict=True))
    plain = [is_plain(*pair, odd) for pair in pairs]
    if dialect != VERSION_2 and not all(plain):
        # it skips what another repository has marked already: the order matters
        pairs.sort(key=lambda pair: [*pair[0].name.split("/"), MANIFESTS])
        plain = [False] * len(pairs)
    for (repository, reach), known in zip(pairs, plain, strict=True):
        if overlooks(repository.name, inventory, dialect):
            continue
        gone = (deleted or {}).get(repository.name, ())
        if known and gone and mode is GcMode.DEFAULT:
            left = reach.held.difference(gone)
            marks.blobs.update(left, referenced_by(inventory.manifests, left)[0])
        elif known and not gone:
            marks.plain.add(repository.name)
            _mark_plain(repository, reach, marks, dialect, mode)
        else:
            _Walk(inventory, repository, reach, marks, dialect, mode).run(gone)
    if dialect != VERSION_2:
        for name, revisions in marks.removed.items():
            marks.removed[name] = revisions - marks.blobs
        _mark_layer_links(inventory, marks)
    _mark_misplaced(inventory, marks, dialect)
    return marks


def _mark_layer_links(inventory: Inventory, marks: Marks) -> None:
    """Record the layer links on which version 3 aborts, in the repositories that it looks at."""
    for repository in inventory.repositories:
        faults = inventory.broken_layer_links.get(repository.name)
        if faults is None or MANIFESTS not in repository.layout.directories:
            continue
        for number, fault in faults.items():
            if fault is LayerLinkFault.NO_DIGEST:
                path = layer_link(repository.name, format_digest(inventory.digests[number]))
                marks.blockers[path] = _NO_DIGEST


def _mark_misplaced(inventory: Inventory, marks: Marks, dialect: Dialect) -> None:
    """Record what the collector aborts on outside the repositories that it can serve."""
    looks_for = LAYERS if dialect == VERSION_2 else MANIFESTS
    for place in inventory.layout.misplaced:
        name = place.path.removeprefix(f"{REPOSITORIES}/")
        is_met = looks_for in place.directories and not overlooks(name, inventory, dialect)
        if place.copy_of is not None:
            if _is_lost(place.copy_of, inventory, marks):
                marks.blockers[place.path] = advice_below(place.path) or _LOST_COPY
            continue
        if is_met or not place.directories:
            marks.blockers[place.path] = advice_below(place.path) or _SENSELESS


def _is_lost(digest: Digest, inventory: Inventory, marks: Marks) -> bool:
    """Return whether the collector would delete a blob that is not at its place: it cannot."""
    number = inventory.digests.find(digest)
    return number is None or (inventory.sizes[number] == ABSENT and number not in marks.blobs)


def overlooks(repository: str, inventory: Inventory, dialect: Dialect) -> bool:
    """Return whether the registry ends its walk before it reaches a repository.

    Version 2 walks each directory in the order of names, and finds a repository by ``_layers``.
    """
    if dialect != VERSION_2 or not inventory.layout.walk_ends:
        return False
    way = _as_bytes(f"{repository}/{LAYERS}")
    for end in map(_as_bytes, inventory.layout.walk_ends):
        *directory, file = end
        if way[: len(directory)] == directory and file < way[len(directory)]:
            return True
    return False


def _reason_of_obstacle(name: str) -> str:
    """Return why the collector aborts on an entry among the tags."""
    if is_storage_name(name):
        return "not a directory"
    return advice_on(name) or "not a name that the registry can read"


def _as_bytes(path: str) -> list[bytes]:
    return path.encode(errors="surrogateescape").split(b"/")


def _mark_plain(
    repository: Repository,
    reach: RepositoryReach,
    marks: Marks,
    dialect: Dialect,
    mode: GcMode,
) -> None:
    if mode is GcMode.DEFAULT:
        marks.blobs |= reach.all
        return
    marks.removed[repository.name] = reach.held - reach.targets
    marks.blobs |= reach.direct if dialect == VERSION_2 else reach.tagged


class _Walk:
    """Walks one repository link by link."""

    def __init__(
        self,
        inventory: Inventory,
        repository: Repository,
        reach: RepositoryReach,
        marks: Marks,
        dialect: Dialect,
        mode: GcMode,
    ) -> None:
        self._inventory = inventory
        self._repository = repository
        self._reach = reach
        self._marks = marks
        self._follows = dialect != VERSION_2
        self._mode = mode
        self._links: dict[BlobNumber, BlobNumber | None] = {}

    def run(self, deleted: Collection[BlobNumber]) -> None:
        """Mark what the collector would mark, and record what it would abort on."""
        directories = self._repository.layout.directories
        if (MANIFESTS if self._follows else LAYERS) not in directories:
            return  # not a repository to it
        if LAYERS not in directories:
            self._block(f"{REPOSITORIES}/{self._repository.name}/{LAYERS}", "missing")
        for path in self._repository.layout.stray_links:
            self._block(path, advice_below(path) or "not a link that the registry can read")
        self._links = {
            revision.manifest: revision.manifest
            for revision in self._repository.revisions
            if revision.manifest not in deleted
        }
        self._links |= {
            revision: target
            for revision, target in self._repository.layout.mislinked.items()
            if revision not in deleted
        }
        found = list(dict.fromkeys(self._enumerate()))
        if self._mode is GcMode.DELETE_UNTAGGED and found:
            found = self._drop_untagged(found)
        for revision in found:
            self._mark(revision)

    def _enumerate(self) -> Iterator[BlobNumber]:
        """Yield the manifests that the links name and that are on disk."""
        digests = self._inventory.digests
        revisions: Iterable[BlobNumber] = self._links
        if self._follows:  # in its own order: see mark
            revisions = sorted(revisions, key=lambda number: format_digest(digests[number]))
        for revision in revisions:
            named = self._links[revision]
            if named is None:
                path = revision_link(self._repository.name, format_digest(digests[revision]))
                self._block(path, _NO_DIGEST)
            elif self._content(named) is not None or self._is_layer(named):
                yield named

    def _is_layer(self, number: BlobNumber) -> bool:
        """Return whether version 2 treats a blob as a manifest because it is linked as a layer.

        Every blob that the manifests of the repository name is linked as a layer.
        """
        is_named = number not in self._links and number in self._reach.all
        return not self._follows and is_named and self._inventory.sizes[number] != ABSENT

    def _content(self, revision: BlobNumber) -> BlobNumber | None:
        """Return the blob that the registry serves for a manifest; None if there is none."""
        target = self._links.get(revision)
        if target is None or self._inventory.sizes[target] == ABSENT:
            return None
        return target

    def _drop_untagged(self, found: Iterable[BlobNumber]) -> list[BlobNumber]:
        repository = self._repository
        if TAGS_DIRECTORY not in repository.layout.directories:
            if not self._follows:
                path = f"{REPOSITORIES}/{repository.name}/{MANIFESTS}/{TAGS}"
                self._block(path, "missing, but there are manifests")
            return []
        for tag in repository.tags:
            if tag.target is None and tag.updated_at is not None:
                path = f"{tag_directory(repository.name, tag.name)}/current/link"
                self._block(path, _NO_DIGEST)
        for name in repository.layout.tag_obstacles:
            self._block(tag_directory(repository.name, printable(name)), _reason_of_obstacle(name))
        targets = {tag.target for tag in repository.tags}
        self._marks.removed[repository.name] = {each for each in found if each not in targets}
        return [each for each in found if each in targets]

    def _mark(self, revision: BlobNumber) -> None:
        marked = self._marks.blobs
        marked.add(revision)
        if self._is_layer(revision):
            self._refuse(revision)
        pending = [revision]
        while pending:
            content = self._content(pending.pop())
            for number in self._references(content):
                if number not in marked:
                    marked.add(number)
                    if self._follows and self._content(number) is not None:
                        pending.append(number)

    def _references(self, content: BlobNumber | None) -> Sequence[BlobNumber]:
        """Return the references that the registry reads in a manifest; block if it refuses it."""
        if content is None:
            return ()
        manifest = self._inventory.manifests.get(content)
        too_old = self._follows and manifest is not None and manifest.schema == 1
        damaged = content in self._inventory.unreadable
        if manifest is None or not manifest.schema or too_old or damaged:
            self._refuse(content)
            return ()
        references = (*manifest.children, *manifest.blobs)
        if manifest.unmarked:
            return [number for number in references if number not in manifest.unmarked]
        return references

    def _refuse(self, content: BlobNumber) -> None:
        digest = format_digest(self._inventory.digests[content])
        self._block(f"{blob_directory(digest)}/data", "not a manifest that it can read")

    def _block(self, path: str, reason: str) -> None:
        self._marks.blockers[path] = reason
