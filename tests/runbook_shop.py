"""A registry with images, and the shell of an operator who follows a runbook on it.

Each command is read from its page, and gets the addresses and paths of the test: a changed page is
tested as it is. Docker and CapRover are missing here, so the tests themselves run the collector and
restart the registry.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from demo.store import noise
from tests.conftest import PASSWORD, USERNAME
from tests.exporter_process import Metrics, collect
from tests.runbook_pages import DIRECTORY, commands_below
from tests.servers import DockerRegistry, RegistryClient

BLOCKED = "GarbageCollectionBlocked"
SHOP = "captain/img-captain-shop"
BLOG = "captain/img-captain-blog"
BASE = noise("base", 40_000)
GARBAGE = noise("garbage", 50_000)
OWN = {number: noise(f"shop {number}", 10_000) for number in (5, 6, 7)}
BROKEN_TAGS = "docker_registry_broken_tags"


def blocks(alert: str, heading: str) -> list[str]:
    """Return the blocks of commands below a heading of an alert's page."""
    return commands_below((DIRECTORY / f"DockerRegistry{alert}.md").read_text(), heading)


def block(alert: str, heading: str, number: int = 0) -> str:
    """Return one of the blocks of commands below a heading."""
    return blocks(alert, heading)[number]


def run_shell(*commands: str, home: Path, **values: str) -> str:
    """Run commands in a shell, with ``values`` for the variables that the page sets."""
    script = "\n".join(commands)
    for name, value in values.items():
        line = f"{name}={shlex.quote(value)}".replace("\\", r"\\")
        script = re.sub(rf"^{name}=.*$", line, script, flags=re.MULTILINE)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{script}\nended with {done.returncode}:\n{done.stdout}"
    return done.stdout


class Shop:
    """A registry with garbage and images that share a layer, and an operator's shell."""

    def __init__(self, registry: DockerRegistry, client: RegistryClient, home: Path) -> None:
        self.registry = registry
        self.client = client
        self.store = registry.root / "docker" / "registry" / "v2"
        self.home = home
        self.filled = {
            "STORE": str(self.store),
            "REGISTRY": registry.url,
            "LOGIN": f"{USERNAME}:{PASSWORD}",
        }
        home.mkdir()
        self.digests = {number: self.push(number) for number in OWN}
        client.push_image(BLOG, "1", [BASE, noise("blog", 10_000)])
        client.delete_manifest(BLOG, client.push_image(BLOG, "old", [GARBAGE]))

    def push(self, number: int) -> str:
        return self.client.push_image(SHOP, str(number), [BASE, OWN[number]])

    def blob(self, digest: str) -> Path:
        hexadecimal = digest.removeprefix("sha256:")
        return self.store / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal / "data"

    def revision_link(self, digest: str) -> Path:
        revisions = self.store / "repositories" / SHOP / "_manifests" / "revisions" / "sha256"
        return revisions / digest.removeprefix("sha256:") / "link"

    def tag_directory(self, tag: str) -> Path:
        return self.store / "repositories" / SHOP / "_manifests" / "tags" / tag

    def blob_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.store.glob("blobs/*/*/*/data"))

    def metrics(self) -> Metrics:
        return collect(self.registry.root)

    def broken_tags(self) -> float | None:
        return self.metrics().value(BROKEN_TAGS)

    def reclaimable(self) -> float | None:
        return self.metrics().value("docker_registry_gc_reclaimable_bytes", mode="default")

    def run(self, *blocks: str, **values: str) -> str:
        """Run commands of a page in one shell; they must set the variables of ``values``."""
        for name in values:
            assert re.search(rf"^{name}=", "\n".join(blocks), re.MULTILINE), name
        return run_shell(*blocks, home=self.home, **self.filled, **values)

    def collect_garbage(self) -> None:
        """Run the collector, and restart the registry, as the script of the runbooks does."""
        assert block(BLOCKED, "Collect").strip() == "collect-garbage.sh --yes"
        self.registry.garbage_collect()
        self.registry.restart()

    def assert_collector_frees_reclaimable(self) -> None:
        reclaimable, before = self.reclaimable(), self.blob_bytes()
        assert reclaimable is not None
        assert reclaimable >= len(GARBAGE)
        self.collect_garbage()
        assert before - self.blob_bytes() == reclaimable
