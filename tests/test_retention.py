"""What retention policies would delete and free, without anything that a kept tag needs."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.blob_sizes import BytesOnDisk, bytes_on_disk
from exporter.analysis.collector_simulation import mark
from exporter.analysis.deletion.choice import Chooser
from exporter.analysis.deletion.order import keep_newest
from exporter.analysis.reachability import reaches_of
from exporter.analysis.store_figures import analyse
from exporter.analysis.tag_uses import uses_of_tags
from exporter.domain.digests import format_digest, parse_digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.snapshot import Dialect, GcMode, PlatformStatus, StoreReading
from exporter.domain.uses import PolicyFigures
from exporter.platforms.caprover.naming import ownership_rules
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import STEPS_WITH_LOSSES, Step, build, temporary_directory
from tests.small_stores import two_platforms

DIALECTS: tuple[Dialect, ...] = (2, 3)


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path)


def estimated(
    store: StoreBuilder, *keep_last: int, images: AppImages | None = None
) -> tuple[PolicyFigures, ...] | None:
    inventory = scan_store(store.root)
    ownership = None if images is None else ownership_rules("captain")
    options = AnalysisOptions(ownership=ownership, keep_last=keep_last)
    platform = None if images is None else PlatformStatus("CapRover", images)
    return Analyst(options).analyse(inventory, platform).conclusions.policies


def deletions(
    store: StoreBuilder, keep: int, images: AppImages | None = None
) -> dict[str, set[str]]:
    inventory = scan_store(store.root)
    reaches = reaches_of(inventory)
    uses = None
    if images is not None:
        reading = StoreReading(inventory, analyse(inventory))
        rules = ownership_rules("captain")
        uses = uses_of_tags(reading, reaches, images, rules, BytesOnDisk(inventory))
    found = Chooser(inventory, reaches, uses).deletions(lambda each: keep_newest(each, keep))
    return {
        name: {format_digest(inventory.digests[number]) for number in chosen.tagged}
        for name, chosen in found.items()
    }


def size(store: StoreBuilder, *digests: str) -> int:
    return sum(store.blob_path(digest).stat().st_size for digest in digests)


def test_the_newest_tags_stay_and_the_bytes_of_the_others_are_estimated(
    store: StoreBuilder,
) -> None:
    for name in ("app", "other"):
        for number in range(4):
            layer = noise(f"{name} {number}", 1000 + number)
            store.image(name, str(number), [layer], b"config", at=1000.0 + number)
    (policy,) = estimated(store, 2) or ()
    assert policy.policy == "keep-last-2"
    assert policy.candidate_tags == 4
    manifests = [digest for chosen in deletions(store, 2).values() for digest in chosen]
    assert len(manifests) == 4
    assert policy.reclaimable_bytes == size(store, *manifests) + 2 * (1000 + 1001)


def test_nothing_is_estimated_where_nothing_says_which_tags_are_the_newest(
    store: StoreBuilder,
) -> None:
    for tag in "bca":
        store.image("app", tag, [noise(tag, 9)], at=1000.0)
        store.image("other", tag, [noise(tag, 9)], at=1000.0 + ord(tag))
    assert estimated(store, 1, 3) == (
        PolicyFigures("keep-last-1", None, None, ("app",)),
        PolicyFigures("keep-last-3", 0, 0),
    )


def test_an_old_image_that_was_tagged_again_stays(store: StoreBuilder) -> None:
    old = store.image("app", "1", at=1000.0)
    store.image("app", "2", at=2000.0)
    store.tag("app", "latest", old, at=3000.0)
    (chosen,) = deletions(store, 1).values()
    assert old not in chosen
    (policy,) = estimated(store, 1) or ()
    assert policy.candidate_tags == 2


def test_a_manifest_that_a_kept_index_lists_stays(store: StoreBuilder) -> None:
    child = store.image("app", "1-amd64", at=1000.0)
    store.index("app", "1", [child], at=2000.0)
    assert deletions(store, 1) == {"app": set()}


def test_garbage_does_not_count_for_the_policy(store: StoreBuilder) -> None:
    store.unlinked_blob(noise("garbage", 5000))
    store.image("app", "1", at=1000.0)
    (policy,) = estimated(store, 1) or ()
    assert policy == PolicyFigures("keep-last-1", 0, 0)


def test_layers_that_another_repository_needs_are_not_freed(store: StoreBuilder) -> None:
    base = noise("base", 9000)
    store.image("app", "1", [base], b"config", at=1000.0)
    store.image("app", "2", [noise("own", 10)], b"config", at=2000.0)
    store.image("other", "1", [base], b"config", at=1000.0)
    (policy,) = estimated(store, 1) or ()
    assert policy.candidate_tags == 1
    assert policy.reclaimable_bytes is not None
    assert policy.reclaimable_bytes < 9000


def test_a_running_tag_is_never_a_candidate(store: StoreBuilder) -> None:
    for number in range(3):
        store.image("app", str(number), at=1000.0 + number)
    running = frozenset({ImageName("app", "0", None, is_local=True)})
    images = AppImages(frozenset({"a"}), running, frozenset())
    (policy,) = estimated(store, 1, images=images) or ()
    assert policy.candidate_tags == 1


@pytest.mark.parametrize("tag", ["1", None])
def test_an_image_that_runs_by_digest_is_never_deleted(
    store: StoreBuilder, tag: str | None
) -> None:
    index, child, other = two_platforms(store, "app", tag)
    store.tag("app", "amd64", child)
    store.tag("app", "arm64", other)
    store.image("app", "2", at=5e9)
    for digest in (index, child):
        running = frozenset({ImageName("app", None, parse_digest(digest), is_local=True)})
        images = AppImages(frozenset({"a"}), running, frozenset())
        named = {digest for each in deletions(store, 1, images).values() for digest in each}
        assert named.isdisjoint({index, child} if tag else {digest})
        assert (other in named) is (digest == child and not tag)


def test_nothing_is_estimated_while_running_images_are_unknown(store: StoreBuilder) -> None:
    store.image("app", "1")
    inventory = scan_store(store.root)
    options = AnalysisOptions(ownership=ownership_rules("captain"), keep_last=(1,))
    for platform in (None, PlatformStatus("CapRover", None, "gone")):
        conclusions = Analyst(options).analyse(inventory, platform).conclusions
        assert conclusions.policies is None
        assert conclusions.uses is None


def test_a_blocked_collector_frees_nothing(store: StoreBuilder) -> None:
    store.image("app", "1", at=1000.0)
    store.image("app", "2", at=2000.0)
    damaged = store.image("app", "3", at=3000.0)
    store.blob_path(damaged).write_bytes(b"{")
    (policy,) = estimated(store, 1) or ()
    assert policy == PolicyFigures("keep-last-1", 2, 0)


def test_blobs_of_a_child_of_an_untagged_index_are_freed_with_its_own_tag(
    store: StoreBuilder,
) -> None:
    layer = noise("amd64", 5000)
    child = store.image("app", "amd64", [layer], b"config", at=1000.0)
    store.index("app", None, [child])
    store.image("app", "2", [noise("own", 10)], b"config", at=2000.0)
    (policy,) = estimated(store, 1) or ()
    # its manifest stays, because the index references it
    assert policy.reclaimable_bytes == 5000


@settings(max_examples=200)
@given(STEPS_WITH_LOSSES, st.integers(1, 2), st.sampled_from(DIALECTS))
def test_an_estimate_equals_the_bytes_that_the_collector_no_longer_marks(
    steps: list[Step], keep: int, dialect: Dialect
) -> None:
    with temporary_directory() as directory:
        store = StoreBuilder(directory)
        store.image("a", "seed")
        build(store, steps)
        inventory = scan_store(store.root)
    reaches = reaches_of(inventory)
    analyst = Analyst(AnalysisOptions(dialect, None, (keep,)))
    (policy,) = analyst.analyse(inventory).conclusions.policies or ()
    chosen = Chooser(inventory, reaches).deletions(lambda each: keep_newest(each, keep))
    before = mark(inventory, reaches, dialect, GcMode.DEFAULT)
    after = mark(
        inventory,
        reaches,
        dialect,
        GcMode.DEFAULT,
        {name: each.tagged | each.artifacts for name, each in chosen.items()},
    )
    freed = set() if before.blockers else before.blobs - after.blobs
    assert policy.reclaimable_bytes == bytes_on_disk(inventory, freed)
