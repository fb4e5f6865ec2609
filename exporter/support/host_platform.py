"""The platform of this host, as images name it."""

import platform

_ARCHITECTURES = {
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
    "x86_64": "amd64",
}
"""Go's names, which images use, by the kernel's; the others are the same in both."""


def host_platform(machine: str | None = None) -> str:
    """Return the platform of images that a host runs, such as ``linux/amd64``.

    ``machine`` is the kernel's name of its architecture; None for this host's. Empty if unknown.
    """
    machine = platform.machine() if machine is None else machine
    return f"linux/{_ARCHITECTURES.get(machine, machine)}" if machine else ""
