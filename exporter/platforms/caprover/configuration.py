"""CapRover's configuration file: which apps exist, and which images they run or can go back to.

The file is full of secrets. Nothing in it but the names of apps and images is kept: no message, log
line or error quotes a value or a key of it. If a part cannot be understood, the whole is rejected:
an app left out would make its images look orphaned.
"""

import hashlib
import logging
import os
import re
import stat
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from exporter.domain.digests import parse_digest
from exporter.domain.errors import PlatformUnreadableError
from exporter.domain.images import AppImages, ImageName, images_used
from exporter.domain.snapshot import PlatformStatus
from exporter.domain.uses import Use
from exporter.platforms.caprover.naming import NAME
from exporter.store.format.layout import is_repository_path, is_tag_name

FILE_NAME = "config-captain.json"
"""Its name in CapRover's directory ``/captain/data``."""

MAX_BYTES = 64 * 1024 * 1024
"""Room for thousands of apps, at some hundred bytes for each of an app's last 50 versions."""

_LOCAL = "LOCAL_REG"
_DOMAIN = re.compile(
    r"(?:[a-z0-9]+(?:-+[a-z0-9]+)*(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*)*|\[[0-9a-f:]+\])(?::[0-9]+)?"
)
"""The ``reference`` package's ``domain``, in lower case."""
_LOCAL_DOMAIN = re.compile(r"registry\..+:996")
"""Where CapRover serves its registry, whatever its root domain was when an image was built."""

_ADVICE = "check that CapRover works, and that it uses this file"

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_log = logging.getLogger(__name__)


class _Version(msgspec.Struct, rename="camel", gc=False):
    version: int
    deployed_image_name: str | None = None


class _App(msgspec.Struct, rename="camel"):
    versions: list[_Version]
    deployed_version: int | msgspec.UnsetType = msgspec.UNSET


class _Registry(msgspec.Struct, rename="camel", gc=False):
    registry_domain: str = ""
    registry_type: str = ""


class _Configuration(msgspec.Struct, rename="camel"):
    app_definitions: dict[str, _App]
    docker_registries: list[_Registry] | None = None


_decode = msgspec.json.Decoder(_Configuration).decode
_FIELDS = frozenset(
    field.encode_name
    for struct in (_Configuration, _App, _Version, _Registry)
    for field in msgspec.structs.fields(struct)
)


@dataclass(frozen=True, slots=True)
class Domains:
    """Which domains of images are this registry's, beside those that look like CapRover's own.

    Attributes:
        here: the domains of this registry.
        elsewhere: the domains of a registry on another server, whatever they look like.

    """

    here: frozenset[str]
    elsewhere: frozenset[str] = frozenset()

    def is_local(self, domain: str) -> bool:
        """Return whether an image with this domain, in lower case, belongs to this registry."""
        if domain in self.here:
            return True
        return domain not in self.elsewhere and _LOCAL_DOMAIN.fullmatch(domain) is not None


def parse_configuration(content: bytes, host: Domains | None = None) -> AppImages:
    """Return the apps in the bytes of ``config-captain.json``, and the images that they use.

    ``host`` are the domains of the server that has the registry; None if it is this one. Names
    that are not images are left out: a running or failed build has an empty one.

    Raises PlatformUnreadableError if it is not JSON, not in CapRover's format, or lists no app:
    a configuration that was just created must not turn all images into orphans.
    """
    return _parse(content, host)[0]


def _parse(content: bytes, host: Domains | None) -> tuple[AppImages, Domains]:
    configuration = _understand(content)
    if not configuration.app_definitions:
        raise PlatformUnreadableError("lists no app, which counts as unknown")
    own = frozenset(
        registry.registry_domain.lower()
        for registry in configuration.docker_registries or ()
        if registry.registry_type == _LOCAL and registry.registry_domain
    )
    # a server that pushes to another one's registry may have a registry of its own as well
    domains = Domains(own) if host is None else Domains(host.here, own - host.here)
    return _images(configuration, domains), domains


def _images(configuration: _Configuration, domains: Domains) -> AppImages:
    users: defaultdict[ImageName, dict[str, Use]] = defaultdict(dict)
    for name, app in configuration.app_definitions.items():
        for entry in app.versions:
            image = _parse_image(entry.deployed_image_name or "", domains)
            if image is None:
                continue
            if entry.version == app.deployed_version:
                users[image][name] = Use.RUNNING
            else:
                users[image].setdefault(name, Use.ROLLBACK)
    return images_used(frozenset(configuration.app_definitions), users)


def _understand(content: bytes) -> _Configuration:
    if not content.strip():
        raise PlatformUnreadableError("is empty")
    try:
        return _decode(content)
    except msgspec.ValidationError as error:
        problem = f"is not of the form that CapRover writes: {_place(str(error))}"
    except msgspec.DecodeError as error:
        truncated = str(error) == "Input data was truncated"
        problem = "is cut short" if truncated else "is not JSON"
    except (ValueError, RecursionError):  # not UTF-8, or nested too deeply
        problem = "is not JSON"
    # outside the handler, so that the error has no context: UnicodeDecodeError holds the content
    raise PlatformUnreadableError(problem)


def _place(complaint: str) -> str:
    """Return the place of a msgspec error, in names of our own fields only."""
    names = re.findall(r"\w+", complaint.rpartition(" at ")[2]) if "$." in complaint else []
    path = ".".join(name for name in names if name in _FIELDS)
    missing = re.match(r"Object missing required field `(\w+)`", complaint)
    if missing is not None and missing[1] in _FIELDS:
        return f"{missing[1]} is missing" + (f" in {path}" if path else "")
    return f"{path or 'the whole'} has a wrong type"


def _parse_image(name: str, domains: Domains) -> ImageName | None:
    """Parse ``[domain/]path[:tag][@digest]``; None if it is not an image's name.

    A domain is distinguished from the first part of the path as in ``splitDockerDomain`` of the
    ``reference`` package.
    """
    named, at, digest_text = name.partition("@")
    digest = parse_digest(digest_text) if at else None
    first, slash, rest = named.partition("/")
    has_domain = slash and (
        "." in first or ":" in first or first == "localhost" or first != first.lower()
    )
    domain = first.lower() if has_domain else ""
    repository, colon, tag = (rest if has_domain else named).partition(":")
    if (
        not is_repository_path(repository)
        or (has_domain and not _DOMAIN.fullmatch(domain))
        or (colon and not is_tag_name(tag))
        or (at and digest is None)
    ):
        return None
    return ImageName(
        repository=repository,
        tag=tag if colon else None if at else "latest",
        digest=digest,
        is_local=bool(domain) and domains.is_local(domain),
    )


class CaproverReader:
    """Reads the configuration in CapRover's data directory, and keeps the last good reading.

    The file is opened again each time, because CapRover replaces it by rename.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._status = PlatformStatus(NAME, images=None)
        self._parsed: tuple[bytes, Domains | None] | None = None
        self.domains = Domains(frozenset())
        """The domains of this registry, from the last good reading."""

    def read(self, host: Domains | None = None) -> PlatformStatus:
        """Read it now; after a failure the last good reading stays, with the reason.

        ``host`` is as for :func:`parse_configuration`.
        """
        before = self._status
        now = time.time()
        try:
            images, changed_at = self._parse(host)
            self._status = PlatformStatus(NAME, images, read_at=now, changed_at=changed_at)
        except PlatformUnreadableError as error:
            self._status = replace(before, failure=str(error))
        failure = self._status.failure
        if failure is None and before.failure is not None:
            _log.info("CapRover's configuration %s can be read again", self._path)
        elif failure is not None and failure != before.failure:
            kept = "no earlier reading" if before.images is None else "the last good reading stays"
            _log.warning("%s; %s", failure, kept)
        return self._status

    def _parse(self, host: Domains | None) -> tuple[AppImages, float]:
        content, changed_at = _read(self._path)
        parsed = hashlib.sha256(content, usedforsecurity=False).digest(), host
        if parsed == self._parsed and self._status.images is not None:
            return self._status.images, changed_at  # `apply` reads it before each deletion
        try:
            images, self.domains = _parse(content, host)
            self._parsed = parsed
        except PlatformUnreadableError as error:
            problem = str(error)
        else:
            return images, changed_at
        raise PlatformUnreadableError(f"{self._path} {problem}; {_ADVICE}")


def _read(path: Path) -> tuple[bytes, float]:
    """Return the file's content, and when it last changed, in Unix seconds."""
    try:
        return _read_regular_file(path)
    except PermissionError as error:
        advice = f"only root may read it, so let uid {os.geteuid()} read it"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        advice = "mount the directory that holds it, not the file: CapRover replaces the file"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {advice}") from error
    except OSError as error:
        advice = f"it must be a file that uid {os.geteuid()} may read, in a directory mounted whole"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {advice}") from error


def _read_regular_file(path: Path) -> tuple[bytes, float]:
    """Read the file at ``path``, through symbolic links, without ever blocking."""
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PlatformUnreadableError(
                f"{path} is not a regular file; mount the directory that holds it, not the file: "
                "Docker creates a directory if the file is missing"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise PlatformUnreadableError(
            f"{path} is larger than {MAX_BYTES >> 20} MiB, too large for CapRover's configuration; "
            f"{_ADVICE}"
        )
    return content, status.st_mtime
