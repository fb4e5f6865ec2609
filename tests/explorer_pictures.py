"""Take the pictures of the explorer in docs/pictures: `python -m tests.explorer_pictures`.

From the sample store, in the browser, light and dark. `make pictures` runs it. The store is on a
small filesystem of its own, which only root may mount: on a large one it would fill nothing.
"""

import sys
import tempfile
import time
from pathlib import Path

from demo.sample import build_sample, write_captain_config
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
        with (
            Exporter(
                *("--storage.root", registry, "--caprover.config-dir", captain),
                *("--retention.keep-last", "5", "--storage.limit", "100MB"),
            ) as exporter,
            running_browser() as browser,
        ):
            for scheme in SCHEMES:
                with sheet(browser, exporter.url, viewport=_SIZE, color_scheme=scheme) as opened:
                    for name, path in PAGES.items():
                        opened.open(path).page.screenshot(path=directory / f"{name}-{scheme}.png")
                    if opened.complaints:
                        raise SystemExit("\n".join(opened.complaints))


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take(PICTURES)
    large = [each for each in PICTURES.glob("*.png") if each.stat().st_size > MAX_BYTES]
    sys.exit(f"larger than {MAX_BYTES} bytes: {large}" if large else 0)
