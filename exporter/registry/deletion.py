"""Ask a registry whether it allows deletions, without deleting anything.

A registry answers that question only when it is asked to delete. So this sends one DELETE for
:data:`NO_MANIFEST`, a digest that no manifest has. Versions 2.8.2 and 3.0.0 of distribution first
check the login, then whether deletion is on, then whether the manifest exists. They change no file.

Only ``plan`` asks, never ``serve``.
"""

import asyncio
import logging
from pathlib import Path

import httpx

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.model import DeletionAnswer
from exporter.registry.auth import Authenticator
from exporter.registry.http import (
    Answer,
    Connection,
    RegistryEndpoint,
    RequestObserver,
    open_transport,
    registry_address,
)
from exporter.registry.password import with_password
from exporter.registry.refusals import is_unsupported

NO_MANIFEST = f"sha256:{'0' * 64}"
"""A digest without content: nobody knows bytes with this hash, and a registry checks hashes."""

_MAX_BODY = 2**16

_log = logging.getLogger(__name__)


def ask_deletion(
    endpoint: RegistryEndpoint,
    password_file: Path | None,
    repository: str,
    observer: RequestObserver,
) -> DeletionAnswer:
    """Return whether the registry allows deletions in ``repository``, as far as it says so."""
    try:
        answer = asyncio.run(_ask(with_password(endpoint, password_file), repository, observer))
    except ApiUnavailableError as error:
        _log.info("whether the registry allows deletions is not known: %s", error)
        return DeletionAnswer.UNKNOWN
    if answer.status != httpx.codes.METHOD_NOT_ALLOWED:
        return DeletionAnswer.UNKNOWN
    return DeletionAnswer.SWITCHED_OFF if is_unsupported(answer) else DeletionAnswer.NOT_ALLOWED


async def _ask(endpoint: RegistryEndpoint, repository: str, observer: RequestObserver) -> Answer:
    base = registry_address(endpoint)
    path = f"/v2/{repository}/manifests/{NO_MANIFEST}".encode("ascii")
    url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + path)
    async with open_transport(endpoint) as transport:
        connection = Connection(
            transport, observer, seconds=endpoint.timeout, max_body_bytes=_MAX_BODY
        )
        answer = await connection.send("DELETE", "deletion", url, None)
        if answer.status != httpx.codes.UNAUTHORIZED:
            return answer
        authenticator = Authenticator(endpoint, base, connection)
        login = await authenticator.log_in(answer, f"repository:{repository}:delete", None)
        return await connection.send("DELETE", "deletion", url, login.header)
