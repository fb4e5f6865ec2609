"""`apply` stopped, killed, refused, or answered with errors: run again, it ends the same."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from demo.child_process import wait_until
from demo.store import StoreBuilder
from tests.applied import APP, Place, fill, make_older, place
from tests.exporter_process import REPOSITORY
from tests.fake_registry import Reply, Request
from tests.in_process import run_command
from tests.registry_proxy import RegistryProxy, failing, pass_on
from tests.servers import PASSWORD, USERNAME, DockerRegistry, RegistryClient

KILLS = int(os.environ.get("APPLY_KILLS", "4"))
YES = ("--yes", "--no-backup")


def push_many(there: Place, number: int) -> list[str]:
    found = [there.client.push_image(APP, f"old-{each}", [b"%d" % each]) for each in range(number)]
    there.client.push_image(APP, "stays", [b"stays"])
    make_older(there.registry.root)
    return found


def started(there: Place, *more: str) -> "subprocess.Popen[str]":
    """Start the command in a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "exporter", *map(str, there.flags(*more))]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(there.home)},
    )


def wait_for_lines(there: Place, process: "subprocess.Popen[str]", lines: int) -> None:
    """Wait until the journal has so many lines, or the process has ended."""
    journal = there.home / "plan.txt.journal"
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            return
        time.sleep(0.001)


def test_killed_at_any_moment_and_run_again_it_ends_in_the_same_state(tmp_path: Path) -> None:
    chance = random.Random(KILLS)  # noqa: S311 - the same moments each time
    with place(tmp_path) as there:
        digests = push_many(there, 3 * KILLS)
        backup = str(there.home / "backup")
        flags = (*("--yes", "--backup", backup, "--same-filesystem"), "--max-rate", "200")
        planned = there.plan("--match=team/app:old-.*")
        killed = 0
        for _ in range(KILLS):
            process = started(there, *flags)
            journal = there.home / "plan.txt.journal"
            lines = journal.read_bytes().count(b"\n") if journal.exists() else 0
            wait_for_lines(there, process, lines + chance.randrange(4))
            time.sleep(chance.random() * 0.02)
            process.kill()
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
        assert killed > KILLS / 2
        done = there.apply(*flags)
        assert (done.exit_code, done.complaints) == (0, "")
        assert there.client.tags(APP) == ["stays"]
        for digest in digests:
            with pytest.raises(RuntimeError, match="404"):
                there.client.manifest(APP, digest)
        last = {line["digest"]: line for line in there.journal}
        assert {f"{APP}@{each}" for each in last} == set(planned)
        assert {line["result"] for line in last.values()} == {"deleted"}
        # of each the tag and its time are known, whatever the moment was
        for line in last.values():
            assert isinstance(line["linked_at"], float)
            assert isinstance(line["tags"], dict)
            assert None not in line["tags"].values()
        counts = Counter(
            str(line["digest"]) for line in there.journal if line["result"] == "deleted"
        )
        assert set(counts.values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_running_request_and_it_says_how_to_continue(
    tmp_path: Path, number: signal.Signals
) -> None:
    with place(tmp_path) as there:
        push_many(there, 40)
        there.plan("--match=team/app:old-.*")
        process = started(there, *YES, "--max-rate", "20")
        wait_for_lines(there, process, 10)
        process.send_signal(number)
        output, complaints = process.communicate(timeout=10)
        assert (process.returncode, complaints) == (130, "")
        deleted = sum(line["result"] == "deleted" for line in there.journal)
        assert f"deleted {deleted} manifests" in output
        assert f"stopped: {40 - deleted} manifests not looked at yet" in output
        assert "to continue, run the same command again" in output
        assert there.journal[-1]["result"] == "deleted"
        done = there.apply(*YES, "--max-rate", "1000")
        assert (done.exit_code, done.complaints) == (0, "")
        assert f"{deleted} manifests deleted by earlier runs" in done.output
        assert there.client.tags(APP) == ["stays"]


def is_reading(process: "subprocess.Popen[str]", root: Path) -> bool:
    """Return whether a process has something of a store open."""
    for each in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(OSError):  # it was closed
            if root in (place := each.readlink()).parents or place == root:
                return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_reads_the_store(tmp_path: Path, number: signal.Signals) -> None:
    root, plan = tmp_path / "store", tmp_path / "plan.txt"
    store = StoreBuilder(root)
    for each in range(1000):
        store.image(f"app-{each}", "1", [b"%d" % each])
    flags = ("--storage.root", str(root))
    assert run_command("plan", "--match=app-1:1", "--output", plan, *flags).exit_code == 0
    command = (sys.executable, "-W", "error", "-m", "exporter", "apply", str(plan), *flags)
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: is_reading(process, root / "docker/registry/v2"), "it reads nothing", 20)
    process.send_signal(number)
    output, complaints = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert "interrupted before the first deletion; nothing was changed" in complaints


def test_errors_that_pass_and_deletions_without_an_answer_change_nothing(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        digests = push_many(there, 8)
        there.plan("--match=team/app:old-.*")
        swallowed: list[str] = []

        def swallow(request: Request) -> Reply | None:
            """Pass a deletion on, and answer as if it had failed."""
            if request.method == "DELETE" and request.path.endswith(digests[3]) and not swallowed:
                swallowed.append(request.path)
                there.client.delete_manifest(APP, digests[3])
                return Reply(b"", 502)
            return gate(request)

        gate = failing(5, Reply(b"", 500), Reply(b"", 429, {"Retry-After": "0"}))
        with RegistryProxy(there.registry.url, gate=swallow) as proxy:
            done = there.apply(*YES, "--registry.url", proxy.url)
        assert (done.exit_code, done.complaints) == (0, "")
        assert there.client.tags(APP) == ["stays"]
        last = {line["digest"]: line["result"] for line in there.journal}
        assert set(last.values()) == {"deleted"}


def test_between_two_attempts_it_looks_again(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        digests = push_many(there, 3)
        there.plan("--match=team/app:old-.*")
        content, media_type = there.client.manifest(APP, digests[1])
        failed: list[str] = []

        def gate(request: Request) -> Reply | None:
            if request.method == "DELETE" and request.path.endswith(digests[1]) and not failed:
                failed.append(request.path)
                there.client.push_manifest(APP, "new", content, media_type)
                return Reply(b"", 503)
            return None

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            done = there.apply(*YES, "--registry.url", proxy.url)
        assert (done.exit_code, done.complaints) == (3, "")
        assert there.client.tags(APP) == ["new", "old-1", "stays"]


def test_tags_that_the_registry_has_left_are_removed_all_the_same(tmp_path: Path) -> None:
    """Version 2 gives up on the tags if it meets one that is just being written."""
    with place(tmp_path) as there:
        digests = push_many(there, 3)
        there.plan("--match=team/app:old-.*")
        (link,) = there.registry.root.glob("**/stays/current/link")
        answers: list[int] = []

        def gate(request: Request) -> Reply | None:
            if request.method != "DELETE" or not request.path.endswith(digests[1]) or answers:
                return None
            content, status = link.read_bytes(), link.stat()
            link.write_bytes(b"")
            reply = pass_on(request, there.registry.url + request.target)
            link.write_bytes(content)
            os.utime(link, ns=(status.st_atime_ns, status.st_mtime_ns))
            answers.append(reply.status)
            return reply

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            done = there.apply(*YES, "--registry.url", proxy.url)
        assert answers == [500]
        assert (done.exit_code, done.complaints) == (0, "")
        assert there.client.tags(APP) == ["stays"]
        assert {line["result"] for line in there.journal} == {"asked", "deleted"}


def test_a_push_that_makes_the_registry_refuse_a_deletion_is_no_failure(tmp_path: Path) -> None:
    """Version 2 answers 400 while the link of the manifest is being written."""
    with place(tmp_path) as there:
        digests = push_many(there, 3)
        there.plan("--match=team/app:old-.*")
        content, media_type = there.client.manifest(APP, digests[1])
        hexadecimal = digests[1].removeprefix("sha256:")
        (link,) = there.registry.root.glob(f"**/_manifests/revisions/sha256/{hexadecimal}/link")
        answers: list[int] = []

        def gate(request: Request) -> Reply | None:
            if request.method != "DELETE" or not request.path.endswith(digests[1]):
                return None
            link.write_bytes(b"")
            reply = pass_on(request, there.registry.url + request.target)
            there.client.push_manifest(APP, "old-1", content, media_type)
            answers.append(reply.status)
            return reply

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            done = there.apply(*YES, "--registry.url", proxy.url)
        assert answers == [400]
        assert (done.exit_code, done.complaints) == (3, "")
        assert "it was pushed again at" in done.output
        assert there.client.tags(APP) == ["old-1", "stays"]


def test_a_registry_that_refuses_ends_it_at_once_with_what_to_do(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        push_many(there, 3)
        there.plan("--match=team/app:old-.*")
        program = there.registry
        root = program.root
        program.stop()
        with DockerRegistry(root, delete=False) as closed:
            refused = there.apply(*YES, "--registry.url", closed.url)
        assert refused.exit_code == 1
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in refused.complaints
        with DockerRegistry(root, users={USERNAME: PASSWORD}) as closed:
            refused = there.apply(*YES, "--registry.url", closed.url)
            assert refused.exit_code == 1
            assert "--registry.username" in refused.complaints
            wrong = there.home / "password"
            wrong.write_text("wrong")
            login = ("--registry.username", USERNAME, "--registry.password-file", str(wrong))
            refused = there.apply(*YES, "--registry.url", closed.url, *login)
            assert refused.exit_code == 1
            assert "wrong" not in refused.complaints.replace(str(wrong), "")
            with RegistryClient(closed.url, USERNAME, PASSWORD) as client:
                assert len(client.tags(APP)) == 4
            wrong.write_text(PASSWORD)
            done = there.apply(*YES, "--registry.url", closed.url, *login)
            assert (done.exit_code, done.complaints) == (0, "")
        program.start()
        assert there.client.tags(APP) == ["stays"]


def test_a_failure_in_the_middle_says_what_was_done(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        fill(there.client)
        push_many(there, 6)
        there.plan("--match=team/app:old-.*")
        seen = Counter[str]()

        def gate(request: Request) -> Reply | None:
            seen[request.method] += 1
            return Reply(b"", 403) if seen["DELETE"] > 3 else None

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            failed = there.apply(*YES, "--registry.url", proxy.url)
        assert failed.exit_code == 1
        assert "403" in failed.complaints
        assert "deleted 3 manifests with 3 tags" in failed.output
        assert "to continue, run" in failed.output
        assert seen["DELETE"] == 4


def test_what_is_pushed_again_between_two_runs_keeps_its_signature(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        image = there.client.push_image(APP, "1", [b"image"])
        tag = f"{image.replace(':', '-')}.sig"
        there.client.push_image(APP, tag, [b"signature"])
        make_older(there.registry.root)
        assert len(there.plan("--match=team/app:1")) == 2
        deletions: list[str] = []

        def gate(request: Request) -> Reply | None:
            deletions.extend([request.path] * (request.method == "DELETE"))
            return Reply(b"", 403) if len(deletions) > 1 else None

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            assert there.apply(*YES, "--registry.url", proxy.url).exit_code == 1
        assert there.client.tags(APP) == [tag]
        there.client.push_image(APP, "1", [b"image"])
        for _ in range(2):
            again = there.apply(*YES)
            assert (again.exit_code, again.complaints) == (3, "")
            assert f"{image}: it is there again, after it was deleted\n" in again.output
            assert f"it belongs to {image}, which is left out" in again.output
            assert there.client.tags(APP) == ["1", tag]
        last = {str(line["digest"]): line["result"] for line in there.journal}
        assert last[image] == "deleted"  # so that `restore` still knows its old time


@pytest.mark.parametrize("is_pushed_again", [False, True])
def test_a_deletion_that_ended_between_two_tags_is_finished_or_can_be_undone(
    tmp_path: Path, is_pushed_again: bool
) -> None:
    """The registry was killed: the manifest and one of its tags are gone, and so is `apply`."""
    with place(tmp_path) as there:
        digest = there.client.push_image(APP, "a", [b"image"])
        content, media_type = there.client.manifest(APP, digest)
        there.client.push_manifest(APP, "b", content, media_type)
        make_older(there.registry.root)
        there.plan("--match=team/app:.*")
        (tag,) = there.registry.root.glob("**/_manifests/tags/b")
        shutil.copytree(tag, there.home / "b")
        there.apply(*YES)
        journal = there.home / "plan.txt.journal"
        head, asked, _ = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(head + asked)
        shutil.copytree(there.home / "b", tag)
        if is_pushed_again:
            there.client.push_manifest(APP, "b", content, media_type)
        again = there.apply(*YES)
        assert (again.exit_code, again.complaints) == (3 if is_pushed_again else 0, "")
        assert there.client.tags(APP) == (["b"] if is_pushed_again else [])
        assert "to undo it" in again.output
        flags = ("--storage.root", there.registry.root, "--registry.url", there.url)
        restored = run_command("restore", journal, *flags)
        assert (restored.exit_code, restored.complaints) == (0, "")
        assert there.client.tags(APP) == ["a", "b"]


def test_a_deletion_that_the_registry_ends_between_two_tags_is_finished(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        digest = there.client.push_image(APP, "a", [b"image"])
        there.client.push_manifest(APP, "b", *there.client.manifest(APP, digest))
        make_older(there.registry.root)
        there.plan("--match=team/app:.*")
        (tag,) = there.registry.root.glob("**/_manifests/tags/b")
        shutil.copytree(tag, there.home / "b")
        answers: list[int] = []

        def gate(request: Request) -> Reply | None:
            if request.method != "DELETE" or answers:
                return None
            answers.append(pass_on(request, there.registry.url + request.target).status)
            shutil.copytree(there.home / "b", tag)
            return Reply(b"", 500)

        with RegistryProxy(there.registry.url, gate=gate) as proxy:
            done = there.apply(*YES, "--registry.url", proxy.url)
        assert (done.exit_code, done.complaints) == (0, "")
        assert there.client.tags(APP) == []
        assert there.journal[-1]["result"] == "deleted"
        tags = there.journal[-1]["tags"]
        assert isinstance(tags, dict)
        assert tags.keys() == {"a", "b"}
