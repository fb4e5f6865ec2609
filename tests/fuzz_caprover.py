"""Promises of the reader of CapRover's configuration, for any file content."""

import json
import re

from hypothesis import strategies as st

from exporter.domain.digests import format_digest, parse_digest
from exporter.domain.errors import PlatformUnreadableError
from exporter.domain.images import ImageName
from exporter.platforms.caprover.configuration import parse_configuration
from exporter.store.format.layout import is_repository_path, is_tag_name
from tests.fuzzing import SCALARS, Target, encode_json, json_values, plain

_FIELDS = (
    "appDefinitions", "versions", "version", "deployedVersion", "deployedImageName",
    "dockerRegistries", "registryDomain", "registryType", "envVars", "hashedPassword",
)  # fmt: skip
_VOCABULARY = frozenset(
    re.findall(
        r"\w+",
        "appDefinitions versions version deployedVersion deployedImageName dockerRegistries "
        "registryDomain registryType lists no app which counts as unknown is empty not of the form "
        "that CapRover writes cut short JSON missing in whole has a wrong type",
    )
)
"""All words of error messages: nothing of the file except the names of fields."""

_LOCAL = "registry.apps.example.com:996"
_IMAGES = st.sampled_from(
    [
        f"{_LOCAL}/captain/img-captain-shop:3",
        f"{_LOCAL}/captain/img-captain-shop@sha256:{'ab' * 32}",
        f"registry.old.example:996/captain/x:1@sha512:{'cd' * 64}",
        "nginx", "docker.io/library/nginx:1.27", "localhost/a", "HOST/a:1", "[::1]:5000/a/b",
        "", "a:b:c", "a//b", "a@b", "://", "A/B", ":1", "@sha256:",
    ]
) | st.from_regex(r"[a-zA-Z0-9.:/@_\[\]-]{0,60}", fullmatch=True)  # fmt: skip
_VERSIONS = st.fixed_dictionaries(
    {"version": st.integers(0, 4) | SCALARS},
    optional={"deployedImageName": _IMAGES | SCALARS, "gitHash": SCALARS},
)
_APPS = st.fixed_dictionaries(
    {"versions": st.lists(_VERSIONS, max_size=4) | SCALARS},
    optional={"deployedVersion": st.integers(0, 4) | SCALARS, "envVars": SCALARS},
)
_REGISTRIES = st.fixed_dictionaries(
    {},
    optional={
        "registryDomain": st.sampled_from([_LOCAL, "localhost:5000", ""]) | SCALARS,
        "registryType": st.sampled_from(["LOCAL_REG", "REMOTE_REG"]) | SCALARS,
    },
)
_CONFIGURATIONS = st.fixed_dictionaries(
    {"appDefinitions": st.dictionaries(st.text(max_size=5), _APPS, max_size=4) | SCALARS},
    optional={
        "dockerRegistries": st.lists(_REGISTRIES, max_size=2) | SCALARS,
        "hashedPassword": SCALARS,
    },
)


def check_configuration(content: bytes) -> None:
    """Check the promises of ``parse_configuration``."""
    try:
        images = parse_configuration(content)
    except PlatformUnreadableError as error:
        words = re.findall(r"\w+", str(error))
        assert words
        assert _VOCABULARY.issuperset(words)
        assert error.__cause__ is None
        assert error.__context__ is None
        return
    assert images.apps
    assert not images.running & images.rollback
    assert len(images.running) + len(images.rollback) <= content.count(b"{")
    for image in images.running | images.rollback:
        _check_image(image)


def _check_image(image: ImageName) -> None:
    """Assert that a registry may have the image, and that its written name parses the same."""
    assert is_repository_path(image.repository)
    assert image.tag is None or is_tag_name(image.tag)
    assert image.digest is None or parse_digest(format_digest(image.digest)) == image.digest
    assert image.tag is not None or image.digest is not None
    written = (
        f"{_LOCAL}/{image.repository}" if image.is_local else f"far.example/{image.repository}"
    )
    written += "" if image.tag is None else f":{image.tag}"
    written += "" if image.digest is None else f"@{format_digest(image.digest)}"
    versions = [{"version": 1, "deployedImageName": written}]
    app = {"versions": versions, "deployedVersion": 1}
    again = parse_configuration(json.dumps({"appDefinitions": {"app": app}}).encode())
    assert again.running == {image}


CAPROVER = Target(
    "caprover",
    "Any bytes give the images of all apps, or one error that reveals nothing of the file",
    lambda _: plain(check_configuration),
    (_CONFIGURATIONS | json_values(_FIELDS)).map(encode_json),
)
