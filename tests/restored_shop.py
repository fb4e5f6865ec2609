"""A store that a real registry wrote, and what deletes from it as `apply` does."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from demo.store import noise
from exporter.backup.writing import back_up
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import ScanControl
from tests.exporter_process import Metrics, collect
from tests.servers import (
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    descriptor,
)

SHOP, OTHER = "team/shop", "team/shop/other"
BASE = noise("base layer", 40_000)
EPOCH = 1_700_000_000
"""When the first tag of the store was written, Unix seconds; the others a minute later each."""

LAST_PUSH = "docker_registry_repository_last_push_timestamp_seconds"


def push_shop(client: RegistryClient) -> list[str]:
    """Push images, an index, a signature and what nothing tags; return the tags, the oldest first.

    The order by time is not the order by name.
    """
    plain = client.push_image(SHOP, "9", [BASE, noise("plain", 3_000)])
    content, media_type = client.manifest(SHOP, plain)
    client.push_manifest(SHOP, "8", content, media_type)
    images = [client.push_image(SHOP, None, [BASE, noise(name, 2_000)], oci=True) for name in "ab"]
    client.push_index(SHOP, "7", images, oci=True)
    client.push_index(SHOP, "6", [plain])
    client.push_image(SHOP, None, [noise("untagged", 1_000)])
    index, index_type = client.manifest(SHOP, "7")
    signature = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [],
        "subject": descriptor(index, index_type),
    }
    client.push_blob(SHOP, b"{}")
    client.push_manifest(SHOP, "1", signature, OCI_MANIFEST)
    client.push_image(OTHER, "stays", [BASE])
    client.push_image(OTHER, "5", [BASE, noise("other", 5_000)])
    return ["9", "8", "7", "6", "1"]


def set_times(root: Path, tags: Sequence[str]) -> None:
    """Date the tags of the shop a minute apart."""
    directory = tag_directory(root)
    for number, tag in enumerate(tags):
        moment = EPOCH + 60 * number
        os.utime(directory / tag / "current/link", (moment, moment))


def tag_directory(root: Path) -> Path:
    return root / "docker/registry/v2/repositories" / SHOP / "_manifests/tags"


def tags_by_time(root: Path) -> list[str]:
    """Return the tags of the shop, the oldest first."""
    directory = tag_directory(root)
    return sorted(
        (each.name for each in directory.iterdir() if (each / "current/link").exists()),
        key=lambda tag: (directory / tag / "current/link").stat().st_mtime_ns,
    )


def content_of(root: Path) -> dict[str, bytes]:
    """Return the files of a store with their content, without unfinished uploads."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "_uploads" not in path.parts
    }


def figures_of(root: Path) -> Metrics:
    """Return the figures of a store; what is put back is new, and only that may differ."""
    figures = collect(root).of_the_store()
    return Metrics((series, value) for series, value in figures.items() if series[0] != LAST_PUSH)


def save(root: Path, directory: Path, *, blobs: bool = True) -> None:
    """Back the whole store up."""
    store = FilesystemStore(root)
    inventory = store.scan(ScanControl())
    digests = inventory.digests
    wanted = {
        each.name: [_text(digests[revision.manifest]) for revision in each.revisions]
        for each in inventory.repositories
    }
    result = back_up(
        store, inventory, wanted, directory, blobs=None if blobs else (), same_filesystem=True
    )
    assert not result.faults


def _text(digest: bytes) -> str:
    return f"sha256:{digest.hex()}"


def manifests_of(root: Path, repository: str) -> dict[str, dict[str, float]]:
    """Return the digests of a repository's manifests, each with its tags and their times."""
    inventory = FilesystemStore(root).scan(ScanControl())
    (found,) = (each for each in inventory.repositories if each.name == repository)
    manifests: dict[str, dict[str, float]] = {
        _text(inventory.digests[each.manifest]): {} for each in found.revisions
    }
    for tag in found.tags:
        assert tag.target is not None
        assert tag.updated_at is not None
        manifests[_text(inventory.digests[tag.target])][tag.name] = tag.updated_at
    return manifests


def delete_shop(registry: DockerRegistry, repository: str = SHOP) -> list[dict[str, object]]:
    """Delete every manifest of a repository; return the lines of a journal about it."""
    lines: list[dict[str, object]] = []
    with RegistryClient(registry.url) as client:
        for digest, tags in manifests_of(registry.root, repository).items():
            client.delete_manifest(repository, digest)
            line = {"repository": repository, "digest": digest, "tags": tags, "result": "deleted"}
            lines.append({"time": EPOCH, **line, "media_type": "", "linked_at": EPOCH})
        assert client.tags(repository) == []
    return lines


def write_journal(
    path: Path, root: Path, lines: Iterable[object], *, backup: Path | None = None
) -> Path:
    """Write the journal of an `apply`."""
    head = {
        "format": 1,
        "plan": "0" * 64,
        "store": str(root.resolve()),
        "backup": None if backup is None else str(backup),
        "time": EPOCH,
    }
    path.write_text("".join(f"{json.dumps(each)}\n" for each in (head, *lines)))
    return path
