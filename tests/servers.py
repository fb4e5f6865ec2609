"""Real servers for tests, each in its own process on a loopback port, above all a Docker registry.

Also a small client that pushes to a registry through its HTTP API, as Docker does, and the
registry's garbage collector, which needs no server.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from demo.child_process import ChildProcess

USERNAME = "captain"
PASSWORD = "secret-password"

START_SECONDS = 60.0

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

REGISTRY_V3 = "REGISTRY_V3"
"""Environment variable that names the program of version 3 of the registry."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / (
    "registry-storage-exporter-tests"
)
"""What the tests keep from one run to the next, outside the checkout."""

_BUILT_V3 = CACHE / "registry-v3.0.0/registry"

_PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "htpasswd": "apache2-utils",
    "promtool": "prometheus",
}
_INSTALL_V3 = "install Go, and run `make packages`"
_ELIGIBLE = re.compile(r"^blob eligible for deletion: (\S+)$", re.MULTILINE)
_ARCHITECTURES = ("amd64", "arm64", "s390x", "ppc64le", "riscv64")


def require(program: str) -> str:
    """Find a program; without it skip the test, or fail it in CI, which has all programs."""
    path = shutil.which(program)
    if path is None:
        package = _PACKAGES.get(program, program)
        message = f"{program} is not installed; on Debian: apt-get install {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


def require_registry(version: int) -> str:
    """Find a version of the registry: 2 is Debian's."""
    return require("docker-registry") if version == 2 else require_registry_v3()


def require_registry_v3() -> str:
    """Find version 3 of the registry; skip the test without it: no Debian package has it."""
    named = os.environ.get(REGISTRY_V3)
    path = named or shutil.which(str(_BUILT_V3)) or shutil.which("registry")
    if path is not None and shutil.which(path) is not None:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        if " v3." in version.stdout:
            return path
    found = (
        f"{path} is another version"
        if path
        else f"not in ${REGISTRY_V3}, {_BUILT_V3}, nor on PATH as `registry`"
    )
    pytest.skip(f"version 3 of the registry: {found}; to install it: {_INSTALL_V3}")


def free_port() -> int:
    """Find a free loopback port."""
    while True:
        # Below the range of ports for outgoing connections, so that it stays free. The shared
        # generator is no source: Hypothesis seeds it, and tests side by side got the same port.
        port = 15_000 + secrets.randbelow(17_001)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class Server:
    """A program that serves HTTP, run in its own process, with a directory for its files."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._home: Path | None = None
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = self._child = None

    @property
    def home(self) -> Path:
        """The directory of its configuration and log, which is removed when the context ends."""
        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__}-"))
            self._configure(self._home)
        return self._home

    @property
    def log(self) -> str:
        """Everything that it has printed so far."""
        return "" if self._child is None else self._child.log

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        if self._child is None:
            arguments, log = self._arguments(self.home), self.home / "log"
            self._child = ChildProcess(type(self).__name__, arguments, log, directory=self.home)
        self._child.start()
        try:
            otherwise = f"{self.url} does not answer"
            self._child.wait_until(self._answers, otherwise, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, and wait until it has ended."""
        if self._child is not None:
            self._child.stop()

    def restart(self) -> None:
        """Stop the server and start it again on the same port."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        address = f"{self.url}{self._ready_path()}"
        try:
            # The question is whether it is up, not whether its certificate is valid.
            answer = httpx.get(address, verify=False, trust_env=False, timeout=5)  # noqa: S501
        except httpx.TransportError:
            return False
        return answer.status_code in {httpx.codes.OK, httpx.codes.UNAUTHORIZED}

    def _configure(self, home: Path) -> None:
        raise NotImplementedError

    def _arguments(self, home: Path) -> list[str]:
        raise NotImplementedError

    def _ready_path(self) -> str:
        raise NotImplementedError


class GarbageCollector:
    """The collector of a registry's program, run on a store without a server."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(
        self, root: Path, *, dry_run: bool = True, delete_untagged: bool = False
    ) -> frozenset[str] | None:
        """Run the collector; return the digests of the freed blobs, or None if it aborts."""
        flags = ["--dry-run"] * dry_run + ["--delete-untagged"] * delete_untagged
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            json.dump(_registry_config(root), config)
            config.flush()
            arguments = [self._program, "garbage-collect", *flags, config.name]
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return None
        return frozenset(_ELIGIBLE.findall(done.stdout))


def _registry_config(
    root: Path,
    *,
    delete: bool = True,
    read_only: bool = False,
    cached: bool = False,
    schema_1: bool = False,
) -> dict[str, Any]:
    # purging would remove old uploads at a random moment within the first hour
    maintenance: dict[str, Any] = {"uploadpurging": {"enabled": False}}
    if read_only:
        maintenance["readonly"] = {"enabled": True}
    storage: dict[str, Any] = {
        "filesystem": {"rootdirectory": str(root)},
        "delete": {"enabled": delete},
        "maintenance": maintenance,
    }
    if cached:
        storage["cache"] = {"blobdescriptor": "inmemory"}
    return {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": storage,
        "compatibility": {"schema1": {"enabled": schema_1}},
    }


class DockerRegistry(Server):
    """CNCF distribution, with its store in ``root``."""

    def __init__(
        self,
        root: Path,
        *,
        users: Mapping[str, str] | None = None,
        delete: bool = True,
        read_only: bool = False,
        cached: bool = False,
        schema_1: bool = False,
        cache_of: str | None = None,
        tls: tuple[Path, Path] | None = None,
        program: str | None = None,
    ) -> None:
        """Prepare the server; ``tls`` is a certificate chain and its key as PEM files.

        With ``cached`` it remembers which blobs it has, as it does with its usual configuration.
        ``cache_of`` is the address of the registry that this one is a pull-through cache of.
        Without ``program`` it is Debian's.
        """
        self.root = root
        self._program = program or require("docker-registry")
        self._users = users
        self._storage = {
            "delete": delete,
            "read_only": read_only,
            "cached": cached,
            "schema_1": schema_1,
        }
        self._cache_of = cache_of
        self._tls = tls
        self._port = free_port()
        super().__init__(f"{'https' if tls else 'http'}://127.0.0.1:{self._port}")

    def garbage_collect(self, *, dry_run: bool = False, delete_untagged: bool = False) -> str:
        """Run the registry's own collector on the store; return its output."""
        arguments = [self._program, "garbage-collect"]
        arguments += ["--dry-run"] * dry_run + ["--delete-untagged"] * delete_untagged
        arguments.append(str(self.home / "config.yml"))
        done = subprocess.run(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"garbage-collect ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _configure(self, home: Path) -> None:
        http: dict[str, Any] = {"addr": f"127.0.0.1:{self._port}", "secret": "of-a-test"}
        if self._tls is not None:
            certificate, key = self._tls
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
        config = _registry_config(self.root, **self._storage) | {"http": http}
        if self._cache_of is not None:
            config["proxy"] = {"remoteurl": self._cache_of}
        if self._users is not None:
            path = home / "htpasswd"
            path.write_text("".join(_htpasswd(*user) for user in self._users.items()))
            config["auth"] = {"htpasswd": {"realm": "a test", "path": str(path)}}
        (home / "config.yml").write_text(json.dumps(config, indent=2))

    def _arguments(self, home: Path) -> list[str]:
        return [self._program, "serve", str(home / "config.yml")]

    def _ready_path(self) -> str:
        return "/v2/"


class CachingRegistry(DockerRegistry):
    """A registry that caches which blobs it has, as the image and Debian's package do."""

    def _configure(self, home: Path) -> None:
        super()._configure(home)
        path = home / "config.yml"
        config = json.loads(path.read_text())
        config["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        path.write_text(json.dumps(config))


def _htpasswd(username: str, password: str) -> str:
    cheapest = ["-B", "-C", "4"]  # bcrypt is slow on purpose, for each request
    done = subprocess.run(
        [require("htpasswd"), "-n", "-i", *cheapest, username],
        input=password,
        capture_output=True,
        text=True,
        check=True,
    )
    return f"{done.stdout.strip()}\n"


class RegistryClient:
    """Pushes to a registry and deletes from it, with one HTTP request after the other."""

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: str | None = None,
        *,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        auth = (username, password) if username is not None and password is not None else None
        self._http = httpx.Client(
            base_url=url, auth=auth, verify=verify, trust_env=False, timeout=30
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def push_blob(self, repository: str, content: bytes) -> str:
        """Upload a blob in one piece; return its digest."""
        digest = digest_of(content)
        self._finish_upload(self._begin_upload(repository), digest, content)
        return digest

    def mount_blob(self, repository: str, digest: str, source: str) -> None:
        """Mount a blob of the repository ``source`` into ``repository``."""
        parameters = {"mount": digest, "from": source}
        self._send("POST", f"/v2/{repository}/blobs/uploads/", 201, params=parameters)

    def start_upload(self, repository: str, content: bytes) -> str:
        """Send a part of a blob, and leave the upload unfinished; return its UUID."""
        location = self._begin_upload(repository)
        headers = {"Content-Type": "application/octet-stream"}
        answer = self._send("PATCH", location, 202, content=content, headers=headers)
        return answer.headers["Docker-Upload-UUID"]

    def push_manifest(
        self, repository: str, reference: str, manifest: Mapping[str, Any] | bytes, media_type: str
    ) -> str:
        """Store a manifest under a tag or its digest; return its digest."""
        content = manifest if isinstance(manifest, bytes) else encode(manifest)
        headers = {"Content-Type": media_type}
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._send("PUT", path, 201, content=content, headers=headers)
        return answer.headers["Docker-Content-Digest"]

    def push_image(
        self,
        repository: str,
        tag: str | None,
        layers: Sequence[bytes],
        config: bytes | None = None,
        *,
        oci: bool = False,
    ) -> str:
        """Push an image with its blobs, untagged if ``tag`` is None; return its digest."""
        manifest_type = OCI_MANIFEST if oci else DOCKER_MANIFEST
        manifest = image_manifest(layers, config, oci=oci)
        for content in (*layers, image_config(layers) if config is None else config):
            self.push_blob(repository, content)
        reference = tag or digest_of(encode(manifest))
        return self.push_manifest(repository, reference, manifest, manifest_type)

    def push_index(
        self, repository: str, tag: str | None, images: Sequence[str], *, oci: bool = False
    ) -> str:
        """Push an index of manifests that are already in the repository; return its digest."""
        children = []
        for number, digest in enumerate(images):
            content, media_type = self.manifest(repository, digest)
            child = descriptor(content, media_type)
            architecture = _ARCHITECTURES[number % len(_ARCHITECTURES)]
            children.append(child | {"platform": {"architecture": architecture, "os": "linux"}})
        media_type = OCI_INDEX if oci else DOCKER_LIST
        index = {"schemaVersion": 2, "mediaType": media_type, "manifests": children}
        return self.push_manifest(repository, tag or digest_of(encode(index)), index, media_type)

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """Return a manifest's content and media type."""
        accepted = f"{DOCKER_MANIFEST}, {DOCKER_LIST}, {OCI_MANIFEST}, {OCI_INDEX}"
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._send("GET", path, 200, headers={"Accept": accepted})
        return answer.content, answer.headers["Content-Type"]

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest and every tag that points to it."""
        self._send("DELETE", f"/v2/{repository}/manifests/{digest}", 202)

    def tags(self, repository: str) -> list[str]:
        """Return the tags, sorted; none for an unknown repository."""
        answer = self._http.get(f"/v2/{repository}/tags/list")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        return sorted(answer.raise_for_status().json()["tags"] or [])

    def _begin_upload(self, repository: str) -> str:
        answer = self._send("POST", f"/v2/{repository}/blobs/uploads/", 202)
        return answer.headers["Location"]

    def _finish_upload(self, location: str, digest: str, content: bytes) -> None:
        url = httpx.URL(location).copy_merge_params({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        self._send("PUT", url, 201, content=content, headers=headers)

    def _send(
        self,
        method: str,
        url: httpx.URL | str,
        expected: int,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        answer = self._http.request(method, url, params=params, headers=headers, content=content)
        if answer.status_code != expected:
            raise RuntimeError(f"{method} {url} answered {answer.status_code}: {answer.text}")
        return answer


def digest_of(content: bytes) -> str:
    """Return the sha256 digest as text."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def encode(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a manifest, as :class:`RegistryClient` pushes it."""
    return json.dumps(manifest, indent=3).encode()


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    """Return the descriptor of a blob, as manifests have it."""
    return {"mediaType": media_type, "size": len(content), "digest": digest_of(content)}


def image_config(layers: Sequence[bytes]) -> bytes:
    """Return the smallest configuration that makes ``layers`` an image."""
    layer_digests = [digest_of(layer) for layer in layers]
    return encode(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": layer_digests},
        }
    )


def image_manifest(
    layers: Sequence[bytes], config: bytes | None = None, *, oci: bool = False
) -> dict[str, Any]:
    """Return the manifest of an image."""
    layer_type = OCI_LAYER if oci else DOCKER_LAYER
    content = image_config(layers) if config is None else config
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if oci else DOCKER_MANIFEST,
        "config": descriptor(content, OCI_CONFIG if oci else DOCKER_CONFIG),
        "layers": [descriptor(layer, layer_type) for layer in layers],
    }


def schema_1_manifest(layers: Sequence[bytes]) -> bytes:
    """Return the manifest ``app:1`` as a registry stores one of schema 1: without a signature."""
    return encode(
        {
            "schemaVersion": 1,
            "name": "app",
            "tag": "1",
            "architecture": "amd64",
            "fsLayers": [{"blobSum": digest_of(layer)} for layer in layers],
            "history": [{"v1Compatibility": '{"id": "x"}'} for _ in layers],
        }
    )
