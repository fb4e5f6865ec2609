"""Signatures, attestations and SBOMs: they follow their image, in plans, policies and reports."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.blob_sizes import BytesOnDisk
from exporter.analysis.deletion.artifacts import all_artifacts
from exporter.analysis.deletion.retention import CollectorAfter, price_untagged
from exporter.analysis.reachability import reaches_of
from exporter.analysis.store_figures import analyse
from exporter.domain.digests import format_digest
from exporter.domain.snapshot import VERSION_2
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import Metrics
from tests.in_process import run_command
from tests.random_stores import STEPS, STEPS_WITH_LOSSES, Step, build, temporary_directory
from tests.servers import DockerRegistry, RegistryClient, require_registry
from tests.test_plan import DAY, NOW, Line, blob_bytes, lines, parsed, run_plan, total

APP = "team/app"
SIGNATURES = ("sig", "att", "sbom")
EMPTY = b"{}"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path / "registry")


def fallback_tag(digest: str, suffix: str = "") -> str:
    return digest.replace(":", "-") + (f".{suffix}" if suffix else "")


def signed(store: StoreBuilder, tag: str | None, at: float, signed_at: float = NOW) -> str:
    """Push an image with a signature and an attestation, tagged as cosign does."""
    digest = store.image(APP, tag, [noise(f"{APP}:{tag}", 1000)], at=at)
    for suffix in ("sig", "att"):
        layers = [noise(f"{suffix} of {tag}", 100)]
        store.image(APP, fallback_tag(digest, suffix), layers, at=signed_at)
    return digest


def with_subject(
    store: StoreBuilder, subject: str, name: str, tag: str | None = None, at: float = NOW
) -> str:
    """Push an artifact that names its image by ``subject``."""
    config = store.blob(EMPTY)
    layer = store.blob(noise(name, 200))
    return store.manifest(
        APP,
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/spdx+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": config,
                "size": len(EMPTY),
            },
            "layers": [{"mediaType": "application/spdx+json", "digest": layer, "size": 200}],
            "subject": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": subject,
                "size": store.blob_path(subject).stat().st_size,
            },
        },
        tag,
        at=at,
    )


def tags_of(found: list[Line]) -> set[str]:
    return {tag for line in found for tag in line.tags}


def artifacts(store: StoreBuilder) -> dict[str, float]:
    metrics = Metrics.parse(run_command("collect", "--storage.root", store.root).output)
    return metrics.by("state", "docker_registry_artifacts")


def images(store: StoreBuilder, signed_after: float | None = None) -> list[str]:
    """Push v1 to v5 a week apart, with signatures of last night or so long after each."""
    pushed = []
    for number in range(1, 6):
        at = NOW - (6 - number) * 7 * DAY
        later = NOW if signed_after is None else at + signed_after
        pushed.append(signed(store, f"v{number}", at, later))
    return pushed


@pytest.mark.parametrize("signed_after", [None, 20], ids=["renewed last night", "in step"])
def test_signatures_use_up_no_place_of_a_policy_and_go_with_their_image(
    store: StoreBuilder, signed_after: float | None
) -> None:
    first, second, *_ = images(store, signed_after)
    going = {
        fallback_tag(digest, suffix) for digest in (first, second) for suffix in ("sig", "att")
    }
    assert tags_of(lines(store.root, "--keep-last", "3")) == going | {"v1", "v2"}


def test_signatures_go_with_an_image_that_a_pattern_names(store: StoreBuilder) -> None:
    first, *_ = images(store)
    found = tags_of(lines(store.root, "--match", f"{APP}:v1"))
    assert found == {"v1", fallback_tag(first, "sig"), fallback_tag(first, "att")}


def test_a_pattern_for_signatures_alone_selects_none_while_their_image_is_there(
    store: StoreBuilder,
) -> None:
    images(store)
    assert lines(store.root, "--match", rf"{APP}:sha256-.*") == []


def test_an_image_that_another_tag_keeps_keeps_its_signatures(store: StoreBuilder) -> None:
    first, *_ = images(store)
    store.tag(APP, "stable", first, at=NOW - DAY)
    found = tags_of(lines(store.root, "--match", f"{APP}:v1"))
    assert found == set()


def test_policies_count_and_price_what_goes_with_the_images(store: StoreBuilder) -> None:
    images(store)
    options = ("--storage.root", store.root, "--retention.keep-last", "3")
    metrics = Metrics.parse(run_command("collect", *options).output)
    candidates = metrics.by("policy", "docker_registry_retention_candidate_tags")
    assert candidates == {"keep-last-3": 6}
    freed = metrics.by("policy", "docker_registry_retention_reclaimable_bytes")
    planned = lines(store.root, "--keep-last", "3")
    assert freed == {"keep-last-3": sum(line.bytes for line in planned)}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_artifacts_are_attached_until_their_image_is_deleted(
    store: StoreBuilder, suffix: str
) -> None:
    digest = store.image(APP, "v1", [noise("v1", 1000)], at=NOW)
    tag = fallback_tag(digest, suffix)
    artifact = store.image(APP, tag, [noise("artifact", 100)], at=NOW)
    assert artifacts(store) == {"attached": 1, "detached": 0}
    assert lines(store.root, "--detached") == []
    store.delete_revision(APP, digest)
    assert artifacts(store) == {"attached": 0, "detached": 1}
    (line,) = lines(store.root, "--detached")
    assert (line.digest, line.tags) == (artifact, [tag])


def test_a_tag_that_only_looks_like_an_artifacts_is_an_image(store: StoreBuilder) -> None:
    tags = ("sha256-abc.sig", "sha256-" + "g" * 64, "v-sha256-" + "0" * 64)
    for place, tag in enumerate(tags):
        store.image(APP, tag, [noise(tag, 100)], at=NOW + place)
    assert artifacts(store) == {"attached": 0, "detached": 0}
    assert len(lines(store.root, "--keep-last", "1")) == 2


def test_the_artifacts_of_the_fallback_index_go_with_their_image(store: StoreBuilder) -> None:
    image = store.image(APP, "v1", [noise("v1", 1000)], at=NOW - DAY)
    store.image(APP, "v2", [noise("v2", 1000)], at=NOW)
    sbom = with_subject(store, image, "sbom")
    index = store.index(APP, fallback_tag(image), [sbom], at=NOW)
    assert artifacts(store) == {"attached": 1, "detached": 0}
    found = lines(store.root, "--keep-last", "1")
    assert {line.digest for line in found} == {image, index, sbom}
    assert tags_of(found) == {"v1", fallback_tag(image)}


def test_artifacts_by_subject_stay_and_go_with_their_image(store: StoreBuilder) -> None:
    old = store.image(APP, "v1", [noise("v1", 1000)], at=NOW - DAY)
    new = store.image(APP, "v2", [noise("v2", 1000)], at=NOW)
    of_old, of_new = (with_subject(store, each, f"sbom of {each}") for each in (old, new))
    assert artifacts(store) == {"attached": 2, "detached": 0}
    assert lines(store.root, "--untagged") == []
    found = {line.digest for line in lines(store.root, "--keep-last", "1")}
    assert found == {old, of_old}
    assert of_new not in found


def test_an_artifact_of_an_artifact_belongs_to_the_image(store: StoreBuilder) -> None:
    image = store.image(APP, "v1", [noise("v1", 1000)], at=NOW)
    sbom = with_subject(store, image, "sbom")
    with_subject(store, sbom, "signature of the sbom")
    assert artifacts(store) == {"attached": 2, "detached": 0}
    assert lines(store.root, "--untagged") == []
    assert len(lines(store.root, "--match", f"{APP}:v1")) == 3


def test_artifacts_without_a_tag_whose_image_is_gone_are_untagged(store: StoreBuilder) -> None:
    image = store.image(APP, "v1", [noise("v1", 1000)], at=NOW)
    sbom = with_subject(store, image, "sbom")
    store.delete_revision(APP, image)
    assert [line.digest for line in lines(store.root, "--untagged")] == [sbom]


def test_an_overwritten_tag_goes_with_its_signatures(store: StoreBuilder) -> None:
    old = signed(store, "latest", NOW - DAY)
    new = store.image(APP, "latest", [noise("new", 1000)], at=NOW)
    store.image(APP, fallback_tag(new, "sig"), [noise("sig of new", 100)], at=NOW)
    found = lines(store.root, "--untagged")
    assert tags_of(found) == {fallback_tag(old, "sig"), fallback_tag(old, "att")}
    assert len(found) == 3


def test_only_untagged_images_that_are_old_enough_are_listed(store: StoreBuilder) -> None:
    for age in (3, 2, 1, 0):
        store.image(APP, "latest", [noise(f"{age} days", 1000)], at=NOW - age * DAY)
    recent = store.image(APP, None, [noise("pushed now", 1000)])
    assert len(lines(store.root, "--untagged")) == 4
    found = lines(store.root, "--untagged", "--older-than", "1d")
    assert recent not in {line.digest for line in found}
    assert len(found) == 3


def test_children_of_tagged_indexes_are_not_untagged(store: StoreBuilder) -> None:
    child = store.image(APP, None, [noise("amd64", 1000)], at=NOW)
    store.index(APP, "v1", [child], at=NOW)
    other = store.image(APP, None, [noise("arm64", 1000)], at=NOW)
    untagged = store.index(APP, None, [other], at=NOW)
    found = [line.digest for line in lines(store.root, "--untagged")]
    assert found == [untagged, other], "an index goes before what it lists"


def test_the_report_names_artifacts_and_those_without_an_image(store: StoreBuilder) -> None:
    first, *_ = images(store)
    store.delete_revision(APP, first)
    options = ("--storage.root", store.root)
    page = json.loads(run_command("report", *options, "--format", "json").output)
    assert page["artifacts"] == {"attached": 8, "detached": 2}
    text = run_command("report", *options).output
    assert "the images of 2 are gone" in text
    one = ("report", *options, "--repository", APP)
    rows = json.loads(run_command(*one, "--format", "json").output)["tags"]
    states = {row["tag"]: row["artifact"] for row in rows}
    assert states["v2"] is None
    assert states[fallback_tag(first, "sig")] == "detached"
    assert list(states.values()).count("attached") == 8
    assert "(artifact, its image is gone)" in run_command(*one).output


def test_the_collector_is_warned_of_where_it_would_delete_artifacts_of_live_images(
    store: StoreBuilder,
) -> None:
    image = store.image(APP, "v1", [noise("v1", 1000)], at=NOW)
    with_subject(store, image, "sbom")
    with_subject(store, image, "signature")
    page = json.loads(
        run_command("report", "--storage.root", store.root, "--format", "json").output
    )
    found = {each["action"]: each for each in page["actions"]}
    warnings = " ".join(found["garbage-collect --delete-untagged"]["warnings"])
    assert "it would also delete 2 artifacts" in warnings
    assert "untagged" not in found, "nothing is untagged that no image needs"


def test_the_safe_way_is_offered_where_the_collector_would_break_tags(store: StoreBuilder) -> None:
    child = store.image(APP, None, [noise("amd64", 1000)], at=NOW)
    store.index(APP, "v1", [child], at=NOW)
    for number in range(20):
        store.image(APP, "latest", [noise(f"build {number}", 1 << 14)], at=NOW + number)
    report = run_command("report", "--storage.root", store.root, "--format", "json")
    found = {each["action"]: each for each in json.loads(report.output)["actions"]}
    unsafe = found["garbage-collect --delete-untagged"]
    assert unsafe["is_dangerous"]
    assert any(
        each == "instead, delete what nothing needs: untagged, below" for each in unsafe["warnings"]
    )
    planned = lines(store.root, "--untagged")
    assert len(planned) == 19
    assert found["untagged"]["frees_bytes"] == sum(line.bytes for line in planned)
    metrics = Metrics.parse(run_command("collect", "--storage.root", store.root).output)
    freed = metrics.value("docker_registry_untagged_reclaimable_bytes")
    assert freed == sum(line.bytes for line in planned) > 19 << 14


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--untagged", "--keep-last", "3"], "--keep-last: not together with --untagged"),
        (["--detached", "--keep-last", "3"], "--keep-last: not together with --detached"),
        (["--untagged", "--detached"], "--detached: not together with --untagged"),
    ],
)
def test_selections_of_different_things_are_two_plans(
    store: StoreBuilder, options: list[str], message: str
) -> None:
    outcome = run_plan(store.root, *options)
    assert outcome.exit_code == 2
    assert message in outcome.complaints


def state(root: Path) -> tuple[set[str], dict[tuple[str, str], str]]:
    """Return the tags that can be pulled whole, and by artifact, the image that has it."""
    inventory = scan_store(root)
    reaches = reaches_of(inventory)
    names = [
        {(repository.name, tag.name) for tag in repository.tags}
        for repository in inventory.repositories
    ]
    integrity = analyse(inventory, VERSION_2).integrity
    assert integrity is not None
    faulty = {f"{each.repository}:{each.tag}" for each in integrity.broken_tags}
    faulty |= {f"{each.repository}:{each.tag}" for each in integrity.partial_tags}
    whole = {":".join(each) for each in set[tuple[str, str]]().union(*names)} - faulty
    text = {number: format_digest(digest) for number, digest in enumerate(inventory.digests)}
    found = zip(inventory.repositories, all_artifacts(inventory, reaches), strict=True)
    belongs = {
        (repository.name, text[number]): text[image]
        for repository, each in found
        for number, image in each.manifests.items()
        if image is not None
    }
    return whole, belongs


@given(steps=STEPS, selection=st.sampled_from([["--untagged"], ["--match", ".*[02]"]]))
@settings(max_examples=30, deadline=None)
def test_plans_of_any_store_take_no_artifact_from_an_image_that_stays(
    steps: list[Step], selection: list[str]
) -> None:
    with temporary_directory() as place:
        store = StoreBuilder(place / "registry")
        build(store, steps)
        if not store.version_path.exists():
            return
        whole, belongs = state(store.root)
        planned = list(parsed(run_plan(store.root, *selection).output))
        for line in planned:
            store.delete_revision(line.repository, line.digest)
        gone = {(line.repository, line.digest) for line in planned}
        still_whole, still_belong = state(store.root)
        listed = {f"{line.repository}:{tag}" for line in planned for tag in line.tags}
        assert still_whole >= whole - listed
        for (repository, artifact), image in belongs.items():
            if (repository, image) not in gone:
                assert still_belong[repository, artifact] == image


@given(steps=st.one_of(STEPS, STEPS_WITH_LOSSES))
@settings(max_examples=150, deadline=None)
def test_what_untagged_images_free_is_the_same_with_and_without_a_closer_look(
    steps: list[Step],
) -> None:
    with temporary_directory() as place:
        store = StoreBuilder(place / "registry")
        store.image("a", "seed")
        build(store, steps)
        inventory = scan_store(store.root)
    reaches = reaches_of(inventory)
    collector = CollectorAfter(inventory, reaches, VERSION_2)
    expected = price_untagged(inventory, reaches, collector, None, BytesOnDisk(inventory))
    conclusions = Analyst(AnalysisOptions(VERSION_2, None)).analyse(inventory).conclusions
    assert conclusions.untagged_reclaimable_bytes == expected


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("selection", [["--untagged"], ["--keep-last", "2"], ["--detached"]])
def test_a_real_registry_shrinks_by_the_plan_and_serves_all_that_stays(
    store: StoreBuilder, version: int, selection: list[str]
) -> None:
    program = require_registry(version)
    digests = images(store)
    signed(store, None, NOW - 40 * DAY)
    gone = signed(store, "gone", NOW - 50 * DAY)
    store.delete_revision(APP, gone)
    with_subject(store, digests[0], "sbom of the first")
    with_subject(store, digests[4], "sbom of the last")
    child = store.image(APP, None, [noise("platform", 1000)], at=NOW - 60 * DAY)
    store.index(APP, "multi", [child], at=NOW)
    with DockerRegistry(store.root, program=program) as registry:
        registry.garbage_collect()
        before = blob_bytes(store.root)
        page = run_plan(store.root, *selection).output
        planned = lines(store.root, *selection)
        with RegistryClient(registry.url) as client:
            left = set(client.tags(APP)) - tags_of(planned)
            for line in planned:
                client.delete_manifest(line.repository, line.digest)
        registry.garbage_collect()
        assert before - blob_bytes(store.root) == total(page) > 0
        registry.restart()
        with RegistryClient(registry.url) as client:
            assert set(client.tags(APP)) == left
            for tag in left:
                client.manifest(APP, tag)
    metrics = Metrics.parse(run_command("collect", "--storage.root", store.root).output)
    assert metrics.value("docker_registry_broken_tags") == 0
