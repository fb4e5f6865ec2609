"""Promises of the readers of manifests, links and names, for any bytes in a store."""

import json
import os
import re
from collections.abc import Iterator
from math import isfinite

from hypothesis import strategies as st

from exporter.domain.digests import Digest, format_digest, parse_digest
from exporter.domain.errors import ManifestUnreadableError
from exporter.domain.text import printable
from exporter.store.format.layout import (
    blob_data,
    is_algorithm,
    is_domain,
    is_repository_name,
    is_repository_path,
    is_supported,
    is_tag_name,
    is_upload_id,
    parse_link,
    parse_started_at,
    revision_link,
    tag_directory,
)
from exporter.store.format.manifests import ManifestContent, parse_manifest
from tests.fuzzing import SCALARS, Target, encode_json, json_values, plain

_SHORTEST_REFERENCE = len('"a:"') + 32
_LONGEST_MESSAGE = 300
_PRINTABLE = re.compile(r"[ -~]*")

# Manifests

_LISTS = ("layers", "blobs", "manifests", "fslayers")
_FIELDS = (
    "schemaVersion", "mediaType", "config", "layers", "blobs", "manifests", "fsLayers", "subject",
    "digest", "size", "urls", "blobSum", "annotations", "Layers", "CONFIG", "Digest", "platform",
)  # fmt: skip
_READ = frozenset(_FIELDS) - {"Layers", "CONFIG", "Digest"}
_FOLDED = frozenset(name.lower() for name in _READ)
_MEDIA_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.artifact.manifest.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.buildkit.cacheconfig.v0",
    "",
)
_DIGESTS = st.sampled_from(
    [f"sha256:{letter * 64}" for letter in "0af"] + [f"sha512:{'b' * 128}", f"sha384:{'c' * 96}"]
)
_DESCRIPTORS = st.fixed_dictionaries(
    {"digest": _DIGESTS | SCALARS},
    optional={
        "mediaType": st.sampled_from(_MEDIA_TYPES) | SCALARS,
        "size": st.integers(0, 2**40) | SCALARS,
        "urls": st.lists(st.just("https://example.com/x"), max_size=2) | SCALARS,
        "Digest": _DIGESTS | st.none(),
        "annotations": st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
    },
)
_DESCRIPTOR_LISTS = st.lists(_DESCRIPTORS, max_size=4) | SCALARS
_MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.sampled_from([1, 2]) | SCALARS,
        "mediaType": st.sampled_from(_MEDIA_TYPES) | SCALARS,
        "config": _DESCRIPTORS | SCALARS,
        "layers": _DESCRIPTOR_LISTS,
        "blobs": _DESCRIPTOR_LISTS,
        "manifests": _DESCRIPTOR_LISTS,
        "fsLayers": st.lists(st.fixed_dictionaries({"blobSum": _DIGESTS}), max_size=3),
        "subject": _DESCRIPTORS,
        "Layers": _DESCRIPTOR_LISTS,
        "CONFIG": _DESCRIPTORS | st.none(),
    },
)


def check_manifest(content: bytes) -> None:
    """Check the promises of ``parse_manifest``."""
    try:
        manifest = parse_manifest(content)
    except ManifestUnreadableError as error:
        assert 0 < len(str(error)) <= _LONGEST_MESSAGE
        return
    references = (*manifest.children, *manifest.blobs)
    assert len(references) == len(manifest.sizes)
    assert len(references) * _SHORTEST_REFERENCE <= len(content)
    assert set(manifest.foreign) <= set(manifest.blobs)
    assert set(manifest.unmarked) <= set(references)
    assert manifest.schema in {0, 1, 2}
    assert manifest.senseless is None or parse_digest(manifest.senseless) is None
    for digest in references:
        text = format_digest(digest)
        assert parse_digest(text) == digest
        assert b"\\" in content or text.encode() in content
    try:
        assert _references_for_go(content) <= set(references)
        _check_other_spellings(content, manifest)
    except RecursionError:  # in unread fields; json recurses less deep than the parser
        return


def _as_go_does(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object as Go's decoder fills a struct: any case, the last one counts.

    A null leaves a text, a number and a struct unchanged, and makes a list empty.
    """
    fields: dict[str, object] = {}
    for name, value in pairs:
        if value is not None:
            fields[name.lower()] = value
        elif name.lower() in _LISTS:
            fields[name.lower()] = []
    return fields


def _references_for_go(content: bytes) -> set[Digest]:
    """Return the digests that the registry's decoder sees referenced in a readable manifest."""
    text = content.decode("utf-8", "replace")
    document = json.loads(text, object_pairs_hook=_as_go_does, parse_int=len)
    try:
        layers = [each.get("blobsum", "") for each in document.get("fslayers", ())]
        lists = [each.get("digest", "") for name in _LISTS[:-1] for each in document.get(name, ())]
        config = [document.get("config", {}).get("digest", "")]
    except (AttributeError, TypeError):  # Go would refuse the whole document
        return set()
    texts = [text for text in layers + lists + config if isinstance(text, str)]
    known = filter(_SUPPORTED.fullmatch, texts)
    return {digest for text in known if (digest := parse_digest(text)) is not None}


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the fields; raise ValueError if one occurs twice or in another case.

    Their order matters then. Other cases are refused only for fields that are read.
    """
    names = {name.lower() for name, _ in pairs}
    if len(names) < len(pairs) or any(
        name not in _READ and name.lower() in _FOLDED for name, _ in pairs
    ):
        raise ValueError("a field that comes twice, or in another case")
    return dict(pairs)


def _check_other_spellings(content: bytes, manifest: ManifestContent) -> None:
    """Assert that white space, escapes and the order of fields change nothing."""
    try:
        document = json.loads(content.decode(), object_pairs_hook=_each_once)
    except ValueError:  # also for broken UTF-8, which the reader replaces
        return
    reversed_ = dict(reversed(document.items()))
    for other in (json.dumps(document, indent=1), json.dumps(reversed_, separators=(",", ":"))):
        assert parse_manifest(other.encode()) == manifest
    escaped = json.dumps(document).replace("sha", "\\u0073ha")
    assert parse_manifest(escaped.encode()) == manifest


MANIFESTS = Target(
    "manifests",
    "Any bytes give a manifest with exactly the digests that the registry would see referenced, or "
    "one error",
    lambda _: plain(check_manifest),
    (_MANIFESTS | json_values(_FIELDS)).map(encode_json),
)

# Links, and names of directories

_SUPPORTED = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*/)?{_PATH}(?:/{_PATH})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_LATEST = 253_402_387_200  # the first day of the year 10000 in any time zone


def check_link(content: bytes) -> None:
    """Check the promises about links, start times and names."""
    digest = parse_link(content)
    is_link = _SUPPORTED.fullmatch(content.decode("latin-1")) is not None
    assert (digest is not None) == is_link
    if digest is not None:
        assert is_supported(digest)
        assert format_digest(digest).encode() == content
        algorithm, _, hexadecimal = content.decode().partition(":")
        place = ["blobs", algorithm, hexadecimal[:2], hexadecimal, "data"]
        assert blob_data(digest).split("/") == place
    started = parse_started_at(content)
    assert started is None or (isfinite(started) and abs(started) < _LATEST)
    _check_name(os.fsdecode(content))


def _check_name(name: str) -> None:
    """Assert that accepted names are the registry's, and lead to no other directory."""
    assert is_repository_name(name) == (len(name) <= 255 and _NAME.fullmatch(name) is not None)
    if is_repository_path(name):
        assert is_repository_name(name)
    if is_repository_name(name):
        parts = revision_link(name, f"sha256:{'a' * 64}").split("/")
        assert parts[1:-5] == name.split("/")
        assert not {"", ".", "..", "_manifests"} & set(name.split("/"))
    assert is_tag_name(name) == (_TAG.fullmatch(name) is not None)
    if is_tag_name(name):
        assert tag_directory("a", name).split("/")[4:] == [name]
    for is_legal in (is_tag_name, is_domain, is_algorithm, is_upload_id):
        assert not is_legal(name) or (name.isascii() and "/" not in name and "\0" not in name)
    shown = printable(name)
    assert _PRINTABLE.fullmatch(shown)
    assert len(name) <= len(shown) <= 10 * len(name)


def _link_contents() -> Iterator[st.SearchStrategy[str]]:
    yield st.from_regex(_SUPPORTED, fullmatch=True)
    yield st.from_regex(r"[a-z0-9+._-]{1,8}:[0-9a-fA-F]{0,140}", fullmatch=True)
    yield st.from_regex(r"[a-zA-Z0-9._/-]{0,300}", fullmatch=True)
    yield st.from_regex(r"[a-zA-Z0-9._/-]{0,4}", fullmatch=True)
    yield st.from_regex(
        r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,10})?(Z|[+-]\d\d:\d\d)"
    )


LINKS = Target(
    "links",
    "Any bytes give a link that is written the same, or none; no name leads outside its directory",
    lambda _: plain(check_link),
    st.one_of(*_link_contents()).map(lambda text: text.encode("utf-8", "replace")),
)
