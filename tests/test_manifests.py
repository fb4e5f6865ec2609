"""References of manifests of every kind, and refused manifests."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.digests import Digest, parse_digest
from exporter.domain.errors import ManifestUnreadableError
from exporter.domain.model import NO_PLATFORM
from exporter.store.format.manifests import parse_manifest

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def text(letter: str) -> str:
    return f"sha256:{letter * 64}"


def packed(letter: str) -> Digest:
    digest = parse_digest(text(letter))
    assert digest is not None
    return digest


def entry(letter: str, media_type: str = LAYER, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": text(letter), "size": 1, **more}


def encode(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


@pytest.mark.parametrize("media_type", [DOCKER, OCI, None])
def test_an_image_references_its_config_and_layers(media_type: str | None) -> None:
    typed = {} if media_type is None else {"mediaType": media_type}
    content = parse_manifest(encode(config=entry("a"), layers=[entry("b"), entry("c")], **typed))
    assert set(content.blobs) == {packed("a"), packed("b"), packed("c")}
    assert content.children == ()
    assert content.schema == 2
    assert content.sizes == (1, 1, 1)
    assert content.unmarked == ()


@pytest.mark.parametrize("media_type", [DOCKER, OCI, OCI_INDEX])
def test_an_index_lists_manifests_and_other_indexes(media_type: str) -> None:
    content = parse_manifest(encode(mediaType=OCI_INDEX, manifests=[entry("a", media_type)]))
    assert content.children == (packed("a"),)
    assert content.blobs == ()


def platforms(*children: dict[str, object]) -> tuple[str, ...]:
    entries = [entry(letter, OCI, **child) for letter, child in zip("abc", children, strict=False)]
    return parse_manifest(encode(mediaType=OCI_INDEX, manifests=entries)).platforms


def test_an_index_has_the_platform_of_each_manifest_that_it_lists() -> None:
    arm = {"os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1"}
    amd = {"os": "linux", "architecture": "amd64"}
    assert platforms({"platform": arm}, {}, {"platform": amd}) == (
        "linux/arm64/v8", "", "linux/amd64",
    )  # fmt: skip
    assert platforms({}, {}) == ()


def test_an_attestation_is_for_no_platform() -> None:
    """With a digest in its annotations, as BuildKit writes it."""
    note = {"vnd.docker.reference.digest": text("a"),
            "vnd.docker.reference.type": "attestation-manifest"}  # fmt: skip
    unknown = {"os": "unknown", "architecture": "unknown"}
    amd = {"os": "linux", "architecture": "amd64"}
    found = platforms({"platform": amd}, {"annotations": note}, {"platform": unknown})
    assert found == ("linux/amd64", NO_PLATFORM, NO_PLATFORM)


@pytest.mark.parametrize(
    "stated",
    [1, "linux", [], {"os": 1}, {"os": "\ud800"}, {"os": "\x1b[2J"}, {"os": "x" * 99}, None],
)
def test_a_platform_that_makes_no_sense_counts_as_not_stated(stated: object) -> None:
    assert platforms({"platform": stated}, {"annotations": stated}) == ()


def test_entries_of_a_build_cache_index_are_not_manifests() -> None:
    cache = "application/vnd.buildkit.cacheconfig.v0"
    content = parse_manifest(encode(manifests=[entry("a", LAYER), entry("b", cache)]))
    assert content.children == ()
    assert set(content.blobs) == {packed("a"), packed("b")}


def test_schema_1_references_its_layers() -> None:
    layers = [{"blobSum": text("a")}, {"blobSum": text("a")}]
    content = parse_manifest(json.dumps({"schemaVersion": 1, "fsLayers": layers}).encode())
    assert set(content.blobs) == {packed("a")}


def test_a_subject_is_not_a_reference() -> None:
    content = parse_manifest(
        encode(config=entry("a"), layers=[entry("b")], subject=entry("c", DOCKER))
    )
    assert packed("c") not in (*content.blobs, *content.children)


def test_an_artifact_references_its_blobs() -> None:
    artifact = "application/vnd.oci.artifact.manifest.v1+json"
    assert parse_manifest(encode(mediaType=artifact, blobs=[entry("a")])).blobs == (packed("a"),)


def test_layers_with_urls_are_foreign_and_still_referenced() -> None:
    layers = [entry("a", urls=["https://example.com/a"]), entry("b", urls=[])]
    content = parse_manifest(encode(config=entry("c"), layers=layers))
    assert content.foreign == (packed("a"),)
    assert set(content.blobs) == {packed("a"), packed("b"), packed("c")}


def test_fields_in_another_case_count_as_for_the_registry() -> None:
    content = parse_manifest(
        json.dumps({"Config": entry("a"), "LAYERS": [{"Digest": text("b")}]}).encode()
    )
    assert set(content.blobs) == {packed("a"), packed("b")}


def test_a_field_in_another_case_beside_the_right_one_counts_too() -> None:
    content = parse_manifest(b'{"layers": [], "Layers": [{"digest": "%s"}]}' % text("a").encode())
    assert packed("a") in content.blobs


@pytest.mark.parametrize(
    "digest", [text("a").replace(":", "\\u003a"), f"sha512:{'a' * 128}"], ids=["escaped", "sha512"]
)
def test_no_form_of_a_digest_hides_a_field_in_another_case(digest: str) -> None:
    assert parse_manifest(b'{"layers": [], "LAYERS": [{"Digest": "%s"}]}' % digest.encode()).blobs


def test_null_means_absent() -> None:
    assert parse_manifest(encode(config=None, layers=[entry("a")], blobs=None)).blobs


def test_the_schema_field_may_be_in_another_case() -> None:
    assert parse_manifest(b'{"SCHEMAVERSION": 2, "layers": []}').schema == 2


def test_a_lone_surrogate_does_not_hide_references() -> None:
    content = b'{"\\ud800": {"\\udfff": 1}, "layers": [{"digest": "%s", "\\ud800": "\\ud800"}]}'
    assert parse_manifest(content % text("a").encode()).blobs == (packed("a"),)


def test_a_null_after_a_reference_removes_it_only_if_it_does_for_the_registry() -> None:
    config = b'"config": {"digest": "%s"}' % text("a").encode()
    layers = b'"layers": [{"digest": "%s"}]' % text("b").encode()
    both = (b"{", config, b", ", layers)
    assert parse_manifest(b"".join((*both, b', "config": null}'))).blobs == (
        packed("a"),
        packed("b"),
    )
    assert parse_manifest(b"".join((*both, b', "layers": null}'))).blobs == (packed("a"),)
    digest = config.replace(b'"}', b'", "digest": null}')
    assert parse_manifest(b"".join((b"{", digest, b"}"))).blobs == (packed("a"),)


def test_text_that_is_not_utf8_does_not_hide_references() -> None:
    broken = b'{"layers": [{"digest": "%s"}], "annotations": {"a": "\xff"}}' % text("a").encode()
    assert parse_manifest(broken).blobs == (packed("a"),)


@pytest.mark.parametrize(
    ("fields", "schema"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, 1),
        ({"schemaVersion": 2, "mediaType": DOCKER, "layers": []}, 2),
        ({"schemaVersion": 2, "layers": []}, 2),
        ({"layers": []}, 0),
        ({"schemaVersion": 3, "layers": []}, 0),
        ({"schemaVersion": 2, "mediaType": "application/x", "layers": []}, 0),
    ],
)
def test_the_schema_is_read_as_the_registry_reads_it(
    fields: dict[str, object], schema: int
) -> None:
    assert parse_manifest(json.dumps(fields).encode()).schema == schema


@pytest.mark.parametrize(
    ("fields", "unmarked"),
    [
        ({"mediaType": DOCKER, "layers": [entry("a")], "blobs": [entry("b")]}, "b"),
        ({"mediaType": OCI, "layers": [entry("a")], "manifests": [entry("b", OCI)]}, "b"),
        ({"mediaType": OCI, "layers": [entry("a")], "manifests": [entry("a", OCI)]}, ""),
        ({"mediaType": OCI_INDEX, "manifests": [entry("a", OCI)], "layers": [entry("b")]}, "b"),
        ({"manifests": [entry("a", OCI)], "config": entry("b")}, "b"),
        ({"mediaType": OCI, "config": entry("a"), "fsLayers": [{"blobSum": text("b")}]}, "b"),
        ({"schemaVersion": 1, "fsLayers": [{"blobSum": text("a")}], "layers": [entry("b")]}, "b"),
    ],
)
def test_references_in_fields_that_the_registry_ignores_are_listed_separately(
    fields: dict[str, object], unmarked: str
) -> None:
    content = parse_manifest(encode(**fields))
    assert set(content.unmarked) == {packed(letter) for letter in unmarked}
    assert packed("a") in (*content.children, *content.blobs)


def test_children_and_blobs_have_sizes_that_may_be_absent() -> None:
    content = parse_manifest(
        encode(manifests=[entry("a", OCI, size=7), entry("b", LAYER, size=8)], config=entry("c"))
    )
    assert dict(zip((*content.children, *content.blobs), content.sizes, strict=True)) == {
        packed("a"): 7, packed("b"): 8, packed("c"): 1,
    }  # fmt: skip
    assert parse_manifest(encode(layers=[{"digest": text("a")}])).sizes == (-1,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x1f\x8b\x08binary",
        b"{",
        encode(config=entry("a"), layers=[entry("b")])[:-20],
        b"[]",
        b"null",
        b"{}",
        b'"sha256:"',
        encode(architecture="amd64", rootfs={"type": "layers"}),
        encode(layers={}),
        encode(layers=[{}]),
        encode(layers=[{"digest": None}]),
        encode(config=[]),
        encode(config=entry("a", size="1")),
        b"[" * 100_000,
        b'{"layers":' * 100_000,
        b'{"layers": [], "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b"9" * 10_000,
        b'{"layers": 1e999999}',
        b'{"mediaType": "\xff", "layers": 1}',
    ],
)
def test_an_invalid_manifest_always_raises_the_same_error(content: bytes) -> None:
    with pytest.raises(ManifestUnreadableError):
        parse_manifest(content)


@pytest.mark.parametrize(
    "digest", ["", "x", "sha256:xyz", text("A"), "sha256:" + "a" * 63, text("a") + "\n"]
)
def test_an_invalid_digest_is_reported_and_the_other_references_are_kept(digest: str) -> None:
    layers = [{"digest": digest, "urls": ["https://example.com"]}, entry("b")]
    content = parse_manifest(encode(config=entry("a"), layers=layers))
    assert content.senseless == digest
    assert (content.blobs, content.foreign) == ((packed("a"), packed("b")), ())
    assert len(content.sizes) == 2
    children = parse_manifest(encode(manifests=[entry("a", DOCKER) | {"digest": digest}]))
    assert (children.senseless, children.children) == (digest, ())


def test_a_digest_with_bytes_that_are_not_utf8_is_invalid() -> None:
    content = encode(config=entry("a")).replace(b"sha256:aaaa", b"sha256:aa\xe1a")
    assert parse_manifest(content).senseless


@given(st.binary(max_size=300))
def test_no_bytes_raise_another_error(content: bytes) -> None:
    with contextlib.suppress(ManifestUnreadableError):
        parse_manifest(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just(text("a")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["digest", "urls", "mediaType", "layers", "config", "manifests", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["layers", "config", "manifests", "fsLayers"]), JSON))
def test_no_json_document_raises_another_error(document: dict[str, object]) -> None:
    with contextlib.suppress(ManifestUnreadableError):
        parse_manifest(json.dumps(document).encode())
