"""Free loopback ports for the servers of the demonstration.

A port that is taken is no failure: Debian's packages run Prometheus and Alertmanager as services on
their usual ports, and another is chosen then. Between the choice and the server's start somebody
else may take it; that server then says so and ends.
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
        server: who is to listen on it.
        flag: the option that names it.
        number: 0 for any.

    """

    server: str
    flag: str
    number: int


def usable_port(wanted: WantedPort, chosen: Collection[int] = ()) -> int:
    """Give the wanted port, or a free one where it is taken or one of the ``chosen``.

    Raises:
        DemoError: this user may not listen on it, or on none at all.

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
