"""The commands of the runbooks, read from the pages and run against a real registry."""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from demo.store import StoreBuilder
from tests.container_platform import ContainerPlatform, PlatformRegistry
from tests.exporter_process import collect
from tests.operator_host import OperatorHost
from tests.runbook_pages import DIRECTORY, FREEING_SPACE, blocks_of, commands_below
from tests.servers import (
    DOCKER_MANIFEST,
    PASSWORD,
    USERNAME,
    RegistryClient,
    digest_of,
    require,
)

OLD, LIVE = "captain/img-captain-old-shop", "captain/img-captain-shop"
PAGE = FREEING_SPACE.read_text()
(PREPARE,) = commands_below(PAGE, "Prepare")
FIRST, SECOND = "PLAN=$DIR/first", "PLAN=$DIR/second"
SETTINGS = "/etc/registry-storage-exporter"
CLOSE, OPEN = commands_below(PAGE, "Close the registry for other work")


@dataclass(frozen=True, slots=True)
class Host:
    """The host of an operator, with a real registry.

    Attributes:
        shell: runs commands.
        registry: the real registry.
        client: pushes to it.
        caprover: directory of CapRover's configuration, whose only app is ``shop``.

    """

    shell: OperatorHost
    registry: PlatformRegistry
    client: RegistryClient
    caprover: Path

    def blob_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.registry.root.rglob("blobs/**/data"))

    def reclaimable(self, mode: str = "default", dialect: str = "2") -> float:
        """Return the exporter's estimate of the bytes that a collector run would free."""
        page = collect(self.registry.root, "--registry.gc-dialect", dialect)
        estimate = page.value("docker_registry_gc_reclaimable_bytes", mode=mode)
        assert estimate is not None
        return estimate

    def head(self, path: str) -> int:
        """Return the status of a HEAD request to the registry."""
        answer = httpx.head(
            f"{self.registry.url}/v2/{path}",
            auth=(USERNAME, PASSWORD),
            headers={"Accept": DOCKER_MANIFEST},
            trust_env=False,
        )
        return answer.status_code

    def estimated_by_report(self, action: str) -> int:
        """Return the bytes that an action frees according to ``report``."""
        output = self.shell.type("registry-storage-exporter report --format json")
        (frees,) = [
            each["frees_bytes"]
            for each in json.loads(output)["actions"]
            if each["action"] == action
        ]
        assert isinstance(frees, int)
        return frees


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Yield a host with a registry as CapRover configures it: a login, and a descriptor cache."""
    monkeypatch.setenv("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory")
    caprover = tmp_path / "captain"
    registry = PlatformRegistry(caprover / "registry", users={USERNAME: PASSWORD})
    caprover.mkdir()
    settings = {"REGISTRY_EXPORTER_CAPROVER_CONFIG_DIR": str(caprover)}
    platform = ContainerPlatform(registry, tmp_path / "platform", settings=settings)
    shell = OperatorHost(tmp_path / "home", registry, platform)
    (settings_file,) = blocks_of(PAGE, "yaml")
    shell.write(f"{SETTINGS}/maintenance.yml", settings_file.content)
    shell.write(f"{SETTINGS}/registry-password", PASSWORD)
    client = RegistryClient(registry.url, USERNAME, PASSWORD)
    with platform.running(), client:
        yield Host(shell, registry, client, caprover)


def fill(host: Host) -> None:
    """Push images of a current app and of a deleted one, one of them for two platforms."""
    source = random.Random(7)  # noqa: S311 - not a secret
    base = source.randbytes(30_000)
    for tag in ("1", "2", "3"):
        host.client.push_image(LIVE, tag, [base, source.randbytes(10_000)])
    old = host.client.push_image(OLD, "1", [base, source.randbytes(20_000)])
    platforms = [host.client.push_image(OLD, None, [source.randbytes(9_000)]) for _ in range(2)]
    host.client.push_index(OLD, "2", platforms)
    kept = [host.client.push_image("tools/backup", None, [source.randbytes(5_000)])]
    host.client.push_index("tools/backup", "2.0", kept)
    host.client.push_blob(OLD, source.randbytes(4_000))
    assert host.head(f"{OLD}/manifests/{old}") == 200
    image = f"registry.root.example.com:996/{LIVE}:3"
    versions = [{"version": 3, "deployedImageName": image}]
    config = {
        "appDefinitions": {"shop": {"deployedVersion": 3, "versions": versions}},
        "dockerRegistries": [
            {"registryDomain": "registry.root.example.com:996", "registryType": "LOCAL_REG"}
        ],
    }
    (host.caprover / "config-captain.json").write_text(json.dumps(config))


def unique_layer(host: Host, repository: str, tag: str) -> str:
    """Return the digest of a layer that only this image has."""
    manifest = json.loads(host.client.manifest(repository, tag)[0])
    digest: str = manifest["layers"][-1]["digest"]
    return digest


def test_the_safe_order_frees_the_estimated_bytes_and_loses_nothing_else(host: Host) -> None:
    fill(host)
    layer = unique_layer(host, OLD, "1")
    kept = {tag: host.client.manifest(LIVE, tag) for tag in ("1", "2", "3")}
    (see,) = commands_below(PAGE, "1. See what can go")
    assert f"orphaned {OLD}" in host.shell.type(see)
    estimate = host.estimated_by_report(f"orphaned {OLD}")
    estimate += host.estimated_by_report("garbage-collect")
    before = host.blob_bytes()

    plan, try_out, carry_out, take_back = commands_below(PAGE, "2. Delete the manifests")
    old = {tag: host.client.manifest(OLD, tag) for tag in ("1", "2")}
    would = host.shell.type(PREPARE, FIRST, plan, try_out)
    assert "would delete 4 manifests with 2 tags in 1 repository" in would
    assert host.client.tags(OLD) == ["1", "2"]
    assert "\ndeleted 4 manifests with 2 tags" in host.shell.type(PREPARE, FIRST, carry_out)
    assert host.client.tags(OLD) == []
    host.shell.type(PREPARE, FIRST, take_back, 'grep -q old-shop "$DIR/state/restored.jsonl"')
    assert {tag: host.client.manifest(OLD, tag) for tag in old} == old
    (host.caprover / "config-captain.json").touch()  # which is newer than the tags then
    assert "\ndeleted 4 manifests" in host.shell.type(PREPARE, SECOND, plan, carry_out)
    assert host.blob_bytes() == before

    assert host.head(f"{OLD}/blobs/{layer}") == 200  # now in the registry's memory
    look, run = commands_below(PAGE, "3. Collect")
    assert f"free {estimate} of {before} bytes" in host.shell.type(look)
    assert host.blob_bytes() == before
    assert f"freed: {estimate} bytes" in host.shell.type(run)
    assert before - host.blob_bytes() == estimate > 0
    assert host.head(f"{OLD}/blobs/{layer}") == 404
    host.client.push_image(LIVE, "4", [b"new"])
    (check,) = commands_below(PAGE, "Check that it helped")
    checked = host.shell.type(check)
    assert "tags cannot be pulled whole" not in checked
    assert host.reclaimable() == 0
    assert {tag: host.client.manifest(LIVE, tag) for tag in kept} == kept


def test_the_page_names_other_plans_that_work(host: Host) -> None:
    fill(host)
    plan = commands_below(PAGE, "2. Delete the manifests")[0]
    (usual,) = re.findall(r"\| in place of `(.+?)` \|", PAGE)
    others = re.findall(r"^\| `(--.+?)` \|", PAGE, re.MULTILINE)
    assert len(others) == 4
    assert usual in plan
    for number, other in enumerate(others):
        host.shell.type(PREPARE, f"PLAN=$DIR/{number}", plan.replace(usual, other))
        assert host.shell.read(f"maintenance/{number}").startswith("# Manifests to delete")


def test_the_registry_is_closed_and_opened_for_other_work(host: Host) -> None:
    fill(host)
    host.shell.type(CLOSE)
    with pytest.raises(RuntimeError, match="answered 405"):
        host.client.push_image(LIVE, "4", [b"new"])
    assert host.client.tags(LIVE) == ["1", "2", "3"]
    host.shell.type(OPEN)
    host.client.push_image(LIVE, "4", [b"new"])


def test_on_a_full_disk_the_collector_runs_while_the_registry_is_open(host: Host) -> None:
    fill(host)
    layer = unique_layer(host, OLD, "1")
    host.client.delete_manifest(OLD, digest_of(host.client.manifest(OLD, "1")[0]))
    assert host.head(f"{OLD}/blobs/{layer}") == 200
    before, estimate = host.blob_bytes(), host.reclaimable()
    (collect_and_restart,) = commands_below(PAGE, "When the disk is full")
    host.shell.type(collect_and_restart)
    assert before - host.blob_bytes() == estimate > 20_000
    assert host.head(f"{OLD}/blobs/{layer}") == 404


def copy(source: str, target: str) -> subprocess.CompletedProcess[str]:
    """Copy an image as Docker pushes and pulls: without the blobs that the target has."""
    account = f"{USERNAME}:{PASSWORD}"
    arguments = ["--src-tls-verify=false", "--dest-tls-verify=false", source, target]
    side = "--src-creds" if source.startswith("docker") else "--dest-creds"
    return subprocess.run(
        [require("skopeo"), "copy", "-q", side, account, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_restart_the_next_push_of_a_deleted_image_is_lost(
    host: Host, tmp_path: Path
) -> None:
    image = f"docker://{host.registry.url.removeprefix('http://')}/app:1"
    directory = f"dir:{tmp_path / 'image'}"
    digest = host.client.push_image("app", "1", [b"layer" * 500])
    assert copy(image, directory).returncode == 0
    host.client.delete_manifest("app", digest)
    host.registry.garbage_collect()
    assert copy(directory, image).returncode == 0
    assert "manifest unknown" in copy(image, f"dir:{tmp_path / 'pulled'}").stderr
    host.registry.restart()
    assert copy(directory, image).returncode == 0
    assert copy(image, f"dir:{tmp_path / 'pulled'}").returncode == 0


def test_the_wrong_read_only_variable_prevents_the_registry_from_starting(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")
    (documented,) = [line for line in PAGE.splitlines() if "`panic: " in line]
    with pytest.raises(RuntimeError, match="ended by itself") as ended:
        host.registry.restart()
    assert documented.split("`")[1] in str(ended.value)


def test_uploads_without_a_write_for_8_days_are_removed(host: Host) -> None:
    page = (DIRECTORY / "DockerRegistryUploadsAbandoned.md").read_text()
    fill(host)
    host.client.start_upload(LIVE, b"just begun")
    store = StoreBuilder(host.registry.root)
    old = 1_600_000_000.0
    store.upload(LIVE, b"abandoned", old, at=old)
    store.upload("tools/backup", b"never purged", None, at=old)
    before = {each for each in host.registry.root.rglob("_uploads/*") if each.is_dir()}
    listing, remove = commands_below(page, "Remove what the registry never will")
    host.shell.type(listing)
    assert len(host.shell.read("UPLOADS").splitlines()) == 2
    host.shell.type(remove)
    left = [each for each in host.registry.root.rglob("_uploads/*") if each.is_dir()]
    assert len(before) == 3
    assert [(each / "data").read_bytes() for each in left] == [b"just begun"]


def test_the_collector_of_version_3_removes_untagged_images_and_breaks_no_tag(host: Host) -> None:
    page = (DIRECTORY / "DockerRegistryReclaimableHigh.md").read_text()
    plan, configure, look = commands_below(page, "It would break tags")
    fill(host)
    host.client.push_image(LIVE, "3", [b"x" * 7_000])  # untags the image before
    assert "DO NOT RUN" in host.shell.type("registry-storage-exporter report")
    plan = plan.replace("--older-than 7d ", "")
    assert f"\n{LIVE}@" in host.shell.type(PREPARE, plan, 'cat "$PLAN"')
    report = host.shell.type(configure)
    assert "garbage-collect --delete-untagged" in report
    assert "DO NOT RUN" not in report
    before, estimate = host.blob_bytes(), host.reclaimable("delete_untagged", dialect="3")
    host.shell.type(look)
    assert host.blob_bytes() == before
    host.shell.type(look.replace("--dry-run ", ""))
    assert before - host.blob_bytes() == estimate > host.reclaimable()
    checked = host.shell.type("registry-storage-exporter report")
    assert "tags cannot be pulled whole" not in checked
