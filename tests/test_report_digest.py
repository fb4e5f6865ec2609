"""``report --digest``: what a blob is and what needs it; and the apps that use a tag."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from tests.in_process import Outcome, run_command
from tests.servers import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DockerRegistry,
    RegistryClient,
    image_config,
)
from tests.small_stores import two_platforms
from tests.test_report import document, faults

SHOP = "captain/img-captain-shop"
IN_TOTO = "application/vnd.in-toto+json"
LAYER = noise("layer", 300)


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def run(root: Path, digest: str, *arguments: str | Path) -> Outcome:
    return run_command("report", "--storage.root", root, "--digest", digest, *arguments)


def answer(root: Path, digest: str, *arguments: str | Path) -> dict[str, Any]:
    outcome = run(root, digest, "--format", "json", *arguments)
    assert outcome.exit_code == 0, outcome.complaints
    page = document(outcome.output)
    assert faults(page, {"$ref": "#/$defs/blob_report"}) == []
    return page


def tags(page: dict[str, Any]) -> list[str]:
    return [f"{each['repository']}:{each['tag']}" for each in page["tags"]]


def captain(directory: Path, **apps: list[str]) -> Path:
    """Write CapRover's configuration; each app runs the last of its images."""
    directory.mkdir(exist_ok=True)
    definitions = {
        name: {
            "deployedVersion": len(images) - 1,
            "versions": [
                {"version": number, "deployedImageName": f"registry.example.com:996/{image}"}
                for number, image in enumerate(images)
            ],
        }
        for name, images in apps.items()
    }
    (directory / "config-captain.json").write_text(json.dumps({"appDefinitions": definitions}))
    return directory


def test_all_parts_of_a_pushed_image_are_found_by_the_registrys_digests(tmp_path: Path) -> None:
    layers = [noise("one", 900), noise("two", 700)]
    with DockerRegistry(tmp_path) as registry, RegistryClient(registry.url) as client:
        image = client.push_image("team/app", None, layers)
        index = client.push_index("team/app", "1", [image])
        client.push_image("other", "1", layers[:1], image_config(layers[:1]))
        config = client.push_blob("team/app", image_config(layers))
        layer = client.push_blob("team/app", layers[0])
    found = answer(tmp_path, layer)
    assert (found["kind"], found["media_type"]) == ("layer", DOCKER_LAYER)
    assert (found["bytes"], found["state"], found["apps"]) == (900, "tagged", None)
    assert tags(found) == ["other:1", "team/app:1"]
    assert found["repositories"] == [
        {"repository": "other", "links": ["layer"]},
        {"repository": "team/app", "links": ["layer"]},
    ]
    kinds = {each["digest"]: each["kind"] for each in found["manifests"]}
    assert (len(kinds), kinds[image], kinds[index]) == (3, "manifest", "index")
    found = answer(tmp_path, config)
    assert (found["kind"], found["media_type"]) == ("configuration", DOCKER_CONFIG)
    assert tags(found) == ["team/app:1"]
    found = answer(tmp_path, image)
    assert (found["kind"], tags(found)) == ("manifest", ["team/app:1"])
    assert found["repositories"] == [{"repository": "team/app", "links": ["manifest"]}]
    assert [each["digest"] for each in found["manifests"]] == [index]
    found = answer(tmp_path, index)
    assert (found["kind"], found["media_type"]) == ("index", DOCKER_LIST)
    assert found["bytes"] == StoreBuilder(tmp_path).blob_path(index).stat().st_size
    assert (tags(found), found["manifests"]) == (["team/app:1"], [])


def test_tags_are_found_through_indexes_of_indexes(store: StoreBuilder) -> None:
    inner, child, _ = two_platforms(store, "app", None)
    outer = store.index("app", "all", [inner])
    store.image("app", "none")
    found = answer(store.root, child)
    assert tags(found) == ["app:all"]
    assert {each["digest"] for each in found["manifests"]} == {inner, outer}
    assert {each["kind"] for each in found["manifests"]} == {"index"}


@pytest.mark.parametrize("with_algorithm", [True, False])
def test_six_digits_are_enough(store: StoreBuilder, *, with_algorithm: bool) -> None:
    digest = store.image("app", "1")
    prefix = digest[: len("sha256:") + 6]
    text = prefix if with_algorithm else prefix.removeprefix("sha256:").upper()
    assert answer(store.root, text)["digest"] == digest


@pytest.mark.parametrize("text", ["sha256:abcde", "abcde", "nonsense", "", "sha256:", "abcdeg"])
def test_too_few_digits_are_refused(store: StoreBuilder, text: str) -> None:
    store.image("app", "1")
    outcome = run(store.root, text)
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert "not a digest" in outcome.complaints


def test_an_ambiguous_digest_lists_the_candidates(store: StoreBuilder) -> None:
    names = [f"sha256:{'abcdef'}{letter * 58}" for letter in "123"]
    parts = [{"mediaType": "x", "digest": name, "size": 1} for name in names[:2]]
    other = {"mediaType": "x", "digest": f"sha256:{'f' * 64}", "size": 1}
    store.manifest("app", {"schemaVersion": 2, "config": other, "layers": parts}, "1")
    outcome = run(store.root, "abcdef")
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert "2 digests begin with it" in outcome.complaints
    assert [name in outcome.complaints for name in names] == [True, True, False]
    assert run(store.root, "abcdef1").exit_code == 0


def test_an_unknown_digest_fails(store: StoreBuilder) -> None:
    store.image("app", "1")
    outcome = run(store.root, f"sha256:{'0' * 64}")
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "nothing in the store has this digest or references it" in outcome.complaints


def test_a_missing_blob_still_has_its_tags(store: StoreBuilder) -> None:
    store.image("app", "1", [LAYER])
    layer = store.blob(LAYER)
    store.blob_path(layer).unlink()
    found = answer(store.root, layer)
    assert (found["kind"], found["bytes"], found["state"]) == ("layer", None, "missing")
    assert tags(found) == ["app:1"]


def test_untagged_and_unreferenced_blobs_have_no_tags(store: StoreBuilder) -> None:
    untagged = store.image("app", None, [LAYER])
    found = answer(store.root, store.blob(LAYER))
    assert (found["state"], found["tags"]) == ("untagged", [])
    assert [each["digest"] for each in found["manifests"]] == [untagged]
    store.delete_revision("app", untagged)
    found = answer(store.root, untagged)
    assert (found["state"], found["repositories"]) == ("unreferenced", [])
    assert found["kind"] == "manifest"
    found = answer(store.root, store.blob(LAYER))
    assert (found["state"], found["repositories"]) == (
        "unreferenced", [{"repository": "app", "links": ["layer"]}],
    )  # fmt: skip


def test_a_blob_is_not_called_unreferenced_while_something_is_unread(store: StoreBuilder) -> None:
    garbage = store.unlinked_blob(b"garbage")
    store.image("app", "2")
    assert answer(store.root, garbage)["state"] == "unreferenced"
    store.manifest("app", b"nonsense", "1")
    assert answer(store.root, garbage)["state"] is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x1f\x8b\x08 a compressed archive", "layer"),
        (b"\0" * 257 + b"ustar", "layer"),
        (b'{"rootfs": {"type": "layers"}, "os": "linux"}', "configuration"),
        (b'{"schemaVersion": 2, "manifests": []}', "index"),
        (b'{"text": 1}', "other"),
        (b"", "other"),
    ],
)
def test_an_unreferenced_blob_is_what_it_looks_like(
    store: StoreBuilder, content: bytes, kind: str
) -> None:
    digest = store.unlinked_blob(content)
    store.image("app", "1")
    assert answer(store.root, digest)["kind"] == kind


def attested(store: StoreBuilder, name: str, tag: str) -> tuple[str, str, str]:
    """Push an image as BuildKit does with provenance; return image, attestation and its layer."""
    image = store.image(name, None, [LAYER], media="oci")
    statement = store.blob(b'{"_type": "https://in-toto.io/Statement/v0.1"}', name)
    layer = {"mediaType": IN_TOTO, "digest": statement, "size": 46}
    attestation = store.image(name, None, [layer], media="oci", platform="unknown/unknown")
    annotations = {
        "vnd.docker.reference.digest": image,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    described = store.descriptor(attestation, annotations=annotations)
    store.index(name, tag, [image, described])
    return image, attestation, statement


def test_attestations_are_told_from_images(store: StoreBuilder) -> None:
    image, attestation, statement = attested(store, "app", "1")
    assert answer(store.root, image)["kind"] == "manifest"
    assert answer(store.root, attestation)["kind"] == "attestation"
    found = answer(store.root, statement)
    assert (found["kind"], found["media_type"]) == ("attestation", IN_TOTO)
    assert tags(found) == ["app:1"]


def test_apps_that_need_a_blob_are_named_with_their_use_and_image(
    store: StoreBuilder, tmp_path: Path
) -> None:
    store.image(SHOP, "1", [LAYER])
    store.image(SHOP, "2", [LAYER, noise("more", 50)])
    store.image(SHOP, "3", [LAYER, noise("most", 50)])
    pinned = store.image(SHOP, None, [LAYER, noise("pinned", 50)])
    store.image("base", "1", [LAYER])
    config = captain(
        tmp_path / "captain", shop=[f"{SHOP}:1", f"{SHOP}:2"], copy=[f"{SHOP}@{pinned}"],
        other=[f"{SHOP}:gone"],
    )  # fmt: skip
    found = answer(store.root, store.blob(LAYER), "--caprover.config-dir", config)
    assert found["apps"] == [
        {"app": "copy", "use": "running", "image": f"{SHOP}@{pinned}"},
        {"app": "shop", "use": "rollback", "image": f"{SHOP}:1"},
        {"app": "shop", "use": "running", "image": f"{SHOP}:2"},
    ]
    assert {each["tag"]: each["use"] for each in found["tags"] if each["repository"] == SHOP} == {
        "1": "rollback", "2": "running", "3": "superseded",
    }  # fmt: skip
    more = answer(store.root, store.blob(noise("more", 50)), "--caprover.config-dir", config)
    assert [each["image"] for each in more["apps"]] == [f"{SHOP}:2"]
    most = answer(store.root, store.blob(noise("most", 50)), "--caprover.config-dir", config)
    assert most["apps"] == []


def test_apps_are_unknown_without_a_readable_configuration(
    store: StoreBuilder, tmp_path: Path
) -> None:
    digest = store.image(SHOP, "1")
    assert answer(store.root, digest)["apps"] is None
    (tmp_path / "empty").mkdir()
    assert answer(store.root, digest, "--caprover.config-dir", tmp_path / "empty")["apps"] is None


def test_the_table_says_what_it_is_and_what_needs_it(store: StoreBuilder, tmp_path: Path) -> None:
    image = store.image(SHOP, None, [LAYER])
    index = store.index(SHOP, "1", [image])
    config = captain(tmp_path / "captain", shop=[f"{SHOP}:1"])
    page = run(store.root, store.blob(LAYER), "--caprover.config-dir", config).output
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert lines[0] == store.blob(LAYER)
    assert "Kind: layer (application/vnd.docker.image.rootfs.diff.tar)" in lines
    assert "Size: 300 B (300 bytes)" in lines
    assert "State: tagged: reachable from a tag" in lines
    assert f"Linked in: {SHOP} (layer)" in lines
    assert f"{SHOP} 1 running" in lines
    assert f"{index} index {SHOP}" in lines
    assert f"{image} manifest {SHOP}" in lines
    assert f"shop running {SHOP}:1" in lines


def test_the_table_says_that_nothing_needs_a_blob(store: StoreBuilder) -> None:
    store.image("app", "1")
    page = run(store.root, store.unlinked_blob(b"garbage")).output
    assert "Linked in: no repository" in page
    assert "Tags that need it: none" in page
    assert "Manifests and indexes that need it: none" in page
    assert "Apps" not in page


def test_only_the_first_tags_are_listed_on_request(store: StoreBuilder) -> None:
    for number in range(5):
        store.image("app", f"v{number}", [LAYER])
    layer = store.blob(LAYER)
    assert tags(answer(store.root, layer, "--top", "2")) == ["app:v0", "app:v1"]
    assert run(store.root, layer, "--top", "2").output.count("and 3 more") == 1


@pytest.mark.parametrize("arguments", [("--format", "csv"), ("--repository", "app")])
def test_options_that_do_not_fit_a_digest_are_refused(
    store: StoreBuilder, arguments: tuple[str, str]
) -> None:
    outcome = run(store.root, store.image("app", "1"), *arguments)
    assert (outcome.exit_code, outcome.output) == (2, "")


def test_a_repository_names_the_apps_that_use_each_tag(store: StoreBuilder, tmp_path: Path) -> None:
    digests = [store.image(SHOP, tag, at=float(tag)) for tag in "1234"]
    config = captain(
        tmp_path / "captain", shop=[f"{SHOP}:1", f"{SHOP}:2"], old=[f"{SHOP}:2", f"{SHOP}:1"],
        pin=[f"{SHOP}@{digests[2]}"],
    )  # fmt: skip
    arguments = ("report", "--storage.root", store.root, "--repository", SHOP)
    caprover = ("--caprover.config-dir", config)
    page = document(run_command(*arguments, *caprover, "--format", "json").output)
    assert faults(page, {"$ref": "#/$defs/repository_report"}) == []
    assert {row["tag"]: [(each["app"], each["use"]) for each in row["apps"]]
            for row in page["tags"]} == {
        "1": [("old", "running"), ("shop", "rollback")],
        "2": [("old", "rollback"), ("shop", "running")],
        "3": [("pin", "running")],
        "4": [],
    }  # fmt: skip
    table = run_command(*arguments, *caprover).output
    assert "old (running), shop (rollback)" in " ".join(table.split())
    rows = csv.DictReader(io.StringIO(run_command(*arguments, *caprover, "--format", "csv").output))
    assert [row["apps"] for row in rows] == [
        "", "pin:running", "old:rollback shop:running", "old:running shop:rollback",
    ]  # fmt: skip
    assert "Apps" not in run_command(*arguments).output
