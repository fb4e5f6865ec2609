"""The use of each tag according to CapRover, and the missing images of its apps."""

import json
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.reachability import reaches_of
from exporter.analysis.store_figures import analyse
from exporter.analysis.tag_uses import uses_of_tags
from exporter.domain.digests import parse_digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.snapshot import StoreReading
from exporter.domain.uses import Use, UseFigures
from exporter.platforms.caprover.naming import app_of, ownership_rules
from exporter.store.filesystem.scanner import scan_store
from tests.small_stores import two_platforms

BLOG = "captain/img-captain-blog"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path)


def image(repository: str, tag: str, *, is_local: bool = True) -> ImageName:
    return ImageName(repository, tag, None, is_local)


def uses(
    store: StoreBuilder,
    *,
    apps: str = "blog",
    running: tuple[ImageName, ...] = (),
    rollback: tuple[ImageName, ...] = (),
    prefix: str = "captain",
) -> UseFigures:
    inventory = scan_store(store.root)
    images = AppImages(
        frozenset(apps.split()), frozenset(running), frozenset(rollback) - {*running}
    )
    reading = StoreReading(inventory, analyse(inventory))
    sizes, rules = BytesOnDisk(inventory), ownership_rules(prefix)
    return uses_of_tags(reading, reaches_of(inventory), images, rules, sizes)


def test_tags_in_a_repository_of_an_app_are_running_rollback_or_superseded(
    store: StoreBuilder,
) -> None:
    for tag in ("1", "2", "3"):
        store.image(BLOG, tag)
    figures = uses(store, running=(image(BLOG, "3"),), rollback=(image(BLOG, "2"),))
    assert figures.repositories[BLOG] == {
        "1": Use.SUPERSEDED, "2": Use.ROLLBACK, "3": Use.RUNNING,
    }  # fmt: skip


@pytest.mark.parametrize("repository", [BLOG, "captain/img-captain--blog"])
def test_a_repository_of_a_deleted_app_is_orphaned(store: StoreBuilder, repository: str) -> None:
    store.image(repository, "1")
    assert uses(store, apps="other").orphaned_repositories == {repository}
    assert uses(store, apps="blog").orphaned_repositories == set()


def test_a_renamed_app_still_names_its_old_repository(store: StoreBuilder) -> None:
    store.image(BLOG, "1")
    store.image(BLOG, "2")
    figures = uses(store, apps="journal", running=(image(BLOG, "2"),))
    assert figures.orphaned_repositories == set()
    assert figures.repositories[BLOG] == {"1": Use.SUPERSEDED, "2": Use.RUNNING}


@pytest.mark.parametrize(
    "repository", ["blog", "captain/blog", "img-captain-blog", "captain/img-captain-a/b"]
)
def test_an_image_that_a_user_pushed_is_unmanaged(store: StoreBuilder, repository: str) -> None:
    store.image(repository, "1")
    figures = uses(store, apps="other")
    assert figures.repositories[repository] == {"1": Use.UNMANAGED}
    assert figures.orphaned_repositories == set()


def signed(store: StoreBuilder, image: str, suffix: str = ".sig") -> str:
    """Push a signature of an image; return its tag."""
    tag = f"{image.replace(':', '-')}{suffix}"
    store.image(BLOG, tag, [noise(f"{suffix} of {image}", 100)])
    return tag


def test_a_signature_has_the_use_of_its_image(store: StoreBuilder) -> None:
    one, two, three = (store.image(BLOG, tag, [noise(tag, 500)]) for tag in "123")
    tags = [signed(store, each) for each in (one, two, three)]
    figures = uses(store, running=(image(BLOG, "3"),), rollback=(image(BLOG, "2"),))
    found = [figures.repositories[BLOG][tag] for tag in tags]
    assert found == [Use.SUPERSEDED, Use.ROLLBACK, Use.RUNNING]
    assert {use: total.tags for use, total in figures.totals.items() if total.tags} == {
        Use.RUNNING: 2, Use.ROLLBACK: 2, Use.SUPERSEDED: 2,
    }  # fmt: skip
    seen: set[str] = set()
    for use, image_tag, tag in zip(reversed(found), "321", reversed(tags), strict=True):
        blobs = blobs_of(store, image_tag) | blobs_of(store, tag)
        own = sum(store.blob_path(each).stat().st_size for each in blobs - seen)
        assert figures.totals[use].bytes == own
        seen |= blobs


def blobs_of(store: StoreBuilder, tag: str) -> set[str]:
    digest = store.tag_link(BLOG, tag).read_text()
    content = json.loads(store.blob_path(digest).read_bytes())
    return {digest, content["config"]["digest"], *(each["digest"] for each in content["layers"])}


def test_a_signature_has_the_strongest_use_of_an_image_with_several_tags_or_platforms(
    store: StoreBuilder,
) -> None:
    shared = store.image(BLOG, "1", [noise("shared", 500)])
    store.tag(BLOG, "2", shared)
    index, platform, _ = two_platforms(store, BLOG, "3")
    store.index(BLOG, "4", [index])
    tags = [signed(store, each) for each in (shared, index, platform)]
    tags.append(signed(store, store.tag_link(BLOG, tags[0]).read_text()))
    figures = uses(store, running=(image(BLOG, "2"),), rollback=(image(BLOG, "4"),))
    found = [figures.repositories[BLOG][tag] for tag in tags]
    assert found == [Use.RUNNING, Use.ROLLBACK, Use.ROLLBACK, Use.RUNNING]


def test_a_list_of_artifacts_has_the_use_of_its_image(store: StoreBuilder) -> None:
    running = store.image(BLOG, "1")
    tag = running.replace(":", "-")
    store.index(BLOG, tag, [store.image(BLOG, None, [noise("sbom", 100)])])
    assert uses(store, running=(image(BLOG, "1"),)).repositories[BLOG][tag] is Use.RUNNING


def test_a_signature_of_an_image_that_runs_under_its_digest_is_running(store: StoreBuilder) -> None:
    untagged = store.image(BLOG, None, [noise("untagged", 500)])
    tag = signed(store, untagged)
    store.image(BLOG, "1")
    named = ImageName(BLOG, None, parse_digest(untagged), is_local=True)
    figures = uses(store, running=(image(BLOG, "1"), named))
    assert figures.repositories[BLOG][tag] is Use.RUNNING


def test_a_signature_keeps_its_own_use_if_its_image_has_none_or_an_app_names_it(
    store: StoreBuilder,
) -> None:
    superseded, untagged = store.image(BLOG, "1"), store.image(BLOG, None, [noise("old", 500)])
    gone = f"sha256:{'0' * 64}"
    named, *rest = (signed(store, each) for each in (superseded, untagged, gone))
    figures = uses(store, running=(image(BLOG, named),))
    assert figures.repositories[BLOG] == {
        "1": Use.SUPERSEDED, named: Use.RUNNING, **dict.fromkeys(rest, Use.SUPERSEDED),
    }  # fmt: skip


def test_an_app_that_names_no_image_leaves_its_repository_unmanaged(store: StoreBuilder) -> None:
    store.image(BLOG, "7")
    assert uses(store, apps="blog").repositories[BLOG] == {"7": Use.UNMANAGED}


def test_the_domain_of_an_image_does_not_affect_its_use(store: StoreBuilder) -> None:
    store.image(BLOG, "1")
    figures = uses(store, running=(image(BLOG, "1", is_local=False),))
    assert figures.repositories[BLOG] == {"1": Use.RUNNING}


def test_an_image_named_by_its_digest_makes_its_tags_used(store: StoreBuilder) -> None:
    digest = parse_digest(store.image(BLOG, "1"))
    store.image(BLOG, "2")
    named = ImageName(BLOG, None, digest, is_local=True)
    assert uses(store, running=(named,)).repositories[BLOG] == {
        "1": Use.RUNNING, "2": Use.SUPERSEDED,
    }  # fmt: skip
    assert uses(store, running=(named,)).missing_images[Use.RUNNING] == 0
    store.delete_revision(BLOG, store.tag_link(BLOG, "1").read_text())
    assert uses(store, running=(named,)).missing_images[Use.RUNNING] == 1


def test_an_image_named_by_the_digest_of_one_platform_makes_the_tags_of_its_index_used(
    store: StoreBuilder,
) -> None:
    inner, first, second = two_platforms(store, BLOG, "1")
    store.index(BLOG, "2", [inner])
    store.image(BLOG, "3")
    running = ImageName(BLOG, None, parse_digest(first), is_local=True)
    rollback = ImageName(BLOG, None, parse_digest(second), is_local=True)
    figures = uses(store, running=(running,), rollback=(rollback,))
    assert figures.repositories[BLOG] == {
        "1": Use.RUNNING, "2": Use.RUNNING, "3": Use.SUPERSEDED,
    }  # fmt: skip


def test_the_prefix_decides_which_repositories_belong_to_apps(store: StoreBuilder) -> None:
    store.image("acme/img-captain-blog", "1")
    store.image(BLOG, "1")
    figures = uses(store, apps="other", prefix="acme")
    assert figures.orphaned_repositories == {"acme/img-captain-blog"}


def test_a_blob_counts_for_its_strongest_use_and_all_uses_add_up_to_the_tagged_bytes(
    store: StoreBuilder,
) -> None:
    shared = noise("shared", 9000)
    store.image(BLOG, "1", [shared, noise("old", 10)])
    store.image(BLOG, "2", [shared, noise("new", 20)])
    store.image("own", "1", [shared, noise("own", 40)])
    store.image("captain/img-captain-gone", "1", [noise("gone", 80)])
    figures = uses(store, running=(image(BLOG, "2"),))
    sizes = {use: total.bytes for use, total in figures.totals.items()}
    inventory = scan_store(store.root)
    tagged = analyse(inventory).blobs
    assert sum(sizes.values()) == sum(total.bytes for total in tagged.values())
    assert sizes[Use.RUNNING] > 9000
    assert max(sizes[Use.SUPERSEDED], sizes[Use.UNMANAGED], sizes[Use.ORPHANED]) < 9000
    assert {use: total.tags for use, total in figures.totals.items()} == {
        Use.RUNNING: 1, Use.ROLLBACK: 0, Use.UNMANAGED: 1, Use.SUPERSEDED: 1, Use.ORPHANED: 1,
    }  # fmt: skip


def test_each_lost_or_incomplete_image_is_missing_once(store: StoreBuilder) -> None:
    for tag in ("1", "2", "3"):
        store.image(BLOG, tag, [noise(f"layer {tag}", 100)])
    (layer,) = [path for path in store.version_path.rglob("data") if path.stat().st_size == 100][:1]
    layer.unlink()
    everything = tuple(image(BLOG, str(tag)) for tag in range(1, 6))
    figures = uses(store, running=everything[3:], rollback=everything)
    assert figures.missing_images == {Use.RUNNING: 2, Use.ROLLBACK: 1}


def test_images_of_other_registries_are_never_missing(store: StoreBuilder) -> None:
    store.image("own", "1")
    elsewhere = image("library/nginx", "1", is_local=False)
    figures = uses(store, running=(elsewhere,), rollback=(elsewhere,))
    assert figures.missing_images == {Use.RUNNING: 0, Use.ROLLBACK: 0}


def test_after_a_wiped_volume_all_images_are_missing(store: StoreBuilder) -> None:
    store.root.mkdir(exist_ok=True)
    figures = uses(store, running=(image(BLOG, "2"),), rollback=(image(BLOG, "1"),))
    assert figures.missing_images == {Use.RUNNING: 1, Use.ROLLBACK: 1}


@pytest.mark.parametrize(
    ("repository", "app"),
    [
        (BLOG, "blog"),
        ("captain/img-captain--blog", "blog"),
        ("captain/img-captain-my-blog", "my-blog"),
        ("captain/blog", None),
        ("captain/img-captain-", None),
        ("other/img-captain-blog", None),
    ],
)
def test_the_name_of_a_repository_contains_the_app(repository: str, app: str | None) -> None:
    assert app_of(repository, "captain") == app
