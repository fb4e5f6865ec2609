"""Contents of configs, manifests and indexes, formatted by hand for speed. Pure."""

import json
from collections.abc import Iterable

_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI = "application/vnd.oci.image.manifest.v1+json"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

Part = tuple[str, int]
"""Hexadecimal digest and size of a blob."""


def config_content(name: str, architecture: str, layers: Iterable[Part]) -> bytes:
    """Return the config of an image."""
    diff_ids = '","'.join(f"sha256:{digest}" for digest, _ in layers)
    return (
        f'{{"architecture":"{architecture}","os":"linux","created":"2026-01-01T00:00:00Z",'
        f'"config":{{"Labels":{{"build":"{name}"}}}},'
        f'"rootfs":{{"type":"layers","diff_ids":["{diff_ids}"]}}}}'
    ).encode()


def _descriptor(media_type: str, part: Part) -> str:
    # Indented as Docker indents: a tenth of a manifest's bytes are spaces.
    return (
        f'{{\n         "mediaType": "{media_type}",\n         "size": {part[1]},\n'
        f'         "digest": "sha256:{part[0]}"\n      }}'
    )


def manifest_content(config: Part, layers: Iterable[Part], *, oci: bool) -> bytes:
    """Return the manifest of an image, as long as a real one."""
    layer_type = _OCI_LAYER if oci else _DOCKER_LAYER
    listed = ",\n      ".join(_descriptor(layer_type, layer) for layer in layers)
    return (
        f'{{\n   "schemaVersion": 2,\n   "mediaType": "{_OCI if oci else _DOCKER}",\n'
        f'   "config": {_descriptor(_OCI_CONFIG if oci else _DOCKER_CONFIG, config)},\n'
        f'   "layers": [\n      {listed}\n   ]\n}}'
    ).encode()


def index_content(children: Iterable[tuple[str, Part]], *, oci: bool) -> bytes:
    """Return an OCI index or a manifest list of pairs of architecture and manifest."""
    listed = [
        {
            "mediaType": _OCI if oci else _DOCKER,
            "digest": f"sha256:{digest}",
            "size": size,
            "platform": {"architecture": architecture, "os": "linux"},
        }
        for architecture, (digest, size) in children
    ]
    media_type = _OCI_INDEX if oci else _DOCKER_LIST
    content = {"schemaVersion": 2, "mediaType": media_type, "manifests": listed}
    return json.dumps(content, indent=3).encode()
