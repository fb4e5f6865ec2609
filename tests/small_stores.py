"""Small stores, each with one property that a garbage collector treats specially."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from demo.store import Json, StoreBuilder, digest_of, noise

Build = Callable[[StoreBuilder], object]

STORES: dict[str, Build] = {}
"""Builders of the stores, by name."""

APP, OTHER = "app", "other"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
UNUSED = f"sha256:{'f' * 64}"
"""A digest that no blob has."""


def _store(build: Build) -> Build:
    STORES[build.__name__.replace("_", " ")] = build
    return build


def _variants(build: Callable[..., object], cases: Mapping[str, tuple[object, ...]]) -> None:
    """Add the stores that ``build`` makes of each case's arguments, the store itself being last."""
    STORES.update({name: partial(build, *arguments) for name, arguments in cases.items()})


def two_platforms(store: StoreBuilder, name: str, tag: str | None = "1.0") -> tuple[str, str, str]:
    """Push an index of two images; return its digest and those of the images."""
    first = store.image(name, None, [noise("amd64", 300)])
    second = store.image(name, None, [noise("arm64", 400)], platform="linux/arm64")
    return store.index(name, tag, [first, second]), first, second


def with_fields(store: StoreBuilder, **fields: object) -> dict[str, object]:
    """Return the manifest of an OCI image whose two blobs are in the store.

    ``fields`` are added, or replace others; a field that is None is removed.
    """
    layer, config = noise("layer", 300), b'{"os": "linux"}'
    content: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"digest": store.blob(config), "size": len(config)},
        "layers": [{"digest": store.blob(layer), "size": len(layer)}],
    }
    return {key: value for key, value in (content | fields).items() if value is not None}


def described(content: bytes, media_type: str = "application/octet-stream") -> Json:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


# Consistent stores


@_store
def tagged_image(store: StoreBuilder) -> None:
    store.image(APP, "1")


@_store
def garbage_beside_an_image(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.unlinked_blob(b"garbage")
    store.blob(b"a layer of no manifest", APP)


@_store
def layers_shared_by_repositories(store: StoreBuilder) -> None:
    store.image(APP, "1", [b"base", b"own"])
    store.image(OTHER, None, [b"base", b"other's own"])


@_store
def nested_repositories(store: StoreBuilder) -> None:
    for name in ("team", "team/app", "team/app/web", "alone/in/here"):
        store.image(name, "1")
        store.image(name, None)


@_store
def retagged_image(store: StoreBuilder) -> None:
    store.image(APP, "1", [b"old"])
    store.image(APP, "1", [b"new"])


@_store
def deleted_manifest(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.delete_revision(APP, store.image(APP, "2"))


@_store
def everything_deleted(store: StoreBuilder) -> None:
    store.delete_revision(APP, store.image(APP, "1"))


@_store
def deleted_tag(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, "2")
    store.delete_tag(APP, "2")


@_store
def only_an_upload(store: StoreBuilder) -> None:
    store.image(OTHER, "1")
    store.upload(APP, b"part of a layer", started_at=1.0)


@_store
def only_layers(store: StoreBuilder) -> None:
    store.image(OTHER, "1")
    store.blob(b"a layer", APP)


@_store
def tagged_index(store: StoreBuilder) -> None:
    two_platforms(store, APP)


@_store
def untagged_index(store: StoreBuilder) -> None:
    two_platforms(store, APP, None)


@_store
def tagged_index_and_tagged_child(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, APP)
    store.tag(APP, "amd64", child)


@_store
def nested_index(store: StoreBuilder) -> None:
    inner, _, _ = two_platforms(store, APP, None)
    store.index(APP, "1", [inner])


@_store
def index_with_attestation(store: StoreBuilder) -> None:
    image = store.image(APP, None, media="oci")
    attestation = store.image(APP, None, [b'{"in": "toto"}'], b"{}", media="oci")
    about = {"vnd.docker.reference.type": "attestation-manifest"}
    store.index(APP, "1", [image, store.descriptor(attestation, annotations=about)])


@_store
def index_of_a_build_cache(store: StoreBuilder) -> None:
    layers = [store.blob(content, APP) for content in (b"cached 1", b"cached 2")]
    entries = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": each, "size": 8}
               for each in layers]  # fmt: skip
    store.index(APP, "cache", entries)


@_store
def oci_image(store: StoreBuilder) -> None:
    store.image(APP, "1", media="oci")


@_store
def docker_list(store: StoreBuilder) -> None:
    store.index(APP, "1", [store.image(APP, None)], media="docker")


@_store
def image_without_media_type(store: StoreBuilder) -> None:
    store.manifest(APP, with_fields(store, mediaType=None), "1")


@_store
def index_without_media_type(store: StoreBuilder) -> None:
    child = store.descriptor(store.image(APP, None, media="oci"))
    store.manifest(APP, {"schemaVersion": 2, "manifests": [child]}, "1")


@_store
def empty_index(store: StoreBuilder) -> None:
    store.index(APP, "1", [])


@_store
def index_with_null_for_its_manifests(store: StoreBuilder) -> None:
    store.manifest(APP, {"schemaVersion": 2, "mediaType": INDEX, "manifests": None}, "1")


@_store
def index_without_its_manifests(store: StoreBuilder) -> None:
    store.manifest(APP, {"schemaVersion": 2, "mediaType": INDEX}, "1")


@_store
def image_with_subject(store: StoreBuilder) -> None:
    about = store.image(APP, None, media="oci")
    store.manifest(APP, with_fields(store, subject=store.descriptor(about)), "1")


@_store
def foreign_layer(store: StoreBuilder) -> None:
    urls = ["https://example.com/layer"]
    store.image(APP, "1", [{**described(b"elsewhere"), "urls": urls}, b"here"])


# Unusual and invalid manifests


@_store
def schema_1_manifest(store: StoreBuilder) -> None:
    layers = [{"blobSum": store.blob(b"layer", APP)}]
    history = [{"v1Compatibility": "{}"}]
    content = {"schemaVersion": 1, "name": APP, "tag": "1", "fsLayers": layers, "history": history}
    store.manifest(APP, content, "1")


@_store
def image_with_manifests(store: StoreBuilder) -> None:
    child = store.descriptor(store.image(OTHER, None))
    store.manifest(APP, with_fields(store, manifests=[child]), "1")


@_store
def index_with_layers(store: StoreBuilder) -> None:
    child = store.descriptor(store.image(OTHER, None))
    store.manifest(APP, with_fields(store, mediaType=INDEX, manifests=[child]), "1")


@_store
def image_and_index_without_media_type(store: StoreBuilder) -> None:
    child = store.descriptor(store.image(OTHER, None))
    store.manifest(APP, with_fields(store, mediaType=None, manifests=[child]), "1")


@_store
def docker_image_with_blobs(store: StoreBuilder) -> None:
    store.blob(b"more")
    content = with_fields(store, mediaType=DOCKER_IMAGE, blobs=[described(b"more")])
    store.manifest(APP, content, "1")


@_store
def image_that_names_a_manifest_as_its_layer(store: StoreBuilder) -> None:
    image = store.image(APP, None)
    store.manifest(APP, with_fields(store, layers=[store.descriptor(image)]), "1")


@_store
def oci_artifact(store: StoreBuilder) -> None:
    media_type = "application/vnd.oci.artifact.manifest.v1+json"
    content = with_fields(store, mediaType=media_type, config=None, layers=None)
    store.manifest(APP, content | {"blobs": [described(b"layer")]}, "1")


def _manifest_beside(
    name: str, tag: str | None, content: Callable[[StoreBuilder], bytes | Json], store: StoreBuilder
) -> None:
    store.image(name, "1")
    store.manifest(APP, content(store), tag)


def _damaged(name: str, content: Callable[[StoreBuilder], bytes | Json]) -> None:
    """Add two stores with a manifest of this content: one tagged, one untagged."""
    cases = {f"{name}, tagged": (OTHER, "1", content), f"{name}, untagged": (APP, None, content)}
    _variants(_manifest_beside, cases)


_damaged("empty manifest", lambda _: b"")
_damaged("malformed manifest", lambda _: b'{"schemaVersion": 2, "config"')
_damaged("manifest that is a text", lambda _: b'"text"')
_damaged("manifest that is an empty object", lambda _: b"{}")
_damaged("unknown media type", lambda store: with_fields(store, mediaType="application/json"))
_damaged("no schema version", lambda store: with_fields(store, schemaVersion=None))
_damaged("schema version 3", lambda store: with_fields(store, schemaVersion=3))
_damaged("reference that is no digest", lambda store: with_fields(store, layers=[{"digest": "x"}]))


@_store
def truncated_manifest(store: StoreBuilder) -> None:
    path = store.blob_path(store.image(APP, "1"))
    path.write_bytes(path.read_bytes()[:100])


@_store
def truncated_manifest_of_a_deleted_tag(store: StoreBuilder) -> None:
    store.image(APP, "1")
    path = store.blob_path(store.image(APP, "2"))
    path.write_bytes(path.read_bytes()[:100])
    store.delete_tag(APP, "2")


@_store
def truncated_child(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, APP)
    store.blob_path(child).write_bytes(b"{")


# Blobs and links that are missing


@_store
def missing_layer(store: StoreBuilder) -> None:
    store.image(APP, "1", [b"gone", b"there"])
    store.blob_path(digest_of(b"gone")).unlink()


@_store
def missing_manifest(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.blob_path(store.image(APP, "2")).unlink()


@_store
def missing_child(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, APP)
    store.blob_path(child).unlink()


@_store
def child_without_revision(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, APP)
    store.revision_link(APP, child).unlink()


@_store
def nested_index_without_revision(store: StoreBuilder) -> None:
    inner, _, _ = two_platforms(store, APP, None)
    store.index(APP, "1", [inner])
    store.revision_link(APP, inner).unlink()


@_store
def tag_without_revision(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.revision_link(APP, store.image(APP, "2")).unlink()


@_store
def tag_of_a_digest_of_nothing(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.tag(APP, "2", UNUSED)


def _shared_index(first: str, second: str, unlinked: str, store: StoreBuilder) -> None:
    """Push the same index to two repositories, and remove the children's links from one."""
    for name in (first, second):
        _, *children = two_platforms(store, name)
        if name == unlinked:
            for child in children:
                store.revision_link(name, child).unlink()


_variants(
    _shared_index,
    {
        "child unlinked in the first of two repositories": ("a", "b", "a"),
        "child unlinked in the second of two repositories": ("a", "b", "b"),
        # a-b comes before a/b in a plain sort, and after it in the collector's walk
        "child unlinked in an outer repository": ("a/b", "a-b", "a/b"),
        "child unlinked in a repository with a dash": ("a/b", "a-b", "a-b"),
        "child unlinked in a repository with others below it": ("a", "a/b", "a"),
        "child unlinked below another repository": ("a", "a/b", "a/b"),
    },
)


@_store
def no_tags_directory(store: StoreBuilder) -> None:
    store.image(APP, None)


@_store
def no_tags_directory_and_no_manifest(store: StoreBuilder) -> None:
    store.delete_revision(APP, store.image(APP, "1"))
    shutil.rmtree(store.repository_path(APP) / "_manifests/tags")


def _without_directory(name: str, store: StoreBuilder) -> None:
    store.image(APP, "1")
    shutil.rmtree(store.repository_path(APP) / name)


_variants(
    _without_directory,
    {
        "no layers directory": ("_layers",),
        "no revisions directory": ("_manifests/revisions",),
        "no manifests directory": ("_manifests",),
    },
)


# Links that are damaged


def _bad_revision_link(tag: str | None, content: bytes, store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.revision_link(APP, store.image(APP, tag)).write_bytes(content)


def _bad_tag_link(content: bytes, store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, "2")
    store.tag_link(APP, "2").write_bytes(content)


_BAD_LINKS = {
    "empty": b"",
    "garbage": b"garbage",
    "digest of nothing": UNUSED.encode(),
    "unsupported algorithm": b"md5:d41d8cd98f00b204e9800998ecf8427e",
    "newline": f"{UNUSED}\n".encode(),
    "upper case": f"sha256:{'F' * 64}".encode(),
}
_variants(_bad_revision_link, {f"revision link: {k}": ("2", v) for k, v in _BAD_LINKS.items()})
_variants(
    _bad_revision_link,
    {f"untagged revision's link: {k}": (None, v) for k, v in _BAD_LINKS.items()},
)
_variants(_bad_tag_link, {f"tag link: {k}": (v,) for k, v in _BAD_LINKS.items()})


def _bad_layer_link(tag: str | None, content: bytes | None, store: StoreBuilder) -> None:
    """Push an image whose layer link holds other content, or is gone."""
    layer = noise("damaged", 200)
    store.image(APP, "1")
    store.image(APP, tag, [layer])
    link = store.layer_link(APP, digest_of(layer))
    if content is None:
        link.unlink()
    else:
        link.write_bytes(content)


_BAD_LAYER_LINKS = {
    **_BAD_LINKS,
    "gone": None,
    "zeros": bytes(len(UNUSED)),
    "sha512": f"sha512:{'f' * 128}".encode(),
}
_variants(_bad_layer_link, {f"layer link: {k}": ("2", v) for k, v in _BAD_LAYER_LINKS.items()})
_variants(
    _bad_layer_link,
    {f"untagged image's layer link: {k}": (None, v) for k, v in _BAD_LAYER_LINKS.items()},
)


@_store
def empty_layer_link_without_a_directory_of_manifests(store: StoreBuilder) -> None:
    store.image(OTHER, "1")
    _bad_layer_link("2", b"", store)
    shutil.rmtree(store.repository_path(APP) / "_manifests")


@_store
def empty_link_to_a_layer_that_nothing_needs(store: StoreBuilder) -> None:
    store.image(APP, "1")
    link = store.layer_link(APP, UNUSED)
    link.parent.mkdir(parents=True)
    link.write_bytes(b"")


@_store
def bad_tag_link_and_no_manifest(store: StoreBuilder) -> None:
    store.image(OTHER, "1")
    store.image(APP, "2")
    store.delete_revision(APP, store.image(APP, "1"))
    store.delete_revision(APP, store.image(APP, "2"))
    store.tag(APP, "3", "garbage:")


@_store
def revision_link_with_the_digest_of_another_revision(store: StoreBuilder) -> None:
    first, second = store.image(APP, "1"), store.image(APP, "2")
    store.revision_link(APP, second).write_text(first)


@_store
def revision_link_with_the_digest_of_a_manifest_elsewhere(store: StoreBuilder) -> None:
    elsewhere = store.image(OTHER, "1")
    store.revision_link(APP, store.image(APP, "1")).write_text(elsewhere)


@_store
def revision_links_that_were_swapped(store: StoreBuilder) -> None:
    first, second = store.image(APP, "1"), store.image(APP, None)
    store.revision_link(APP, second).write_text(first)
    store.revision_link(APP, first).write_text(second)


@_store
def revision_link_with_the_digest_of_a_layer(store: StoreBuilder) -> None:
    layer = noise("layer", 300)
    store.revision_link(APP, store.image(APP, "1", [layer])).write_text(digest_of(layer))


@_store
def directory_instead_of_a_revision_link(store: StoreBuilder) -> None:
    store.image(APP, "1")
    link = store.revision_link(APP, store.image(APP, "2"))
    link.unlink()
    link.mkdir()


@_store
def link_below_a_revision(store: StoreBuilder) -> None:
    link = store.revision_link(APP, store.image(APP, "1"))
    link.with_name("below").mkdir()
    (link.with_name("below") / "link").write_bytes(b"garbage")


def _file_instead_of_current(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, "2")
    current = store.tag_link(APP, "2").parent
    shutil.rmtree(current)
    current.write_bytes(b"")


STORES["file instead of a tag's current directory"] = _file_instead_of_current


@_store
def tag_without_a_link(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, "2")
    store.tag_link(APP, "2").unlink()


# Misplaced files and names


def _with_repositories(names: Sequence[str], store: StoreBuilder) -> None:
    store.image(APP, "1")
    for name in names:
        store.image(name, "1", [noise(name, 300)])


_variants(
    _with_repositories,
    {
        "illegal repository name": (["Illegal"],),
        "repository below a domain": (["Domain/legal", "host.example/legal"],),
        "repository below a domain with a port": (["host.example:5000/legal"],),
        "illegal name below a domain": (["Domain/Illegal"],),
        "name that is only a domain when others are below it": (["Domain", "Domain/legal"],),
    },
)


def _with_file(path: str, store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.stray(f"docker/registry/v2/{path}", b"x")


_variants(
    _with_file,
    {
        "file among repositories": ("repositories/notes.txt",),
        "file with an underscore before its name among repositories": ("repositories/_notes",),
        "file among revisions": (f"repositories/{APP}/_manifests/revisions/notes",),
        "data below a name that is no digest": ("blobs/sha256/ab/abcdef/data",),
        "data among algorithms": ("blobs/data",),
        "data of an unsupported algorithm": (f"blobs/md5/ab/{'ab' * 16}/data",),
    },
)


@_store
def illegal_repository_name_with_layers_only(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.blob(b"layer", "app/Illegal")


@_store
def illegal_repository_name_with_manifests_only(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image("Illegal", "1")
    shutil.rmtree(store.repository_path("Illegal") / "_layers")


@_store
def illegal_repository_name_with_uploads_only(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.upload("Illegal", b"part", started_at=1.0)


@_store
def file_with_an_underscore_before_its_name_in_a_repository(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(f"{APP}/below", "1")
    store.stray(f"docker/registry/v2/repositories/{APP}/_notes", b"notes")


@_store
def file_at_which_the_walk_ends_before_some_of_many_repositories(store: StoreBuilder) -> None:
    for name in ("0", "a", "a/0", "a/b", "a/b/0", "a/b/c", "A/b", "b", "b/c"):
        store.image(name, "1", [noise(name, 300)])
    for name in ("_z", "a/_a", "a/b/_m", "b/_z", "b/c/_layers.tmp"):
        store.stray(f"docker/registry/v2/repositories/{name}", b"notes")


@_store
def illegal_name_after_a_file_at_which_the_walk_ends(store: StoreBuilder) -> None:
    store.image("0", "1")
    store.image("app/Illegal", "1")
    store.stray("docker/registry/v2/repositories/_notes", b"notes")


@_store
def file_among_tags(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, None)
    store.stray(f"docker/registry/v2/repositories/{APP}/_manifests/tags/notes", b"notes")


@_store
def file_beside_a_blob(store: StoreBuilder) -> None:
    digest = store.image(APP, "1")
    path = store.blob_path(digest).with_name("data.tmp")
    path.write_bytes(b"left over")


@_store
def data_below_a_blob(store: StoreBuilder) -> None:
    path = store.blob_path(store.image(APP, "1")).with_name("below")
    path.mkdir()
    (path / "data").write_bytes(b"x")


FOREIGN_PLACES: Mapping[str, Callable[[StoreBuilder], Path]] = {
    "repositories": lambda store: store.version_path / "repositories",
    "a repository": lambda store: store.repository_path(APP),
    "manifests": lambda store: store.repository_path(APP) / "_manifests",
    "tags": lambda store: store.repository_path(APP) / "_manifests/tags",
    "a tag": lambda store: store.repository_path(APP) / "_manifests/tags/1",
    "a tag's history": lambda store: store.repository_path(APP) / "_manifests/tags/1/index",
    "revisions": lambda store: store.repository_path(APP) / "_manifests/revisions",
    "revisions by digest": lambda store: store.repository_path(APP) / "_manifests/revisions/sha256",
    "uploads": lambda store: store.repository_path(APP) / "_uploads",
    "blobs": lambda store: store.version_path / "blobs",
    "blobs of an algorithm": lambda store: store.version_path / "blobs/sha256",
    "blobs of a prefix": lambda store: store.blob_path(store.image(APP, "1")).parents[1],
    "a blob": lambda store: store.blob_path(store.image(APP, "1")).parent,
}
"""Directories in which other programs leave theirs."""

FOREIGN_NAMES = ("@eaDir", ".AppleDouble", "lost+found", ".snapshot")
FOREIGN_FILES = {"empty": "", "with a file deep inside": "below/notes"}


def add_foreign(store: StoreBuilder, place: str, name: str, file: str = "") -> None:
    """Add another program's directory, with a file in it if one is named."""
    directory = FOREIGN_PLACES[place](store) / name
    directory.mkdir(parents=True, exist_ok=True)
    if file:
        (directory / file).parent.mkdir(exist_ok=True)
        (directory / file).write_bytes(b"x")


def _foreign_directory(place: str, name: str, file: str, store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.image(APP, None)
    store.unlinked_blob(b"garbage")
    add_foreign(store, place, name, file)


_variants(
    _foreign_directory,
    {
        f"{name} in {place}, {kind}": (place, name, file)
        for place in FOREIGN_PLACES
        for name in (FOREIGN_NAMES if place == "tags" else FOREIGN_NAMES[:2])
        for kind, file in FOREIGN_FILES.items()
    },
)
_variants(
    _foreign_directory,
    {
        f"{name} in {place}, with {file}": (place, name, file)
        for place, file in (
            ("tags", "link"),
            ("revisions", "link"),
            ("revisions by digest", "link"),
            ("revisions by digest", "below/link"),
            ("blobs", "data"),
            ("blobs of an algorithm", "data"),
            ("blobs of a prefix", "data"),
            ("blobs of a prefix", "below/data"),
        )
        for name in ("@eaDir", ".AppleDouble")
    },
)


@_store
def foreign_directory_among_tags_and_no_manifest(store: StoreBuilder) -> None:
    store.image(OTHER, "1")
    store.image(APP, "2")
    store.delete_revision(APP, store.image(APP, "1"))
    store.delete_revision(APP, store.image(APP, "2"))
    add_foreign(store, "tags", "@eaDir", "notes")


@_store
def foreign_directories_beside_data_and_among_blobs(store: StoreBuilder) -> None:
    digest = store.image(APP, "1")
    add_foreign(store, "blobs of a prefix", ".AppleDouble", "notes")
    beside = store.blob_path(digest).with_name(".AppleDouble")
    beside.mkdir()
    (beside / "data").write_bytes(b"x")


@_store
def foreign_directories_beside_links_and_among_revisions(store: StoreBuilder) -> None:
    digest = store.image(APP, "1")
    add_foreign(store, "revisions by digest", ".AppleDouble", "notes")
    beside = store.revision_link(APP, digest).with_name(".AppleDouble")
    beside.mkdir()
    (beside / "link").write_bytes(b"x")


def _copy_of_a_revision_link(name: str, store: StoreBuilder) -> None:
    link = store.revision_link(APP, store.image(APP, "1"))
    copy = store.repository_path(APP) / "_manifests/revisions" / name / "link"
    copy.parent.mkdir()
    copy.write_bytes(link.read_bytes())


_variants(
    _copy_of_a_revision_link,
    {
        "copy of a link where the collector can read it": (".snapshot",),
        "copy of a link where the collector cannot read it": ("~snapshot",),
    },
)


@_store
def snapshot_with_a_copy_of_every_blob(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.unlinked_blob(b"garbage")
    blobs = store.version_path / "blobs"
    shutil.copytree(blobs / "sha256", blobs / ".snapshot/hourly.0/sha256")


@_store
def no_blobs_directory(store: StoreBuilder) -> None:
    store.delete_revision(APP, store.image(APP, "1"))
    shutil.rmtree(store.version_path / "blobs")


@_store
def nothing_pushed_yet(store: StoreBuilder) -> None:
    for name in ("repositories", "blobs"):
        (store.version_path / name).mkdir(parents=True)
