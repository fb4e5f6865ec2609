"""Asking the registry as configured, and what to publish of it when it does not answer."""

import logging

from pydantic import SecretStr

from exporter.config import RegistrySettings
from exporter.errors import ApiUnavailableError
from exporter.model import ApiView
from exporter.registry_api import RegistryEndpoint, RequestObserver, certificate_not_after, poll
from exporter.snapshot import ApiStatus

_log = logging.getLogger(__name__)


def ask_registry(settings: RegistrySettings, observer: RequestObserver) -> ApiStatus:
    """Ask for all repositories and tags; what goes wrong is logged and becomes "not known"."""
    view: ApiView | None = None
    not_after = None
    try:
        endpoint = _endpoint(settings)
        try:
            not_after = certificate_not_after(endpoint)
        except ApiUnavailableError as error:
            _log.warning("cannot see the registry's certificate: %s", error)
        view = poll(endpoint, observer)
    except ApiUnavailableError as error:
        _log.warning("the registry's API is not available: %s", error)
    return ApiStatus(view, not_after)


def _endpoint(settings: RegistrySettings) -> RegistryEndpoint:
    """Read the password anew each time: a new one is taken without a restart."""
    password = settings.password
    if settings.password_file is not None:
        try:
            password = SecretStr(settings.password_file.read_text().strip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise ApiUnavailableError(
                f"--registry.password-file {settings.password_file} cannot be read: {error}"
            ) from error
    return RegistryEndpoint(
        url=settings.url or "",
        username=settings.username,
        password=password,
        ca_file=settings.ca_file,
        insecure_skip_verify=settings.insecure_skip_verify,
        timeout=settings.timeout,
    )
