"""What manifests, indexes and configurations say of themselves, cut to what a page can show.

Never the values of environment variables or build arguments: they hold secrets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from exporter.domain.digests import Digest, format_digest, parse_digest
from exporter.domain.text import readable
from exporter.store.json_blobs import read_json
from exporter.store.port import Blobs
from exporter.views.detail.instructions import instruction, masked, names_of
from exporter.views.detail.listed import MOST, Listed, first

_MOST_BYTES = 4 * 1024 * 1024
_MOST_LAYERS = 300
_MOST_TEXT = 300
_MOST_NAME = 120
_MOST_VARIABLES = 300
_NOTHING = msgspec.Raw(b"null")

Kind = TypeVar("Kind")
Pairs = Listed[tuple[str, str]]
"""Labels or annotations, by name."""


@dataclass(frozen=True, slots=True)
class PartText:
    """A manifest or blob as a manifest describes it.

    Attributes:
        digest: its digest.
        media_type: as stated; empty if it is not.
        bytes: as stated; None if it is not.
        platform: as an index states it; empty without one.
        has_urls: whether it is to be downloaded from elsewhere, and need not be in the store.

    """

    digest: str
    media_type: str
    bytes: int | None
    platform: str = ""
    has_urls: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step in which an image was made.

    Attributes:
        instruction: what was run, without the values of variables.
        created_at: when, Unix seconds; None if that is not stated.
        is_empty: whether it made no layer.

    """

    instruction: str
    created_at: float | None
    is_empty: bool


@dataclass(frozen=True, slots=True)
class ConfigurationText:
    """What a configuration says.

    Attributes:
        platform: such as ``linux/amd64``; empty if it is not stated.
        created_at: Unix seconds; None if that is not stated.
        author: who made it; empty if that is not stated.
        tool: the program that made it, if anything says so; else empty.
        entry_point: what runs, with its arguments.
        command: further arguments, which are replaced by those given to ``docker run``.
        working_directory: where it runs.
        user: as whom; empty for root.
        ports: that it says it listens on.
        volumes: paths that it says hold data.
        variables: names of the environment variables that it sets.
        labels: cut, sorted by name.
        steps: in which it was made, the first one first.
        layer_steps: how many of all steps made a layer.

    """

    platform: str
    created_at: float | None
    author: str
    tool: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    working_directory: str
    user: str
    ports: Listed[str]
    volumes: Listed[str]
    variables: Listed[str]
    labels: Pairs
    steps: Listed[Step]
    layer_steps: int


@dataclass(frozen=True, slots=True)
class ImageText:
    """What a manifest or index says, with its configuration.

    Attributes:
        media_type: as it states it; empty if it does not.
        artifact_type: of something else than an image; empty if it states none.
        annotations: cut, sorted by name.
        config: its configuration as a blob; None without one.
        configuration: what that says; None if there is none, or it cannot be read.
        layers: in the order in which they are applied.
        children: what an index lists.

    """

    media_type: str
    artifact_type: str
    annotations: Pairs
    config: PartText | None
    configuration: ConfigurationText | None
    layers: Listed[PartText]
    children: Listed[PartText]


class _Manifest(msgspec.Struct, rename="camel"):
    media_type: msgspec.Raw = _NOTHING
    artifact_type: msgspec.Raw = _NOTHING
    annotations: msgspec.Raw = _NOTHING
    config: msgspec.Raw = _NOTHING
    layers: msgspec.Raw = _NOTHING
    blobs: msgspec.Raw = _NOTHING
    fs_layers: msgspec.Raw = _NOTHING
    manifests: msgspec.Raw = _NOTHING


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return readable("/".join(part for part in parts if part), _MOST_NAME)


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str = ""
    media_type: str = ""
    size: int | None = None
    urls: list[str] | None = None
    platform: _Platform | None = None


class _FsLayer(msgspec.Struct):
    blobSum: str = ""  # noqa: N815 - the field's name in schema 1


class _Configuration(msgspec.Struct):
    created: msgspec.Raw = _NOTHING
    author: msgspec.Raw = _NOTHING
    os: msgspec.Raw = _NOTHING
    architecture: msgspec.Raw = _NOTHING
    variant: msgspec.Raw = _NOTHING
    docker_version: msgspec.Raw = _NOTHING
    config: msgspec.Raw = _NOTHING
    history: msgspec.Raw = _NOTHING


class _Settings(msgspec.Struct, rename="pascal"):
    user: msgspec.Raw = _NOTHING
    working_dir: msgspec.Raw = _NOTHING
    entrypoint: msgspec.Raw = _NOTHING
    cmd: msgspec.Raw = _NOTHING
    env: msgspec.Raw = _NOTHING
    exposed_ports: msgspec.Raw = _NOTHING
    volumes: msgspec.Raw = _NOTHING
    labels: msgspec.Raw = _NOTHING


class _History(msgspec.Struct):
    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


def read_image(blobs: Blobs, digest: Digest) -> ImageText | None:
    """Return what a manifest or index says; None if it cannot be read."""
    document = read_json(blobs, digest, _Manifest, _MOST_BYTES)
    if document is None:
        return None
    config = _part(_read(document.config, _Descriptor))
    layers = [*_parts(document.layers), *_parts(document.blobs)]
    if not layers:
        # schema 1 has them in the opposite order
        old = _read(document.fs_layers, list[_FsLayer]) or []
        layers = [_Descriptor(each.blobSum) for each in reversed(old)]
    children = _parts(document.manifests)
    return ImageText(
        _text(document.media_type),
        _text(document.artifact_type),
        _pairs(document.annotations),
        config,
        None if config is None else _read_configuration(blobs, config.digest),
        Listed(_known(layers[:_MOST_LAYERS]), len(layers)),
        Listed(_known(children[:_MOST_LAYERS]), len(children)),
    )


def _read_configuration(blobs: Blobs, digest: str) -> ConfigurationText | None:
    packed = parse_digest(digest)
    document = None if packed is None else read_json(blobs, packed, _Configuration, _MOST_BYTES)
    if document is None:
        return None
    settings = _read(document.config, _Settings) or _Settings()
    environment = _strings(settings.env)[:_MOST_VARIABLES]
    history = _history(document.history)
    labels = _read(settings.labels, dict[str, str]) or {}
    platform = _Platform(*map(_text, (document.os, document.architecture, document.variant)))
    steps = [_step(each, environment) for each in history[:_MOST_LAYERS]]
    return ConfigurationText(
        platform=str(platform),
        created_at=_moment(_read(document.created, str)),
        author=_text(document.author),
        tool=_tool(_text(document.docker_version), labels, history),
        entry_point=_command(settings.entrypoint),
        command=_command(settings.cmd),
        working_directory=_text(settings.working_dir),
        user=_text(settings.user),
        ports=_names(_keys(settings.exposed_ports)),
        volumes=_names(_keys(settings.volumes)),
        variables=_names(names_of(environment)),
        labels=_cut(labels),
        steps=Listed(tuple(steps), len(history)),
        layer_steps=sum(not each.empty_layer for each in history),
    )


def _read(raw: msgspec.Raw, kind: type[Kind]) -> Kind | None:
    """Return a field; None if it is not of its kind: one wrong field does not hide the others."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError):
        return None


def _text(raw: msgspec.Raw) -> str:
    return readable(_read(raw, str) or "", _MOST_TEXT)


def _strings(raw: msgspec.Raw) -> list[str]:
    return _read(raw, list[str]) or []


def _keys(raw: msgspec.Raw) -> Sequence[str]:
    return sorted(_read(raw, dict[str, msgspec.Raw]) or {})


def _names(names: Sequence[str]) -> Listed[str]:
    shown = first(names, MOST)
    return Listed(tuple(readable(each, _MOST_NAME) for each in shown.shown), shown.total)


def _command(raw: msgspec.Raw) -> tuple[str, ...]:
    found = _strings(raw) or [_read(raw, str) or ""]
    shown = tuple(readable(masked(each[: 2 * _MOST_TEXT]), _MOST_TEXT) for each in found[:MOST])
    return tuple(each for each in shown if each)


def _pairs(raw: msgspec.Raw) -> Pairs:
    return _cut(_read(raw, dict[str, str]) or {})


def _cut(pairs: Mapping[str, str]) -> Pairs:
    names = sorted(pairs)
    shown = ((readable(n, _MOST_NAME), readable(pairs[n], _MOST_TEXT)) for n in names[:MOST])
    return Listed(tuple(shown), len(names))


def _parts(raw: msgspec.Raw) -> list[_Descriptor]:
    found = _read(raw, list[msgspec.Raw]) or ()
    return [part for each in found if (part := _read(each, _Descriptor)) is not None]


def _known(parts: Sequence[_Descriptor]) -> tuple[PartText, ...]:
    return tuple(part for each in parts if (part := _part(each)) is not None)


def _part(descriptor: _Descriptor | None) -> PartText | None:
    """Return what is described; None if its digest is none."""
    digest = None if descriptor is None else parse_digest(descriptor.digest)
    if descriptor is None or digest is None:
        return None
    return PartText(
        format_digest(digest),
        readable(descriptor.media_type, _MOST_NAME),
        descriptor.size,
        "" if descriptor.platform is None else str(descriptor.platform),
        bool(descriptor.urls),
    )


def _history(raw: msgspec.Raw) -> list[_History]:
    return [_read(each, _History) or _History() for each in _read(raw, list[msgspec.Raw]) or ()]


def _step(history: _History, environment: Sequence[str]) -> Step:
    text = instruction(history.created_by or "", environment)
    return Step(readable(text, _MOST_TEXT), _moment(history.created), history.empty_layer is True)


def _tool(docker: str, labels: Mapping[str, str], history: Sequence[_History]) -> str:
    """Return the program that made an image, as far as anything says so."""
    return next(_tools(docker, labels, history), "")


def _tools(docker: str, labels: Mapping[str, str], history: Sequence[_History]) -> Iterator[str]:
    buildah = labels.get("io.buildah.version")
    if buildah:
        yield f"Buildah {readable(buildah, _MOST_NAME)}"
    comments = {each.comment or "" for each in history}
    if any(each.startswith("buildkit.") for each in comments):
        yield "BuildKit"
    if docker:
        yield f"Docker {docker}"


def _moment(text: str | None) -> float | None:
    """Return a time of RFC 3339 in Unix seconds; None if it is none."""
    try:
        moment = datetime.fromisoformat((text or "")[:_MOST_NAME])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
