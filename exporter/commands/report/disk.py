"""``report --disk``: what the disk is full of, and what can be done about each kind."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.markup import escape

from exporter.commands.report.document import csv_text, encode_json
from exporter.commands.report.tables import console_on, text_table
from exporter.domain.census import Census, DiskKind, DiskUse, LeftoverKind
from exporter.domain.errors import StoreUnreadableError
from exporter.domain.model import FilesystemUsage
from exporter.store.port import Store
from exporter.support.quantities import format_duration, format_size

_BY_HAND = (
    "The registry never removes these by itself. The runbook of StorageAlmostFull says how to: "
    "docs/runbooks/DockerRegistryStorageAlmostFull.md"
)
ADVICE = {
    DiskKind.BLOBS: "`report` lists what can be freed",
    DiskKind.MANIFEST_LINKS: "one for each manifest: `plan` lists manifests to delete",
    DiskKind.TAG_LINKS: "one for each tag: `plan` lists manifests to delete, with their tags",
    DiskKind.TAG_HISTORY: "goes with its tag; see the entries left over",
    DiskKind.LAYER_LINKS: "one for each layer of a repository; see the entries left over",
    DiskKind.UPLOADS: "the registry purges them after a week; `report` names those it cannot",
    DiskKind.STRAY: "not part of the registry's layout: see what they are before deleting them",
    DiskKind.DIRECTORIES: "each link and each blob has one of its own, and they go together",
}
"""What can be done about each kind."""
_LEFT = {
    LeftoverKind.STALE_LAYER_LINKS: "Layer links whose blob is gone",
    LeftoverKind.OLD_TAG_HISTORY: "Tag history: manifests that a tag pointed to before",
    LeftoverKind.DELETED_MANIFESTS: "Directories of deleted manifests",
}


@dataclass(frozen=True, slots=True)
class _Disk:
    """What the report is written from.

    Attributes:
        location: of the store, safe to print.
        census: of its disk.
        filesystem: the one that holds it; None if that is unknown.

    """

    location: str
    census: Census
    filesystem: FilesystemUsage | None

    @property
    def used_bytes(self) -> int | None:
        """Bytes in use on the filesystem, by whatever."""
        usage = self.filesystem
        return None if usage is None else usage.size_bytes - usage.free_bytes

    @property
    def others_bytes(self) -> int | None:
        """Bytes in use on the filesystem that are not the registry's; None if unknown."""
        used = self.used_bytes
        return None if used is None else max(used - self.census.total.allocated_bytes, 0)


def report_disk(store: Store, census: Census | None, style: str, output: TextIO) -> None:
    """Write the report as ``table``, ``json`` or ``csv``.

    Raises StoreUnreadableError if there is no census.
    """
    if census is None:
        raise StoreUnreadableError(f"{store.location}: what this store takes cannot be counted")
    disk = _Disk(store.location, census, store.capacity())
    if style == "json":
        output.write(_json(disk))
    elif style == "csv":
        output.write(_csv(census))
    else:
        _print(disk, console_on(output))
    output.flush()


def _json(disk: _Disk) -> str:
    census = disk.census
    document: dict[str, Any] = {
        "root": disk.location,
        "counted_at": census.taken_at,
        "duration_seconds": census.duration_seconds,
        "kinds": {str(kind): use for kind, use in census.kinds.items()},
        "total": census.total,
        "leftovers": {str(kind): left for kind, left in census.leftovers.items()},
        "copies": census.copies,
        "unread": census.unread,
        "other_filesystems": census.other_filesystems,
        "filesystem": disk.filesystem,
        "others_bytes": disk.others_bytes,
    }
    return encode_json(document).decode()


def _csv(census: Census) -> str:
    lines = ({"kind": kind, **msgspec.to_builtins(use)} for kind, use in census.kinds.items())
    return csv_text(("kind", *DiskUse.__slots__), lines)


def _print(disk: _Disk, console: Console) -> None:
    census, total = disk.census, disk.census.total
    blobs = census.kinds[DiskKind.BLOBS]
    moment = datetime.fromtimestamp(census.taken_at, UTC)
    duration = format_duration(census.duration_seconds)
    place = escape(disk.location)
    console.print(f"[bold]{place}[/], counted {moment:%Y-%m-%d %H:%M:%S} UTC in {duration}\n")
    console.print(
        f"It takes [bold]{format_size(total.allocated_bytes)}[/] on disk, in {total.inodes:,} "
        f"files and directories. The content of all blobs is {format_size(blobs.apparent_bytes)}.",
        soft_wrap=True,
    )
    console.print(
        "On disk, a file or directory takes whole blocks: a link of 71 bytes usually takes 4 KiB, "
        "and its directory as much.\n",
        soft_wrap=True,
    )
    table = text_table("Kind", "Inodes", "On disk", "Content", "")
    for kind, use in sorted(census.kinds.items(), key=lambda each: -each[1].allocated_bytes):
        table.add_row(kind.replace("_", " "), *_cells(use), ADVICE[kind])
    table.add_row("total", *_cells(total), "as `du -x` counts")
    console.print(table)
    _print_leftovers(census, console)
    _print_copies(census, console)
    _print_others(disk, console)
    _print_gaps(census, console)


def _cells(use: DiskUse) -> tuple[str, str, str]:
    return f"{use.inodes:,}", format_size(use.allocated_bytes), format_size(use.apparent_bytes)


def _print_leftovers(census: Census, console: Console) -> None:
    if not any(left.entries for left in census.leftovers.values()):
        return
    console.print("\n[bold]Left over, and needed by nothing[/] (contained in the table above)")
    table = text_table("", "Entries", "Inodes", "On disk")
    for kind, left in census.leftovers.items():
        if left.entries:
            size = format_size(left.allocated_bytes)
            table.add_row(_LEFT[kind], f"{left.entries:,}", f"{left.inodes:,}", size)
    console.print(table)
    console.print(_BY_HAND, soft_wrap=True)


def _print_copies(census: Census, console: Console) -> None:
    for copy in census.copies:
        console.print(
            f"\n[bold]{escape(copy.path)}[/] is a hard-linked copy of the store or a part of it: "
            f"{copy.files:,} of its files, {format_size(copy.linked_bytes)} on disk, have links "
            f"elsewhere. Deleting it frees [bold]{format_size(copy.frees_bytes)}[/] now. While it "
            "is there, it keeps the bytes of what the garbage collector deletes.",
            soft_wrap=True,
        )


def _print_others(disk: _Disk, console: Console) -> None:
    used, others = disk.used_bytes, disk.others_bytes
    if used is None or others is None:
        return
    share = disk.census.total.allocated_bytes / used if used else 0.0
    console.print(
        f"\nThe filesystem has {format_size(used)} in use. The registry is {share:.1%} of it; "
        f"[bold]{format_size(others)}[/] are not the registry's.",
        soft_wrap=True,
    )


def _print_gaps(census: Census, console: Console) -> None:
    if census.unread:
        console.print(
            f"\n[bold yellow]{census.unread:,} files or directories could not be read[/]: "
            "the sums are too small. Run this as a user who may read the store.",
            soft_wrap=True,
        )
    if census.other_filesystems:
        console.print(
            f"\n{census.other_filesystems:,} directories are on other filesystems, and not counted."
        )
