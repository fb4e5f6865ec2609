"""Open a store: from the registry's root directory down to ``docker/registry/v2``."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from exporter.domain.errors import StoreUnreadableError
from exporter.domain.text import printable
from exporter.store.filesystem.readers.safe_files import directory_remedy, identity_of
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.format.layout import BLOBS, REPOSITORIES, ROOT_EXTRAS, VERSION_PATH


@dataclass(frozen=True, slots=True)
class MainDirectory:
    """An open directory on the way from the root directory to the version directory, or the latter.

    Attributes:
        path: where it is.
        descriptor: open as long as :func:`main_directories` is.
        names: what it holds.
        following: name of the next one; None for the version directory.

    """

    path: Path
    descriptor: int
    names: list[str]
    following: str | None

    @property
    def beside(self) -> list[str]:
        """Names of what is beside the directories that belong there."""
        if self.following is None:
            return [name for name in self.names if name not in {BLOBS, REPOSITORIES}]
        return [name for name in self.names if name != self.following]


@contextmanager
def main_directories(root: Path) -> Iterator[Sequence[MainDirectory]]:
    """Yield the open directories from the root directory to the version directory.

    If nothing was ever pushed, the last ones are missing. All may be symbolic links: stores are
    moved to other disks that way. Below the version directory none is followed.

    Raises StoreUnreadableError, also if the root directory was named by mistake.
    """
    with ExitStack() as opened:
        found: list[MainDirectory] = []
        path = root
        for name in (*VERSION_PATH, None):
            descriptor = opened.enter_context(_main_directory(path, root))
            found.append(MainDirectory(path, descriptor, _list(descriptor, path), name))
            if name is not None and name not in found[-1].names:
                _refuse_wrong_root(root, path, name, found[-1].names, found[0].names)
                break
            path /= name or ""
        # only now is it certain that this is a store, and not any other, perhaps huge, directory
        yield found


def open_store(root: Path, strays: StrayCounter) -> int | None:
    """Open the version directory; None if nothing was ever pushed.

    Raises as :func:`main_directories` does.
    """
    with main_directories(root) as found:
        for depth, place in enumerate(found):
            belongs = ROOT_EXTRAS if depth == 0 else frozenset()
            above = "../" * (len(VERSION_PATH) - depth)  # paths are below the version directory
            for name in place.beside:
                if name not in belongs:
                    strays.add(name, place.descriptor, f"{above}{name}")
        return os.dup(found[-1].descriptor) if found[-1].following is None else None


@contextmanager
def open_known_store(root: Path) -> Iterator[int]:
    """Open the version directory of a store that a scan has found to be one.

    Raises StoreUnreadableError if it is gone or cannot be opened.
    """
    with _main_directory(root.joinpath(*VERSION_PATH), root) as descriptor:
        yield descriptor


def identities(store: int) -> list[tuple[int, int] | None]:
    """Return the identities of ``blobs`` and ``repositories`` now; None for a missing one.

    A mount over one of them, or its removal, does not stop a scan: it continues in the old one.
    """
    return [identity_of(name, store, follow_symlinks=False) for name in (BLOBS, REPOSITORIES)]


def is_in_store(path: Path, root: Path) -> bool:
    """Return whether a file is in the store whose root directory is ``root``.

    The directories down to the version directory may be symbolic links to anywhere.
    """
    place = Path(os.path.realpath(path))
    steps = [root.joinpath(*VERSION_PATH[:depth]) for depth in range(len(VERSION_PATH) + 1)]
    return any(place.is_relative_to(os.path.realpath(step)) for step in steps)


def is_on_filesystem_of_store(path: Path, root: Path) -> bool:
    """Return whether a file is, or would be, on the filesystem of the blobs below ``root``.

    Looks at the nearest directory above that exists.
    """
    return _device_of(path) == _device_of(root.joinpath(*VERSION_PATH, BLOBS))


def _device_of(path: Path) -> int | None:
    """Return the number of the filesystem; None if none of the directories can be looked at."""
    for each in (path, *path.absolute().parents):
        try:
            return each.stat().st_dev
        except OSError:
            continue
    return None


def _refuse_wrong_root(
    root: Path, path: Path, missing: str, names: list[str], in_root: list[str]
) -> None:
    """Raise StoreUnreadableError if the directory was named by mistake.

    Otherwise it would be reported as the empty store of a new registry, and searched for strays.
    """
    others = [name for name in names if name not in ROOT_EXTRAS and not name.startswith(".")]
    if not others:
        return
    remedy = "give the registry's root directory, the one that holds docker/registry/v2"
    candidates = (root.parent, root.parent.parent, root.parent.parent.parent)
    for candidate in (*candidates, *(root / name for name in in_root)):
        if os.path.isdir(
            candidate.joinpath(*VERSION_PATH)
        ):  # False also if it may not be looked at
            remedy = f"did you mean {candidate}?"
            break
    raise StoreUnreadableError(f"{path} holds {printable(others[0])} but no {missing}/: {remedy}")


@contextmanager
def _main_directory(path: Path, root: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        remedy = "give the directory that holds docker/registry/v2 as --storage.root"
        if path != root:
            remedy = "it is listed, so it is a dangling link; is its target mounted?"
        raise StoreUnreadableError(f"{path} does not exist: {remedy}") from error
    except OSError as error:
        message = f"cannot open {path}: {error.strerror}; {directory_remedy(error)}"
        raise StoreUnreadableError(message) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _list(directory: int, path: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError as error:
        message = f"cannot list {path}: {error.strerror}; {directory_remedy(error)}"
        raise StoreUnreadableError(message) from error
