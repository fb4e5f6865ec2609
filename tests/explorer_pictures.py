"""Take the pictures of the explorer in docs/pictures: `python -m tests.explorer_pictures`.

From the sample store, in the browser, light and dark. `make pictures` runs it. The store is on a
small filesystem of its own, which only root may mount: on a large one it would fill nothing.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from demo.sample import build_sample, write_captain_config
from exporter.compose import scan
from exporter.history.points import store_point_of
from exporter.history.recorder import HistoryFile
from exporter.settings.sources import argument_parser, load_settings
from tests.browser import running_browser, sheet
from tests.exporter_process import REPOSITORY, Exporter
from tests.mounts import Mounts
from tests.small_filesystem import small_filesystem

PICTURES = REPOSITORY / "docs" / "pictures"
MAX_BYTES = 300_000
SCHEMES = ("light", "dark")
PAGES = {
    "overview": "/",
    "map": "/map",
    "repository": "/repositories/captain/img-captain-shop",
}
"""Addresses by the name of their picture."""

_SIZE = {"width": 1280, "height": 860}
_HOUR = 3600
_DAYS = 30
_GROWN_IN_A_DAY = 0.012
"""Share of today's bytes that came with each of the last days."""


def take(directory: Path) -> None:
    """Write a picture of each page in each scheme."""
    now, mounts = time.time(), Mounts()
    with (
        tempfile.TemporaryDirectory() as scratch,
        small_filesystem(mounts, Path(scratch) / "disk", "100m") as disk,
    ):
        registry, captain = disk.place / "registry", Path(scratch) / "captain"
        build_sample(registry, now)
        write_captain_config(captain, now)
        (disk.place / "database").write_bytes(bytes(9 * 1024**2))
        state = Path(scratch) / "state"
        state.mkdir()
        flags = (
            *("--storage.root", str(registry), "--caprover.config-dir", str(captain)),
            *("--retention.keep-last", "5", "--storage.limit", "100MB"),
            *("--cache.path", str(state / "inventory.sqlite")),
        )
        record_past(flags, state / "history.sqlite", registry, now)
        with (
            Exporter(*flags) as exporter,
            running_browser() as browser,
        ):
            for scheme in SCHEMES:
                with sheet(browser, exporter.url, viewport=_SIZE, color_scheme=scheme) as opened:
                    for name, path in PAGES.items():
                        opened.open(path).page.screenshot(path=directory / f"{name}-{scheme}.png")
                    if opened.complaints:
                        raise SystemExit("\n".join(opened.complaints))


def record_past(flags: Sequence[str], file: Path, registry: Path, now: float) -> None:
    """Record a month in which the store has grown to what it is, a little each hour."""
    settings, _ = load_settings(argument_parser("pictures", ""), flags, {})
    snapshot = scan(settings).subject.snapshot
    point = store_point_of(snapshot, now)
    if point is None or snapshot.store is None or point.avail_bytes is None:
        raise SystemExit("the sample store was not read")
    history = HistoryFile(file, lambda: os.path.realpath(registry), 50_000_000)
    repositories = snapshot.store.figures.repositories
    for hours in range(_DAYS * 24, 0, -1):
        share = 1 - _GROWN_IN_A_DAY * hours / 24
        blobs = {state: int(share * size) for state, size in point.blob_bytes.items()}
        missing = point.store_bytes - sum(blobs.values()) - point.upload_bytes
        past = replace(
            point,
            at=int(now - hours * _HOUR),
            blob_bytes=blobs,
            avail_bytes=point.avail_bytes + missing,
        )
        history.record(
            past,
            [
                replace(
                    each,
                    referenced_bytes=int(share * each.referenced_bytes),
                    exclusive_bytes=int(share * each.exclusive_bytes),
                )
                for each in repositories
            ],
        )
    history.close()


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take(PICTURES)
    large = [each for each in PICTURES.glob("*.png") if each.stat().st_size > MAX_BYTES]
    sys.exit(f"larger than {MAX_BYTES} bytes: {large}" if large else 0)
