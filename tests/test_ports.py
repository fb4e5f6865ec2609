"""The ports suffice: a store and a platform in memory produce all figures and pages."""

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.commands.one_scan import scan_once
from exporter.commands.report.run import ReportRequest, ReportSource, report
from exporter.domain.census import Census
from exporter.domain.digests import BlobNumber, Digest, DigestTable, format_digest, parse_digest
from exporter.domain.images import AppImages, ImageName
from exporter.domain.model import FilesystemUsage, Inventory, Manifest, Repository, Revision, Tag
from exporter.domain.snapshot import BlobState, GcMode, PlatformStatus, Snapshot
from exporter.domain.uses import OwnershipRules, Use
from exporter.metrics.catalogue import CATALOGUE
from exporter.metrics.collector import SubjectCollector
from exporter.metrics.metric import Subject
from exporter.platforms.port import OperatorCommands, Platform
from exporter.store.port import (
    Blobs,
    CensusControl,
    Follower,
    Kept,
    KeptCodec,
    Leftover,
    Looker,
    ScanControl,
    Store,
    TagLinks,
)
from exporter.views.action import CommandLines


@dataclass
class MemoryStore:
    """A store in memory with a fixed inventory and fixed blobs."""

    inventory: Inventory
    contents: dict[Digest, bytes]
    location: str = "memory:registry"
    identity: str = "memory:registry"

    def scan(self, _control: ScanControl) -> Inventory:
        return self.inventory

    def follow(self, _codec: KeptCodec[Kept]) -> Follower[Kept]:
        raise NotImplementedError

    def census(self, _control: CensusControl) -> Census | None:
        return None

    def capacity(self) -> FilesystemUsage | None:
        return None

    @contextmanager
    def open_blobs(self) -> Iterator[Blobs]:
        yield self

    @contextmanager
    def open(self, digest: Digest) -> Iterator["MemoryStream"]:
        yield MemoryStream(self.contents[digest])

    def is_layer_of(self, _repository: str, _digest: Digest) -> bool:
        return False

    def leftovers(self, *_: object) -> Iterator[Leftover]:
        yield from ()

    @contextmanager
    def open_looker(self) -> Iterator[Looker]:
        yield self

    def tags(self, repository: str) -> TagLinks:
        digests = self.inventory.digests
        return {
            tag.name: (None if tag.target is None else digests[tag.target], tag.updated_at)
            for each in self.inventory.repositories
            if each.name == repository
            for tag in each.tags
        }

    def created(self) -> AbstractSet[str]:
        return frozenset()

    def linked_at(self, repository: str, digest: Digest) -> float | None:
        held = (each for each in self.inventory.repositories if each.name == repository)
        revisions = (each for repository in held for each in repository.revisions)
        times = {self.inventory.digests[each.manifest]: each.linked_at for each in revisions}
        return times.get(digest)

    def was_pushed(self, _repository: str, _digest: Digest) -> bool:
        return False

    def holds(self, _path: Path) -> bool:
        return False

    def shares_filesystem(self, _path: Path) -> bool:
        return False

    def excess_rights(self) -> Sequence[str]:
        return ()


class MemoryStream(io.BytesIO):
    """An open blob."""

    @property
    def size(self) -> int:
        return len(self.getvalue())


@dataclass
class MemoryPlatform:
    """A platform that knows which images run, and nothing about rollbacks."""

    images: AppImages
    ownership = OwnershipRules(
        "Harbourmaster",
        lambda name: name.partition("/")[2] or None,
        frozenset({Use.RUNNING, Use.UNMANAGED, Use.SUPERSEDED, Use.ORPHANED}),
    )
    commands = OperatorCommands("registry-0", "restart registry-0")

    def read(self) -> PlatformStatus:
        return PlatformStatus(self.ownership.platform, self.images, read_at=100.0)


CONTENTS = {
    "1": b'{"config": {"digest": "sha256:' + b"c" * 64 + b'"}}',
    "2": b'{"manifests": [{"platform": {"os": "linux", "architecture": "arm64"}}]}',
    "c": b'{"os": "linux", "architecture": "amd64"}',
}


def digest(letter: str) -> Digest:
    found = parse_digest(f"sha256:{letter * 64}")
    assert found is not None
    return found


def memory_store() -> MemoryStore:
    """Return a store of two apps that share a layer, a replaced tag, and a garbage blob."""
    table = DigestTable(map(digest, "12acd"))
    first, second, layer, config, _garbage = range(5)

    def repository(name: str, *manifests: BlobNumber) -> Repository:
        tags = tuple(Tag(f"v{number}", number, 50.0) for number in manifests)
        return Repository(name, tags, tuple(Revision(number, 50.0) for number in manifests))

    inventory = Inventory(
        digests=table,
        sizes=array("q", [100, 200, 5000, 300, 70]),
        manifests={first: Manifest(blobs=(config, layer)), second: Manifest(blobs=(layer,))},
        repositories=(repository("apps/blog", first, second), repository("apps/gone", second)),
        all_measured=True,
    )
    return MemoryStore(inventory, {digest(each): text for each, text in CONTENTS.items()})


def scanned() -> tuple[Store, Platform, AnalysisOptions, Snapshot]:
    image = ImageName("apps/blog", "v1", None, is_local=True)
    images = AppImages(frozenset({"blog"}), frozenset({image}), frozenset())
    store, platform = memory_store(), MemoryPlatform(images)
    options = AnalysisOptions(ownership=platform.ownership, keep_last=(1,))
    return store, platform, options, scan_once(store, platform, Analyst(options))


def test_a_snapshot_and_its_metrics_need_no_filesystem_and_no_caprover() -> None:
    _, _, _, snapshot = scanned()
    assert snapshot.store is not None
    assert snapshot.store.figures.blobs[BlobState.UNREFERENCED].bytes == 70
    assert snapshot.store.figures.collector is not None
    assert snapshot.store.figures.collector[GcMode.DEFAULT].frees.bytes == 70
    registry = CollectorRegistry()
    registry.register(SubjectCollector(CATALOGUE, Subject(snapshot)))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"docker_registry_{name}", labels)

    assert value("blob_bytes", state="tagged") == 5600
    assert value("shared_blob_bytes") == 5200
    assert value("repository_exclusive_bytes", repository="apps/blog") == 400
    assert value("use_tags", use="running") == 1
    assert value("use_tags", use="superseded") == 1
    assert value("repository_orphaned", repository="apps/gone") == 1
    assert value("use_tags", use="rollback") is None  # this platform does not know
    assert value("filesystem_size_bytes") is None
    assert value("caprover_up") is None


def test_the_report_shows_commands_and_owners_of_another_platform() -> None:
    store, platform, options, snapshot = scanned()
    commands = CommandLines("exporter plan", platform.commands)
    source = ReportSource(store, snapshot, options, commands, None, now=100.0)
    output = io.StringIO()
    report(source, ReportRequest(format="json"), output)
    page = json.loads(output.getvalue())
    assert page["root"] == "memory:registry"
    owners = {each["name"]: each["owner"] for each in page["repositories"]}
    assert owners == {"apps/blog": "blog", "apps/gone": "gone"}
    collection = page["actions"][0]
    assert collection["commands"] == [
        "docker exec registry-0 registry garbage-collect /etc/docker/registry/config.yml",
        "restart registry-0",
    ]
    assert "CapRover" not in output.getvalue()
    table = io.StringIO()
    report(source, ReportRequest(), table)
    assert "only the configured Harbourmaster was checked" in table.getvalue()


def test_tags_of_a_repository_show_platforms_read_through_the_port() -> None:
    store, platform, options, snapshot = scanned()
    source = ReportSource(store, snapshot, options, CommandLines("x", platform.commands), None, 1.0)
    output = io.StringIO()
    report(source, ReportRequest(format="json", repository="apps/blog"), output)
    tags = {each["tag"]: each for each in json.loads(output.getvalue())["tags"]}
    assert tags["v0"]["digest"] == format_digest(digest("1"))
    assert tags["v0"]["platforms"] == ["linux/amd64"]
    assert tags["v1"]["platforms"] == ["linux/arm64"]
