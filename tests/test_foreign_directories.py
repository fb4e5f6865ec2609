"""Directories that other programs leave in a store: counted, named, and never called uploads."""

from pathlib import Path

import httpx
import pytest

from demo.store import StoreBuilder, digest_of
from exporter.analysis.store_figures import analyse
from exporter.domain.model import IssueCause
from exporter.domain.snapshot import BlobState, GcMode
from exporter.store.filesystem.scanner import scan_store
from tests.in_process import run_command
from tests.servers import DockerRegistry, GarbageCollector, require, require_registry
from tests.small_stores import APP, FOREIGN_NAMES, FOREIGN_PLACES, add_foreign

NOT_LISTED = {"a tag", "a tag's history", "a blob"}
"""Directories that a scan does not list."""


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    return StoreBuilder(tmp_path)


@pytest.mark.parametrize("place", sorted(FOREIGN_PLACES.keys() - NOT_LISTED))
@pytest.mark.parametrize("name", FOREIGN_NAMES)
def test_a_foreign_directory_is_named_with_what_to_do_and_leaves_the_scan_complete(
    store: StoreBuilder, place: str, name: str
) -> None:
    store.image(APP, "1")
    store.unlinked_blob(b"garbage")
    add_foreign(store, place, name, "below/notes")
    inventory = scan_store(store.root)
    (issue,) = inventory.issues
    where = FOREIGN_PLACES[place](store).relative_to(store.version_path)
    assert (issue.cause, issue.path) == (IssueCause.BAD_NAME, f"{where}/{name}")
    assert "not by the registry; " in issue.detail
    assert inventory.complete
    found = analyse(inventory)
    assert found.strays.files == 1
    assert found.uploads.uploads == 0
    assert found.blobs[BlobState.UNREFERENCED].blobs == 1


@pytest.mark.parametrize("version", [2, 3])
def test_a_foreign_directory_makes_no_repository_for_the_registry_or_the_scan(
    store: StoreBuilder, version: int
) -> None:
    store.image(APP, "1")
    for name in FOREIGN_NAMES:
        for parent in ("", "group"):
            (store.version_path / "repositories" / parent / name).mkdir(parents=True)
    with DockerRegistry(store.root, program=require_registry(version)) as registry:
        listed = httpx.get(f"{registry.url}/v2/_catalog", trust_env=False).json()
    assert listed == {"repositories": [APP]}
    assert [each.name for each in scan_store(store.root).repositories] == [APP]


def test_links_under_an_unknown_name_among_tags_may_reference_blobs(store: StoreBuilder) -> None:
    store.image(APP, "1")
    store.unlinked_blob(b"garbage")
    tags = store.tag_link(APP, "1").parents[2]
    (tags / "1").rename(tags / "1 (copy)")
    assert analyse(scan_store(store.root)).blobs[BlobState.UNREFERENCED].blobs == 0


def test_the_report_says_why_a_foreign_directory_does_not_matter(store: StoreBuilder) -> None:
    store.image(APP, "1")
    add_foreign(store, "uploads", "@eaDir", "notes")
    output = run_command("report", "--storage.root", store.root).output
    assert "could not be read" not in output
    assert "1 parts of the store are not as the registry makes them" in output
    assert "They were read, and the figures above take them into account." in output
    assert f"bad_name: repositories/{APP}/_uploads/@eaDir: made by Synology DSM" in output


def test_the_report_names_the_foreign_directory_that_stops_only_delete_untagged(
    store: StoreBuilder,
) -> None:
    store.image(APP, "1")
    add_foreign(store, "tags", "@eaDir", "notes")
    place = f"repositories/{APP}/_manifests/tags/@eaDir"
    runs = analyse(scan_store(store.root)).collector
    assert runs is not None
    assert runs[GcMode.DEFAULT].blockers == ()
    assert [each.path for each in runs[GcMode.DELETE_UNTAGGED].blockers] == [place]
    output = run_command("report", "--storage.root", store.root).output
    assert f"it aborts and frees nothing: {place} made by Synology DSM" in output


def test_a_copy_of_a_blob_that_is_gone_stops_the_collector_when_it_deletes(
    store: StoreBuilder,
) -> None:
    collector = GarbageCollector(require("docker-registry"))
    store.image(APP, "1")
    store.unlinked_blob(b"garbage")
    path = store.blob_path(digest_of(b"garbage"))
    copy = store.version_path / "blobs/.snapshot" / path.relative_to(store.version_path / "blobs")
    copy.parent.mkdir(parents=True)
    path.rename(copy)
    path.parent.rmdir()
    runs = analyse(scan_store(store.root)).collector
    assert runs is not None
    for mode in GcMode:
        untagged = mode is GcMode.DELETE_UNTAGGED
        assert collector.run(store.root, dry_run=False, delete_untagged=untagged) is None
        (blocker,) = runs[mode].blockers
        assert blocker.path == str(copy.relative_to(store.version_path))
