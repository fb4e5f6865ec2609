"""Parse and format durations, sizes and addresses as people write and read them."""

import re
from dataclasses import dataclass
from fractions import Fraction

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d|w))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kmgtp]i?)?b)?", re.ASCII | re.IGNORECASE)
_MULTIPLES = "kmgtp"
_BINARY_STEP = 1024
_MAX_PORT = 65535
_NEVER_IN_A_HOST = re.compile(r"[\s\[\]/@]")


def parse_duration(text: str) -> float:
    """Read ``30s``, ``5m``, ``1h30m``, ``36h``, ``7d``, ``2w`` as seconds. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError("is not a duration; write e.g. 30s, 5m, 1h30m, 36h")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _DURATION_PART.findall(text))


def parse_size(text: str) -> int:
    """Read ``50GiB``, ``2GB``, ``4096`` as bytes. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("is not a size; write e.g. 50GiB, 2GB, or a number of bytes")
    amount, unit = match.groups()
    unit = (unit or "b").lower()
    step = _BINARY_STEP if "i" in unit else 1000
    return int(Fraction(amount) * step ** (_MULTIPLES.find(unit[0]) + 1))


def format_size(size: float) -> str:
    """Write bytes for people: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        decimals = 0 if unit == "B" else 1
        if abs(round(size, decimals)) < _BINARY_STEP:
            return f"{size:.{decimals}f} {unit}"
        size /= _BINARY_STEP
    return f"{size:.1f} PiB"


def format_duration(seconds: float) -> str:
    """Write seconds for people, in the largest unit that fits: ``90s``, ``12d``."""
    for unit in ("d", "h", "m"):
        if seconds >= 2 * _SECONDS[unit]:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:.3g}s" if seconds >= 1 else f"{seconds * 1000:.0f}ms"


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen.

    Attributes:
        host: a name or address; empty for all interfaces.
        port: 0 for any free one.

    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress:
    """Read ``:10996``, ``127.0.0.1:10996``, ``[::1]:10996``. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    is_port = re.fullmatch(r"\d{1,5}", port, re.ASCII) and int(port) <= _MAX_PORT
    is_host = not _NEVER_IN_A_HOST.search(host) and (":" in host or not bracketed)
    if not colon or not is_port or not is_host:
        raise ValueError("is not an address; write e.g. :10996, 127.0.0.1:10996, [::1]:10996")
    if ":" in host and not bracketed:
        raise ValueError(f"needs brackets around an IPv6 address: [{host}]:{port}")
    return ListenAddress(host, int(port))
