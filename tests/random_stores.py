"""Random stores for property tests, built step by step by pushes, deletions and damage."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from demo.store import StoreBuilder, digest_of, noise

REPOSITORIES = ("a", "a/b", "c")
TAGS = ("1", "2", "latest")
_FOREIGN = ("@eaDir", ".AppleDouble", "lost+found", ".snapshot")

_MEMORY = "/dev/shm"  # noqa: S108 - only inside a directory that is its own

Step = tuple[str, str, str, int, int]
"""An action, its repository and tag, and two numbers that choose among their parts."""


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Yield a directory, in memory if possible: property tests write many thousand small files."""
    with TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as place:
        yield Path(place)


def _steps(actions: Sequence[str], min_size: int, max_size: int) -> SearchStrategy[list[Step]]:
    step = st.tuples(
        st.sampled_from(actions),
        st.sampled_from(REPOSITORIES),
        st.sampled_from(TAGS),
        st.integers(0, 5),
        st.integers(0, 5),
    )
    return st.lists(step, min_size=min_size, max_size=max_size)


_PUSHES = ("image", "index", "retag")
_SOUND = (*_PUSHES, "artifact", "delete", "untag", "garbage", "foreign")

STEPS = _steps(_SOUND, 0, 25)
"""Steps to a store without missing blobs or links."""

STEPS_WITH_MANY_TAGS = st.builds(
    lambda *parts: [step for part in parts for step in part],
    _steps(_PUSHES, 14, 24),
    _steps((*_PUSHES, "artifact", "artifact", "delete", "untag"), 4, 16),
)
"""Steps to an orderly store with several tags in most repositories, and with artifacts."""

STEPS_WITH_LOSSES = st.builds(
    lambda *parts: [step for part in parts for step in part],
    _steps(_PUSHES, 6, 12),
    _steps(_SOUND, 0, 12),
    _steps(["lose blob", "lose manifest", "unlink", "lose layer link"], 0, 3),
    _steps(_SOUND, 0, 4),
    st.one_of(*[st.just([])] * 3, _steps(["truncate", "empty link", "empty tag"], 1, 2)),
)
"""Steps that lose blobs and links; those that make a collector abort come last and rarely."""

STEPS_WITH_BROKEN_LAYER_LINKS = st.builds(
    lambda *parts: [step for part in parts for step in part],
    _steps(_PUSHES, 6, 12),
    _steps(["lose layer link", "empty layer link", "lengthen layer link", "unlink"], 1, 4),
    _steps(_PUSHES, 0, 3),
)
"""Steps that end with layer links that are gone, empty, or too long."""


def build(store: StoreBuilder, steps: list[Step]) -> None:
    """Apply the steps to a store; steps without an object do nothing."""
    for _ in build_stepwise(store, steps):
        pass


def build_stepwise(store: StoreBuilder, steps: list[Step]) -> Iterator[None]:
    """Apply the steps to a store; yield after each."""
    pushed: dict[str, list[str]] = {name: [] for name in REPOSITORIES}
    for action, name, tag, first, second in steps:
        here = pushed[name]
        if action == "image":
            layers = [noise(f"layer {first}", 10 + first), noise(f"layer {second}", 10 + second)]
            here.append(store.image(name, tag if first % 2 else None, layers))
        elif action in ("garbage", "lose blob"):
            _change_blobs(store, action, first)
        elif action == "foreign":
            _add_foreign(store, name, first, second)
        elif action.endswith("tag"):
            _change_tag(store, action, name, tag, here[first % len(here)] if here else None)
        elif action == "artifact" and here:
            here += _push_artifact(store, name, here[first % len(here)], second)
        elif action == "index" and here:
            children = [here[first % len(here)], here[second % len(here)]]
            here += _push_index(store, name, tag if second % 2 else None, children)
        elif action.endswith("layer link"):
            _break_layer_link(store, action, name, first, here if second == 0 else [])
        elif here:
            _harm(store, action, name, here[first % len(here)])
        yield


def _change_blobs(store: StoreBuilder, action: str, layer: int) -> None:
    if action == "garbage":
        store.unlinked_blob(noise(f"garbage {layer}", 20))
    else:
        lost = digest_of(noise(f"layer {layer}", 10 + layer))
        store.blob_path(lost).unlink(missing_ok=True)


def _push_index(store: StoreBuilder, name: str, tag: str | None, children: list[str]) -> list[str]:
    """Push an index; nothing if a child is not there."""
    if not all(store.blob_path(child).exists() for child in children):
        return []
    return [store.index(name, tag, children)]


def _push_artifact(store: StoreBuilder, name: str, image: str, kind: int) -> list[str]:
    """Push what belongs to an image: by its tag, by subject, or listed in the fallback index."""
    tag = image.replace(":", "-")
    layers = [noise(f"artifact {kind} of {image}", 15)]
    if kind % 3 == 0:
        return [store.image(name, f"{tag}.sig", layers)]
    content = json.loads(store.blob_path(store.image(name, None, layers)).read_bytes())
    content["subject"] = {"mediaType": content["mediaType"], "digest": image, "size": 1}
    artifact = store.manifest(name, content)
    if kind % 3 == 1:
        return [artifact]
    return [artifact, store.index(name, tag, [artifact])]


def _add_foreign(store: StoreBuilder, name: str, place: int, kind: int) -> None:
    """Add another program's directory: one below tags stops the collector, so it is rare.

    Other programs make none of the registry's own directories, which are what a repository is.
    """
    repository = store.repository_path(name)
    if not (repository / "_manifests").is_dir():
        return
    (repository / "_uploads").mkdir(exist_ok=True)  # each push leaves it
    parent = (
        store.version_path / "repositories",
        repository,
        repository / "_manifests" / ("tags" if kind == 0 else "revisions"),
        repository / "_uploads",
        store.version_path / "blobs",
        store.version_path / "blobs" / "sha256",
    )[place]
    directory = parent / _FOREIGN[kind % len(_FOREIGN)]
    if parent.is_dir():
        directory.mkdir(exist_ok=True)
        (directory / "notes").write_bytes(b"x")


def _break_layer_link(
    store: StoreBuilder, action: str, name: str, layer: int, pushed: list[str]
) -> None:
    """Damage the link to the configuration of the first image pushed, or else to a layer."""
    digest = digest_of(noise(f"layer {layer}", 10 + layer))
    if pushed and store.blob_path(pushed[0]).exists():
        digest = json.loads(store.blob_path(pushed[0]).read_bytes())["config"]["digest"]
    link = store.layer_link(name, digest)
    if not link.exists():
        return
    if action == "lose layer link":
        link.unlink()
    else:
        link.write_bytes(b"" if action == "empty layer link" else link.read_bytes() + b"\n")


def _change_tag(store: StoreBuilder, action: str, name: str, tag: str, digest: str | None) -> None:
    is_there = store.tag_link(name, tag).exists()
    if action == "retag" and digest is not None:
        store.tag(name, tag, digest)
    elif action == "untag" and is_there:
        store.delete_tag(name, tag)
    elif action == "empty tag" and is_there:
        store.tag_link(name, tag).write_bytes(b"")


def _harm(store: StoreBuilder, action: str, name: str, digest: str) -> None:
    """Delete or damage a manifest or its link."""
    blob, link = store.blob_path(digest), store.revision_link(name, digest)
    if action == "delete" and link.exists():
        store.delete_revision(name, digest)
    elif action == "lose manifest":
        blob.unlink(missing_ok=True)
    elif action == "unlink":
        link.unlink(missing_ok=True)
    elif action == "truncate" and blob.exists():
        blob.write_bytes(blob.read_bytes()[:40])
    elif action == "empty link" and link.exists():
        link.write_bytes(b"")
