"""Directories that other programs make in a store: who makes them, and what to do about each."""

from types import MappingProxyType

_INDEXING = "switch off {} for this folder, then delete it"
_SHARING = "do not share the store by {}; delete it"
_SNAPSHOTS = "hide the snapshots of this folder"

_SYNOLOGY = ("Synology DSM", _INDEXING.format("indexing and thumbnails"))
_APPLE_SHARE = ("netatalk or macOS", _SHARING.format("AFP or SMB"))
_SNAPSHOT = ("the file server", _SNAPSHOTS)
_FSCK = ("the filesystem", "mount this disk one directory higher up")
_WINDOWS = ("Windows", _SHARING.format("SMB"))
_SYNCTHING = ("Syncthing", "do not synchronize the store; delete it")

_MAKERS = MappingProxyType(
    {
        "@eaDir": _SYNOLOGY,
        "@tmp": _SYNOLOGY,
        "@Recycle": ("QNAP", "switch off the recycle bin for this folder, then delete it"),
        "@Recently-Snapshot": ("QNAP", _SNAPSHOTS),
        ".@__thumb": ("QNAP", _INDEXING.format("thumbnails")),
        "#recycle": ("Synology DSM", "switch off the recycle bin for this folder, then delete it"),
        "#snapshot": ("Synology DSM", _SNAPSHOTS),
        ".AppleDouble": _APPLE_SHARE,
        ".AppleDB": _APPLE_SHARE,
        ".AppleDesktop": _APPLE_SHARE,
        ".DocumentRevisions-V100": _APPLE_SHARE,
        ".Spotlight-V100": _APPLE_SHARE,
        ".TemporaryItems": _APPLE_SHARE,
        ".Trashes": _APPLE_SHARE,
        ".fseventsd": _APPLE_SHARE,
        "Network Trash Folder": _APPLE_SHARE,
        "Temporary Items": _APPLE_SHARE,
        "lost+found": _FSCK,
        ".snapshot": _SNAPSHOT,
        ".snapshots": _SNAPSHOT,
        "~snapshot": _SNAPSHOT,
        ".zfs": _SNAPSHOT,
        "$RECYCLE.BIN": _WINDOWS,
        "System Volume Information": _WINDOWS,
        ".stfolder": _SYNCTHING,
        ".stversions": _SYNCTHING,
    }
)


def is_foreign(name: str) -> bool:
    """Return whether another program makes directories of this name."""
    return name in _MAKERS


def advice_below(path: str) -> str | None:
    """Return the advice on the first such directory in a path; None if there is none."""
    return next(filter(None, map(advice_on, path.split("/"))), None)


def advice_on(name: str) -> str | None:
    """Return who makes directories of this name and what to do; None if that is unknown."""
    if name not in _MAKERS:
        return None
    maker, remedy = _MAKERS[name]
    return f"made by {maker}, not by the registry; {remedy}"
