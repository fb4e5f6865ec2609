"""Build the sample store where it is missing, then serve the exporter on it."""

import argparse
import importlib.util
import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from demo.sample import LAYOUT_VERSION, build_sample, write_captain_config

_HOST = "127.0.0.1"
_MARKER = "sample-version"
_UNFINISHED = "unfinished"
_LAST_PORT = 65535

_LOOK_AT = """\
Open http://{host}:{port}/ for the page, http://{host}:{port}/metrics for the metrics. Look at
  docker_registry_blob_bytes{{state="unreferenced"}}   what the next garbage collection frees
  docker_registry_repository_exclusive_bytes         what deleting each repository would free
  docker_registry_unpurgeable_uploads                uploads that the registry never cleans up
  docker_registry_gc_endangered_tags                 tags that --delete-untagged would break
  docker_registry_use_bytes                          whose the bytes are: orphaned apps among them
Ctrl-C stops it. The same as a report, with what can be freed and how:
  {program} report --storage.root {registry} --caprover.config-dir {captain}"""


class DemoError(Exception):
    """The demonstration cannot start; the message says why and what mends it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; serving replaces this process."""
    options = _parse(arguments)
    try:
        registry = prepare(options.directory, time.time())
        if options.build_only:
            return 0
        port = _usable_port(options.port)
        _require_exporter()
        print(
            _LOOK_AT.format(
                host=_HOST,
                port=port,
                registry=registry,
                captain=registry.parent / "captain",
                program=_program(),
            ),
            flush=True,
        )
        _serve(registry, port)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _program() -> str:
    """Give the way to the exporter's command from here; the environment need not be activated."""
    return os.path.relpath(Path(sys.executable).with_name("registry-storage-exporter"))


def prepare(directory: Path, now: float) -> Path:
    """Build the sample in ``directory`` unless it is there, and return the registry's root.

    Raises:
        DemoError: the directory holds something else, or cannot be written.

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
    """Read which sample is there; nothing that is not ours may be overwritten or deleted."""
    if not directory.exists():
        return None
    try:
        return (directory / _MARKER).read_text(errors="replace")
    except FileNotFoundError:
        if any(directory.iterdir()):
            raise DemoError(
                f"--directory {directory}: is not empty and holds no sample store; "
                "name an empty or a new directory"
            ) from None
        return None


def _usable_port(wanted: int) -> int:
    if _is_free(wanted):
        return wanted
    try:
        with socket.create_server((_HOST, 0)) as server:
            port: int = server.getsockname()[1]
    except OSError as error:
        raise DemoError(f"cannot listen on {_HOST}: {error}") from error
    if wanted:
        print(f"Port {wanted} is taken: using {port} instead", flush=True)
    return port


def _is_free(port: int) -> bool:
    if port == 0:
        return False
    try:
        socket.create_server((_HOST, port)).close()
    except PermissionError as error:
        raise DemoError(f"--port {port}: not allowed ({error}); name one above 1023") from error
    except OSError:
        return False
    return True


def _require_exporter() -> None:
    if importlib.util.find_spec("exporter") is None:
        raise DemoError(
            "the exporter is not installed: run this in the repository's root directory"
        )


def _serve(registry: Path, port: int) -> None:
    command = [sys.executable, "-m", "exporter", "serve", "--storage.root", str(registry)]
    command += ["--caprover.config-dir", str(registry.parent / "captain")]
    command += ["--retention.keep-last", "5"]
    command += ["--web.listen-address", f"{_HOST}:{port}"]
    try:
        os.execv(sys.executable, command)  # noqa: S606 - the point is to become the exporter
    except OSError as error:
        raise DemoError(f"cannot start {' '.join(command)}: {error}") from error


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
        help="port to serve on; a free one is chosen if it is taken (default: %(default)s)",
    )
    parser.add_argument("--build-only", action="store_true", help="build the store and stop")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
