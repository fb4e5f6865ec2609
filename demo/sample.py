"""The sample store: the registry of a CapRover server whose disk is filling up.

Four live apps, one app that was deleted while its images stayed, a repository of the user's own,
and what piles up with the years: untagged manifests, garbage, unfinished uploads. Sizes on disk
are real. Does not know the exporter.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from demo.store import StoreBuilder, noise

LAYOUT_VERSION = 1
"""Increased when the sample's content changes, so that an older one on disk is built again."""

_DAY = 86400
_KIB = 1024
_DOMAIN = "registry.apps.example.com:996"
_NODE = (("debian", 4096), ("node", 5120), ("node-entrypoint", 16))
_PYTHON = (("debian", 4096), ("python", 4608))
_ALPINE = (("alpine", 2048),)


@dataclass(frozen=True, slots=True)
class _App:
    """An app that CapRover built ``versions`` times.

    Attributes:
        name: its name in CapRover.
        versions: how many builds were pushed, tagged 1, 2, and so on.
        base: layers of the base image, as name and KiB.
        dependencies_kib: a layer that changes with every fifth build.
        code_kib: a layer that changes with every build.
        newest_days: how long ago the newest build was pushed.
        every_days: time between two builds.
        prefix: of the repository; CapRover before 1.5.1 used another one.

    """

    name: str
    versions: int
    base: tuple[tuple[str, int], ...]
    dependencies_kib: int
    code_kib: int
    newest_days: float
    every_days: float
    prefix: str = "captain/img-captain-"

    @property
    def repository(self) -> str:
        return f"{self.prefix}{self.name}"

    def days_ago(self, version: int) -> float:
        return self.newest_days + (self.versions - version) * self.every_days


_BLOG = _App("blog", 12, _NODE, 1024, 320, 6, 13)
_SHOP = _App("shop", 30, _NODE, 1280, 384, 0.1, 3)
_API = _App("api", 8, _PYTHON, 768, 256, 2, 9)
_WIKI = _App("wiki", 2, _ALPINE, 512, 128, 240, 30, prefix="captain/img-captain--")
_OLD_SHOP = _App("old-shop", 9, _NODE, 1536, 576, 120, 6)
_LIVE = (_BLOG, _SHOP, _API, _WIKI)


def build_sample(root: Path, now: float) -> None:
    """Write the sample store below ``root``, as it would look at ``now`` (Unix seconds)."""
    sample = _Sample(StoreBuilder(root), now)
    for app in (*_LIVE, _OLD_SHOP):
        sample.push_versions(app)
    sample.overwrite_versions()
    sample.push_latest()
    sample.delete_some()
    sample.push_backup()
    sample.leave_litter()


class _Sample:
    """One build of the sample; remembers the layers it made."""

    def __init__(self, store: StoreBuilder, now: float) -> None:
        self._store = store
        self._now = now
        self._layers: dict[str, str] = {}

    def _at(self, days_ago: float) -> float:
        return self._now - days_ago * _DAY

    def _layer(self, name: str, kib: int, days_ago: float) -> str:
        if name not in self._layers:
            archive = _archive(name, kib)
            self._layers[name] = self._store.blob(archive, at=self._at(days_ago))
        return self._layers[name]

    def _build(self, app: _App, build: str, group: int, tag: str | None, days_ago: float) -> str:
        parts = (
            *app.base,
            (f"{app.name}-dependencies-{group}", app.dependencies_kib),
            (f"{app.name}-{build}", app.code_kib),
        )
        layers = [self._layer(name, kib, days_ago) for name, kib in parts]
        return self._store.image(app.repository, tag, layers, at=self._at(days_ago))

    def push_versions(self, app: _App) -> None:
        """Push every version of an app, oldest first."""
        for version in range(1, app.versions + 1):
            group = (version - 1) // 5
            self._build(app, str(version), group, str(version), app.days_ago(version))

    def overwrite_versions(self) -> None:
        """Push two low versions again: the app was deleted and created again, and counts from 1."""
        for version in (1, 2):
            self._build(_BLOG, f"again-{version}", 2, str(version), 5 - version)

    def push_latest(self) -> None:
        """Point ``latest`` to a new build each week; the build before loses its tag."""
        for week in range(6):
            self._build(_API, f"latest-{week}", 1, "latest", 1 + 7 * (5 - week))

    def delete_some(self) -> None:
        """Delete three manifests through the API, and two tags alone."""
        for version in ("1", "2", "3"):
            link = self._store.tag_link(_SHOP.repository, version)
            self._store.delete_revision(_SHOP.repository, link.read_text())
        for version in ("4", "5"):
            self._store.delete_tag(_SHOP.repository, version)

    def push_backup(self) -> None:
        """Push the user's own repository: a plain image, and a two-platform one pushed twice."""
        store, repository = self._store, "tools/backup"
        alpine = self._layer("alpine", 2048, 300)
        plain = self._layer("backup-1.0", 640, 280)
        store.image(repository, "1.0", [alpine, plain], media="oci", at=self._at(280))
        for build, days_ago in (("2.0-rc", 50), ("2.0", 40)):
            at = self._at(days_ago)
            images = []
            for platform in ("linux/amd64", "linux/arm64"):
                layer = self._layer(f"backup-{build}-{platform}", 768, days_ago)
                base = alpine if platform == "linux/amd64" else self._layer("alpine-arm", 2048, 50)
                images.append(
                    store.image(repository, None, [base, layer], None, "oci", at, platform=platform)
                )
            attestation = self._attest(repository, images[0], at)
            store.index(repository, "2.0", [*images, attestation], at=at)

    def _attest(self, repository: str, image: str, at: float) -> dict[str, object]:
        statement = {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{"name": repository, "digest": {"sha256": image.partition(":")[2]}}],
            "predicate": {},
        }
        layer = self._store.blob(json.dumps(statement).encode(), at=at)
        described = {
            "mediaType": "application/vnd.in-toto+json",
            "digest": layer,
            "size": self._store.blob_path(layer).stat().st_size,
        }
        manifest = self._store.image(
            repository, None, [described], None, "oci", at, platform="unknown/unknown"
        )
        annotations = {
            "vnd.docker.reference.digest": image,
            "vnd.docker.reference.type": "attestation-manifest",
        }
        return self._store.descriptor(manifest, annotations=annotations)

    def leave_litter(self) -> None:
        """Leave garbage blobs, two unfinished uploads, and a file that does not belong here."""
        store = self._store
        for number in range(4):
            store.unlinked_blob(_archive(f"lost-{number}", 512), at=self._at(60 + number))
        store.upload(_SHOP.repository, noise("upload", 3072 * _KIB), self._at(20))
        store.upload("tools/backup", noise("broken upload", 4096 * _KIB), None, at=self._at(90))
        store.stray(
            "docker/registry/v2/blobs-copy.tar.part", noise("stray", 1024 * _KIB), at=self._at(70)
        )


def _archive(name: str, kib: int) -> bytes:
    """Return a layer: an uncompressed tar archive, so that an image's diff IDs are its digests."""
    entry = tarfile.TarInfo(f"srv/{name}")
    entry.size = kib * _KIB
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(noise(name, entry.size)))
    return archive.getvalue()


def write_captain_config(directory: Path, now: float) -> None:
    """Write the ``config-captain.json`` that fits the sample store; its secrets are made up."""
    definitions: dict[str, object] = {
        app.name: _definition(app.versions, list(_versions(app, now))) for app in _LIVE
    }
    proxy = {"version": 1, "timeStamp": _stamp(now), "deployedImageName": "nginx:1.27-alpine"}
    definitions["proxy"] = _definition(1, [proxy])
    config = {
        "namespace": "captain",
        "schemaVersion": 2,
        "customDomain": "apps.example.com",
        "appDefinitions": definitions,
        "dockerRegistries": [
            {
                "id": "3f8f6f0e-1111-4c1e-9d3c-000000000001",
                "registryDomain": _DOMAIN,
                "registryUser": "captain",
                "registryPasswordEncrypted": "not-a-real-secret",
                "registryImagePrefix": "captain",
                "registryType": "LOCAL_REG",
            }
        ],
        "defaultDockerRegId": "3f8f6f0e-1111-4c1e-9d3c-000000000001",
        "hashedPassword": "not-a-real-secret",
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config-captain.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent="\t"), encoding="utf-8")


def _definition(deployed: int, versions: list[dict[str, object]]) -> dict[str, object]:
    return {
        "deployedVersion": deployed,
        "versions": versions,
        "envVars": [{"key": "API_TOKEN", "value": "not-a-real-secret"}],
        "instanceCount": 1,
    }


def _versions(app: _App, now: float) -> Iterator[dict[str, object]]:
    """List an app's versions as CapRover does: a placeholder first, here a failed build last."""
    oldest = app.days_ago(1) + 1
    entries = [(0, oldest, "caprover/caprover-placeholder-app:latest")]
    entries += [
        (version, app.days_ago(version), f"{_DOMAIN}/{app.repository}:{version}")
        for version in range(1, app.versions + 1)
    ]
    if app is _API:
        entries.append((app.versions + 1, 1, ""))
    for version, days_ago, image in entries:
        yield {
            "version": version,
            "timeStamp": _stamp(now - days_ago * _DAY),
            "deployedImageName": image,
            "gitHash": "",
        }


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
