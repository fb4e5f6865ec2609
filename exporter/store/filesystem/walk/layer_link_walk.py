"""Walk over the layer links that the tags of repositories need."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from exporter.domain.digests import BlobNumber
from exporter.domain.layer_links import LayerLinkFault, LayerLinkFaults
from exporter.domain.model import (
    LAYERS,
    Inventory,
    Manifest,
    Repository,
    linked_parts,
)
from exporter.store.filesystem.readers.layer_link_reader import LayerLinks, look_at_layer_links
from exporter.store.filesystem.readers.link_reader import PATIENCE_SECONDS
from exporter.store.filesystem.readers.safe_files import IssueLog
from exporter.store.filesystem.walk.blob_table import BlobTable
from exporter.store.filesystem.walk.workers import Workers
from exporter.store.format.layout import REPOSITORIES

Manifests = Mapping[BlobNumber, Manifest]

_LISTINGS = 2
"""``_layers`` and ``_layers/sha256``."""
_FIRST_PAUSE = 0.001
_NONE: LayerLinkFaults = {}


class LayerLinkWalk:
    """Looks at layer links; those of a repository that has not changed keep what is known."""

    def __init__(
        self, store: int, table: BlobTable, previous: Inventory, *, continues: bool, is_full: bool
    ) -> None:
        """Walk the store that is open as ``store``, with the numbers of ``table``.

        ``continues``: the table has the numbers of ``previous``. ``is_full``: look at all links.
        """
        self._store = store
        self._table = table
        self._continues = continues
        self._is_full = is_full
        self._manifests_before = previous.manifests
        self._before = {each.name: each for each in previous.repositories}
        self._unknown = set(_with_issues(previous))
        self._broken_before = {
            name: faults if continues else self._renumbered(faults, previous)
            for name, faults in previous.broken_layer_links.items()
        }

    def run(
        self,
        repositories: Iterable[Repository],
        unchanged: Collection[str],
        manifests: Manifests,
        issues: IssueLog,
        workers: Workers,
        report: Callable[[int, int], None],
    ) -> Mapping[str, LayerLinkFaults]:
        """Return the blobs that a repository needs and cannot serve, with the fault, by its name.

        ``unchanged`` are the repositories that are as in the previous scan. ``report`` is called
        with the number of repositories done, and of all.
        """

        def look(repository: Repository) -> LayerLinks:
            is_unchanged = repository.name in unchanged
            numbers = self._to_look_at(repository, manifests, is_unchanged=is_unchanged)
            return self._look(repository.name, numbers)

        due = [
            each for each in repositories if self._is_due(each, is_unchanged=each.name in unchanged)
        ]
        broken: dict[str, dict[BlobNumber, LayerLinkFault]] = {}
        short: dict[str, set[BlobNumber]] = {}
        looks = workers.map(look, due, lambda _, links: _LISTINGS + links.looked_at)
        for done, (repository, links) in enumerate(looks, 1):
            issues.merge(links.issues)
            known = self._broken_before.get(repository.name, _NONE)
            unknown = {number: known[number] for number in links.unknown & known.keys()}
            broken[repository.name] = links.broken | unknown
            short[repository.name] = links.short - known.keys()
            report(done, len(due))
        self._look_again(broken, short)
        return {name: faults for name, faults in broken.items() if faults}

    def _is_due(self, repository: Repository, *, is_unchanged: bool) -> bool:
        if LAYERS not in repository.layout.directories:
            return False
        is_known = is_unchanged and not self._is_full and repository.name not in self._unknown
        return not is_known or repository.name in self._broken_before

    def _to_look_at(
        self, repository: Repository, manifests: Manifests, *, is_unchanged: bool
    ) -> set[BlobNumber]:
        """Return the blobs that its tags need and whose link may have changed."""
        name = repository.name
        needed_by = _reached(repository, manifests)
        if self._is_full or name in self._unknown or not (is_unchanged or self._continues):
            return _parts(needed_by, manifests)
        again = {*self._broken_before.get(name, _NONE)}
        if again:
            again &= _parts(needed_by, manifests)
        if is_unchanged or name not in self._before:
            new = set() if is_unchanged else needed_by
        else:
            new = needed_by - _reached(self._before[name], self._manifests_before)
        return _parts(new, manifests) | again

    def _look(self, repository: str, numbers: set[BlobNumber]) -> LayerLinks:
        if not numbers:
            return LayerLinks()
        return look_at_layer_links(self._store, repository, numbers, self._table.digests)

    def _look_again(
        self,
        broken: Mapping[str, dict[BlobNumber, LayerLinkFault]],
        short: Mapping[str, set[BlobNumber]],
    ) -> None:
        """Look again at links that are too short: the registry writes them in place.

        All waiting together takes little longer than the patience with one link.
        """
        waited, pause = 0.0, _FIRST_PAUSE
        pending = {name: numbers for name, numbers in short.items() if numbers}
        while pending and waited < PATIENCE_SECONDS:
            time.sleep(pause)
            waited, pause = waited + pause, 2 * pause
            for name, numbers in list(pending.items()):
                links = self._look(name, numbers)
                for number in numbers:
                    del broken[name][number]
                broken[name].update(links.broken)
                pending[name] = links.short
            pending = {name: numbers for name, numbers in pending.items() if numbers}

    def _renumbered(self, faults: LayerLinkFaults, previous: Inventory) -> LayerLinkFaults:
        find = self._table.digests.find
        found = ((find(previous.digests[number]), fault) for number, fault in faults.items())
        return {number: fault for number, fault in found if number is not None}


def _with_issues(inventory: Inventory) -> Iterator[str]:
    """Yield the repositories with links that could not be looked at."""
    for issue in inventory.issues:
        name, layers, _ = issue.path.partition(f"/{LAYERS}")
        if layers:
            yield name.removeprefix(f"{REPOSITORIES}/")


def _reached(repository: Repository, manifests: Manifests) -> set[BlobNumber]:
    """Return the manifests that the tags of a repository reach and that were read."""
    targets = {tag.target for tag in repository.tags if tag.target is not None}
    reached: set[BlobNumber] = set()
    pending = targets & manifests.keys()
    while pending:
        reached |= pending
        listed = {child for number in pending for child in manifests[number].children}
        pending = (listed & manifests.keys()) - reached
    return reached


def _parts(numbers: Iterable[BlobNumber], manifests: Manifests) -> set[BlobNumber]:
    """Return the blobs to which the manifests need a link."""
    parts: set[BlobNumber] = set()
    for number in numbers:
        manifest = manifests[number]
        if manifest.foreign or manifest.unmarked:
            parts |= linked_parts(manifest)
        else:
            parts.update(manifest.blobs)
    return parts
