"""Build the sample store if it is missing, then serve the exporter on it.

If Prometheus and Alertmanager are installed, start them too, with the shipped alert rules: an alert
fires within a minute.
"""

import argparse
import importlib.util
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo.errors import DemoError
from demo.ports import WantedPort, usable_port
from demo.sample import LAYOUT_VERSION, build_sample, write_captain_config
from demo.serving import look_at, serve_alone, serve_stack
from demo.stack import Installed, Stack, only_one

_MARKER = "sample-version"
_UNFINISHED = "unfinished"
_LAST_PORT = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    try:
        registry = prepare(options.directory, time.time())
        if options.build_only:
            return 0
        _require_exporter()
        return _serve(options, registry)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace, registry: Path) -> int:
    """Serve with the installed servers; without Prometheus this process becomes the exporter."""
    port = usable_port(WantedPort("the exporter", "--port", options.port))
    print(look_at(registry, port), flush=True)
    if options.exporter_only:
        serve_alone(registry, port)
    installed = Installed.find()
    missing = installed.what_is_missing()
    if missing is not None:
        print(missing, flush=True)
    if installed.prometheus is None:
        serve_alone(registry, port)
    with only_one(options.directory) as alone:
        if not alone:
            print(
                f"Another demonstration runs in {options.directory}: the exporter serves alone; "
                "name another --directory to see alerts fire",
                flush=True,
            )
            serve_alone(registry, port)
        return serve_stack(registry, _stack(options, port, installed), installed)


def _stack(options: argparse.Namespace, exporter: int, installed: Installed) -> Stack:
    wanted = WantedPort("Prometheus", "--prometheus-port", options.prometheus_port)
    prometheus = usable_port(wanted, [exporter])
    alertmanager = None
    if installed.alertmanager is not None:
        wanted = WantedPort("Alertmanager", "--alertmanager-port", options.alertmanager_port)
        alertmanager = usable_port(wanted, [exporter, prometheus])
    return Stack(options.directory / "stack", exporter, prometheus, alertmanager)


def prepare(directory: Path, now: float) -> Path:
    """Build the sample in ``directory`` if it is missing, and return the registry's root.

    Raises:
        DemoError: the directory holds other files, or cannot be written.

    """
    registry, marker = directory / "registry", directory / _MARKER
    try:
        if _read_marker(directory) == str(LAYOUT_VERSION):
            print(f"Using the sample store in {registry}", flush=True)
            return registry
        for part in (registry, directory / "captain"):
            if part.exists():
                shutil.rmtree(part)
        directory.mkdir(parents=True, exist_ok=True)
        marker.write_text(_UNFINISHED)
        build_sample(registry, now)
        write_captain_config(directory / "captain", now)
        marker.write_text(str(LAYOUT_VERSION))
    except OSError as error:
        raise DemoError(
            f"--directory {directory}: cannot write the sample store ({error}); "
            "name another directory"
        ) from error
    print(f"Built the sample store in {registry}", flush=True)
    return registry


def _read_marker(directory: Path) -> str | None:
    """Return the version of the sample in a directory, or None without one.

    Raises DemoError for a directory with other files: they must not be overwritten or deleted.
    """
    if not directory.exists():
        return None
    try:
        return (directory / _MARKER).read_text(errors="replace")
    except FileNotFoundError:
        if any(directory.iterdir()):
            raise DemoError(
                f"--directory {directory}: not empty, and holds no sample store; "
                "name an empty or a new directory"
            ) from None
        return None


def _require_exporter() -> None:
    if importlib.util.find_spec("exporter") is None:
        raise DemoError(
            "the exporter is not installed: run this in the repository's root directory"
        )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(".demo"),
        help="where the sample store is kept (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=10996,
        help="port of the exporter; another if it is taken (default: %(default)s)",
    )
    for server, usual in (("prometheus", 9090), ("alertmanager", 9093)):
        parser.add_argument(
            f"--{server}-port",
            type=_port,
            default=usual,
            help=f"port of {server.capitalize()}; another if it is taken (default: %(default)s)",
        )
    parser.add_argument(
        "--exporter-only",
        action="store_true",
        help="start no Prometheus and no Alertmanager, even if they are installed",
    )
    parser.add_argument("--build-only", action="store_true", help="build the store and stop")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
