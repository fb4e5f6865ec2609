"""The registry's password, from a file."""

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from exporter.domain.errors import ApiUnavailableError
from exporter.registry.http import RegistryEndpoint


def with_password(endpoint: RegistryEndpoint, file: Path | None) -> RegistryEndpoint:
    """Return the endpoint with the password that the file holds now, if there is a file.

    It is read again each time: a new one is used without a restart. Raises ApiUnavailableError.
    """
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
