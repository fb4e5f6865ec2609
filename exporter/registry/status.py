"""Ask the registry as configured; a failure becomes a status instead of an error."""

import logging
from pathlib import Path

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.snapshot import ApiStatus
from exporter.registry.api_client import (
    RegistryEndpoint,
    RequestObserver,
    poll,
)
from exporter.registry.certificate import certificate_not_after
from exporter.registry.password import with_password

_log = logging.getLogger(__name__)


def ask_registry(
    endpoint: RegistryEndpoint, password_file: Path | None, observer: RequestObserver
) -> ApiStatus:
    """Ask for all repositories and tags; after a failure they are unknown, with the reason."""
    not_after = None
    try:
        endpoint = with_password(endpoint, password_file)
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
