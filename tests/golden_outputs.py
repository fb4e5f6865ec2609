"""Golden files: output of the commands for a few stores, without parts that differ between runs.

``python -m tests.golden_outputs`` writes them again, after an intended change of the output.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder
from tests.in_process import run_command

NOW = 1_790_000_000.0
"""When the stores were written, in Unix seconds: before every run."""

GOLDEN = Path(__file__).parent / "golden"

_PER_RUN = re.compile(
    r"docker_registry_(filesystem_\w+|scan_duration_seconds|exporter_build_info"
    r"|scan_last_success_timestamp_seconds)"
)
_PER_RUN_KEYS = ("root", "scanned_at", "scan_duration_seconds", "filesystem")


def _sample(root: Path) -> StoreBuilder:
    build_sample(root, NOW)
    write_captain_config(root.parent / "captain", NOW)
    return StoreBuilder(root)


def _damaged(root: Path) -> StoreBuilder:
    """Damage the sample in all ways that leave it readable."""
    store = _sample(root)
    blog, shop, api = (f"captain/img-captain-{app}" for app in ("blog", "shop", "api"))
    store.blob_path(store.tag_link(blog, "3").read_text()).write_text('{"schemaVersion": 2, "lay')
    manifest = json.loads(store.blob_path(store.tag_link(shop, "9").read_text()).read_text())
    store.blob_path(manifest["layers"][-1]["digest"]).unlink()
    grown = json.loads(store.blob_path(store.tag_link(shop, "8").read_text()).read_text())
    with store.blob_path(grown["layers"][-1]["digest"]).open("ab") as layer:
        layer.write(b"more")
    store.revision_link(api, store.tag_link(api, "4").read_text()).unlink()
    for link in (
        store.revision_link(api, store.tag_link(api, "5").read_text()),
        store.tag_link(blog, "5"),
    ):
        link.write_text("nonsense")
        os.utime(link, (NOW, NOW))
    store.tag_link(blog, "6").unlink()
    store.stray(f"docker/registry/v2/repositories/{blog}/_manifests/tags/notes.txt", b"file")
    store.stray("docker/registry/v2/repositories/Upper/Case/_manifests/tags/x/file", b"misnamed")
    store.stray("docker/registry/v2/blobs/sha256/ab/not-a-digest/data", b"no blob")
    return store


def _hidden(root: Path) -> StoreBuilder:
    """Hide repositories from version 2 of the registry, whose walk ends at such a file."""
    store = _sample(root)
    store.stray("docker/registry/v2/repositories/captain/_file", b"ends the walk")
    return store


def _unreadable(root: Path) -> StoreBuilder:
    """Replace a directory of tags by a symbolic link, which is never followed."""
    store = _damaged(root)
    tags = store.repository_path("tools/backup") / "_manifests/tags"
    tags.rename(root.parent / "moved")
    tags.symlink_to(root.parent / "moved")
    return store


STORES: Mapping[str, Callable[[Path], object]] = {
    "sample": _sample,
    "damaged": _damaged,
    "hidden": _hidden,
    "unreadable": _unreadable,
}


def outputs_of(name: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Build a store below ``directory``; yield the name and content of each of its golden files."""
    root = directory / "registry"
    STORES[name](root)
    options: list[str | Path] = ["--storage.root", root]
    options += ["--caprover.config-dir", directory / "captain", "--retention.keep-last", "3,7"]
    metrics = run_command("collect", *options)
    # whatever space is left on the disk of the tests
    never = [f"--alerts.storage-almost-full.{each}=0" for each in ("warning", "critical")]
    report = run_command("report", "--format", "json", *options, *never)
    assert (metrics.exit_code, report.exit_code) == (0, 0), metrics.complaints + report.complaints
    yield f"{name}.prom", _stable_metrics(metrics.output)
    yield f"{name}.json", _stable_report(report.output, directory)


def _stable_metrics(page: str) -> str:
    """Remove lines that differ between runs, and HELP, whose wording may change."""
    lines = page.splitlines(keepends=True)
    return "".join(
        line for line in lines if not line.startswith("# HELP") and not _PER_RUN.search(line)
    )


def _stable_report(document: str, directory: Path) -> str:
    for key in _PER_RUN_KEYS[:3]:
        document = re.sub(rf'^  "{key}": .*\n', "", document, flags=re.MULTILINE)
    document = re.sub(
        r'^  "filesystem": \{.*?^  \},\n', "", document, flags=re.MULTILINE | re.DOTALL
    )
    return document.replace(str(directory), "DIRECTORY")


def main() -> None:
    """Write the golden files."""
    for name in STORES:
        with TemporaryDirectory() as directory:
            for file, content in outputs_of(name, Path(directory)):
                (GOLDEN / file).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
