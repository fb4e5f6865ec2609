"""The figures, compared with an independent calculation and checked for consistency."""

import json
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings

from demo.store import StoreBuilder, noise
from exporter.analysis.api_differences import count_tag_differences
from exporter.analysis.store_figures import analyse
from exporter.domain.model import ApiView, Repository, Tag
from exporter.domain.snapshot import BlobState, BlobTotal, StoreFigures
from exporter.store.filesystem.scanner import scan_store
from tests.random_stores import STEPS, Step, build, temporary_directory


class Oracle:
    """Simple reader of a consistent store: whole files, digests as text, plain sets."""

    def __init__(self, root: Path) -> None:
        version = root / "docker/registry/v2"
        self.sizes = {
            f"sha256:{path.parent.name}": path.stat().st_size
            for path in version.glob("blobs/sha256/*/*/data")
        }
        self._content = {
            digest: (version / f"blobs/sha256/{digest[7:9]}/{digest[7:]}/data").read_bytes()
            for digest in self.sizes
        }
        base = version / "repositories"
        self.names = sorted(str(path.parent.relative_to(base)) for path in base.rglob("_manifests"))
        self.revisions = {
            name: {
                f"sha256:{link.parent.name}"
                for link in base.glob(f"{name}/_manifests/revisions/sha256/*/link")
            }
            for name in self.names
        }
        self.tags = {
            name: {
                link.parents[1].name: link.read_text()
                for link in base.glob(f"{name}/_manifests/tags/*/current/link")
            }
            for name in self.names
        }

    def reach(self, digest: str) -> set[str]:
        """Return the digests that a manifest needs, including its own."""
        document = json.loads(self._content[digest])
        children = [entry["digest"] for entry in document.get("manifests", ())]
        parts = [entry["digest"] for entry in document.get("layers", ())]
        if "config" in document:
            parts.append(document["config"]["digest"])
        return {digest, *parts}.union(*(self.reach(child) for child in children))

    def reach_all(self, digests: set[str]) -> set[str]:
        return set().union(*(self.reach(digest) for digest in digests))

    def bytes(self, digests: set[str]) -> int:
        return sum(self.sizes[digest] for digest in digests)

    def owned(self, name: str) -> set[str]:
        return self.reach_all(self.revisions[name] | set(self.tags[name].values()))

    def states(self) -> dict[BlobState, BlobTotal]:
        tagged = set().union(*(self.reach_all(set(t.values())) for t in self.tags.values()))
        known = set().union(*(self.owned(name) for name in self.names))
        groups = {
            BlobState.TAGGED: tagged,
            BlobState.UNTAGGED: known - tagged,
            BlobState.UNREFERENCED: set(self.sizes) - known,
        }
        return {state: BlobTotal(len(each), self.bytes(each)) for state, each in groups.items()}


def measured(steps: list[Step]) -> Iterator[tuple[Oracle, StoreFigures]]:
    with temporary_directory() as directory:
        store = StoreBuilder(directory)
        store.image("seed", "1")
        build(store, steps)
        yield Oracle(store.root), analyse(scan_store(store.root))


@settings(max_examples=100)
@given(STEPS)
def test_figures_equal_an_independent_calculation(steps: list[Step]) -> None:
    for oracle, figures in measured(steps):
        assert figures.blobs == oracle.states()
        by_name = {each.name: each for each in figures.repositories}
        assert sorted(by_name) == oracle.names
        for name, each in by_name.items():
            others = set().union(*(oracle.owned(other) for other in oracle.names if other != name))
            tagged = oracle.reach_all(set(oracle.tags[name].values()))
            assert each.tags == len(oracle.tags[name])
            assert each.manifests == len(oracle.revisions[name])
            assert each.untagged_manifests == len(oracle.revisions[name] - tagged)
            assert each.referenced_bytes == oracle.bytes(oracle.owned(name))
            assert each.exclusive_bytes == oracle.bytes(oracle.owned(name) - others)
        targets = [target for tags in oracle.tags.values() for target in tags.values()]
        assert figures.logical_bytes == sum(oracle.bytes(oracle.reach(each)) for each in targets)


@settings(max_examples=50)
@given(STEPS)
def test_exclusive_shared_and_unreferenced_bytes_add_up_to_the_total(steps: list[Step]) -> None:
    for oracle, figures in measured(steps):
        parts = sum(each.exclusive_bytes for each in figures.repositories)
        parts += figures.shared_bytes + figures.blobs[BlobState.UNREFERENCED].bytes
        assert parts == figures.total_bytes == sum(oracle.sizes.values())


def test_repositories_are_sorted_largest_first(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    for name, size in (("small", 10), ("large", 30_000), ("middle", 20_000)):
        store.image(name, "1", [noise(name, size)])
    figures = analyse(scan_store(tmp_path))
    assert [each.name for each in figures.repositories] == ["large", "middle", "small"]


def test_the_last_push_is_the_time_of_the_newest_link(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    store.image("app", "1", at=1000.0)
    digest = store.image("app", "2", at=2000.0)
    assert analyse(scan_store(tmp_path)).repositories[0].last_push_at == 2000.0
    store.tag("app", "1", digest, at=3000.0)
    assert analyse(scan_store(tmp_path)).repositories[0].last_push_at == 3000.0


def test_a_repository_without_tags_and_manifests_has_no_last_push(tmp_path: Path) -> None:
    StoreBuilder(tmp_path).upload("app", b"x", started_at=1.0)
    (app,) = analyse(scan_store(tmp_path)).repositories
    assert (app.tags, app.manifests, app.last_push_at) == (0, 0, None)


def test_layers_missing_on_disk_count_zero_bytes(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path)
    foreign = {"digest": f"sha256:{'f' * 64}", "size": 10**9, "urls": ["https://example.com/f"]}
    store.image("app", "1", [foreign, b"real"])
    figures = analyse(scan_store(tmp_path))
    assert figures.total_bytes == figures.logical_bytes == figures.repositories[0].exclusive_bytes
    assert figures.blobs[BlobState.TAGGED].blobs == 3
    assert figures.complete


def test_disk_and_api_are_compared_tag_by_tag() -> None:
    tags = (Tag("1", None, None), Tag("2", None, None))
    disk = [Repository("both", tags), Repository("only-disk", tags), Repository("empty")]
    api = {"both": {"2", "3", "4"}, "only-api": {"1"}, "also-empty": set[str]()}
    view = ApiView({name: frozenset(each) for name, each in api.items()})
    assert count_tag_differences(disk, view) == 3 + 2 + 1
