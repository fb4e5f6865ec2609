"""The filesystem that holds the store: usage, read-only state, and hangs."""

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.child_process import wait_until
from exporter.domain.model import FilesystemUsage
from exporter.store.filesystem.disk_space import FilesystemProbe, find_mount, read_usage

ROOT = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
STORE = "/captain/data/registry/docker/registry/v2"
USAGE = FilesystemUsage(
    size_bytes=100, free_bytes=50, avail_bytes=40, files=10, files_free=5, readonly=False
)
OTHER_USAGE = FilesystemUsage(
    size_bytes=200, free_bytes=60, avail_bytes=50, files=20, files_free=6, readonly=True
)


# The mount table


def is_readonly(path: str, mountinfo: str) -> bool | None:
    mount = find_mount(path, mountinfo)
    return None if mount is None else mount.is_readonly


def test_a_writable_filesystem_is_not_readonly() -> None:
    assert is_readonly(STORE, ROOT) is False


def test_a_filesystem_mounted_readonly_is_readonly() -> None:
    mountinfo = ROOT + "30 22 8:17 / /captain ro,relatime shared:2 - ext4 /dev/sdb1 ro\n"
    assert is_readonly(STORE, mountinfo) is True


def test_a_filesystem_that_turned_readonly_after_an_error_is_readonly() -> None:
    # the kernel changes the options of the superblock, not those of the mount
    mountinfo = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro\n"
    assert is_readonly(STORE, mountinfo) is True


def test_a_readonly_bind_mount_of_a_writable_filesystem_is_not_readonly() -> None:
    bind = "40 22 8:1 /captain /captain/data/registry ro,nosuid - ext4 /dev/sda1 rw,discard\n"
    assert is_readonly(STORE, ROOT + bind) is False


@pytest.mark.parametrize("options", ["rw,errors=remount-ro", "rw,lowerdir=/ro", "rw,proto=ro,x"])
def test_an_option_that_only_contains_ro_is_ignored(options: str) -> None:
    assert is_readonly("/", f"22 1 8:1 / / rw - ext4 /dev/sda1 {options}\n") is False


def test_the_longest_mount_point_above_a_path_counts() -> None:
    outer = "30 22 8:17 / /captain ro - ext4 /dev/sdb1 ro\n"
    inner = "31 30 8:33 / /captain/data rw - xfs /dev/sdc1 rw,noquota\n"
    for mountinfo in (ROOT + outer + inner, inner + outer + ROOT):
        assert is_readonly("/captain", mountinfo) is True
        assert is_readonly("/captain/old", mountinfo) is True
        assert is_readonly("/captain/data", mountinfo) is False
        assert is_readonly(STORE, mountinfo) is False
        assert is_readonly("/", mountinfo) is False


def test_a_mount_point_whose_name_is_only_a_prefix_is_ignored() -> None:
    mountinfo = ROOT + "30 22 8:17 / /captain/data/reg ro - ext4 /dev/sdb1 ro\n"
    assert is_readonly(STORE, mountinfo) is False


def test_the_last_of_several_mounts_on_one_point_counts() -> None:
    below = "30 22 8:17 / /captain rw - ext4 /dev/sdb1 rw\n"
    above = "31 30 8:33 / /captain ro - ext4 /dev/sdc1 ro\n"
    assert is_readonly(STORE, ROOT + below + above) is True
    assert is_readonly(STORE, ROOT + above + below) is False


def test_a_second_mount_on_the_root_directory_counts() -> None:
    initial = "1 1 0:2 / / rw - rootfs rootfs rw\n"
    assert is_readonly("/", initial + ROOT) is False
    assert is_readonly(STORE, initial + ROOT.replace("sda1 rw", "sda1 ro")) is True


def test_spaces_in_a_mount_point_are_escaped() -> None:
    mountinfo = ROOT + r"30 22 8:17 / /mnt/my\040registry\011\134 ro - ext4 /dev/my\040disk ro"
    assert is_readonly("/mnt/my registry\t\\/docker", mountinfo) is True
    assert is_readonly("/mnt/my", mountinfo) is False


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
)
def test_a_mount_point_with_any_name_is_found(name: str) -> None:
    escaped = "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in name)
    mountinfo = ROOT + f"30 22 8:17 / /mnt/{escaped} ro - ext4 /dev/sdb1 ro\n"
    assert is_readonly(f"/mnt/{name}/docker", mountinfo) is True


def test_any_number_of_optional_fields_is_accepted() -> None:
    none = "30 22 8:17 / /captain ro - ext4 /dev/sdb1 ro\n"
    many = "30 22 8:17 / /captain ro shared:7 master:3 propagate_from:2 - ext4 /dev/sdb1 ro\n"
    for line in (none, many):
        assert is_readonly(STORE, ROOT + line) is True


@pytest.mark.parametrize(
    "mountinfo",
    ["", "\n\n", "30 22 8:17 / /elsewhere ro - ext4 /dev/sdb1 ro\n", "30 22 / - ext4\n", "a - b"],
)
def test_readonly_is_unknown_without_a_mount_point_of_the_path(mountinfo: str) -> None:
    assert is_readonly(STORE, mountinfo) is None


def test_the_mount_table_of_this_machine_covers_every_directory(tmp_path: Path) -> None:
    mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    assert is_readonly(str(tmp_path.resolve()), mountinfo) is False
    assert is_readonly("/", mountinfo) is not None


# The usage


def usage_of_unchanged_disk(root: Path) -> tuple[FilesystemUsage, os.statvfs_result]:
    """Return the usage and the system's figures, read while nothing else writes to the disk."""
    readings: list[tuple[FilesystemUsage, os.statvfs_result]] = []

    def is_still() -> bool:
        before = os.statvfs(root)
        readings.append((read_usage(root), before))
        return os.statvfs(root) == before

    wait_until(is_still, "the filesystem never stays the same")
    return readings[-1]


@pytest.mark.parametrize("is_pushed_to", [True, False])
def test_the_usage_equals_the_figures_of_the_system(tmp_path: Path, is_pushed_to: bool) -> None:
    if is_pushed_to:
        (tmp_path / "docker" / "registry" / "v2").mkdir(parents=True)
    usage, status = usage_of_unchanged_disk(tmp_path)
    assert usage == FilesystemUsage(
        size_bytes=status.f_blocks * status.f_frsize,
        free_bytes=status.f_bfree * status.f_frsize,
        avail_bytes=status.f_bavail * status.f_frsize,
        files=status.f_files,
        files_free=status.f_ffree,
        readonly=False,
    )


def test_the_usage_of_a_moved_store_is_the_usage_of_its_new_disk(tmp_path: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - only as another filesystem
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("this machine has no second filesystem to write to")
    with tempfile.TemporaryDirectory(dir=memory) as moved:
        (tmp_path / "docker" / "registry").mkdir(parents=True)
        (tmp_path / "docker" / "registry" / "v2").symlink_to(moved)
        usage, status = read_usage(tmp_path), os.statvfs(memory)
    assert usage.size_bytes == status.f_blocks * status.f_frsize
    assert usage.files == status.f_files


def test_the_usage_of_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_usage(tmp_path / "missing")


# The probe


class HangingFilesystem:
    """Fake mount that can hang and records its reads."""

    def __init__(self) -> None:
        self.usage = USAGE
        self.reads: list[Path] = []
        self._answers = threading.Event()
        self._answers.set()

    def read(self, root: Path) -> FilesystemUsage:
        """Return the usage, as soon as it does not hang."""
        self.reads.append(root)
        self._answers.wait()
        return self.usage

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Make reads hang inside the context."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()


def probing_threads() -> int:
    return sum(thread.name == "statvfs" for thread in threading.enumerate())


def probe_of(
    read: Callable[[Path], FilesystemUsage], timeout: float = 5.0, root: Path = Path("/store")
) -> FilesystemProbe:
    return FilesystemProbe(root, timeout, read)


def test_a_probe_returns_the_current_usage() -> None:
    filesystem = HangingFilesystem()
    probe = probe_of(filesystem.read)
    assert probe.read() == USAGE
    filesystem.usage = OTHER_USAGE
    assert probe.read() == OTHER_USAGE
    assert filesystem.reads == [Path("/store")] * 2


def test_the_usage_of_a_hanging_filesystem_is_unknown_without_blocking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    filesystem = HangingFilesystem()
    probe = probe_of(filesystem.read, timeout=0.01)
    with filesystem.hanging():
        assert probe.read() is None
        assert "the filesystem of /store does not answer" in caplog.text


def test_a_hanging_filesystem_is_not_read_a_second_time() -> None:
    filesystem = HangingFilesystem()
    probe = probe_of(filesystem.read, timeout=0.01)
    wait_until(lambda: probing_threads() == 0, "a probe of another test hangs")
    with filesystem.hanging():
        for _ in range(5):
            assert probe.read() is None
        assert len(filesystem.reads) == 1
        assert probing_threads() == 1


def test_the_usage_is_known_again_when_the_filesystem_answers() -> None:
    filesystem = HangingFilesystem()
    probe = probe_of(filesystem.read, timeout=0.01)
    with filesystem.hanging():
        assert probe.read() is None
    wait_until(lambda: probe.read() == USAGE, "the usage stays unknown")
    filesystem.usage = OTHER_USAGE
    wait_until(lambda: probe.read() == OTHER_USAGE, "the usage does not change")
    with filesystem.hanging():
        assert probe.read() is None


def test_the_usage_of_an_unreadable_filesystem_is_unknown_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "registry"
    probe = FilesystemProbe(root)
    with caplog.at_level(logging.WARNING):
        assert probe.read() is None
    assert f"cannot read the filesystem of {root}: No such file or directory" in caplog.text
    root.mkdir()
    assert probe.read() is not None
    root.rmdir()
    assert probe.read() is None
