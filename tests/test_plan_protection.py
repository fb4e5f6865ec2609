"""``plan --protect``: what matches never goes, nor what it needs, whatever is selected."""

import json
from pathlib import Path

import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from tests.in_process import run_command
from tests.servers import DockerRegistry, RegistryClient
from tests.small_stores import two_platforms
from tests.test_plan import NOW, lines, parsed, push, run_plan


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def test_a_protected_tag_is_never_listed(store: StoreBuilder) -> None:
    push(store, "app", "1", "2", "stable", "3")
    outcome = run_plan(store.root, "--keep-last", "1", "--protect", "app:stable")
    assert [line.tags for line in parsed(outcome.output)] == [["1"], ["2"]]
    assert "# Selected: --keep-last 1 --protect app:stable." in outcome.output
    assert "tags stay" not in outcome.output


def test_the_pattern_must_match_the_whole_name(store: StoreBuilder) -> None:
    push(store, "app", "1", "12")
    found = lines(store.root, "--match", ".*", "--protect", "app:1", "--protect", "pp:12")
    assert [line.tags for line in found] == [["12"]]


def test_protection_can_be_given_several_times(store: StoreBuilder) -> None:
    push(store, "app", "1", "2", "3")
    found = lines(store.root, "--match", ".*", "--protect", ".*:1", "--protect", "app:3")
    assert [line.tags for line in found] == [["2"]]


def test_another_tag_of_a_protected_image_stays(store: StoreBuilder) -> None:
    first, _ = push(store, "app", "1", "2")
    store.tag("app", "stable", first, at=NOW)
    found = lines(store.root, "--match", ".*", "--protect", ".*:stable")
    assert [line.tags for line in found] == [["2"]]


def test_the_platforms_of_a_protected_index_stay(store: StoreBuilder) -> None:
    _, child, _ = two_platforms(store, "app", "stable")
    store.tag("app", "amd64", child)
    store.index("app", "1", [child])
    found = lines(store.root, "--match", ".*", "--include-children", "--protect", "app:stable")
    assert [line.tags for line in found] == [["1"]]


def test_the_signature_of_a_protected_image_stays(store: StoreBuilder) -> None:
    for digest in push(store, "app", "1", "stable"):
        store.image("app", f"{digest.replace(':', '-')}.sig", [noise(digest, 50)])
    found = lines(store.root, "--match", "app:.*", "--protect", "app:stable")
    assert len(found) == 2
    assert "stable" not in {tag for line in found for tag in line.tags}


def test_a_protected_signature_stays_although_its_image_goes(store: StoreBuilder) -> None:
    (image,) = push(store, "app", "1")
    store.image("app", f"{image.replace(':', '-')}.sig", [noise("signature", 50)])
    found = lines(store.root, "--match", "app:.*", "--protect", r".*\.sig")
    assert [line.digest for line in found] == [image]


def test_an_untagged_manifest_is_protected_by_repository_and_digest(store: StoreBuilder) -> None:
    first, second = (store.image("app", None, [noise(name, 9)]) for name in ("a", "b"))
    other = store.image("other", None, [noise("c", 9)])
    everything = lines(store.root, "--untagged")
    assert {line.digest for line in everything} == {first, second, other}
    options = ("--untagged", "--protect", f"app@{first}", "--protect", "other[:@].*")
    assert [line.digest for line in lines(store.root, *options)] == [second]


def test_orphaned_tags_can_be_protected(tmp_path: Path) -> None:
    build_sample(tmp_path / "registry", NOW)
    write_captain_config(tmp_path / "captain", NOW)
    options = ("--caprover.config-dir", tmp_path / "captain", "--orphaned")
    found = lines(tmp_path / "registry", *options, "--protect", ".*old-shop:[1-7]")
    assert [line.tags for line in found] == [["8"], ["9"]]


def test_what_runs_stays_beside_what_is_protected(store: StoreBuilder, tmp_path: Path) -> None:
    push(store, "app", "1", "2", "3")
    version = {"version": 0, "deployedImageName": "registry.example.com:996/app:1"}
    apps = {"app": {"deployedVersion": 0, "versions": [version]}}
    (tmp_path / "config-captain.json").write_text(json.dumps({"appDefinitions": apps}))
    options = ("--match", ".*", "--caprover.config-dir", tmp_path, "--protect", "app:3")
    assert [line.tags for line in lines(store.root, *options)] == [["2"]]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--protect", "app:1"), "plan: nothing is selected"),
        (("--keep-last", "1", "--protect", "("), "is not a regular expression"),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint(
    store: StoreBuilder, arguments: tuple[str, ...], problem: str
) -> None:
    outcome = run_plan(store.root, *arguments)
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert problem in outcome.complaints


def test_a_protected_image_can_still_be_pulled_from_a_real_registry(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    with DockerRegistry(root) as registry, RegistryClient(registry.url) as client:
        base = noise("base", 20_000)
        children = [client.push_image("app", None, [base, noise(f"m{each}", 400)]) for each in "ab"]
        client.push_index("app", "stable", children, oci=True)
        content, media_type = client.manifest("app", children[0])
        client.push_manifest("app", "stable-amd64", content, media_type)
        for number in range(3):
            client.push_image("app", str(number), [base, noise(f"app {number}", 300)])
        page = run_plan(
            root, "--match", ".*", "--include-children", "--protect", "app:stable"
        ).output
        for line in parsed(page):
            client.delete_manifest(line.repository, line.digest)
        registry.garbage_collect()
        registry.restart()
        assert client.tags("app") == ["stable", "stable-amd64"]
        for digest in children:
            for layer in json.loads(client.manifest("app", digest)[0])["layers"]:
                assert StoreBuilder(root).blob_path(layer["digest"]).exists()


@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.oci.image.manifest.v1+json; charset=utf-8", "application/vnd.acme.thing"],
)
def test_what_an_index_references_by_an_unknown_media_type_stays(
    store: StoreBuilder, media_type: str
) -> None:
    part = store.image("app", None, [noise("a part of 1.0", 900)])
    free = store.image("app", None, [noise("free", 700)])
    entry = store.descriptor(part, mediaType=media_type)
    store.index("app", "1.0", [entry])
    store.image("app", "1.1", [noise("other", 500)])
    assert [line.digest for line in lines(store.root, "--untagged")] == [free]
    freeing = parsed(run_plan(store.root, "--free", "1GiB").output)
    assert part not in {line.digest for line in freeing}
    actions = json.loads(
        run_command("report", "--storage.root", store.root, "--format", "json").output
    )
    (action,) = [each for each in actions["actions"] if each["action"] == "untagged"]
    assert "1 manifest " in action["warnings"][0]
    # it may go when nothing references it any more
    store.delete_tag("app", "1.0")
    digests = {line.digest for line in lines(store.root, "--untagged")}
    assert part not in digests
    assert free in digests
