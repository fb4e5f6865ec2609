"""``plan --free``: the cheapest safe way to so many bytes, and what a real collector then frees."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from exporter.support.quantities import format_size
from tests.in_process import Outcome
from tests.servers import DockerRegistry, RegistryClient, require_registry
from tests.small_stores import two_platforms
from tests.test_plan import NOW, blob_bytes, lines, parsed, run_plan, total

EVERYTHING = "1PiB"
LATER = 4e9
"""After all pushes."""


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def config(
    directory: Path, apps: Mapping[str, Sequence[str]], changed_at: float = LATER
) -> tuple[str, Path]:
    """Write CapRover's configuration: by app its images, of which the first runs."""
    definitions = {}
    for app, images in apps.items():
        names = [f"registry.example.com:996/{image}" for image in images]
        versions = [
            {"version": number, "deployedImageName": name} for number, name in enumerate(names)
        ]
        definitions[app] = {"deployedVersion": 0, "versions": versions}
    registries = [{"registryDomain": "registry.example.com:996", "registryImagePrefix": "captain"}]
    content = {"appDefinitions": definitions, "dockerRegistries": registries}
    directory.mkdir(exist_ok=True)
    path = directory / "config-captain.json"
    path.write_text(json.dumps(content))
    os.utime(path, (changed_at, changed_at))
    return "--caprover.config-dir", directory


SHOP = "captain/img-captain-shop"
GONE = "captain/img-captain-gone"


@pytest.fixture
def caprover(tmp_path: Path) -> tuple[str, Path]:
    return config(tmp_path / "captain", {"shop": [f"{SHOP}:4", f"{SHOP}:3", f"{SHOP}:2"]})


def push_all_kinds(store: StoreBuilder) -> None:
    """Push tags 1 to 4 of a shop, which runs 4, one more image without a tag, a lost app, others.

    The running tag is the oldest, then follow old rollbacks and the app that is gone.
    """
    for age, (repository, tag) in enumerate(
        [(SHOP, "4"), (SHOP, "2"), (SHOP, "3"), (GONE, "1"), (GONE, "2"), (SHOP, None),
         (SHOP, "1"), (SHOP, "0"), ("tools/backup", "1")]
    ):  # fmt: skip
        layer = noise(f"{repository}:{tag}", 100_000)
        store.image(repository, tag, [layer], at=NOW + age)
    store.unlinked_blob(noise("garbage", 50_000))


def comments(outcome: Outcome, *beginnings: str) -> list[str]:
    found = [line.removeprefix("# ") for line in outcome.output.splitlines() if line[:1] == "#"]
    return [line for line in found if line.startswith(beginnings or ("step",))]


def freed(store: StoreBuilder, size: str, *arguments: str | Path) -> Outcome:
    outcome = run_plan(store.root, "--free", size, *arguments)
    assert outcome.exit_code == 0, outcome.complaints
    return outcome


def chosen(outcome: Outcome) -> list[str]:
    found = parsed(outcome.output)
    return [f"{line.repository.rpartition('-')[2]}:{','.join(line.tags)}" for line in found]


def test_the_least_needed_goes_first_and_within_a_kind_the_oldest(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    push_all_kinds(store)
    outcome = freed(store, EVERYTHING, *caprover)
    assert chosen(outcome) == ["shop:1", "shop:0", "shop:", "gone:1", "gone:2", "shop:2", "shop:3"]
    assert [line.partition(": ")[2].partition(":")[0] for line in comments(outcome)] == [
        "a collector run alone",
        "superseded tags",
        "untagged manifests",
        "orphaned repositories",
        "old rollbacks",
    ]


def test_each_step_says_its_bytes_and_the_total_up_to_there(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    push_all_kinds(store)
    outcome = freed(store, "400000", *caprover)
    sizes = [line.bytes for line in parsed(outcome.output)]
    first, second, third = sum(sizes[:2]), sizes[2], sizes[3]
    assert comments(outcome) == [
        f"step {place}: {kind}: {format_size(size)} (total {format_size(total)})"
        for place, kind, size, total in [
            (0, "a collector run alone", 50_000, 50_000),
            (1, "superseded tags", first, 50_000 + first),
            (2, "untagged manifests", second, 50_000 + first + second),
            (3, "orphaned repositories", third, 50_000 + sum(sizes)),
        ]
    ]


def test_of_tags_of_the_same_time_the_lower_version_goes_first(
    store: StoreBuilder, tmp_path: Path
) -> None:
    for tag in ("4", "10", "9", "v2", "v11"):
        store.image(SHOP, tag, [noise(tag, 10)], at=NOW)
    images = {"shop": [f"{SHOP}:{tag}" for tag in ("4", "10", "9")]}
    outcome = freed(store, EVERYTHING, *config(tmp_path / "captain", images))
    assert chosen(outcome) == ["shop:v2", "shop:v11", "shop:9", "shop:10"]


def test_it_stops_as_soon_as_it_is_enough(store: StoreBuilder, caprover: tuple[str, Path]) -> None:
    push_all_kinds(store)
    everything = list(parsed(freed(store, EVERYTHING, *caprover).output))
    for count in range(1, len(everything) + 1):
        enough = 50_000 + sum(line.bytes for line in everything[:count])
        assert list(parsed(freed(store, str(enough), *caprover).output)) == everything[:count]
        more = list(parsed(freed(store, str(enough + 1), *caprover).output))
        assert more == everything[: count + 1]


def test_nothing_goes_if_a_collector_run_alone_is_enough(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    push_all_kinds(store)
    outcome = freed(store, "50kB", *caprover)
    assert (chosen(outcome), outcome.complaints) == ([], "")
    assert comments(outcome) == ["step 0: a collector run alone: 48.8 KiB (total 48.8 KiB)"]
    assert comments(outcome, "with") == [
        "with step 0: 48.8 KiB (50000 bytes); wanted: 48.8 KiB (50000 bytes)"
    ]


def test_what_cannot_be_reached_is_said_in_the_plan_and_on_standard_error(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    push_all_kinds(store)
    options = ("--protect", f"{SHOP}:3")
    enough = 50_000 + total(freed(store, EVERYTHING, *caprover, *options).output)
    assert comments(freed(store, str(enough), *caprover, *options), "not reached") == []
    outcome = freed(store, str(enough + 5), *caprover, *options)
    (line,) = comments(outcome, "not reached")
    assert line == (
        f"not reached: 5 B (5 bytes) are missing of {format_size(enough + 5)}; what stays: images "
        "that apps run (98.3 KiB), what is protected (98.3 KiB), tags of which it is unknown "
        "whether they are used (98.3 KiB)"
    )
    assert "--free is not reached: 5 B (5 bytes) are missing" in outcome.complaints
    assert chosen(outcome)[-1] == "shop:2"


def test_without_a_platform_only_untagged_manifests_go_and_the_plan_says_so(
    store: StoreBuilder,
) -> None:
    push_all_kinds(store)
    outcome = freed(store, EVERYTHING)
    assert chosen(outcome) == ["shop:"]
    assert len(comments(outcome, "Without --caprover.config-dir it is unknown")) == 1
    (line,) = comments(outcome, "not reached")
    assert "tags of which it is unknown whether they are used (786.7 KiB)" in line


def test_what_is_protected_never_goes(store: StoreBuilder, caprover: tuple[str, Path]) -> None:
    push_all_kinds(store)
    options = ("--protect", f"{GONE}:.*", "--protect", f"{SHOP}@.*")
    assert chosen(freed(store, EVERYTHING, *caprover, *options)) == []
    options = ("--protect", f"{GONE}:.*", "--protect", ".*:1")
    outcome = freed(store, EVERYTHING, *caprover, *options)
    assert chosen(outcome) == ["shop:0", "shop:", "shop:2", "shop:3"]


def test_tags_that_are_newer_than_the_configuration_stay_unless_an_app_names_them(
    store: StoreBuilder, tmp_path: Path
) -> None:
    push_all_kinds(store)
    images = {"shop": [f"{SHOP}:4", f"{SHOP}:3"]}
    # gone:2 and the tags 0 and 1 of the shop were pushed later
    option = config(tmp_path / "captain", images, changed_at=NOW + 3)
    outcome = freed(store, EVERYTHING, *option)
    assert chosen(outcome) == ["shop:2", "shop:", "gone:1", "shop:3"]
    (line,) = comments(outcome, "not reached")
    assert "tags that were pushed since the apps' configuration last changed (295.0 KiB)" in line


def test_a_tag_of_a_running_image_stays_whatever_its_name(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    index, child, _ = two_platforms(store, SHOP, "4")
    store.tag(SHOP, "3", index)
    store.tag(SHOP, "also", index)
    store.tag(SHOP, "amd64", child)
    store.image(SHOP, "1")
    assert chosen(freed(store, EVERYTHING, *caprover)) == ["shop:1"]


def test_a_platform_of_a_rollback_goes_no_earlier_than_the_rollback(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    store.image(SHOP, "4", at=NOW)
    _, child, _ = two_platforms(store, SHOP, "3")
    store.tag(SHOP, "amd64", child, at=NOW)
    store.image(GONE, "1", at=NOW + 1)
    outcome = freed(store, EVERYTHING, *caprover)
    assert chosen(outcome)[:2] == ["gone:1", "shop:3"]
    assert sorted(chosen(outcome)[2:]) == ["shop:", "shop:amd64"]


def test_a_rollback_that_an_app_names_by_digest_goes_last(
    store: StoreBuilder, tmp_path: Path
) -> None:
    pinned = store.image("app", None, [noise("pinned", 10)], at=NOW)
    index, _, _ = two_platforms(store, "app", None)
    store.image("app", "2", at=NOW)
    store.image("app", "1", [noise("superseded", 10)], at=NOW + 1)
    option = config(tmp_path / "captain", {"app": ["app:2", f"app@{pinned}", f"app@{index}"]})
    found = list(parsed(freed(store, EVERYTHING, *option).output))
    assert found[0].tags == ["1"]
    assert {line.digest for line in found[1:3]} == {pinned, index}
    assert len(found) == 5


def test_an_image_goes_whole_with_its_platforms_and_signatures(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    store.image(SHOP, "4", at=NOW)
    index, first, _ = two_platforms(store, SHOP, "1")
    for digest in (index, first):
        signature = [noise(digest, 30)]
        store.image(SHOP, f"{digest.replace(':', '-')}.sig", signature, at=NOW - 50)
    outcome = freed(store, "1", *caprover)
    found = list(parsed(outcome.output))
    assert found[0].tags == ["1"]
    assert len(found) == 5


def test_the_signature_of_a_running_image_stays_however_old(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    image = store.image(SHOP, "4", at=NOW)
    store.image(SHOP, f"{image.replace(':', '-')}.sig", [noise("signature", 30)], at=NOW - 50)
    assert chosen(freed(store, EVERYTHING, *caprover)) == []


def test_there_is_no_plan_while_the_collector_would_abort(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    push_all_kinds(store)
    store.blob_path(store.image("tools/backup", "2")).write_bytes(b"{")
    outcome = run_plan(store.root, "--free", "1", *caprover)
    assert (outcome.exit_code, outcome.output) == (1, "")
    assert "no plan: the registry's collector aborts on blobs/sha256/" in outcome.complaints


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--free", "much"), "'much' is not a size; write e.g. 50GiB"),
        (("--free", "0"), "give how much is to be freed, e.g. 5GiB"),
        (("--free", "5GiB", "--keep-last", "3"), "--free: not together with a selection"),
        (("--free", "5GiB", "--untagged"), "use --protect REGEX for what must stay"),
        (("--free", "5GiB", "--match", "app:.*"), "--free: not together with a selection"),
        ((), "or --free SIZE"),
    ],
)
def test_wrong_usage_is_an_error_with_a_hint(
    store: StoreBuilder, arguments: tuple[str, ...], problem: str
) -> None:
    outcome = run_plan(store.root, *arguments)
    assert (outcome.exit_code, outcome.output) == (2, "")
    assert problem in outcome.complaints


def test_the_platforms_of_images_go_without_being_asked_for(
    store: StoreBuilder, caprover: tuple[str, Path]
) -> None:
    store.image(SHOP, "4")
    two_platforms(store, SHOP, "1")
    found = lines(store.root, "--free", "1", *caprover, "--include-children")
    assert found == list(parsed(freed(store, "1", *caprover).output))
    assert len(found) == 3


def whole(store: StoreBuilder, client: RegistryClient, repository: str, reference: str) -> bool:
    """Return whether everything that a tag needs is there."""
    content = json.loads(client.manifest(repository, reference)[0])
    if "manifests" in content:
        return all(whole(store, client, repository, x["digest"]) for x in content["manifests"])
    parts = [*content["layers"], content["config"]]
    return all(store.blob_path(part["digest"]).exists() for part in parts)


@pytest.mark.parametrize("version", [2, 3])
def test_each_step_shrinks_a_real_registry_by_its_bytes(tmp_path: Path, version: int) -> None:
    program = require_registry(version)
    root = tmp_path / "registry"
    build_sample(root, NOW)
    write_captain_config(tmp_path / "captain", NOW)
    store = StoreBuilder(root)
    blog = "captain/img-captain-blog"
    with (
        DockerRegistry(root, program=program) as registry,
        RegistryClient(registry.url) as client,
    ):
        base = noise("base", 20_000)
        for tag in ("12", "11", "old"):  # runs, is a rollback, and is superseded
            children = [
                client.push_image(blog, None, [base, noise(f"{tag}{each}", 3000)], oci=True)
                for each in range(2)
            ]
            index = client.push_index(blog, tag, children, oci=True)
            client.push_image(blog, f"{index.replace(':', '-')}.sig", [noise(index, 300)])
        options = ("--caprover.config-dir", tmp_path / "captain")
        page = freed(store, "1PiB", *options).output
        steps = page.split("# step ")[1:]
        assert len(steps) == 5
        start = blob_bytes(root)
        for step in steps:
            before = blob_bytes(root)
            step_lines = list(parsed(f"# {step}"))
            for line in step_lines:
                client.delete_manifest(line.repository, line.digest)
            registry.garbage_collect()
            registry.restart()
            shrunk = before - blob_bytes(root)
            if step_lines:
                assert shrunk == sum(line.bytes for line in step_lines) > 0
            else:
                assert f"(total {format_size(shrunk)})" in step
            for name, tag in [(blog, "12"), ("captain/img-captain-shop", "30")]:
                assert whole(store, client, name, tag)
        assert f"# with step 0: {format_size(start - blob_bytes(root))} " in page
        assert client.tags("captain/img-captain-old-shop") == []
        assert "12" in client.tags(blog)
