"""Asking a running exporter whether it is healthy."""

import httpx

from exporter.errors import OutputError
from exporter.quantities import ListenAddress

_TIMEOUT_SECONDS = 4.0


def ask_health(address: ListenAddress) -> str:
    """Ask ``/-/healthy`` of the exporter that listens on ``address``.

    Raises OutputError where it does not answer, or says that it is not healthy.
    """
    loopback = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect
    target = ListenAddress(loopback.get(address.host, address.host), address.port)
    url = f"http://{target}/-/healthy"
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_SECONDS) as client:
            answer = client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OutputError(
            f"{url} does not answer: {error}; is the exporter running, and on this "
            "--web.listen-address?"
        ) from error
    if answer.status_code != httpx.codes.OK:
        raise OutputError(f"{url} says {answer.status_code}: {answer.text.strip()}")
    return answer.text
