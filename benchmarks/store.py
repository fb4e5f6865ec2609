"""Write a large registry store to measure on: ``python -m benchmarks.store --scale 1``.

At scale 1 it has 200 repositories and about 100,000 blobs. Manifests are as large as real ones;
layers have a few hundred bytes, since only their number costs time. Does not know the exporter,
and shares no code with :mod:`demo.store`, which is written for readability, not for speed.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.contents import Part, config_content, index_content, manifest_content

_FORMAT = 1
MARKER = "benchmark-store.json"
"""File beside each store: the store's parameters, and whether it is finished."""

_BASES = 120
_IMAGES_PER_DEPENDENCIES = 8


class StoreError(Exception):
    """The store cannot be made; the message says why, and how to fix it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a store holds; the defaults are scale 1.

    Attributes:
        repositories: how many.
        tagged: tags that point to a plain image.
        indexes: tags that point to an index of two images.
        untagged: images whose tag has moved on.
        deleted: images deleted through the API, whose blobs are garbage.
        garbage: layers that never belonged to an image.

    """

    repositories: int = 200
    tagged: int = 16698
    indexes: int = 1500
    untagged: int = 2363
    deleted: int = 891
    garbage: int = 1500

    @classmethod
    def at(cls, scale: float, repositories: int | None = None) -> "Plan":
        """Scale the plan; repositories grow slower than their images, as in real registries.

        ``repositories`` sets their number, for the same images.
        """
        whole = {name: max(1, round(count * scale)) for name, count in asdict(cls()).items()}
        usual = max(2, round(cls().repositories * scale**0.7))
        whole["repositories"] = usual if repositories is None else repositories
        return cls(**whole)

    @property
    def manifests(self) -> int:
        """Manifests and indexes on disk."""
        return self.tagged + 3 * self.indexes + self.untagged + self.deleted

    @property
    def revisions(self) -> int:
        """Manifests that a repository still holds."""
        return self.manifests - self.deleted

    @property
    def tags(self) -> int:
        """Tags of all repositories."""
        return self.tagged + self.indexes


class _Blobs:
    """Writes blobs below ``blobs/sha256``, each content once."""

    def __init__(self, version_path: Path) -> None:
        directory = version_path / "blobs" / "sha256"
        directory.mkdir(parents=True)
        self._prefixes = {}
        for number in range(256):
            (directory / f"{number:02x}").mkdir()
            self._prefixes[f"{number:02x}"] = _open_directory(directory / f"{number:02x}")
        self.count = 0
        self.bytes = 0

    def write(self, content: bytes) -> Part:
        digest = hashlib.sha256(content).hexdigest()
        prefix = self._prefixes[digest[:2]]
        os.mkdir(digest, dir_fd=prefix)
        _write_file(f"{digest}/data", content, prefix)
        self.count += 1
        self.bytes += len(content)
        return digest, len(content)

    def layer(self, name: str) -> Part:
        """Write a layer of 16 to 271 bytes, made from its name."""
        seed = hashlib.shake_128(name.encode())
        return self.write(seed.digest(16 + seed.digest(1)[0]))

    def close(self) -> None:
        for descriptor in self._prefixes.values():
            os.close(descriptor)


class _Repository:
    """Writes the links of one repository."""

    def __init__(self, version_path: Path, name: str) -> None:
        directory = version_path / "repositories" / name
        parts = ("_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags", "_uploads")
        for part in parts:
            (directory / part).mkdir(parents=True)
        self._layers, self._revisions, self._tags = (
            _open_directory(directory / part) for part in parts[:3]
        )
        self._linked: set[str] = set()

    def link_layer(self, digest: str) -> None:
        if digest not in self._linked:
            self._linked.add(digest)
            _write_link(digest, self._layers)

    def link_revision(self, digest: str, *, deleted: bool = False) -> None:
        if deleted:  # the API removes the link and leaves its directory
            os.mkdir(digest, dir_fd=self._revisions)
        else:
            _write_link(digest, self._revisions)

    def link_tag(self, tag: str, digest: str) -> None:
        for directory in (tag, f"{tag}/current", f"{tag}/index", f"{tag}/index/sha256"):
            os.mkdir(directory, dir_fd=self._tags)
        _write_file(f"{tag}/current/link", f"sha256:{digest}".encode(), self._tags)
        self.link_history(tag, digest)

    def link_history(self, tag: str, digest: str) -> None:
        """Add a manifest that a tag once pointed to."""
        _write_link(f"{tag}/index/sha256/{digest}", self._tags)

    def close(self) -> None:
        for descriptor in (self._layers, self._revisions, self._tags):
            os.close(descriptor)


class _Pushes:
    """Writes the images of one repository: same base, dependencies that change now and then."""

    def __init__(
        self, name: str, blobs: _Blobs, repository: _Repository, bases: Sequence[list[Part]]
    ) -> None:
        self._name = name
        self._blobs = blobs
        self._repository = repository
        self._random = random.Random(name)  # noqa: S311 - reproducible on purpose
        self._base = self._random.choice(bases)
        self._dependencies: list[Part] = []
        self._oci = self._random.choice((True, False))
        self._images = 0

    def image(self, architecture: str = "amd64", *, deleted: bool = False) -> Part:
        """Push an image of seven to ten layers."""
        number = self._images
        self._images += 1
        if number % _IMAGES_PER_DEPENDENCIES == 0:
            self._dependencies = [
                self._blobs.layer(f"{self._name} dependencies {number} {part}") for part in (1, 2)
            ]
        new = [
            self._blobs.layer(f"{self._name} {number} {part}")
            for part in range(self._random.choice((1, 2, 2, 2, 3)))
        ]
        layers = [*self._base, *self._dependencies, *new]
        config = self._blobs.write(config_content(f"{self._name} {number}", architecture, layers))
        for digest, _ in (config, *layers):
            self._repository.link_layer(digest)
        manifest = self._blobs.write(manifest_content(config, layers, oci=self._oci))
        self._repository.link_revision(manifest[0], deleted=deleted)
        return manifest

    def index(self) -> Part:
        """Push an image for two platforms."""
        children = [(architecture, self.image(architecture)) for architecture in ("amd64", "arm64")]
        index = self._blobs.write(index_content(children, oci=self._oci))
        self._repository.link_revision(index[0])
        return index


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _write_file(name: str, content: bytes, directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o644, dir_fd=directory)
    os.write(descriptor, content)
    os.close(descriptor)


def _write_link(path: str, directory: int) -> None:
    os.mkdir(path, dir_fd=directory)
    _write_file(f"{path}/link", f"sha256:{path[-64:]}".encode(), directory)


def _shares(total: int, repositories: int) -> list[int]:
    """Distribute ``total``: few repositories get much, most get little; the sum is exact."""
    weights = [(number + 1) ** -0.7 for number in range(repositories)]
    bounds, passed = [0], 0.0
    for weight in weights:
        passed += weight
        bounds.append(round(total * passed / sum(weights)))
    return [upper - lower for lower, upper in pairwise(bounds)]


def write_store(root: Path, plan: Plan, advance: Callable[[int], None]) -> tuple[int, int]:
    """Write the store; return the number of its blobs and their bytes.

    ``advance`` is called with the number of manifests written since the last call.
    """
    version_path = root / "docker" / "registry" / "v2"
    blobs = _Blobs(version_path)
    bases = [
        [blobs.layer(f"base {base} {part}") for part in range(4 + base % 2)]
        for base in range(_BASES)
    ]
    for number in range(plan.garbage):
        blobs.layer(f"garbage {number}")
    kinds = (plan.tagged, plan.indexes, plan.untagged, plan.deleted)
    shares = zip(*(_shares(kind, plan.repositories) for kind in kinds), strict=True)
    for number, (tagged, indexes, untagged, deleted) in enumerate(shares):
        group = "captain/img-captain-app" if number % 8 else "team/tools/project"
        name = f"{group}-{number:04}"
        repository = _Repository(version_path, name)
        pushes = _Pushes(name, blobs, repository, bases)
        for build in range(tagged + indexes):
            digest, _ = pushes.image() if build < tagged else pushes.index()
            repository.link_tag(str(build + 1), digest)
        for build in range(untagged):
            digest, _ = pushes.image()
            if tagged + indexes:
                repository.link_history(str(build % (tagged + indexes) + 1), digest)
        for _ in range(deleted):
            pushes.image(deleted=True)
        repository.close()
        advance(tagged + 3 * indexes + untagged + deleted)
    blobs.close()
    return blobs.count, blobs.bytes


def store_directory(directory: Path, scale: float, repositories: int | None = None) -> Path:
    """Return the directory of the store of a scale."""
    name = f"store-{scale:g}"
    return directory / (name if repositories is None else f"{name}-in-{repositories}")


def prepare(directory: Path, scale: float, repositories: int | None = None) -> Path:
    """Write the store of a scale if it is missing; return the registry's root.

    ``repositories`` sets the number of its repositories.

    Raises:
        StoreError: other files are in its place, or it cannot be written.

    """
    home = store_directory(directory, scale, repositories)
    root, marker = home / "registry", home / MARKER
    plan = Plan.at(scale, repositories)
    parameters = {"format": _FORMAT, "scale": scale, **asdict(plan)}
    try:
        if marker.exists():
            found = json.loads(marker.read_text())
            if found.get("parameters") == parameters and found.get("finished"):
                return root
            shutil.rmtree(root, ignore_errors=True)
        elif home.exists():
            raise StoreError(f"{home} exists and is not a benchmark store; move it away")
        home.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({"parameters": parameters, "finished": False}))
        blobs, size = _write_with_progress(root, plan)
        os.sync()  # so that writing back does not slow down the next measurement
        made = {"parameters": parameters, "finished": True, "blobs": blobs, "blob_bytes": size}
        marker.write_text(json.dumps(made, indent=2))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write the store {home}: {error}") from error
    return root


def _write_with_progress(root: Path, plan: Plan) -> tuple[int, int]:
    from rich.progress import Progress  # noqa: PLC0415 - slow to import, seldom needed

    with Progress() as progress:
        task = progress.add_task(f"Writing {plan.manifests:,} manifests", total=plan.manifests)
        return write_store(root, plan, lambda count: progress.advance(task, count))


def blobs_of(root: Path) -> int:
    """Return the number of blobs in a store that :func:`prepare` wrote."""
    made = json.loads((root.parent / MARKER).read_text())
    return int(made["blobs"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--directory", type=Path, default=Path(".bench"))
    options = parser.parse_args(arguments)
    try:
        prepare(options.directory, options.scale)
    except StoreError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
