"""The image layouts of a backup, from a real registry's store: skopeo reads them."""

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.store import StoreBuilder
from exporter.backup.reader import BackupReader
from tests.exporter_process import REPOSITORY
from tests.in_process import run_command
from tests.runbook_pages import blocks_of
from tests.servers import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    descriptor,
    digest_of,
    encode,
    image_config,
    image_manifest,
    require,
    require_registry,
)

LAYERS = [b"a layer", b"another layer"]
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
ARTIFACT_CONFIG = b"{}"


@pytest.fixture(params=[2, 3])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DockerRegistry]:
    program = require_registry(request.param)
    with DockerRegistry(tmp_path / "registry", program=program) as server:
        yield server


@pytest.fixture
def registry_client(registry: DockerRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(registry.url) as client:
        yield client


@pytest.fixture
def pushed(
    registry: DockerRegistry, registry_client: RegistryClient
) -> dict[str, tuple[bytes, str]]:
    """Push a manifest of each kind to ``team/app``; return content and media type by digest."""
    client, name = registry_client, "team/app"
    docker = client.push_image(name, "docker", LAYERS)
    oci = client.push_image(name, "oci", LAYERS, oci=True)
    arm = client.push_image(name, None, [b"for arm"], oci=True)
    index = client.push_index(name, "index", [oci, arm], oci=True)
    docker_list = client.push_index(name, "list", [docker, docker])
    nested = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    nested["manifests"] = [descriptor(client.manifest(name, index)[0], OCI_INDEX)]
    top = client.push_manifest(name, "nested", nested, OCI_INDEX)
    client.push_blob(name, ARTIFACT_CONFIG)
    artifact = image_manifest(LAYERS[:1], ARTIFACT_CONFIG, oci=True)
    artifact["subject"] = descriptor(client.manifest(name, oci)[0], OCI_MANIFEST)
    attached = client.push_manifest(name, digest_of(encode(artifact)), artifact, OCI_MANIFEST)
    bare = image_manifest(LAYERS, oci=True)
    del bare["mediaType"]
    plain = client.push_manifest(name, "bare", bare, OCI_MANIFEST)
    found = {
        each: client.manifest(name, each)
        for each in (docker, oci, arm, index, docker_list, top, attached, plain)
    }
    store = StoreBuilder(registry.root)
    signed = encode(
        {
            "schemaVersion": 1,
            "name": name,
            "tag": "schema1",
            "fsLayers": [{"blobSum": digest_of(LAYERS[0])}],
            "history": [{"v1Compatibility": "{}"}],
            "signatures": [{"protected": "e30", "signature": "e30"}],
        }
    )
    found[store.manifest(name, signed, "schema1")] = signed, SCHEMA_1
    client.push_image("other", "1", LAYERS)
    return found


def test_a_manifest_of_each_kind_comes_back_with_its_media_type(
    registry: DockerRegistry, pushed: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    place = back_up(registry, tmp_path)
    backup = BackupReader(place)
    entries = {each.digest: each for each in backup.entries("team/app")}
    assert set(entries) == set(pushed)
    for digest, (content, media_type) in pushed.items():
        assert backup.content(digest) == content
        assert entries[digest].media_type == media_type
        assert entries[digest].size == len(content)
    assert run_command("verify", "--backup", place).exit_code == 0


def test_skopeo_reads_the_layouts(
    registry: DockerRegistry, pushed: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    layout = back_up(registry, tmp_path) / "team/app/_layout"
    for tag in ("oci", "index", "nested", "bare"):
        content = skopeo("inspect", "--raw", f"oci:{layout}:{tag}")
        assert content == pushed[digest_of(content)][0]
    for tag in ("oci", "bare"):
        copy = tmp_path / tag
        skopeo("copy", "--preserve-digests", f"oci:{layout}:{tag}", f"dir:{copy}")
        assert digest_of((copy / "manifest.json").read_bytes()) in pushed
        config = json.loads((copy / "manifest.json").read_bytes())["config"]["digest"]
        assert digest_of((copy / config.removeprefix("sha256:")).read_bytes()) == digest_of(
            image_config(LAYERS)
        )
    skopeo("copy", "--all", f"oci:{layout}:index", f"dir:{tmp_path}/index")


@pytest.mark.parametrize("tag", ["docker", "list"])
def test_every_skopeo_reads_a_layout_that_holds_one_docker_image(
    tag: str, registry: DockerRegistry, pushed: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    """Run the commands of the page about backups, to push an image to another repository."""
    place, page = back_up(registry, tmp_path), (REPOSITORY / "docs/backup.md").read_text()
    (block,) = (each.content for each in blocks_of(page, "sh") if "mkdir one" in each.content)
    commands = block.replace("/mnt/backup/registry", str(place)).replace('"1.0"', f'"{tag}"')
    target = registry.url.replace("http", "docker", 1)
    commands = commands.replace("docker://registry.example.com/team/app:1.0", f"{target}/copy:1")
    commands = commands.replace("skopeo copy", "skopeo copy --dest-tls-verify=false")
    require("jq")
    script = ["bash", "-eu", "-c", commands]
    done = subprocess.run(script, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with RegistryClient(registry.url) as client:
        content, media_type = client.manifest("copy", "1")
    assert pushed[digest_of(content)] == (content, media_type)


def test_a_layout_has_an_entry_for_each_tag_and_for_each_manifest_without_one(
    registry: DockerRegistry, pushed: dict[str, tuple[bytes, str]], tmp_path: Path
) -> None:
    layout = back_up(registry, tmp_path) / "team/app/_layout"
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    tags = [
        each["annotations"].get("org.opencontainers.image.ref.name") for each in index["manifests"]
    ]
    assert tags == ["bare", "docker", "index", "list", "nested", "oci", "schema1", None, None]
    docker = index["manifests"][1]
    assert docker["mediaType"] == DOCKER_MANIFEST
    assert docker["digest"] in pushed
    assert set(docker["annotations"]) == {
        "org.opencontainers.image.ref.name",
        "io.github.registry-storage-exporter.blobs",
        "io.github.registry-storage-exporter.pushed-at",
        "io.github.registry-storage-exporter.tagged-at",
    }


def test_pushes_meanwhile_do_no_harm(registry: DockerRegistry, tmp_path: Path) -> None:
    with RegistryClient(registry.url) as client:
        client.push_image("team/app", "first", LAYERS)
    ended = threading.Event()

    def push() -> None:
        with RegistryClient(registry.url) as client:
            number = 0
            while not ended.is_set():
                client.push_image("team/app", "latest", [b"%d" % number, b"base"])
                client.push_image(f"team/app{number % 5}", f"{number}", [b"other %d" % number])
                number += 1

    thread = threading.Thread(target=push)
    thread.start()
    try:
        for _ in range(8):
            place = back_up(registry, tmp_path)
            assert run_command("verify", "--backup", place).exit_code == 0
    finally:
        ended.set()
        thread.join()
    place = back_up(registry, tmp_path)
    assert len(BackupReader(place).entries("team/app")) > 1


def back_up(registry: DockerRegistry, tmp_path: Path) -> Path:
    place = tmp_path / "backup"
    arguments = ("--storage.root", registry.root, "--same-filesystem", place)
    outcome = run_command("backup", *arguments)
    assert outcome.exit_code == 0, outcome
    return place


def skopeo(*arguments: str) -> bytes:
    done = subprocess.run([require("skopeo"), *arguments], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
