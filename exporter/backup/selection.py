"""Pure: which manifests and blobs of an inventory a backup is to hold."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from exporter.domain.digests import BlobNumber, Digest, format_digest, parse_digest
from exporter.domain.model import ABSENT, MANIFESTS, NOT_READ, Inventory, IssueCause, Repository
from exporter.store.format.layout import REPOSITORIES, is_repository_name

_LOSES_TAGS = NOT_READ | {IssueCause.INVALID_LINK}

OldTimes = Callable[[Inventory, Repository], Mapping[str, float]]
"""Returns when tags that were restored had been pushed before, Unix seconds, by name."""


def no_old_times(_inventory: Inventory, _repository: Repository) -> Mapping[str, float]:
    """Return that no tag was restored."""
    return {}


@dataclass(frozen=True, slots=True)
class BackupFault:
    """Something that a backup should hold and does not.

    Attributes:
        repository: the first repository that needs it; empty if none is known.
        subject: a digest, or a path below ``docker/registry/v2``.
        reason: why it is not there.
        place: the file of the backup whose damage is the reason, for many faults at a time; empty
            if it is none.

    """

    repository: str
    subject: str
    reason: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class SelectedRepository:
    """What a backup is to hold of one repository.

    Attributes:
        name: the repository.
        manifests: the chosen manifests and those that they list, at any depth.
        tags: the tags of each of ``manifests`` that has any, with when they were written; before
            they were restored, if they were.
        linked_at: when the repository got each of ``manifests`` that it has a revision of.

    """

    name: str
    manifests: frozenset[BlobNumber]
    tags: Mapping[BlobNumber, Mapping[str, float | None]]
    linked_at: Mapping[BlobNumber, float | None]


@dataclass(frozen=True, slots=True)
class BackupSelection:
    """What a backup is to hold.

    Attributes:
        repositories: sorted by name.
        blobs: those that are to be saved beside the manifests.
        with_all_blobs: whether ``blobs`` are all that the manifests need.
        whole_store: whether it is everything that the store's repositories hold.
        faults: what is missing before anything was copied.

    """

    repositories: tuple[SelectedRepository, ...]
    blobs: frozenset[BlobNumber]
    with_all_blobs: bool = False
    whole_store: bool = False
    faults: tuple[BackupFault, ...] = ()


def select(
    inventory: Inventory,
    wanted: Mapping[str, Collection[str]],
    blobs: Collection[Digest] | None,
    old_times: OldTimes = no_old_times,
) -> BackupSelection:
    """Choose manifests by repository and digest, with the manifests that they list.

    ``blobs``: which blobs to save beside them; None for all that they reference.
    """
    repositories = {each.name: each for each in inventory.repositories}
    selected, faults = [], []
    for name in sorted(wanted):
        if not is_repository_name(name):  # it would become a path
            faults.append(BackupFault("", name, "is no name of a repository"))
            continue
        numbers = set()
        for text in wanted[name]:
            number = _find(inventory, text)
            if number is None:
                faults.append(BackupFault(name, text, "is not in the store any more"))
            else:
                numbers.add(number)
        repository = repositories.get(name, Repository(name))
        selected.append(_repository(inventory, repository, numbers, old_times))
    return _selection(inventory, selected, blobs, faults)


def select_repositories(
    inventory: Inventory,
    names: Collection[str] | None,
    *,
    with_blobs: bool,
    old_times: OldTimes = no_old_times,
) -> BackupSelection:
    """Choose everything that repositories hold, tagged or not; None for all repositories."""
    selected = [
        _repository(inventory, each, _all_manifests(each), old_times)
        for each in inventory.repositories
        if names is None or each.name in names
    ]
    faults = list(_lost_tags(inventory, names))
    return _selection(
        inventory, selected, None if with_blobs else (), faults, whole_store=names is None
    )


def _selection(
    inventory: Inventory,
    selected: Iterable[SelectedRepository],
    blobs: Collection[Digest] | None,
    faults: list[BackupFault],
    *,
    whole_store: bool = False,
) -> BackupSelection:
    repositories = tuple(selected)
    if blobs is None:
        numbers = _needed_blobs(inventory, repositories)
    else:
        numbers = set()
        for digest in blobs:
            number = inventory.digests.find(digest)
            if number is None:
                faults.append(BackupFault("", format_digest(digest), "is not in the store"))
            else:
                numbers.add(number)
    return BackupSelection(
        repositories, frozenset(numbers), blobs is None, whole_store, tuple(faults)
    )


def _repository(
    inventory: Inventory,
    repository: Repository,
    numbers: set[BlobNumber],
    old_times: OldTimes,
) -> SelectedRepository:
    manifests = _with_listed(inventory, numbers)
    tags: dict[BlobNumber, dict[str, float | None]] = {}
    old = old_times(inventory, repository)
    for tag in repository.tags:
        if tag.target is not None and tag.target in manifests:
            tags.setdefault(tag.target, {})[tag.name] = old.get(tag.name, tag.updated_at)
    linked_at = {
        each.manifest: each.linked_at for each in repository.revisions if each.manifest in manifests
    }
    return SelectedRepository(repository.name, frozenset(manifests), tags, linked_at)


def _all_manifests(repository: Repository) -> set[BlobNumber]:
    targets = {tag.target for tag in repository.tags if tag.target is not None}
    return targets | {revision.manifest for revision in repository.revisions}


def _with_listed(inventory: Inventory, numbers: set[BlobNumber]) -> set[BlobNumber]:
    """Return manifests and those that they list, at any depth."""
    found = set(numbers)
    pending = found & inventory.indexes
    while pending:
        children = {
            child
            for number in pending
            if number in inventory.manifests
            for child in inventory.manifests[number].children
        }
        pending = (children - found) & inventory.indexes
        found |= children
    return found


def _needed_blobs(
    inventory: Inventory, repositories: Iterable[SelectedRepository]
) -> set[BlobNumber]:
    """Return what manifests reference; what may be elsewhere only if it is on disk."""
    needed: set[BlobNumber] = set()
    optional: set[BlobNumber] = set()
    for number in frozenset[BlobNumber]().union(*(each.manifests for each in repositories)):
        manifest = inventory.manifests.get(number)
        if manifest is None:
            continue
        if manifest.foreign or manifest.unmarked:
            spare = {*manifest.foreign, *manifest.unmarked}
            optional |= spare
            needed |= set(manifest.blobs) - spare
        else:
            needed.update(manifest.blobs)
    return needed | {number for number in optional if inventory.sizes[number] != ABSENT}


def _lost_tags(inventory: Inventory, names: Collection[str] | None) -> Iterable[BackupFault]:
    """Yield the tags and revisions of repositories that the scan could not read."""
    for issue in inventory.issues:
        if issue.cause not in _LOSES_TAGS or not f"{issue.path}/".startswith(f"{REPOSITORIES}/"):
            continue
        place, mark, _ = issue.path.removeprefix(f"{REPOSITORIES}/").partition(f"/{MANIFESTS}")
        if mark and (names is None or place in names):
            yield BackupFault(place, issue.path, issue.detail)
        elif names is None and "/_" not in issue.path:
            yield BackupFault("", issue.path, issue.detail)


def _find(inventory: Inventory, text: str) -> BlobNumber | None:
    digest = parse_digest(text)
    return None if digest is None else inventory.digests.find(digest)
