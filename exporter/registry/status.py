"""Ask the registry as configured; a failure becomes a status instead of an error."""

import logging
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.snapshot import ApiStatus
from exporter.registry.api_client import (
    RegistryEndpoint,
    RequestObserver,
    certificate_not_after,
    poll,
)

_log = logging.getLogger(__name__)


def ask_registry(
    endpoint: RegistryEndpoint, password_file: Path | None, observer: RequestObserver
) -> ApiStatus:
    """Ask for all repositories and tags; after a failure they are unknown, with the reason."""
    not_after = None
    try:
        endpoint = _with_password(endpoint, password_file)
        not_after = _certificate_not_after(endpoint)
        return ApiStatus(poll(endpoint, observer), not_after)
    except ApiUnavailableError as error:
        return ApiStatus(None, not_after, str(error))


def _certificate_not_after(endpoint: RegistryEndpoint) -> float | None:
    """Return when the certificate expires; an expired one is why other requests fail."""
    try:
        return certificate_not_after(endpoint)
    except ApiUnavailableError as error:
        _log.debug("cannot see the registry's certificate: %s", error)
        return None


def _with_password(endpoint: RegistryEndpoint, file: Path | None) -> RegistryEndpoint:
    """Read the password again each time: a new one is used without a restart."""
    if file is None:
        return endpoint
    try:
        password = SecretStr(file.read_text().strip("\r\n"))
    except OSError as error:
        raise ApiUnavailableError(
            f"--registry.password-file {file} cannot be read: {error.strerror}"
        ) from error
    except UnicodeDecodeError:  # its message would quote a byte of the password
        raise ApiUnavailableError(f"--registry.password-file {file} is not UTF-8") from None
    return replace(endpoint, password=password)
