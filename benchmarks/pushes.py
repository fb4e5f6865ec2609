"""Changes that a registry makes to a store while it is measured, and how to undo them.

A benchmark's store is used again: names, contents and sizes are the same afterwards.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from pathlib import Path

from demo.store import Part, StoreBuilder, noise

_LAYER_BYTES = 256
_LISTED = ("_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags")


def repositories_of(root: Path) -> list[str]:
    """List the repositories, sorted by name."""
    above = root / "docker" / "registry" / "v2" / "repositories"
    found = above.glob("*/*/_manifests")
    return sorted(str(each.parent.relative_to(above)) for each in found)


@contextmanager
def pushed(root: Path, repository: str, tag: str) -> Iterator[None]:
    """Push an image that shares layers with the repository; remove it when the context ends."""
    store = StoreBuilder(root)
    home = store.repository_path(repository)
    before = [_names_in(home / part) for part in _LISTED]
    layers: list[Part] = [*_most_layers(store, home), noise(f"{repository}:{tag}", _LAYER_BYTES)]
    try:
        store.image(repository, tag, layers)
        yield
    finally:
        # a new link means a new blob: its content is made from repository and tag
        for part, old in zip(_LISTED, before, strict=True):
            for name in _names_in(home / part) - old:
                shutil.rmtree(home / part / name)
                if part != _LISTED[-1]:
                    shutil.rmtree(store.blob_path(f"sha256:{name}").parent, ignore_errors=True)


@contextmanager
def retagged(root: Path, share: float) -> Iterator[int]:
    """Point a share of all tags, spread evenly, to other manifests of their repositories.

    The links are rewritten in place, and restored when the context ends. Yields their number.
    """
    links = chain.from_iterable(_tag_links(root, name) for name in repositories_of(root))
    changes = [
        (link, other.read_bytes())
        for link, other in islice(links, 0, None, max(1, round(1 / share)))
        if other != link
    ]
    with ExitStack() as undoing:
        for link, content in changes:
            undoing.callback(link.write_bytes, link.read_bytes())
            link.write_bytes(content)
        yield len(changes)


def _tag_links(root: Path, repository: str) -> Sequence[tuple[Path, Path]]:
    """Pair the link of each tag with that of the next tag."""
    tags = StoreBuilder(root).repository_path(repository) / "_manifests" / "tags"
    links = [tags / name / "current" / "link" for name in sorted(_names_in(tags))]
    return list(zip(links, [*links[1:], *links[:1]], strict=True))


def _names_in(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


def _most_layers(store: StoreBuilder, home: Path) -> list[str]:
    """Return all layers but the last of an image of the repository; none without an image."""
    for name in sorted(_names_in(home / _LISTED[1])):
        if not (home / _LISTED[1] / name / "link").exists():
            continue  # deleted
        manifest = json.loads(store.blob_path(f"sha256:{name}").read_bytes())
        if "layers" in manifest:
            return [layer["digest"] for layer in manifest["layers"][:-1]]
    return []
