"""The simulated garbage collector against the real ones, blob for blob."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder, noise
from exporter.analysis.collector_simulation import mark
from exporter.analysis.reachability import reaches_of
from exporter.analysis.store_figures import analyse
from exporter.domain.digests import format_digest
from exporter.domain.model import Inventory
from exporter.domain.snapshot import BlobTotal, CollectorRun, Dialect, GcMode
from exporter.store.filesystem.scanner import scan_store
from tests.exporter_process import collect
from tests.random_stores import (
    REPOSITORIES,
    STEPS_WITH_BROKEN_LAYER_LINKS,
    STEPS_WITH_LOSSES,
    Step,
    build,
    temporary_directory,
)
from tests.servers import (
    DockerRegistry,
    GarbageCollector,
    RegistryClient,
    require,
    require_registry,
)
from tests.small_stores import STORES, two_platforms

DIFFERENT: Mapping[str, tuple[Dialect, ...]] = {
    # read as a link, or as a blob, at any depth
    "link below a revision": (2, 3),
    "data below a blob": (2, 3),
    # these versions abort here, and there is nothing to free anyway
    "no blobs directory": (2, 3),
    # of these links no scan reads what they hold: their size is right, or no tag needs them
    "layer link: upper case": (3,),
    "layer link: zeros": (3,),
    **{
        f"untagged image's layer link: {content}": (3,)
        for content in (
            "empty",
            "garbage",
            "unsupported algorithm",
            "newline",
            "upper case",
            "zeros",
        )
    },
    "empty link to a layer that nothing needs": (3,),
}
"""Stores for which the simulation differs from these versions of the collector."""

dialects = pytest.mark.parametrize("dialect", [2, 3], ids="version {}".format)
modes = pytest.mark.parametrize("mode", GcMode)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Blobs that a run frees: their digests (None if it aborts), number and bytes."""

    digests: frozenset[str] | None
    total: BlobTotal


def collector_of(dialect: Dialect) -> GarbageCollector:
    return GarbageCollector(require_registry(dialect))


def sizes_on_disk(root: Path) -> dict[str, int]:
    return {
        f"{path.parts[-4]}:{path.parent.name}": path.stat().st_size
        for path in StoreBuilder(root).version_path.glob("blobs/**/data")
    }


def simulated_runs(inventory: Inventory, dialect: Dialect) -> Mapping[GcMode, CollectorRun]:
    runs = analyse(inventory, dialect).collector
    assert runs is not None
    return runs


def simulated(root: Path, dialect: Dialect) -> dict[GcMode, Outcome]:
    """Return what the exporter expects the collector to do."""
    inventory = scan_store(root)
    outcomes = {}
    for mode, run in simulated_runs(inventory, dialect).items():
        marks = mark(inventory, reaches_of(inventory), dialect, mode)
        assert bool(marks.blockers) == bool(run.blockers)
        freed = {
            format_digest(digest)
            for number, digest in enumerate(inventory.digests)
            if inventory.sizes[number] >= 0 and number not in marks.blobs
        }
        outcomes[mode] = Outcome(None if run.blockers else frozenset(freed), run.frees)
    return outcomes


def actual(root: Path, collector: GarbageCollector) -> dict[GcMode, Outcome]:
    """Return what a dry run of the collector frees."""
    sizes = sizes_on_disk(root)
    outcomes = {}
    for mode in GcMode:
        freed = collector.run(root, delete_untagged=mode is GcMode.DELETE_UNTAGGED)
        total = BlobTotal(len(freed or ()), sum(sizes[digest] for digest in freed or ()))
        outcomes[mode] = Outcome(freed, total)
    return outcomes


@contextmanager
def random_store(steps: list[Step]) -> Iterator[StoreBuilder]:
    """Yield a random store in which every repository has a tag, or the collector would abort."""
    with temporary_directory() as directory:
        store = StoreBuilder(directory)
        for name in REPOSITORIES:
            store.image(name, "seed")
        build(store, steps)
        yield store


# What a run frees


@dialects
@pytest.mark.parametrize("name", STORES)
def test_a_run_frees_or_aborts_exactly_as_simulated(
    tmp_path: Path, name: str, dialect: Dialect, request: pytest.FixtureRequest
) -> None:
    collector = collector_of(dialect)
    if name in DIFFERENT:
        request.applymarker(pytest.mark.xfail(dialect in DIFFERENT[name], reason="known"))
    STORES[name](StoreBuilder(tmp_path))
    assert simulated(tmp_path, dialect) == actual(tmp_path, collector)


@dialects
def test_a_run_on_a_random_store_frees_exactly_what_is_simulated(dialect: Dialect) -> None:
    collector = collector_of(dialect)

    @settings(max_examples=200)
    @given(STEPS_WITH_LOSSES)
    def holds(steps: list[Step]) -> None:
        with random_store(steps) as store:
            assert simulated(store.root, dialect) == actual(store.root, collector)

    holds()


def needed_parts(store: StoreBuilder, digest: str) -> Iterator[str]:
    """Yield the layers and configurations that a manifest leads to."""
    try:
        content = json.loads(store.blob_path(digest).read_bytes())
    except OSError:
        return
    yield from [part["digest"] for part in content.get("layers", ())]
    yield from [content["config"]["digest"]] if "config" in content else []
    for child in content.get("manifests", ()):
        yield from needed_parts(store, child["digest"])


def repair_links_that_no_tag_needs(store: StoreBuilder) -> None:
    for name in REPOSITORIES:
        tags = (store.repository_path(name) / "_manifests/tags").glob("*/current/link")
        needed = {part for tag in tags for part in needed_parts(store, tag.read_text())}
        for link in (store.repository_path(name) / "_layers").glob("*/*/link"):
            digest = ":".join(link.parts[-3:-1])
            if digest not in needed:
                link.write_text(digest)


@dialects
def test_a_run_aborts_on_damaged_layer_links_that_tags_need_exactly_as_simulated(
    dialect: Dialect,
) -> None:
    collector = collector_of(dialect)

    @settings(max_examples=100)
    @given(STEPS_WITH_BROKEN_LAYER_LINKS)
    def holds(steps: list[Step]) -> None:
        with random_store(steps) as store:
            repair_links_that_no_tag_needs(store)
            assert simulated(store.root, dialect) == actual(store.root, collector)

    holds()


@dialects
@modes
def test_blobs_shrink_by_the_simulated_amount_and_no_garbage_is_left(
    tmp_path: Path, mode: GcMode, dialect: Dialect
) -> None:
    collector = collector_of(dialect)
    fill(StoreBuilder(tmp_path))
    run = simulated_runs(scan_store(tmp_path), dialect)[mode]
    before = sizes_on_disk(tmp_path)
    collector.run(tmp_path, dry_run=False, delete_untagged=mode is GcMode.DELETE_UNTAGGED)
    after = sizes_on_disk(tmp_path)
    assert run.frees.blobs == len(before) - len(after) > 0
    assert run.frees.bytes == sum(before.values()) - sum(after.values())
    again = simulated_runs(scan_store(tmp_path), dialect)[GcMode.DEFAULT]
    assert again == CollectorRun(BlobTotal(), (), ())


def fill(store: StoreBuilder) -> None:
    """Push what a store in daily use holds: old builds, indexes, deleted tags, garbage."""
    for build_number in range(3):
        store.image("shop/web", "latest", [b"base", noise(f"build {build_number}", 2_000)])
    two_platforms(store, "tools")
    inner, _, _ = two_platforms(store, "tools/nested", None)
    store.index("tools/nested", "1.0", [inner])
    store.image("mirror", "1.0", [b"base"], media="oci")
    store.delete_revision("mirror", store.image("mirror", "old"))
    store.unlinked_blob(noise("garbage", 5_000))


# What it breaks


def can_pull(registry: DockerRegistry, image: str, to: Path) -> bool:
    """Return whether skopeo can copy an image with all its platforms."""
    source = f"docker://{registry.url.removeprefix('http://')}/{image}"
    command = [require("skopeo"), "copy", "--all", "--src-tls-verify=false", source, f"dir:{to}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def served_index(root: Path, dialect: Dialect) -> DockerRegistry:
    """Run a registry and push an index of two images to it as ``app:1.0``."""
    registry = DockerRegistry(root, program=require_registry(dialect))
    with registry, RegistryClient(registry.url) as client:
        images = [client.push_image("app", None, [noise(name, 1_000)]) for name in ("x", "y")]
        client.push_index("app", "1.0", images)
    return registry


@dialects
def test_only_version_2_breaks_the_tag_of_an_index_when_it_deletes_untagged_manifests(
    tmp_path: Path, dialect: Dialect
) -> None:
    registry = served_index(tmp_path / "registry", dialect)
    version = ("--registry.gc-dialect", str(dialect))
    before = collect(registry.root, *version)
    with registry:
        assert can_pull(registry, "app:1.0", tmp_path / "before")
    collector_of(dialect).run(registry.root, dry_run=False, delete_untagged=True)
    after = collect(registry.root, *version)
    breaks = dialect == 2
    with registry:
        assert can_pull(registry, "app:1.0", tmp_path / "after") is not breaks
    modes = {GcMode.DEFAULT: 0.0, GcMode.DELETE_UNTAGGED: float(breaks)}
    assert before.by("mode", "docker_registry_gc_endangered_tags") == modes
    assert before.value("docker_registry_broken_tags") == 0
    assert after.by("mode", "docker_registry_gc_endangered_tags") == dict.fromkeys(GcMode, 0.0)
    assert after.value("docker_registry_broken_tags") == breaks


class Shelf:
    """An independent check of which tags can be pulled: it reads every link and manifest."""

    def __init__(self, root: Path) -> None:
        self._store = StoreBuilder(root)

    def pullable(self) -> set[str]:
        base = self._store.version_path / "repositories"
        links = base.rglob("_manifests/tags/*/current/link")
        tags = {(str(link.relative_to(base).parents[4]), link.parents[1].name): link.read_text()
                for link in links}  # fmt: skip
        return {f"{name}:{tag}" for (name, tag), to in tags.items() if self._is_whole(name, to)}

    def images(self) -> dict[str, set[str]]:
        """Return by tag the images that it leads to and that can be pulled whole."""
        base = self._store.version_path / "repositories"
        found = {}
        for link in base.rglob("_manifests/tags/*/current/link"):
            name = str(link.relative_to(base).parents[4])
            found[f"{name}:{link.parents[1].name}"] = set(self._images(name, link.read_text()))
        return found

    def _images(self, repository: str, digest: str) -> Iterator[str]:
        try:
            if self._store.revision_link(repository, digest).read_text() != digest:
                return
            content = json.loads(self._store.blob_path(digest).read_bytes())
        except (OSError, ValueError):
            return
        children = [child["digest"] for child in content.get("manifests", ())]
        for child in children:
            yield from self._images(repository, child)
        if not children and self._is_whole(repository, digest):
            yield digest

    def _is_whole(self, repository: str, digest: str) -> bool:
        try:
            if self._store.revision_link(repository, digest).read_text() != digest:
                return False
            content = json.loads(self._store.blob_path(digest).read_bytes())
        except (OSError, ValueError):
            return False
        parts = [*content.get("layers", ()), *filter(None, [content.get("config")])]
        return all(self._is_served(repository, part["digest"]) for part in parts) and all(
            self._is_whole(repository, child["digest"]) for child in content.get("manifests", ())
        )

    def _is_served(self, repository: str, digest: str) -> bool:
        link = self._store.layer_link(repository, digest)
        is_linked = link.exists() and link.read_text() == digest
        return is_linked and self._store.blob_path(digest).exists()


@modes
def test_endangered_tags_are_those_that_only_a_run_breaks(mode: GcMode) -> None:
    collector = collector_of(2)

    @settings(max_examples=100)
    @given(STEPS_WITH_LOSSES)
    def holds(steps: list[Step]) -> None:
        with random_store(steps) as store:
            run = simulated_runs(scan_store(store.root), 2)[mode]
            before, images = Shelf(store.root).pullable(), Shelf(store.root).images()
            collector.run(store.root, dry_run=False, delete_untagged=mode is GcMode.DELETE_UNTAGGED)
            left = Shelf(store.root).images()
            lost = before - Shelf(store.root).pullable()
            lost |= {tag for tag in images if not images[tag] <= left[tag]}
            assert sorted(map(str, run.endangered)) == sorted(lost)
            assert not (run.blockers and lost)

    holds()


@given(st.one_of(STEPS_WITH_LOSSES, STEPS_WITH_BROKEN_LAYER_LINKS))
def test_broken_tags_are_those_that_cannot_be_pulled(steps: list[Step]) -> None:
    with random_store(steps) as store:
        inventory = scan_store(store.root)
        integrity = analyse(inventory).integrity
        assert integrity is not None
        broken = {f"{tag.repository}:{tag.tag}" for tag in integrity.broken_tags}
        partial = {f"{tag.repository}:{tag.tag}" for tag in integrity.partial_tags}
        tags = {f"{each.name}:{tag.name}" for each in inventory.repositories for tag in each.tags}
        faulty = tags - Shelf(store.root).pullable()
        images = Shelf(store.root).images()
        assert partial == {tag for tag in faulty if images.get(tag)}
        assert broken == faulty - partial
