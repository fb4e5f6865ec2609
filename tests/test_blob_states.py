"""Blob states updated from one inventory to the next equal states computed from scratch."""

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


def figures_of(states: BlobStates) -> tuple[object, ...]:
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


def assert_updates_equal_new_states(first: Inventory, *others: Inventory) -> None:
    states = BlobStates.of(first)
    for each in others:
        states.follow(each)
        assert figures_of(states) == figures_of(BlobStates.of(each))


def test_a_newly_unreadable_manifest_is_noticed_in_unchanged_repositories(
    inventory: Inventory,
) -> None:
    lost = dict(list(inventory.manifests.items())[2:])
    after = replace(inventory, digests=inventory.digests.copy(), manifests=lost)
    assert_updates_equal_new_states(inventory, after, inventory)


def test_a_repository_may_disappear_and_return(inventory: Inventory) -> None:
    without = replace(
        inventory, digests=inventory.digests.copy(), repositories=inventory.repositories[1:]
    )
    assert_updates_equal_new_states(inventory, without, inventory)


def test_blobs_with_other_sizes_or_numbers_are_counted_again(
    inventory: Inventory, tmp_path: Path
) -> None:
    sizes = array("q", [size + 1 for size in inventory.sizes])
    larger = replace(inventory, digests=inventory.digests.copy(), sizes=sizes)
    again = scan_store(tmp_path)
    assert not again.digests.continues(inventory.digests)
    assert_updates_equal_new_states(inventory, larger, again)


def test_a_failed_update_is_not_continued(inventory: Inventory) -> None:
    states = BlobStates.of(inventory)
    broken = replace(inventory, digests=inventory.digests.copy(), repositories=(None,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        states.follow(broken)
    states.follow(inventory)
    assert figures_of(states) == figures_of(BlobStates.of(inventory))


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_of_tags_and_revisions_are_followed(inventory: Inventory, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - reproducible
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
    assert_updates_equal_new_states(*steps)
