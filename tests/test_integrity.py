"""Integrity of a store: missing blobs, and tags that cannot be pulled."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from demo.store import StoreBuilder, digest_of, noise
from exporter.analysis.store_figures import analyse
from exporter.domain.snapshot import BlobState, BrokenTag, Integrity, PartialTag
from exporter.store.filesystem.scanner import scan_store
from tests.in_process import run_command
from tests.small_stores import INDEX, described, two_platforms, with_fields

LAYER = noise("layer", 300)
ELSEWHERE = {**described(LAYER), "urls": ["https://example.com/layer"]}


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path)


def integrity(store: StoreBuilder) -> Integrity:
    found = analyse(scan_store(store.root)).integrity
    assert found is not None
    return found


def missing(store: StoreBuilder) -> list[str]:
    return list(integrity(store).missing_blobs)


def broken(store: StoreBuilder) -> dict[str, str]:
    """Return the reasons by ``repository:tag``, without digests."""
    return _reasons(integrity(store).broken_tags)


def partial(store: StoreBuilder) -> dict[str, str]:
    """Return the reasons by ``repository:tag``, without digests."""
    return _reasons(integrity(store).partial_tags)


def _reasons(tags: Iterable[BrokenTag | PartialTag]) -> dict[str, str]:
    return {f"{each.repository}:{each.tag}": _without_digest(each.reason) for each in tags}


def _without_digest(reason: str) -> str:
    return " ".join(word for word in reason.split() if not word.startswith("sha256:"))


def lose(store: StoreBuilder, digest: str) -> None:
    store.blob_path(digest).unlink()


def test_nothing_is_missing_or_broken_in_a_sound_store(store: StoreBuilder) -> None:
    store.image("app", "1", [LAYER])
    store.image("app", None, [LAYER])
    store.image("other/app", "1", media="oci")
    inner, _, _ = two_platforms(store, "app", None)
    store.index("app", "all", [inner])
    store.manifest("app", {"schemaVersion": 2, "mediaType": INDEX, "manifests": None}, "none")
    store.delete_revision("app", store.image("app", "gone"))
    store.unlinked_blob(b"garbage")
    assert (missing(store), broken(store)) == ([], {})


def test_a_lost_layer_is_missing_once_and_breaks_all_its_tags(store: StoreBuilder) -> None:
    store.image("app", "1", [LAYER])
    store.image("app", "2", [LAYER, b"own"])
    store.image("app", "3", [b"own"])
    store.image("other", "1", [LAYER])
    lose(store, digest_of(LAYER))
    assert missing(store) == [digest_of(LAYER)]
    assert broken(store) == dict.fromkeys(["app:1", "app:2", "other:1"], "blob is missing")


def test_a_lost_config_breaks_the_tag(store: StoreBuilder) -> None:
    store.image("app", "1", config=b"config")
    lose(store, digest_of(b"config"))
    assert missing(store) == [digest_of(b"config")]
    assert broken(store) == {"app:1": "blob is missing"}


def test_a_layer_that_only_an_untagged_image_needs_is_missing_and_breaks_no_tag(
    store: StoreBuilder,
) -> None:
    store.image("app", "1")
    store.image("app", None, [LAYER])
    lose(store, digest_of(LAYER))
    assert missing(store) == [digest_of(LAYER)]
    assert broken(store) == {}


def test_a_layer_with_urls_may_be_absent(store: StoreBuilder) -> None:
    store.image("app", "1", [ELSEWHERE])
    assert (missing(store), broken(store)) == ([], {})


def test_a_layer_with_urls_is_missing_if_another_image_has_none_for_it(store: StoreBuilder) -> None:
    store.image("app", "foreign", [ELSEWHERE])
    store.image("app", "own", [LAYER])
    lose(store, digest_of(LAYER))
    assert missing(store) == [digest_of(LAYER)]
    assert broken(store) == {"app:own": "blob is missing"}


def test_a_truncated_layer_is_not_missing_but_breaks_the_tag(store: StoreBuilder) -> None:
    store.image("app", "1", [LAYER])
    store.blob_path(digest_of(LAYER)).write_bytes(LAYER[:-1])
    assert missing(store) == []
    assert broken(store) == {"app:1": "blob has 299 bytes, not what its manifest says"}


def test_a_truncated_layer_is_found_beside_an_intact_one(store: StoreBuilder) -> None:
    store.image("app", "1", [b"whole", LAYER, b"whole too"])
    store.image("app", "2", [b"whole"])
    store.blob_path(digest_of(LAYER)).write_bytes(b"")
    assert list(broken(store)) == ["app:1"]


def test_a_lost_manifest_is_missing_and_breaks_its_tag(store: StoreBuilder) -> None:
    digest = store.image("app", "1")
    store.image("app", "2")
    lose(store, digest)
    assert missing(store) == [digest]
    assert broken(store) == {"app:1": "manifest is missing"}


def test_a_lost_child_is_missing_and_leaves_the_index_partial(store: StoreBuilder) -> None:
    _, child, sound = two_platforms(store, "app")
    store.tag("app", "arm64", sound)
    lose(store, child)
    assert missing(store) == [child]
    assert (broken(store), partial(store)) == ({}, {"app:1.0": "manifest is missing"})
    (tag,) = integrity(store).partial_tags
    assert (tag.platforms, tag.lacks) == (("linux/arm64",), ("linux/amd64",))


def test_an_index_without_any_whole_image_is_broken(store: StoreBuilder) -> None:
    _, first, second = two_platforms(store, "app")
    lose(store, first)
    store.revision_link("app", second).unlink()
    assert list(broken(store)) == ["app:1.0"]
    assert partial(store) == {}


def test_a_child_without_a_revision_leaves_the_index_partial_although_all_blobs_exist(
    store: StoreBuilder,
) -> None:
    _, child, _ = two_platforms(store, "app")
    two_platforms(store, "other")
    store.revision_link("app", child).unlink()
    assert missing(store) == []
    reason = "manifest is not linked in the repository"
    assert (broken(store), partial(store)) == ({}, {"app:1.0": reason})


def test_a_lost_layer_of_one_platform_leaves_the_index_partial(store: StoreBuilder) -> None:
    two_platforms(store, "app")
    lose(store, digest_of(noise("arm64", 400)))
    assert (broken(store), partial(store)) == ({}, {"app:1.0": "blob is missing"})


def test_a_truncated_child_leaves_the_index_partial(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, "app")
    path = store.blob_path(child)
    path.write_bytes(path.read_bytes()[:-1])
    assert broken(store) == {}
    assert list(partial(store)) == ["app:1.0"]
    (tag,) = integrity(store).partial_tags
    assert (tag.platforms, tag.lacks) == (("linux/arm64",), ("linux/amd64",))


def test_an_index_that_is_damaged_itself_is_broken(store: StoreBuilder) -> None:
    index, _, _ = two_platforms(store, "app")
    path = store.blob_path(index)
    path.write_bytes(path.read_bytes()[:-1])
    assert (broken(store), partial(store)) == ({"app:1.0": "manifest cannot be understood"}, {})


def with_attestation(store: StoreBuilder) -> tuple[str, str]:
    """Push an image as BuildKit does with provenance; return image and attestation."""
    image = store.image("app", None, [LAYER], media="oci")
    attestation = store.image("app", None, [b"statement"], b"{}", media="oci")
    described = store.descriptor(
        attestation,
        platform={"os": "unknown", "architecture": "unknown"},
        annotations={"vnd.docker.reference.digest": image,
                     "vnd.docker.reference.type": "attestation-manifest"},
    )  # fmt: skip
    store.index("app", "1", [image, described])
    return image, attestation


def test_an_index_is_partial_if_only_its_attestation_is_lost(store: StoreBuilder) -> None:
    _, attestation = with_attestation(store)
    lose(store, attestation)
    assert (broken(store), partial(store)) == ({}, {"app:1": "manifest is missing"})
    (tag,) = integrity(store).partial_tags
    assert (tag.platforms, tag.lacks) == (("linux/amd64",), ())


def test_an_index_is_broken_if_only_its_attestation_is_left(store: StoreBuilder) -> None:
    image, _ = with_attestation(store)
    lose(store, image)
    assert (broken(store), partial(store)) == ({"app:1": "manifest is missing"}, {})


def test_many_paths_through_indexes_are_followed_once(store: StoreBuilder) -> None:
    first, below = two_platforms(store, "app", None)[:2]
    for _ in range(60):
        first = store.index("app", None, [first, store.index("app", None, [first])])
    store.tag("app", "deep", first)
    lose(store, below)
    assert (broken(store), partial(store)) == ({}, {"app:deep": "manifest is missing"})


def test_a_tag_without_a_revision_is_broken(store: StoreBuilder) -> None:
    digest = store.image("app", "1")
    store.revision_link("app", digest).unlink()
    assert broken(store) == {"app:1": "manifest is not linked in the repository"}


def test_a_revision_link_to_another_digest_breaks_the_tag(store: StoreBuilder) -> None:
    first, second = store.image("app", "1"), store.image("app", "2")
    store.revision_link("app", second).write_text(first)
    assert broken(store) == {"app:2": "manifest is not linked in the repository"}


@pytest.mark.parametrize("content", [b"", b"{", b'"text"', b"{}"])
def test_a_malformed_manifest_breaks_its_tag(store: StoreBuilder, content: bytes) -> None:
    store.image("app", "1")
    store.manifest("app", content, "2")
    assert missing(store) == []
    assert broken(store) == {"app:2": "manifest cannot be understood"}


def test_a_manifest_of_an_unknown_type_breaks_its_tag(store: StoreBuilder) -> None:
    store.manifest("app", with_fields(store, mediaType="application/json"), "1")
    assert broken(store) == {"app:1": "manifest is of a type no registry knows"}


@pytest.mark.parametrize("link", [b"", b"garbage", b"sha256:abc"])
def test_a_tag_with_an_invalid_link_is_broken(store: StoreBuilder, link: bytes) -> None:
    store.image("app", "1")
    store.image("app", "2")
    store.tag_link("app", "2").write_bytes(link)
    assert broken(store) == {"app:2": "its link does not hold a digest"}


def test_a_tag_without_a_link_is_broken(store: StoreBuilder) -> None:
    store.image("app", "1")
    store.tag_link("app", "1").unlink()
    assert broken(store) == {"app:1": "it has no link"}


def test_a_fault_below_two_indexes_makes_the_outer_tag_partial(
    store: StoreBuilder,
) -> None:
    inner, child, _ = two_platforms(store, "app", None)
    store.index("app", "outer", [inner])
    store.image("app", "sound")
    lose(store, child)
    assert (broken(store), partial(store)) == ({}, {"app:outer": "manifest is missing"})
    (tag,) = integrity(store).partial_tags
    assert (tag.platforms, tag.lacks) == (("linux/arm64",), ("linux/amd64",))


def test_tags_of_a_repository_without_a_layers_directory_are_broken(store: StoreBuilder) -> None:
    store.image("app", "1")
    layers = store.repository_path("app") / "_layers"
    layers.rename(layers.with_name("moved"))
    assert broken(store) == {"app:1": "the repository has no directory _layers"}


def test_a_pull_through_cache_has_no_missing_blobs(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, "library/app")
    lose(store, child)
    assert partial(store)
    store.stray("scheduler-state.json", b"{}")
    found = analyse(scan_store(store.root))
    assert found.integrity is None
    assert found.collector is not None
    outcome = run_command("report", "--storage.root", store.root)
    assert outcome.exit_code == 0
    assert "missing" not in outcome.output


def test_a_reference_with_an_invalid_digest_breaks_the_tag_and_hides_nothing(
    store: StoreBuilder,
) -> None:
    store.manifest("app", with_fields(store, layers=[{"digest": "x"}]), "1")
    store.unlinked_blob(b"garbage")
    assert broken(store) == {"app:1": "manifest references an invalid digest"}
    found = analyse(scan_store(store.root))
    assert not found.complete
    assert found.blobs[BlobState.UNREFERENCED].blobs == 0
