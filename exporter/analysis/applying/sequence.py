"""In which order a plan is carried out: what needs something goes before it."""

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from exporter.analysis.deletion.artifacts import artifacts_of, images_by_artifact
from exporter.analysis.reachability import reach_of, with_listed
from exporter.domain.digests import BlobNumber, parse_digest
from exporter.domain.model import Inventory, Repository
from exporter.domain.plan_file import PlannedDeletion

Place = int
"""Index of a line of the plan."""


def before_each(
    inventory: Inventory, lines: Sequence[PlannedDeletion]
) -> Mapping[Place, Collection[Place]]:
    """Return which lines go before a line, by place: those that it must not outlive.

    These are the indexes that list a manifest, and the images that an artifact belongs to.
    """
    places: defaultdict[str, dict[BlobNumber, Place]] = defaultdict(dict)
    for place, line in enumerate(lines):
        digest = parse_digest(line.digest)
        number = None if digest is None else inventory.digests.find(digest)
        if number is not None:
            places[line.repository][number] = place
    earlier: defaultdict[Place, set[Place]] = defaultdict(set)
    for repository in inventory.repositories:
        here = places.get(repository.name)
        if here:
            for first, then in _pairs(inventory, repository, here):
                earlier[here[then]].add(here[first])
    return earlier


def _pairs(
    inventory: Inventory, repository: Repository, numbers: Collection[BlobNumber]
) -> Iterator[tuple[BlobNumber, BlobNumber]]:
    """Yield pairs of manifests, of which the first goes before the second."""
    below = {
        index: (with_listed(inventory, (index,)) - {index}) & set(numbers)
        for index in inventory.indexes.intersection(numbers)
    }
    for index, listed in below.items():
        yield from ((index, each) for each in listed)
    reach = reach_of(inventory.manifests, repository)
    images = images_by_artifact(repository, artifacts_of(inventory, repository, reach))
    for artifact in images.keys() & set(numbers):
        for image in images[artifact] & set(numbers):
            if image not in below.get(artifact, ()):  # an artifact may list its own image
                yield image, artifact


def in_sequence(count: int, earlier: Mapping[Place, Collection[Place]]) -> Iterator[Place]:
    """Yield the places of so many lines: each after its earlier ones, else in their order."""
    later: defaultdict[Place, list[Place]] = defaultdict(list)
    waits = [0] * count
    for place, firsts in earlier.items():
        waits[place] = len(firsts)
        for first in firsts:
            later[first].append(place)
    ready = [place for place in range(count) if not waits[place]]
    done: set[Place] = set()
    while ready:
        place = heapq.heappop(ready)
        done.add(place)
        yield place
        for each in later[place]:
            waits[each] -= 1
            if not waits[each]:
                heapq.heappush(ready, each)
    # artifacts of one another: which of them goes first makes no difference
    yield from (place for place in range(count) if place not in done)
