"""A real filesystem that can stop answering: a FUSE server without any library.

Shows a directory read-only. As a program it serves one mount. :class:`MirrorFilesystem` runs that
program, and makes it stop answering, answer again, or die. While it answers nothing, requests stay
in the kernel, as with a server that is gone: a process that waits for one can still be killed. A
process that waits for an answer about a single name cannot.
"""

import ctypes
import errno
import os
import select
import stat
import struct
import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import Self

import pytest

from demo.child_process import ChildProcess
from tests.mounts import Mounts, is_mounted
from tests.servers import START_SECONDS


class _Code(IntEnum):
    """Requests of the kernel, from its fuse.h."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    BATCH_FORGET = 42


_WITHOUT_ANSWER = frozenset({_Code.FORGET, _Code.INTERRUPT, _Code.BATCH_FORGET})
_VERSION = (7, 31)
_HEADER = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_READ_ARGUMENTS = struct.Struct("<QQI")
_DIRECTORY_ENTRY = struct.Struct("<QQII")
_STATISTICS = struct.Struct("<5Q4I24x")
_BUFFER_BYTES = 1 << 20
_ROOT_NODE = 1
_READ_ONLY = 1 | 2 | 4  # with MS_NOSUID and MS_NODEV
_POLL_SECONDS = 0.02


class _Server:
    """Answers the kernel's requests for one mount, one after the other."""

    def __init__(self, source: str, place: str, pause: Path) -> None:
        self._pause = pause
        self._paths = {_ROOT_NODE: source}
        self._nodes = {source: _ROOT_NODE}
        self._put_off: list[bytes] = []
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        arguments = (b"mirror", os.fsencode(place), b"fuse", _READ_ONLY, options.encode())
        if libc.mount(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), place)

    def serve(self) -> None:
        """Answer until it is unmounted."""
        while True:
            ready, _, _ = select.select([self._device], [], [], _POLL_SECONDS)
            name = self._hanging_name()
            if name is None:
                while self._put_off:
                    self._answer(self._put_off.pop(0))
            if not ready or name == b"":
                time.sleep(_POLL_SECONDS if ready else 0)
                continue
            try:
                request = os.read(self._device, _BUFFER_BYTES)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno == errno.ENOENT:  # no process waits for it any more
                    continue
                raise
            if name is not None and _looks_up(request, name):
                self._put_off.append(request)
            else:
                self._answer(request)

    def _hanging_name(self) -> bytes | None:
        """Return the name that hangs: empty for all names, None for no name."""
        try:
            return self._pause.read_bytes()
        except FileNotFoundError:
            return None

    def _answer(self, request: bytes) -> None:
        _, code, unique, node, *_ = _HEADER.unpack_from(request)
        if code in _WITHOUT_ANSWER:
            return
        number, body = 0, b""
        try:
            body = self._reply(code, node, request[_HEADER.size :])
        except OSError as error:
            number = error.errno or errno.EIO
        answer = _ANSWER.pack(_ANSWER.size + len(body), -number, unique) + body
        try:
            os.write(self._device, answer)
        except FileNotFoundError:  # the process that waited was killed meanwhile
            return

    def _reply(self, code: int, node: int, arguments: bytes) -> bytes:
        path, body = self._paths.get(node, ""), b""
        match code:
            case _Code.INIT:
                body = struct.pack("<4IHHII", *_VERSION, 65_536, 0, 12, 9, 65_536, 1) + bytes(36)
            case _Code.LOOKUP:
                body = self._entry(f"{path}/{os.fsdecode(arguments.rstrip(bytes(1)))}")
            case _Code.GETATTR:
                body = struct.pack("<QII", 0, 0, 0) + _attributes(os.lstat(path))
            case _Code.OPEN | _Code.OPENDIR:
                flags = os.O_RDONLY | (os.O_DIRECTORY if code == _Code.OPENDIR else 0)
                body = struct.pack("<QIi", os.open(path, flags), 0, 0)
            case _Code.READ:
                handle, offset, size = _READ_ARGUMENTS.unpack_from(arguments)
                body = os.pread(handle, size, offset)
            case _Code.READDIR:
                body = _directory(*_READ_ARGUMENTS.unpack_from(arguments))
            case _Code.STATFS:
                body = _statistics(os.statvfs(path))
            case _Code.RELEASE | _Code.RELEASEDIR:
                os.close(struct.unpack_from("<Q", arguments)[0])
            case _:
                raise OSError(errno.ENOSYS, "not served")
        return body

    def _entry(self, path: str) -> bytes:
        status = os.lstat(path)
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        self._paths[node] = path
        # the kernel may cache nothing, and asks each time
        return struct.pack("<4Q2I", node, 0, 0, 0, 0, 0) + _attributes(status)


def _looks_up(request: bytes, name: bytes) -> bool:
    _, code, *_ = _HEADER.unpack_from(request)
    return code == _Code.LOOKUP and request[_HEADER.size :] == name + bytes(1)


def _attributes(status: os.stat_result) -> bytes:
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    return _ATTRIBUTES.pack(
        status.st_ino,
        status.st_size,
        status.st_blocks,
        *(each // 10**9 for each in times),
        *(each % 10**9 for each in times),
        status.st_mode,
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        0,
        status.st_blksize,
        0,
    )


def _directory(handle: int, offset: int, size: int) -> bytes:
    """Return the entries from ``offset`` on that fit into ``size`` bytes."""
    found = b""
    with os.scandir(handle) as entries:
        for number, entry in enumerate(sorted(entries, key=lambda each: each.name), 1):
            name = os.fsencode(entry.name)
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
            packed = _DIRECTORY_ENTRY.pack(entry.inode(), number, len(name), kind) + name
            packed += bytes(-len(packed) % 8)
            if number > offset:
                if len(found) + len(packed) > size:
                    break
                found += packed
    return found


def _statistics(status: os.statvfs_result) -> bytes:
    return _STATISTICS.pack(
        status.f_blocks,
        status.f_bfree,
        status.f_bavail,
        status.f_files,
        status.f_ffree,
        status.f_bsize,
        status.f_namemax,
        status.f_frsize,
        0,
    )


class MirrorFilesystem:
    """Shows ``source`` at ``place``, until the context ends."""

    def __init__(self, source: Path, place: Path, mounts: Mounts) -> None:
        """Prepare it; ``mounts`` unmounts it at the end of the test."""
        self._pause = place.with_name(f"{place.name}.paused")
        self._place = place
        self._mounts = mounts
        self._child = ChildProcess(
            "the mirror filesystem",
            (sys.executable, "-m", __name__, str(source), str(place), str(self._pause)),
            place.with_name(f"{place.name}.log"),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answer()
        self.die()

    def start(self) -> None:
        """Mount the filesystem."""
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("a filesystem that hangs: /dev/fuse is missing, or not for this user")
        self._mounts.note(self._place)
        self._child.start()
        otherwise = f"{self._place} is not mounted"
        self._child.wait_until(lambda: is_mounted(self._place), otherwise, START_SECONDS)

    def hang(self, name: str = "") -> None:
        """Stop answering, or stop answering about one name."""
        new = self._pause.with_suffix(".new")
        new.write_text(name)
        new.rename(self._pause)

    def answer(self) -> None:
        """Answer again, the waiting requests first."""
        self._pause.unlink(missing_ok=True)

    def die(self) -> None:
        """Kill the server, which leaves a mount that fails at once."""
        self._child.kill()


if __name__ == "__main__":
    _Server(sys.argv[1], sys.argv[2], Path(sys.argv[3])).serve()
