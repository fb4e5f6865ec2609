"""Run processes with almost no rights, in their own networks and mounts, and inspect their rights.

Does what a container engine does, with the kernel's own tools, so that tests need no engine. All of
it needs root.
"""

import ctypes
import fcntl
import os
import re
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP_AND_RUNNING = 0x41
_LISTENS = "0A"

_libc = ctypes.CDLL(None, use_errno=True)


def as_user(uid: int, capability: str | None = None) -> list[str]:
    """Return a prefix that runs a command as a user with one capability at most, or none.

    The process cannot get other capabilities. The user needs no entry anywhere.
    """
    kept = "-all" if capability is None else f"-all,+{capability}"
    return [
        "setpriv",
        *("--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"),
    ]


def with_read_only(path: Path) -> list[str]:
    """Return a prefix that runs a command with ``path`` mounted read-only."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(path)]


def confined(root: Path, store: Path, state: Path | None, uid: int, *command: str) -> list[str]:
    """Return a command line that runs a command in a container's files, writable only in ``state``.

    Without ``state`` no place is writable. The process sees no other process, and has no
    capability.
    """
    script = """
        set -eu
        root=$1 store=$2 state=$3
        shift 3
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        for device in null urandom; do
            touch "$root/dev/$device"
            mount --bind "/dev/$device" "$root/dev/$device"
        done
        mount -o remount,ro "$root/dev"
        mount --bind "$store" "$root/registry"
        mount -o remount,bind,ro "$root/registry"
        if [ -n "$state" ]; then
            mount --bind "$state" "$root/var/lib/registry-storage-exporter"
        fi
        mount -o remount,bind,ro "$root"
        exec chroot "$root" "$@"
    """
    places = (str(root), str(store), "" if state is None else str(state))
    alone = ("unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child")
    return [*alone, "sh", "-c", script, "sh", *places, *as_user(uid), *command]


def beside(process_id: int, uid: int, *command: str) -> list[str]:
    """Return a command line that runs a command beside a confined process, like ``docker exec``."""
    target = ("--target", str(process_id), "--mount", "--pid", "--root", "--wd")
    return ["nsenter", *target, *as_user(uid), *command]


@contextmanager
def private_network() -> Iterator[None]:
    """Move this thread, and what it starts, to a network with only a loopback device."""
    with Path("/proc/thread-self/ns/net").open() as before:
        _call(_libc.unshare(_CLONE_NEWNET))
        try:
            with socket.socket() as any_socket:
                request = struct.pack("16sh14x", b"lo", _IFF_UP_AND_RUNNING)
                fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
            yield
        finally:
            _call(_libc.setns(before.fileno(), _CLONE_NEWNET))


def _call(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def child_of(process_id: int) -> int | None:
    """Return the first child of a process, or None if it has none yet."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return int(children[0]) if children else None


def rights(process_id: int) -> dict[str, set[str]]:
    """Return the rights of all threads of a process, as ``/proc/PID/status`` lists them."""
    wanted = re.compile(r"^(Uid|Gid|Groups|NoNewPrivs|Cap\w+):\t(.*?) *$", re.MULTILINE)
    found: dict[str, set[str]] = {}
    for status in Path(f"/proc/{process_id}/task").glob("*/status"):
        for name, value in wanted.findall(status.read_text()):
            found.setdefault(name, set()).add(value)
    return found


class Socket(NamedTuple):
    """An internet socket; ``peer_port`` is 0 if it listens."""

    protocol: str
    port: int
    peer_port: int
    listens: bool
    inode: int


def internet_sockets(process_id: int) -> list[Socket]:
    """List the internet sockets of a process's network, also those of other processes."""
    found = []
    for path in Path(f"/proc/{process_id}/net").iterdir():
        if path.name not in {"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6"}:
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            port, peer_port = (int(each.rpartition(":")[2], 16) for each in fields[1:3])
            inode = int(fields[9])
            found.append(Socket(path.name, port, peer_port, fields[3] == _LISTENS, inode))
    return found


def named_sockets(process_id: int) -> list[str]:
    """List packet sockets, and the Unix sockets with a name, which others can connect to."""
    net = Path(f"/proc/{process_id}/net")
    lines = (net / "unix").read_text().splitlines()[1:]
    has_name = [line for line in lines if len(line.split()) > 7]
    return has_name + (net / "packet").read_text().splitlines()[1:]


def open_sockets(process_id: int) -> set[int]:
    """Return the inodes of a process's open sockets."""
    targets = (os.readlink(each) for each in Path(f"/proc/{process_id}/fd").iterdir())  # noqa: PTH115
    return {int(target[8:-1]) for target in targets if target.startswith("socket:[")}


Files = dict[Path, tuple[int, ...]]


def files_of(*roots: Path) -> Files:
    """Return for each file and directory the status that a write changes."""
    paths = (path for root in roots for path in (root, *root.rglob("*")))
    return {path: _written(path.lstat()) for path in paths}


def _written(status: os.stat_result) -> tuple[int, ...]:
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return (
        status.st_ino,
        status.st_mode,
        status.st_uid,
        size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
