"""Accounts that are kept from one inventory to the next equal summaries drawn up from nothing."""

import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.blob_states import BlobStates
from exporter.domain.model import Inventory, Revision, Tag
from exporter.store.filesystem.scanner import scan_store


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    store = StoreBuilder(tmp_path)
    for number in range(6):
        name = f"app-{number % 3}"
        store.image(name, str(number), [noise("base", 100), noise(f"own {number // 2}", 50)])
    store.image("app-1", None, [noise("untagged", 30)])
    platforms = [store.image("app-2", None, [noise(each, 40)]) for each in ("amd64", "arm64")]
    store.index("app-2", "many", platforms)
    store.unlinked_blob(noise("garbage", 20))
    return scan_store(tmp_path)


def told(states: BlobStates) -> tuple[object, ...]:
    return (
        dict(states.blobs),
        states.shared_bytes,
        states.logical_bytes,
        list(states.repositories()),
        states.lost_below_indexes,
        [each.over_untagged for each in states.summaries],
        states.is_plain,
        states.has_sound_links,
        list(states.reaches),
    )


def assert_follows(first: Inventory, *others: Inventory) -> None:
    states = BlobStates.of(first)
    for each in others:
        states.follow(each)
        assert told(states) == told(BlobStates.of(each))


def test_a_manifest_that_cannot_be_read_any_more_is_noticed_in_repositories_as_they_were(
    inventory: Inventory,
) -> None:
    lost = dict(list(inventory.manifests.items())[2:])
    after = replace(inventory, digests=inventory.digests.copy(), manifests=lost)
    assert_follows(inventory, after, inventory)


def test_a_repository_that_goes_and_comes_back_is_followed(inventory: Inventory) -> None:
    without = replace(
        inventory, digests=inventory.digests.copy(), repositories=inventory.repositories[1:]
    )
    assert_follows(inventory, without, inventory)


def test_blobs_of_another_size_or_with_other_numbers_are_accounted_for_anew(
    inventory: Inventory, tmp_path: Path
) -> None:
    sizes = array("q", [size + 1 for size in inventory.sizes])
    larger = replace(inventory, digests=inventory.digests.copy(), sizes=sizes)
    again = scan_store(tmp_path)
    assert not again.digests.continues(inventory.digests)
    assert_follows(inventory, larger, again)


def test_what_was_begun_and_failed_is_not_gone_on_with(inventory: Inventory) -> None:
    states = BlobStates.of(inventory)
    broken = replace(inventory, digests=inventory.digests.copy(), repositories=(None,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        states.follow(broken)
    states.follow(inventory)
    assert told(states) == told(BlobStates.of(inventory))


@pytest.mark.parametrize("seed", range(20))
def test_tags_and_revisions_that_move_at_random_are_followed(
    inventory: Inventory, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    manifests = list(inventory.manifests)
    steps = [inventory]
    for _ in range(8):
        before = steps[-1]
        repositories = list(before.repositories)
        for place in chance.sample(range(len(repositories)), chance.randrange(1, 3)):
            tags = tuple(
                Tag(str(number), chance.choice(manifests), 1.0)
                for number in range(chance.randrange(4))
            )
            held = chance.sample(manifests, chance.randrange(len(manifests)))
            revisions = tuple(Revision(number, 2.0) for number in held)
            repositories[place] = replace(repositories[place], tags=tags, revisions=revisions)
        digests = before.digests.copy()
        steps.append(replace(before, digests=digests, repositories=tuple(repositories)))
    assert_follows(*steps)
