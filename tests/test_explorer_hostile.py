"""Stores that nobody wishes for, in a real browser: hostile, damaged, empty, and large ones."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from demo.store import StoreBuilder, noise
from tests.browser import WIDTHS, running_browser, sheet
from tests.explorer_sample import SHOP, build
from tests.exporter_process import Exporter
from tests.web_page import read_page

NAME = "/".join(("a" * 120, "b" * 64, "c" * 64))
"""A repository's name; the registry allows 255 characters with the host's."""

TAG = "t" * 128
HOSTILE = "<script>window.hurt = 1</script>\"'><img src=x onerror='window.hurt = 1'>"
RTL = "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\N{RIGHT-TO-LEFT ISOLATE}"
LABELS = {
    "script": HOSTILE,
    HOSTILE: "name",
    "rtl": RTL,
    RTL: "rtl",
    "nul": "a\0b\x1b[31m\x07",
    "long": "x" * 1_000_000,
    "y" * 300: "z" * 300,
}
MOST_BYTES = 100_000
LARGE = 2000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


def look(browser: Browser, exporter: Exporter, paths: list[str]) -> None:
    """Assert that pages are well-formed, small, fit all screens, and that axe finds nothing."""
    found = {}
    with sheet(browser, exporter.url) as opened:
        for path in paths:
            answer = exporter.get(path, accept_encoding="gzip").raise_for_status()
            assert int(answer.headers["content-length"]) < MOST_BYTES, path
            read_page(answer.text)
            opened.open(path)
            assert {width: opened.overflow_at(width) for width in WIDTHS} == dict.fromkeys(
                WIDTHS, 0
            ), path
            found[path] = opened.violations()
            assert opened.page.evaluate("'hurt' in window") is False, path
        assert {path: each for path, each in found.items() if each} == {}
        assert opened.complaints == []
    # scans complain of what they find; pages do not
    assert [each for each in exporter.complaints if "logger=serve.refresh" not in each] == []


def pages_of(repository: str, tag: str, *digests: str) -> list[str]:
    """Return addresses of every kind of page."""
    return [
        "/", "/map", f"/map?in={repository}", "/repositories", f"/repositories?q={repository}",
        f"/repositories/{repository}", f"/repositories/{repository}?keep=0", "/clean-up",
        "/clean-up?keep-last=0", "/issues", f"/search?q={repository}", f"/search?q={tag}",
        *(f"/images/{each}" for each in digests),
    ]  # fmt: skip


def hostile_config(layers: int) -> bytes:
    steps = [HOSTILE, RTL, "a\0b", "R" * 1_000_000, "RUN " + "w" * 400]
    config = {
        "os": "linux",
        "architecture": "amd64" * 60,
        "author": HOSTILE,
        "created": "yesterday",
        "config": {
            "Labels": LABELS,
            "Entrypoint": [HOSTILE, "e" * 500],
            "Cmd": [RTL, "\0"],
            "WorkingDir": "/" + "d" * 400,
            "User": "u" * 400,
            "Env": [f"{HOSTILE}=1", f"{'V' * 300}=hunter2"],
            "ExposedPorts": {"p" * 300: {}},
            "Volumes": {HOSTILE: {}},
        },
        "history": [{"created_by": each} for each in steps],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"] * layers},
    }
    return json.dumps(config).encode()


def test_names_tags_and_labels_of_any_kind_are_shown_in_full_or_cut_and_run_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    store = StoreBuilder(tmp_path / "registry")
    layers = [noise(f"layer {number}", 2000) for number in range(5)]
    config = hostile_config(len(layers))
    digest = store.image(NAME, TAG, layers, config)
    other = store.image(NAME, "other", layers[:1], media="oci")
    index = store.index(NAME, "i" * 128, [digest, other])
    store.image("short", TAG, layers[:2])
    store.upload(NAME, noise("upload", 500), 1e9)
    stray = store.version_path / "repositories" / "bad\u202e<script>\n" / ("s" * 200)
    stray.mkdir(parents=True)
    (stray / "_manifests").mkdir()
    store.stray(f"docker/registry/v2/{HOSTILE.replace('/', '')[:60]}", noise("stray", 100))
    with Exporter("--storage.root", store.root) as exporter:
        paths = pages_of(NAME, TAG, digest, other, index)
        page = exporter.get(f"/images/{digest}").text
        assert {"Labels", "Layers", "Entry point"} <= {
            each.text for each in read_page(page).all("h2", "dt")
        }
        assert "hunter2" not in page
        assert "<script>window" not in page
        assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", page)
        look(browser, exporter, paths)
        assert "Nothing urgent is wrong" in exporter.get("/issues").text


def test_an_empty_store_has_every_page(browser: Browser, tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    (store.version_path / "blobs").mkdir(parents=True)
    (store.version_path / "repositories").mkdir()
    with Exporter("--storage.root", store.root) as exporter:
        shared = ["/", "/map", "/repositories", "/clean-up", "/clean-up?keep-last=0", "/issues"]
        look(browser, exporter, [*shared, "/search?q=app", "/search"])
        assert "There is no repository." in exporter.get("/repositories").text
        assert "Nothing is wrong" in exporter.get("/issues").text


def test_a_damaged_store_has_every_page(browser: Browser, tmp_path: Path) -> None:
    sample = build(tmp_path)
    store = sample.store
    broken, lacking, nowhere = (store.tag_link(SHOP, tag) for tag in ("9", "12", "15"))
    digests = [each.read_text() for each in (broken, lacking)]
    store.blob_path(digests[0]).write_text("{broken")
    layer = json.loads(store.blob_path(digests[1]).read_text())["layers"][0]["digest"]
    shutil.rmtree(store.blob_path(layer).parent)
    nowhere.write_text("nonsense")
    (store.repository_path("tools/backup") / "_manifests" / "tags" / "@eaDir").mkdir()
    with Exporter(*sample.flags, until_ready=True) as exporter:
        paths = pages_of(SHOP, "9", *digests, sample.image)
        look(browser, exporter, [*paths, f"/blobs/{layer}", "/issues?kind=broken-tags"])


def test_a_large_store_has_small_pages(browser: Browser, tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    layer = store.blob(noise("base", 1000))
    digests = [
        store.image(f"team-{number % 40}/app-{number:04}", "1.0", [layer, noise(str(number), 300)])
        for number in range(LARGE)
    ]
    for number in range(LARGE):
        store.tag("team-0/app-0000", f"build-{number}", digests[0])
    with Exporter("--storage.root", store.root) as exporter:
        paths = pages_of("team-0/app-0000", "build-1", digests[0])
        more = ["/map?in=team-1/", "/map?rest=100", "/repositories?page=40&sort=name"]
        more += ["/repositories/team-0/app-0000?page=20&sort=tag", f"/blobs/{layer}"]
        look(browser, exporter, [*paths, *more, "/clean-up?older-than=1s&match=.*"])
