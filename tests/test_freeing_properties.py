"""``plan --free``: every first part of its lines frees their sum, and leaves all else whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.blob_sizes import BytesOnDisk, bytes_on_disk
from exporter.analysis.deletion.artifacts import artifacts_of
from exporter.analysis.deletion.freeable import Needs
from exporter.analysis.deletion.freeing import plan_freeing
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.analysis.reachability import reaches_of, with_listed
from exporter.analysis.store_figures import analyse
from exporter.analysis.tag_uses import uses_of_tags
from exporter.domain.digests import BlobNumber, format_digest, parse_digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.snapshot import Dialect, StoreReading
from exporter.domain.uses import OwnershipRules, Use
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import (
    REPOSITORIES,
    STEPS,
    STEPS_WITH_LOSSES,
    TAGS,
    Step,
    build,
    temporary_directory,
)

EVERYTHING = 2**62
RULES = OwnershipRules("a platform", lambda repository: repository, frozenset(Use))
NAMES = st.frozensets(
    st.builds(
        lambda repository, tag: ImageName(repository, tag, None, is_local=True),
        st.sampled_from(REPOSITORIES),
        st.sampled_from(TAGS),
    ),
    max_size=3,
)
IMAGES = st.builds(
    lambda apps, running, rollback: AppImages(apps, running, rollback - running),
    st.frozensets(st.sampled_from(REPOSITORIES)),
    NAMES,
    NAMES,
)
SIGNED = st.frozensets(st.sampled_from(TAGS))


def sign(store: StoreBuilder, signed: frozenset[str]) -> None:
    """Add a signature of each image that has one of these tags."""
    inventory = scan_store(store.root)
    for repository in inventory.repositories:
        for tag in repository.tags:
            if tag.name in signed and tag.target is not None:
                digest = format_digest(inventory.digests[tag.target])
                name = f"{digest.replace(':', '-')}.sig"
                store.image(repository.name, name, [noise(digest, 30)])


@settings(max_examples=150, deadline=None)
@given(st.one_of(STEPS, STEPS_WITH_LOSSES), st.none() | IMAGES, st.sampled_from([2, 3]), SIGNED)
def test_the_first_lines_free_their_sum_and_leave_all_other_tags_whole(
    steps: list[Step], images: AppImages | None, dialect: Dialect, signed: frozenset[str]
) -> None:
    with temporary_directory() as directory:
        build(StoreBuilder(directory), steps)
        sign(StoreBuilder(directory), signed)
        inventory = scan_store(directory)
        reaches = reaches_of(inventory)
        collector = CollectorAfter(inventory, reaches, dialect)
        uses = None
        if images is not None:
            reading = StoreReading(inventory, analyse(inventory))
            uses = uses_of_tags(reading, reaches, images, RULES, BytesOnDisk(inventory))
        freeing = plan_freeing(inventory, reaches, collector, Needs(uses), EVERYTHING, 0)
        deleted: dict[str, set[BlobNumber]] = {each.name: set() for each in inventory.repositories}
        signatures = {
            (repository.name, image): tag.target
            for repository, reach in zip(inventory.repositories, reaches, strict=True)
            for tag in repository.tags
            if (image := artifacts_of(inventory, repository, reach).tags.get(tag.name)) is not None
        }
        freed = 0
        for each in freeing.deletions:
            digest = parse_digest(each.digest)
            assert digest is not None
            deleted[each.repository].add(inventory.digests.intern(digest))
            freed += each.freed_bytes
            assert freed == bytes_on_disk(inventory, collector.freed(deleted))
            for repository in inventory.repositories:
                gone = deleted[repository.name]
                for tag in repository.tags:
                    if tag.target is not None and tag.target not in gone:
                        assert gone.isdisjoint(with_listed(inventory, [tag.target]))
                        signature = signatures.get((repository.name, tag.target))
                        assert signature not in gone
        names = {(each.repository, tag) for each in freeing.deletions for tag in each.tags}
        if images is None:
            followers = [tag for _, tag in names if tag.startswith("sha256-")]
            assert len(followers) == len(names), "only signatures of untagged images"
        else:
            assert names.isdisjoint((each.repository, each.tag) for each in images.running)
