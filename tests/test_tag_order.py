"""Which tags are the newest where times cannot say so: after a copy or restore without times."""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from exporter.analysis.deletion.order import Dating, TagOrder, TooManyImagesError, remembering
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory
from exporter.store.filesystem.scanner import scan_store
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.image_dates import ImageDates
from tests.in_process import run_command
from tests.servers import (
    DockerRegistry,
    RegistryClient,
    image_config,
    require_registry,
)
from tests.test_plan import blob_bytes, parsed, run_plan, total

NOW = 1_780_000_000.0
DAY = 86400.0
HOUR = 3600.0
VERSIONS = [f"v{number}" for number in range(1, 11)]
MONTHS = {tag: f"2025-{month:02}-03T04:05:06.123456789Z" for month, tag in enumerate(VERSIONS, 1)}
BY_CREATED = "are ordered by when their images were created"
BY_NUMBER = "are ordered by their version numbers"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def config(tag: str, created: str | None) -> bytes:
    content = json.loads(image_config([tag.encode()]))
    return json.dumps(content | ({} if created is None else {"created": created})).encode()


def push(
    store: StoreBuilder,
    repository: str,
    created: Mapping[str, str | None],
    at: Mapping[str, float] | float = NOW,
) -> dict[str, str]:
    return {
        tag: store.image(
            repository,
            tag,
            [noise(f"{repository}:{tag}", 100)],
            config(tag, moment),
            at=at if isinstance(at, float) else at[tag],
        )
        for tag, moment in created.items()
    }


def kept(store: StoreBuilder, *arguments: str) -> set[str]:
    outcome = run_plan(store.root, *arguments)
    assert (outcome.exit_code, outcome.complaints) == (0, "")
    gone = {tag for line in parsed(outcome.output) for tag in line.tags}
    tags = store.root.glob("docker/registry/v2/repositories/**/_manifests/tags/*")
    return {path.name for path in tags} - gone


def comments(store: StoreBuilder, *arguments: str) -> list[str]:
    page = run_plan(store.root, *arguments).output
    return [line for line in page.splitlines() if "are ordered by" in line]


def refusal(store: StoreBuilder, *arguments: str) -> str:
    outcome = run_plan(store.root, *arguments)
    assert (outcome.exit_code, outcome.output) == (1, "")
    return outcome.complaints


def test_tags_of_equal_times_are_ordered_by_when_their_images_were_created(
    store: StoreBuilder,
) -> None:
    push(store, "team/app", MONTHS)
    assert kept(store, "--keep-last", "3") == {"v8", "v9", "v10"}
    assert comments(store, "--keep-last", "3") == [
        f"# team/app: tags written at the same time {BY_CREATED}"
    ]


def test_a_plan_counts_repositories_whose_tags_were_ordered_otherwise(store: StoreBuilder) -> None:
    for number in range(5):
        push(store, f"app{number}", MONTHS)
    (comment,) = comments(store, "--keep-last", "3")
    assert comment.startswith("# app0, app1, app2 and 2 more: tags")


def test_a_plan_begins_with_the_images_that_were_created_first(store: StoreBuilder) -> None:
    push(store, "team/app", MONTHS)
    page = run_plan(store.root, "--keep-last", "3").output
    assert [line.tags for line in parsed(page)] == [[f"v{number}"] for number in range(1, 8)]


def test_tags_that_were_pushed_after_a_restore_are_newer_than_all_restored_ones(
    store: StoreBuilder,
) -> None:
    push(store, "team/app", MONTHS)
    push(store, "team/app", {"hotfix": "2025-01-01T00:00:00Z"}, NOW + DAY)
    assert kept(store, "--keep-last", "3") == {"v9", "v10", "hotfix"}


def test_versions_of_a_caprover_app_are_ordered_by_their_numbers(store: StoreBuilder) -> None:
    versions: dict[str, str | None] = {str(number): None for number in range(1, 12)}
    push(store, "captain/img-captain-shop", versions)
    assert kept(store, "--keep-last", "3") == {"9", "10", "11"}
    assert comments(store, "--keep-last", "3") == [
        f"# captain/img-captain-shop: tags written at the same time {BY_NUMBER}"
    ]


def test_versions_of_a_caprover_app_are_ordered_by_creation_before_their_numbers(
    store: StoreBuilder,
) -> None:
    # the app was deleted and created again: it counts from 1
    created = {
        "7": "2025-01-01T00:00:00Z",
        "8": "2025-02-01T00:00:00Z",
        "1": "2025-03-01T00:00:00Z",
    }
    push(store, "captain/img-captain-shop", created)
    assert kept(store, "--keep-last", "2") == {"8", "1"}


@pytest.mark.parametrize(
    "created",
    [None, "", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1980-01-01T00:00:01Z", "today"],
)
def test_a_plan_is_refused_where_nothing_orders_tags(
    store: StoreBuilder, created: str | None
) -> None:
    push(store, "team/app", dict.fromkeys(VERSIONS, created))
    complaint = refusal(store, "--keep-last", "3")
    assert "10 tags of team/app" in complaint
    assert "--match" in complaint


def test_numbers_order_nothing_outside_caprovers_repositories(store: StoreBuilder) -> None:
    push(store, "team/app", dict.fromkeys("123"))
    assert "3 tags of team/app" in refusal(store, "--keep-last", "1")


def test_one_image_of_unknown_age_may_be_the_newest_of_all(store: StoreBuilder) -> None:
    push(store, "team/app", MONTHS | {"v3": None})
    assert "10 tags of team/app" in refusal(store, "--keep-last", "3")


def test_a_tie_that_changes_nothing_needs_no_order(store: StoreBuilder) -> None:
    times = {"1": NOW, "2": NOW, "3": NOW + DAY, "4": NOW + 2 * DAY, "5": NOW + 2 * DAY}
    push(store, "team/app", dict.fromkeys(times), times)
    assert kept(store, "--keep-last", "2") == {"4", "5"}
    assert kept(store, "--keep-last", "3") == {"3", "4", "5"}
    assert kept(store, "--keep-last", "5") == {"1", "2", "3", "4", "5"}
    assert "2 tags of team/app" in refusal(store, "--keep-last", "1")
    assert "2 tags of team/app" in refusal(store, "--keep-last", "4")


def test_tags_of_one_digest_are_no_tie(store: StoreBuilder) -> None:
    digests = push(store, "team/app", {"1": None})
    for tag in ("2", "3"):
        store.tag("team/app", tag, digests["1"], at=NOW)
    assert kept(store, "--keep-last", "1") == {"1", "2", "3"}


def test_a_tie_that_is_not_selected_refuses_nothing(store: StoreBuilder) -> None:
    push(store, "team/app", dict.fromkeys(VERSIONS))
    push(store, "team/web", MONTHS)
    assert "team/app" in refusal(store, "--keep-last", "3")
    page = run_plan(store.root, "--keep-last", "3", "--match", "(?!team/app:).*").output
    assert len(list(parsed(page))) == 7
    page = run_plan(store.root, "--match", "team/app:v[12]").output
    assert [line.tags for line in parsed(page)] == [["v1"], ["v2"]]


def test_good_times_win_over_the_creation_of_images(store: StoreBuilder) -> None:
    times = {tag: NOW - place * DAY for place, tag in enumerate(VERSIONS)}
    push(store, "team/app", MONTHS, times)
    assert kept(store, "--keep-last", "3") == {"v1", "v2", "v3"}
    assert comments(store, "--keep-last", "3") == []


def test_images_that_are_built_and_pushed_quickly_are_ordered_by_their_times(
    store: StoreBuilder,
) -> None:
    created = {
        "a": "2026-05-28T00:30:00Z",
        "b": "2026-05-28T00:10:00Z",
        "c": "2026-05-28T00:20:00Z",
    }
    push(store, "team/app", created, {"a": NOW, "b": NOW + 20, "c": NOW + 40})
    assert kept(store, "--keep-last", "2") == {"b", "c"}
    assert comments(store, "--keep-last", "2") == []


def copied_backwards() -> dict[str, float]:
    """Return times of links that were copied one after the other, the newest first."""
    return {tag: NOW - place * 0.004 for place, tag in enumerate(VERSIONS)}


def test_tags_that_were_copied_without_times_are_ordered_by_creation(store: StoreBuilder) -> None:
    push(store, "team/app", MONTHS, copied_backwards())
    assert kept(store, "--keep-last", "3") == {"v8", "v9", "v10"}
    assert comments(store, "--keep-last", "3") == [
        f"# team/app: tags written at the same time {BY_CREATED}"
    ]


def test_a_repository_that_holds_something_older_was_not_copied(store: StoreBuilder) -> None:
    push(store, "team/app", MONTHS, copied_backwards())
    store.image("team/app", None, [noise("untagged", 10)], at=NOW - DAY)
    assert kept(store, "--keep-last", "3") == {"v1", "v2", "v3"}


def test_an_index_was_created_when_the_newest_of_its_images_was(store: StoreBuilder) -> None:
    for place, tag in enumerate(VERSIONS):
        created = (MONTHS[tag], "2024-12-31T00:00:00Z", None)
        images = [
            store.image("team/app", None, [noise(f"{tag}{each}", 9)], config(tag, each), at=NOW)
            for each in created
        ]
        # an attestation is no image: the oldest has the newest one
        late = config(tag, f"2026-01-{28 - place:02}T00:00:00Z")
        attestation = store.image("team/app", None, [noise(f"{tag}!", 9)], late, at=NOW)
        children: list[str | dict[str, object]] = [*images]
        children.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": attestation,
                "size": store.blob_path(attestation).stat().st_size,
                "platform": {"os": "unknown", "architecture": "unknown"},
            }
        )
        store.index("team/app", tag, children, at=NOW)
    assert kept(store, "--keep-last", "3") == {"v8", "v9", "v10"}


def test_an_annotation_says_when_an_artifact_without_an_image_was_created(
    store: StoreBuilder,
) -> None:
    for tag in ("1", "2", "3"):
        created = f"2025-01-0{4 - int(tag)}T00:00:00Z"
        layer = store.blob(noise(tag, 9), at=NOW)
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.cncf.helm.config.v1+json",
                "digest": store.blob(b'{"name": "chart"}', at=NOW),
                "size": 17,
            },
            "layers": [{"mediaType": "application/x-tar", "digest": layer, "size": 9}],
            "annotations": {"org.opencontainers.image.created": created},
        }
        store.manifest("charts/shop", manifest, tag, at=NOW)
    assert kept(store, "--keep-last", "1") == {"1"}


@pytest.mark.parametrize("version", [2, 3])
def test_a_registry_keeps_the_newest_images_after_a_copy_without_times(
    tmp_path: Path, version: int
) -> None:
    program = require_registry(version)
    first, root = tmp_path / "first", tmp_path / "copy"
    base = noise("base", 20_000)
    with DockerRegistry(first, program=program) as source, RegistryClient(source.url) as client:
        for tag, created in MONTHS.items():
            content = config(tag, created)
            client.push_image("team/app", tag, [base, noise(tag, 3000)], content)
    # as `cp -r` does: times are those of the copy
    shutil.copytree(first, root, copy_function=shutil.copyfile)
    for path in root.rglob("_manifests/tags/*/current/link"):
        # in which order the directories are read is up to the filesystem: here the worst
        moment = NOW - int(path.parts[-3].removeprefix("v")) * 0.004
        os.utime(path, (moment, moment))
    for path in root.rglob("_manifests/revisions/*/*/link"):
        os.utime(path, (NOW, NOW))
    with DockerRegistry(root, program=program) as registry, RegistryClient(registry.url) as client:
        page = run_plan(root, "--keep-last", "3").output
        assert f"# team/app: tags written at the same time {BY_CREATED}" in page
        for line in parsed(page):
            client.delete_manifest(line.repository, line.digest)
        before = blob_bytes(root)
        registry.garbage_collect()
        assert before - blob_bytes(root) == total(page) > 7 * 3000
        registry.restart()
        assert client.tags("team/app") == ["v10", "v8", "v9"]


def test_images_are_read_only_where_times_cannot_order_tags(store: StoreBuilder) -> None:
    push(store, "team/app", MONTHS, {tag: NOW + place * DAY for place, tag in enumerate(MONTHS)})
    push(store, "team/bunch", MONTHS)
    inventory = scan_store(store.root)
    asked: list[int] = []

    def read(_: Inventory, manifests: Collection[BlobNumber]) -> Mapping[BlobNumber, float]:
        asked.append(len(manifests))
        return {}

    for repository in inventory.repositories:
        for keep in (3, 10):
            TagOrder(inventory, Dating(read)).keep_newest(repository, keep)
    assert asked == [10]


def test_images_are_read_once_for_any_number_of_borders_and_no_more_than_allowed(
    store: StoreBuilder,
) -> None:
    push(store, "team/app", MONTHS)
    inventory = scan_store(store.root)
    (repository,) = inventory.repositories
    asked: list[int] = []

    def read(_: Inventory, manifests: Collection[BlobNumber]) -> Mapping[BlobNumber, float]:
        asked.append(len(manifests))
        return {}

    order = TagOrder(inventory, remembering(Dating(read), most=10))
    for keep in (1, 2, 3):
        order.keep_newest(repository, keep)
    assert asked == [10]
    with pytest.raises(TooManyImagesError):
        TagOrder(inventory, remembering(Dating(read), most=9)).keep_newest(repository, 1)
    assert asked == [10]


def test_what_an_image_says_is_read_once(store: StoreBuilder) -> None:
    digests = push(store, "team/app", MONTHS)
    inventory = scan_store(store.root)
    numbers = [tag.target for tag in inventory.repositories[0].tags if tag.target is not None]
    dates = ImageDates(FilesystemStore(store.root))
    found = dates.read(inventory, numbers)
    assert min(found.values()) == pytest.approx(1735877106.123456)
    for digest in digests.values():
        store.blob_path(digest).unlink()
    assert dates.read(inventory, numbers) == found
    assert ImageDates(FilesystemStore(store.root)).read(inventory, numbers) == {}


def measured(store: StoreBuilder, keep: int) -> dict[str, float]:
    arguments = ("--storage.root", store.root, "--retention.keep-last", str(keep))
    output = run_command("collect", *arguments).output
    samples = (line.rsplit(" ", 1) for line in output.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in samples if "_retention_" in name}


def actions(store: StoreBuilder, keep: int) -> dict[str, dict[str, object]]:
    arguments = ("--storage.root", store.root, "--retention.keep-last", str(keep))
    output = run_command("report", *arguments, "--format", "json").output
    return {each["action"]: each for each in json.loads(output)["actions"]}


def test_metrics_and_report_say_what_the_plan_frees(store: StoreBuilder) -> None:
    for tag, created in MONTHS.items():
        # by name other tags would go, which free other bytes
        layers = [noise(tag, 100 * int(tag.removeprefix("v")))]
        store.image("team/app", tag, layers, config(tag, created), at=NOW)
    freed = total(run_plan(store.root, "--keep-last", "3").output)
    assert measured(store, 3) == {
        'docker_registry_retention_candidate_tags{policy="keep-last-3"}': 7,
        'docker_registry_retention_reclaimable_bytes{policy="keep-last-3"}': freed,
    }
    assert actions(store, 3)["keep-last-3"]["frees_bytes"] == freed


def test_metrics_are_absent_and_the_report_says_why_where_nothing_orders_tags(
    store: StoreBuilder,
) -> None:
    push(store, "team/app", dict.fromkeys(VERSIONS))
    assert measured(store, 3) == {}
    action = actions(store, 3)["keep-last-3"]
    assert (action["frees_bytes"], action["commands"]) == (None, [])
    assert "team/app" in str(action["warnings"])
    assert measured(store, 10) != {}
