"""Hard-linked copies of the store inside the root directory, against the real ``cp`` and ``du``."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from demo.store import StoreBuilder, noise
from exporter.domain.census import Census, LinkedCopy
from exporter.store.filesystem.census import take_census
from exporter.store.filesystem.scanner import scan_store
from exporter.store.port import CensusControl
from tests.golden_outputs import STORES
from tests.in_process import run_command
from tests.servers import DockerRegistry, RegistryClient
from tests.test_report import faults

V2 = "docker/registry/v2"


@pytest.fixture
def store(tmp_path: Path) -> StoreBuilder:
    builder = StoreBuilder(tmp_path / "registry")
    builder.image("team/app", "1", [noise("1", 50_000)])
    builder.image("team/app", "2", [noise("2", 30_000)])
    return builder


def link_copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-al", source, target], check=True)


def allocated(root: Path) -> int:
    command = ["du", "-sx", "--block-size=1", str(root)]
    return int(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    )


def census_of(root: Path) -> Census:
    return take_census(root, CensusControl())


def freed_by_deleting(root: Path, path: str) -> int:
    before = allocated(root)
    shutil.rmtree(root / path)
    return before - allocated(root)


def json_of(root: Path, *options: str) -> dict[str, Any]:
    arguments: tuple[str | Path, ...] = ("--storage.root", root, "--format", "json", *options)
    document: dict[str, Any] = json.loads(run_command("report", *arguments).output)
    return document


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("docker", "docker.bak"),
        ("docker", "backups/monday/docker"),
        (V2, "docker/registry/v2.old"),
        (f"{V2}/blobs", f"{V2}/blobs.old"),
        (f"{V2}/blobs/sha256", f"{V2}/repositories/_copy"),
    ],
)
def test_a_copy_is_named_with_what_deleting_it_frees(
    store: StoreBuilder, source: str, target: str
) -> None:
    (store.root / target).parent.mkdir(parents=True, exist_ok=True)
    link_copy(store.root / source, store.root / target)
    top = "backups" if target.startswith("backups") else target
    (store.root / top / "notes").write_bytes(b"only here" * 1000)
    (copy,) = census_of(store.root).copies
    assert copy.path == top
    assert copy.files == sum(each.is_file() for each in (store.root / source).rglob("*"))
    assert copy.frees_bytes == freed_by_deleting(store.root, top) > 0
    assert census_of(store.root).copies == ()


def test_a_copy_keeps_what_the_registrys_collector_deletes(
    registry: DockerRegistry, registry_client: RegistryClient
) -> None:
    old = registry_client.push_image("app", "1", [noise("old", 90_000)])
    registry_client.push_image("app", "2", [noise("new", 50_000)])
    root = registry.root
    link_copy(root / "docker", root / "docker.bak")
    (before,) = census_of(root).copies
    registry_client.delete_manifest("app", old)
    registry.garbage_collect()
    (after,) = census_of(root).copies
    assert after.frees_bytes > before.frees_bytes + 90_000
    assert after.frees_bytes == freed_by_deleting(root, "docker.bak")


def test_of_two_copies_each_frees_only_what_neither_the_store_nor_the_other_holds(
    store: StoreBuilder,
) -> None:
    link_copy(store.root / "docker", store.root / "first")
    link_copy(store.root / "docker", store.root / "second")
    shutil.rmtree(store.root / V2 / "repositories/team/app/_manifests/tags/1")
    copies = {each.path: each for each in census_of(store.root).copies}
    assert set(copies) == {"first", "second"}
    for each in ("first", "second"):
        (copy,) = [copy for copy in census_of(store.root).copies if copy.path == each]
        assert copy.frees_bytes == freed_by_deleting(store.root, each)
    assert copies["second"].frees_bytes < allocated(store.root)


def test_a_real_copy_and_other_foreign_directories_are_no_linked_copies(
    store: StoreBuilder, tmp_path: Path
) -> None:
    shutil.copytree(store.root / "docker", store.root / "real")
    store.stray("lost+found/file", b"x")
    store.stray("linked/one", b"x")
    (store.root / "linked/two").hardlink_to(store.root / "linked/one")
    (tmp_path / "outside").hardlink_to(store.root / "linked/one")
    assert census_of(store.root).copies == ()


def test_links_outside_the_root_keep_the_bytes_too(store: StoreBuilder, tmp_path: Path) -> None:
    link_copy(store.root / "docker", store.root / "copy")
    own = store.root / "copy/own"
    own.write_bytes(b"x" * 9000)
    (tmp_path / "outside").hardlink_to(own)
    (copy,) = census_of(store.root).copies
    assert copy.frees_bytes == freed_by_deleting(store.root, "copy") - own_blocks(tmp_path)


def own_blocks(directory: Path) -> int:
    """Return what ``du`` of the root no longer counts, although it is not freed."""
    return (directory / "outside").stat().st_blocks * 512


def test_the_report_of_the_disk_tells_what_a_copy_frees(store: StoreBuilder) -> None:
    link_copy(store.root / "docker", store.root / "docker.bak")
    (copy,) = census_of(store.root).copies
    document = json_of(store.root, "--disk")
    assert document["copies"] == [
        {
            "path": "docker.bak",
            "files": copy.files,
            "linked_bytes": copy.linked_bytes,
            "frees_bytes": copy.frees_bytes,
        }
    ]
    assert faults(document, {"$ref": "#/$defs/disk_report"}) == []
    page = run_command("report", "--disk", "--storage.root", store.root).output
    assert "docker.bak is a hard-linked copy of the store" in page


def test_many_copies_are_cut_to_the_largest(store: StoreBuilder) -> None:
    for number in range(12):
        link_copy(store.root / V2 / "blobs", store.root / f"copy{number}")
    link_copy(store.root / "docker", store.root / "whole")
    copies = census_of(store.root).copies
    assert len(copies) == 10
    assert copies[0].path == "whole"
    assert all(isinstance(each, LinkedCopy) for each in copies)


def test_stray_files_count_each_file_once_and_free_what_is_not_linked_elsewhere(
    store: StoreBuilder,
) -> None:
    link_copy(store.root / "docker", store.root / "docker.bak")
    store.stray("docker.bak/own", b"x" * 700)
    store.stray("docker.bak/shared", b"y" * 40)
    store.image("other", "1")
    for name in ("team/app", "other"):
        directory = store.root / V2 / "repositories" / name / "_foreign"
        directory.mkdir()
        # one file in two repositories, which are read by different threads
        (directory / "file").hardlink_to(store.root / "docker.bak/shared")
    strays = json_of(store.root)["strays"]
    names = [each for each in (store.root / "docker.bak").rglob("*") if each.is_file()]
    sizes = {each.stat().st_ino: each.stat().st_size for each in names}
    assert strays == {"files": len(names) + 2, "bytes": sum(sizes.values()), "frees_bytes": 740}
    page = run_command("report", "--storage.root", store.root).output
    assert "deleting them frees 740 B: see report --disk" in page
    assert scan_store(store.root).layout.strays.files == len(names) + 2


def paths_in(document: dict[str, Any]) -> list[str]:
    runs = (document["collector"] or {}).values()
    blocked = [each["path"] for run in runs for each in run["blockers"]]
    return [*(each["path"] for each in document["issues"]), *blocked]


@pytest.mark.parametrize("name", [*STORES, "copies"])
def test_paths_in_json_are_relative_to_the_version_directory(
    name: str, store: StoreBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = store.root
    if name == "copies":
        for target in ("docker.bak", "docker/old", "docker/registry/v1", f"{V2}/old"):
            link_copy(root / V2 / "repositories", root / target)
    else:
        root = tmp_path / "built"
        STORES[name](root)
    monkeypatch.chdir(root.parent)
    for given in (root, Path(root.name)):
        found = paths_in(json_of(given))
        assert all(not each.startswith("/") for each in found)
        # the parent is there even of a file whose absence is the issue
        assert all((root / V2 / each).parent.exists() for each in found)
        if name == "copies":
            assert found == [
                "../../../docker.bak/team/app",
                "../../old/team/app",
                "../v1/team/app",
                "old/team/app",
            ]
