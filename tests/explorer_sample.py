"""The sample store behind the explorer, and an address of each of its pages."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.routing import compile_path

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder
from exporter.web.explorer.routes import PAGES
from tests.recorded_history import DAY, RecordedHistory, repository

SHOP = "captain/img-captain-shop"
TAG = "30"
"""The tag of the shop that runs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample store and the configuration of its platform.

    Attributes:
        store: writes and finds its files.
        captain: the directory with the configuration.

    """

    store: StoreBuilder
    captain: Path

    @property
    def flags(self) -> tuple[str | Path, ...]:
        """Say where both are."""
        return "--storage.root", self.store.root, "--caprover.config-dir", self.captain

    @property
    def image(self) -> str:
        """The digest of the shop's running image."""
        return self.store.tag_link(SHOP, TAG).read_text()

    @property
    def layer(self) -> str:
        """The digest of the lowest layer of that image."""
        manifest = json.loads(self.store.blob_path(self.image).read_bytes())
        digest: str = manifest["layers"][0]["digest"]
        return digest

    def pages(self) -> Mapping[str, int]:
        """Return addresses of pages, of every kind, and the status of each."""
        missing = f"sha256:{'0' * 64}"
        shown = (
            "/",
            "/map",
            f"/map?in={SHOP}&colour=age",
            "/map?colour=growth",
            "/repositories",
            "/repositories?q=shop&sort=name",
            "/repositories?page=99",
            f"/repositories/{SHOP}",
            f"/repositories/{SHOP}?keep=5&q=2&sort=size",
            f"/repositories/{SHOP}?days=7",
            "/repositories/tools/backup",
            f"/images/{self.image}",
            f"/images/{self.store.tag_link('tools/backup', '2.0').read_text()}",
            f"/blobs/{self.layer}",
            "/clean-up",
            "/clean-up?keep-last=5",
            "/issues",
            "/issues?kind=uploads",
            "/search?q=shop",
            f"/search?q={self.image[:13]}",
            "/search?q=",
        )
        wrong = (
            "/repositories?sort=colour",
            f"/repositories/{SHOP}?keep=many",
            f"/repositories/{SHOP}/_plan",
            "/clean-up?keep-last=one",
            "/clean-up/plan",
        )
        absent = (
            "/nothing",
            "/repositories/captain/img-captain-shpo",
            f"/images/{missing}",
            f"/blobs/{missing}",
            "/map?in=nowhere",
        )
        return {
            **dict.fromkeys(shown, 200),
            **dict.fromkeys(wrong, 400),
            **dict.fromkeys(absent, 404),
        }


def build(directory: Path) -> Sample:
    """Write the sample store below a directory."""
    now = time.time()
    sample = Sample(StoreBuilder(directory / "registry"), directory / "captain")
    build_sample(sample.store.root, now)
    write_captain_config(sample.captain, now)
    return sample


def record_history(sample: Sample, state: Path) -> None:
    """Write a history of forty days into a state directory."""
    path = state / "registry-storage-exporter" / "history.sqlite"
    history, now = RecordedHistory(path, root=str(sample.store.root.resolve())), int(time.time())
    for days in (40, 20, 10):
        history.now = now - days * DAY
        history.record(repository(SHOP, 10**9 // days), avail=10**12)
    history.file.close()


def route_of(address: str) -> str | None:
    """Return which of the explorer's pages answers an address."""
    path = urlsplit(address).path
    return next((each for each in PAGES if compile_path(each)[0].match(path)), None)
