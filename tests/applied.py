"""A real registry with something to delete, and the command `apply` on it."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.in_process import Outcome, run_command
from tests.servers import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    descriptor,
    digest_of,
    require_registry,
)

APP, OTHER = "team/app", "team/app/nested-name_2.x"
_MANIFESTS = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)
_FREED = re.compile(r"frees [\d.]+ \w+ \(([\d,]+) bytes\)")


@dataclass(frozen=True, slots=True)
class Place:
    """A registry, and files beside it.

    Attributes:
        registry: the real registry.
        client: pushes to it.
        home: for plans, journals and backups.
        url: the registry's address, or that of a proxy in front of it.

    """

    registry: DockerRegistry
    client: RegistryClient
    home: Path
    url: str

    @property
    def plan_file(self) -> Path:
        """Where the plan is."""
        return self.home / "plan.txt"

    @property
    def journal(self) -> list[Mapping[str, object]]:
        """Return what the journal says, without its first line."""
        path = self.home / "plan.txt.journal"
        return [json.loads(row) for row in path.read_text().splitlines()[1:]]

    def plan(self, *selection: str) -> list[str]:
        """Make a plan; return what it deletes."""
        outcome = run_command(
            "plan",
            *("--storage.root", self.registry.root),
            *("--output", self.plan_file),
            *selection,
        )
        assert (outcome.exit_code, outcome.complaints) == (0, "")
        rows = self.plan_file.read_text().splitlines()
        return [row.split("\t")[0] for row in rows if not row.startswith("#")]

    def flags(self, *more: str | Path) -> tuple[str | Path, ...]:
        """Return the arguments of the command."""
        return (
            "apply",
            self.plan_file,
            *("--storage.root", self.registry.root),
            *("--registry.url", self.url),
            *more,
        )

    def apply(self, *more: str | Path) -> Outcome:
        """Run the command."""
        return run_command(*self.flags(*more))

    def pulled(self, *repositories: str) -> dict[str, dict[str, bytes]]:
        """Return everything that each tag needs, by digest, pulled by the API."""
        return {
            f"{repository}:{tag}": pull(self.registry.url, repository, tag)
            for repository in repositories or (APP, OTHER)
            for tag in self.client.tags(repository)
        }

    def blob_bytes(self) -> int:
        """Return the bytes of all blobs."""
        return sum(path.stat().st_size for path in self.registry.root.glob("**/blobs/**/data"))


def pull(url: str, repository: str, reference: str) -> dict[str, bytes]:
    """Return what an image needs, at any depth, by digest. Raises httpx.HTTPStatusError."""
    found: dict[str, bytes] = {}
    with httpx.Client(base_url=f"{url}/v2/{repository}/", trust_env=False, timeout=30) as client:

        def get(path: str, digest: str = "") -> bytes:
            headers = {"Accept": ", ".join(_MANIFESTS)}
            content = client.get(path, headers=headers).raise_for_status().content
            assert digest in ("", digest_of(content))
            found[digest_of(content)] = content
            return content

        pending = [get(f"manifests/{reference}")]
        while pending:
            manifest = json.loads(pending.pop())
            pending += [
                get(f"manifests/{each['digest']}", each["digest"])
                for each in manifest.get("manifests", ())
            ]
            for each in (*manifest.get("layers", ()), manifest.get("config")):
                if each is not None:
                    get(f"blobs/{each['digest']}", each["digest"])
    return found


@contextmanager
def place(directory: Path, version: int = 2) -> Iterator[Place]:
    """Run an empty registry of a version."""
    program = require_registry(version)
    home = directory / "home"
    home.mkdir()
    with (
        DockerRegistry(directory / "store", program=program) as registry,
        RegistryClient(registry.url) as client,
    ):
        yield Place(registry, client, home, registry.url)


def make_older(root: Path, seconds: float = 3600.0) -> None:
    """Let everything in a store have been pushed before."""
    for path in root.rglob("link"):
        moment = path.stat().st_mtime - seconds
        os.utime(path, (moment, moment))


def fill(client: RegistryClient) -> dict[str, str]:
    """Push images that share layers and digests, nested indexes and artifacts; return digests."""
    base = b"base" * 1000
    found = {}
    for repository in (APP, OTHER):
        for number in range(1, 5):
            layers = [base, f"{repository} {number}".encode() * 100]
            found[f"{repository}:{number}"] = client.push_image(repository, str(number), layers)
        content, media_type = client.manifest(repository, "2")
        client.push_manifest(repository, "stable", content, media_type)
    children = [client.push_image(APP, None, [base, b"arch %d" % each]) for each in range(4)]
    inner = client.push_index(APP, None, children[:2], oci=True)
    found["inner"] = inner
    found["old-index"] = client.push_index(APP, "old-index", [inner, children[2]], oci=True)
    found["index"] = client.push_index(APP, "index", [children[2], children[3]], oci=True)
    found["children"] = " ".join(children)
    for signed in ("1", "3"):
        image = found[f"{APP}:{signed}"]
        content, media_type = client.manifest(APP, image)
        config = client.push_blob(APP, b"{}")
        signature = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "size": 2, "digest": config},
            "layers": [],
            "subject": descriptor(content, media_type),
        }
        tag = f"{image.replace(':', '-')}.sig"
        found[f"signature-{signed}"] = client.push_manifest(APP, tag, signature, OCI_MANIFEST)
    return found


def freed_bytes(output: str) -> int:
    """Return what the command says that the collector frees."""
    match = _FREED.search(output)
    assert match is not None, output
    return int(match[1].replace(",", ""))
