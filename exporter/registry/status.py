"""Asking the registry as configured, and what to publish of it when it does not answer."""

import logging

from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.snapshot import ApiStatus
from exporter.registry.api_client import (
    RegistryEndpoint,
    RequestObserver,
    certificate_not_after,
    poll,
)
from exporter.settings.model import RegistrySettings

_log = logging.getLogger(__name__)


def ask_registry(settings: RegistrySettings, observer: RequestObserver) -> ApiStatus:
    """Ask for all repositories and tags; a failure becomes "not known", with its reason."""
    not_after = None
    try:
        endpoint = _endpoint(settings)
        not_after = _certificate_not_after(endpoint)
        return ApiStatus(poll(endpoint, observer), not_after)
    except ApiUnavailableError as error:
        return ApiStatus(None, not_after, str(error))


def _certificate_not_after(endpoint: RegistryEndpoint) -> float | None:
    """Look at the certificate first: one that has ended is why the rest fails."""
    try:
        return certificate_not_after(endpoint)
    except ApiUnavailableError as error:
        _log.debug("cannot see the registry's certificate: %s", error)
        return None


def _endpoint(settings: RegistrySettings) -> RegistryEndpoint:
    """Read the password anew each time: a new one is taken without a restart."""
    password = settings.password
    if settings.password_file is not None:
        try:
            password = SecretStr(settings.password_file.read_text().strip("\r\n"))
        except OSError as error:
            raise ApiUnavailableError(
                f"--registry.password-file {settings.password_file} cannot be read: "
                f"{error.strerror}"
            ) from error
        except UnicodeDecodeError:  # which would tell a byte of the password
            raise ApiUnavailableError(
                f"--registry.password-file {settings.password_file} is not UTF-8"
            ) from None
    return RegistryEndpoint(
        url=settings.url or "",
        username=settings.username,
        password=password,
        ca_file=settings.ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        timeout=settings.timeout,
    )
