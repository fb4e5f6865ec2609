"""CapRover's own configuration: which apps there are, and which images they run or can go back to.

The file is full of secrets, so nothing of its content is ever told, but the images that apps use:
no message, no log line and no error holds a value or a key of it. What cannot be understood as a
whole is not understood at all: an app left out would make its images look like an orphan's.
"""

import logging
import os
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from exporter.domain.digests import parse_digest
from exporter.domain.errors import PlatformUnreadableError
from exporter.domain.images import AppImages, ImageName
from exporter.domain.snapshot import PlatformStatus
from exporter.platforms.caprover.naming import NAME
from exporter.store.format.layout import is_repository_path, is_tag_name

FILE_NAME = "config-captain.json"
"""CapRover's name for it, in its directory ``/captain/data``."""

MAX_BYTES = 64 * 1024 * 1024
"""Some hundred bytes for each of an app's last 50 versions: room for thousands of apps."""

_LOCAL = "LOCAL_REG"
_DOMAIN = re.compile(
    r"(?:[a-z0-9]+(?:-+[a-z0-9]+)*(?:\.[a-z0-9]+(?:-+[a-z0-9]+)*)*|\[[0-9a-f:]+\])(?::[0-9]+)?"
)
"""The ``reference`` package's ``domain``, in lower case."""
_LOCAL_DOMAIN = re.compile(r"registry\..+:996")
"""Where CapRover serves its registry, whatever the root domain was when the image was built."""

_MEND = "check that CapRover works, and that it is this file that it uses"

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


def parse_configuration(content: bytes) -> AppImages:
    """Tell from the bytes of ``config-captain.json`` what apps there are and what they use.

    Names that are no image are left out: a build that runs or failed has an empty one.

    Raises PlatformUnreadableError where it is no JSON, not of CapRover's form, or lists no app:
    a configuration that was just made anew must not turn all images into orphans.
    """
    configuration = _understand(content)
    if not configuration.app_definitions:
        raise PlatformUnreadableError("lists no app, which is taken for not known")
    domains = frozenset(
        registry.registry_domain.lower()
        for registry in configuration.docker_registries or ()
        if registry.registry_type == _LOCAL and registry.registry_domain
    )
    running: set[ImageName] = set()
    others: set[ImageName] = set()
    for app in configuration.app_definitions.values():
        for entry in app.versions:
            image = _parse_image(entry.deployed_image_name or "", domains)
            if image is not None:
                (running if entry.version == app.deployed_version else others).add(image)
    return AppImages(
        frozenset(configuration.app_definitions), frozenset(running), frozenset(others - running)
    )


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
    except (ValueError, RecursionError):  # no UTF-8, or nested too deeply
        problem = "is not JSON"
    # out here, so that the error has no context: a UnicodeDecodeError carries all that was read
    raise PlatformUnreadableError(problem)


def _place(complaint: str) -> str:
    """Say what a complaint of msgspec is about, in names of our own fields only."""
    names = re.findall(r"\w+", complaint.rpartition(" at ")[2]) if "$." in complaint else []
    path = ".".join(name for name in names if name in _FIELDS)
    missing = re.match(r"Object missing required field `(\w+)`", complaint)
    if missing is not None and missing[1] in _FIELDS:
        return f"{missing[1]} is missing" + (f" in {path}" if path else "")
    return f"{path or 'the whole'} has a wrong type"


def _parse_image(name: str, local_domains: frozenset[str]) -> ImageName | None:
    """Read ``[domain/]path[:tag][@digest]``; None where it is no image's name.

    What is a domain, and not the first part of the path, is told as ``splitDockerDomain`` of the
    ``reference`` package does.
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
    is_local = domain in local_domains or _LOCAL_DOMAIN.fullmatch(domain) is not None
    return ImageName(
        repository=repository,
        tag=tag if colon else None if at else "latest",
        digest=digest,
        is_local=bool(domain) and is_local,
    )


class CaproverReader:
    """Reads the configuration in CapRover's data directory, and remembers the last good reading.

    The file is opened anew each time: CapRover replaces it by another one of the same name.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._status = PlatformStatus(NAME, images=None)

    def read(self) -> PlatformStatus:
        """Read it now; a failure leaves what the last good reading said, with the reason."""
        before = self._status
        now = time.time()
        try:
            self._status = PlatformStatus(NAME, self._parse(), read_at=now)
        except PlatformUnreadableError as error:
            self._status = replace(before, failure=str(error))
        failure = self._status.failure
        if failure is None and before.failure is not None:
            _log.info("CapRover's configuration %s reads well again", self._path)
        elif failure is not None and failure != before.failure:
            kept = "no earlier reading" if before.images is None else "the last good reading stays"
            _log.warning("%s; %s", failure, kept)
        return self._status

    def _parse(self) -> AppImages:
        content = _read(self._path)
        try:
            return parse_configuration(content)
        except PlatformUnreadableError as error:
            problem = str(error)
        raise PlatformUnreadableError(f"{self._path} {problem}; {_MEND}")


def _read(path: Path) -> bytes:
    try:
        return _read_regular_file(path)
    except PermissionError as error:
        mend = f"CapRover keeps it for root alone, so uid {os.geteuid()} must be allowed to read it"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {mend}") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        mend = "mount the directory that holds it, not the file, which CapRover replaces"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {mend}") from error
    except OSError as error:
        mend = f"it must be a file that uid {os.geteuid()} may read, in a directory mounted whole"
        raise PlatformUnreadableError(f"cannot read {path}: {error.strerror}; {mend}") from error


def _read_regular_file(path: Path) -> bytes:
    """Read the file that ``path`` leads to, over symbolic links too, without ever waiting."""
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise PlatformUnreadableError(
                f"{path} is no regular file; mount the directory that holds it, not the file: "
                "Docker makes a directory of what it does not find"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise PlatformUnreadableError(
            f"{path} is larger than {MAX_BYTES >> 20} MiB, which no configuration of CapRover is; "
            f"{_MEND}"
        )
    return content
