"""Free loopback ports for the servers of the demonstration.

A taken port is not a failure: Debian's packages run Prometheus and Alertmanager as services on
their usual ports, so another port is chosen. A program that takes that port before the server
starts makes the server fail; the server reports it and ends.
"""

import socket
from collections.abc import Collection
from dataclasses import dataclass

from demo.errors import DemoError

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class WantedPort:
    """A port that a user may name.

    Attributes:
        server: the server that will listen on the port.
        flag: the option that sets the port.
        number: the port; 0 for any.

    """

    server: str
    flag: str
    number: int


def usable_port(wanted: WantedPort, chosen: Collection[int] = ()) -> int:
    """Return the wanted port, or a free one if it is taken or already ``chosen``.

    Raises:
        DemoError: this user may not listen on the port, or on any.

    """
    if wanted.number and wanted.number not in chosen and _is_free(wanted):
        return wanted.number
    port = _any_port(chosen)
    if wanted.number:
        print(f"Port {wanted.number} is taken: {wanted.server} uses {port} instead", flush=True)
    return port


def _any_port(chosen: Collection[int]) -> int:
    port = 0
    while port in {0, *chosen}:
        try:
            with socket.create_server((HOST, 0)) as server:
                port = server.getsockname()[1]
        except OSError as error:
            raise DemoError(f"cannot listen on {HOST}: {error}") from error
    return port


def _is_free(wanted: WantedPort) -> bool:
    try:
        socket.create_server((HOST, wanted.number)).close()
    except PermissionError as error:
        raise DemoError(
            f"{wanted.flag} {wanted.number}: not allowed ({error}); name one above 1023"
        ) from error
    except OSError:
        return False
    return True
