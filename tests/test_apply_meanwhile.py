"""Pushes, retags and deletions by others while `apply` runs: nobody loses anything."""

import io
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from demo.child_process import wait_until
from exporter.commands.apply.loading import load_plan
from exporter.commands.apply.options import ApplyRequest
from exporter.commands.apply.report import NextSteps
from exporter.commands.apply.run import Ending, Environment, Subject, apply
from exporter.compose import registry_editor, scan
from exporter.domain.digests import Digest
from exporter.settings.model import Settings
from exporter.store.filesystem.looker import FilesystemLooker
from exporter.store.filesystem.root import open_known_store
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import TagLinks
from tests.applied import APP, Place, fill, make_older, place, pull
from tests.fake_registry import Reply, Request
from tests.registry_proxy import RegistryProxy
from tests.servers import DOCKER_MANIFEST, RegistryClient, digest_of

Hook = Callable[[], None]


class HookedLooker(FilesystemLooker):
    """Lets something happen before each part of a look."""

    def __init__(self, store: int, hook: Hook) -> None:
        super().__init__(store)
        self._hook = hook

    def tags(self, repository: str) -> TagLinks:
        self._hook()
        return super().tags(repository)

    def linked_at(self, repository: str, digest: Digest) -> float | None:
        self._hook()
        return super().linked_at(repository, digest)


class HookedStore(FilesystemStore):
    """A store with such a looker."""

    def __init__(self, root: Path, hook: Hook) -> None:
        super().__init__(root)
        self._place = root
        self._hook = hook

    @contextmanager
    def open_looker(self) -> Iterator[FilesystemLooker]:
        with open_known_store(self._place) as store:
            looker = HookedLooker(store, self._hook)
            try:
                yield looker
            finally:
                looker.close()


def apply_with(place: Place, hook: Hook) -> Ending:
    """Carry the plan out in this process; something happens at each look."""
    settings = Settings.model_validate(
        {"storage": {"root": place.registry.root}, "registry": {"url": place.url}}
    )
    scanned = scan(settings)
    subject = Subject(
        HookedStore(place.registry.root, hook),
        scanned.subject.snapshot,
        scanned.options,
        None,
        lambda stop, rate: registry_editor(settings, rate, stop),
        NextSteps((), ""),
    )
    request = ApplyRequest(
        plan=place.plan_file,
        confirmed=True,
        backup=None,
        backup_blobs=False,
        same_filesystem=False,
        max_age=3600.0,
        max_rate=1000,
        journal=place.plan_file.with_name("plan.txt.journal"),
    )
    plan = load_plan(request, subject.store, time.time())
    environment = Environment(io.StringIO(), time.time, time.monotonic, lambda: False)
    return apply(subject, plan, request, environment)


class Others:
    """Somebody who changes one repository at random, and knows what must be in it."""

    def __init__(self, client: RegistryClient, repository: str, seed: int) -> None:
        self.expected: dict[str, str] = {}
        self.touched: set[tuple[str, str]] = set()
        self.actions = 0
        self._client = client
        self._repository = repository
        self._chance = random.Random(seed)  # noqa: S311 - the same steps each time
        self._manifests: dict[str, tuple[bytes, str]] = {}
        self._children: set[str] = set()

    def fill(self) -> None:
        """Push images, of which some have several tags, and indexes of some."""
        for number in range(12):
            self._push(str(number))
        images = list(self._manifests)
        for number in range(3):
            self._index(f"index-{number}", self._chance.sample(images, 2))
        for number in range(4):
            self._tag(f"also-{number}", self._chance.choice(images))
        self.touched.clear()

    def act(self) -> None:
        """Do one thing."""
        self.actions += 1
        kind = self._chance.choice(["push", "tag", "move", "move", "again", "index", "delete"])
        known = sorted(self._manifests)
        if kind == "push":
            self._push(f"new-{self.actions}")
        elif kind == "tag":
            self._tag(f"tag-{self.actions}", self._chance.choice(known))
        elif kind == "move" and self.expected:
            self._tag(self._chance.choice(sorted(self.expected)), self._chance.choice(known))
        elif kind == "again" and self.expected:
            tag = self._chance.choice(sorted(self.expected))
            self._tag(tag, self.expected[tag])
        elif kind == "index":
            self._index(f"index-{self.actions}", self._chance.sample(known, 2))
        elif kind == "delete":
            self._delete(self._chance.choice(known))

    def _push(self, tag: str) -> None:
        layer = f"{self._repository} {tag}".encode()
        digest = self._client.push_image(self._repository, tag, [layer])
        self._manifests[digest] = self._client.manifest(self._repository, digest)
        self._note(tag, digest)

    def _tag(self, tag: str, digest: str) -> None:
        try:
            self._client.push_manifest(self._repository, tag, *self._manifests[digest])
        except RuntimeError:  # an index of what is gone
            return
        self._note(tag, digest)

    def _index(self, tag: str, images: list[str]) -> None:
        try:
            digest = self._client.push_index(self._repository, tag, images, oci=True)
            self._manifests[digest] = self._client.manifest(self._repository, digest)
        except RuntimeError:
            return
        self._children.update(images)
        self._note(tag, digest)

    def _delete(self, digest: str) -> None:
        if digest in self._children:
            return
        try:
            self._client.delete_manifest(self._repository, digest)
        except RuntimeError:
            return
        self.expected = {tag: each for tag, each in self.expected.items() if each != digest}

    def _note(self, tag: str, digest: str) -> None:
        self.expected[tag] = digest
        self.touched.add((tag, digest))


def planned_pairs(place: Place, repository: str) -> set[tuple[str, str]]:
    """Return the tags that the plan names, with their manifests."""
    rows = [row for row in place.plan_file.read_text().splitlines() if not row.startswith("#")]
    found = set()
    for row in rows:
        image, _, tags = row.split("\t")
        name, _, digest = image.partition("@")
        if name == repository:
            found |= {(tag, digest) for tag in tags.split(",")}
    return found


def assert_nobody_lost_anything(
    place: Place, repository: str, expected: Mapping[str, str], may_go: set[tuple[str, str]]
) -> None:
    there = set(place.client.tags(repository))
    for tag, digest in expected.items():
        if tag in there:
            assert digest in pull(place.registry.url, repository, tag)
        else:
            assert (tag, digest) in may_go


@pytest.mark.parametrize("version", [2, 3])
def test_two_hundred_random_changes_at_any_look_cost_nobody_a_tag(
    tmp_path: Path, version: int
) -> None:
    runs = 7 if version == 2 else 2
    actions = endings = 0
    with place(tmp_path, version) as there:
        for seed in range(runs):
            name = f"run/app-{seed}"
            others = Others(there.client, name, seed)
            others.fill()
            make_older(there.registry.root)
            there.plan(f"--match={name}:([0-9]+|index-[01])", "--include-children")
            (there.home / "plan.txt.journal").unlink(missing_ok=True)
            endings += apply_with(there, others.act) is Ending.PARTLY
            may_go = planned_pairs(there, name) - others.touched
            assert_nobody_lost_anything(there, name, others.expected, may_go)
            assert "deleted" in {line["result"] for line in there.journal}
            actions += others.actions
    assert endings == runs
    assert actions >= (200 if version == 2 else 50)


def is_served(client: RegistryClient, tag: str, digest: str) -> bool:
    """Return whether a tag points to a manifest; not, for a moment, before it is put back."""
    try:
        return digest_of(client.manifest(APP, tag)[0]) == digest
    except RuntimeError:
        return False


def test_somebody_who_pushes_all_the_time_loses_nothing(tmp_path: Path) -> None:
    with place(tmp_path) as there, RegistryClient(there.registry.url) as client:
        digests = [client.push_image(APP, f"old-{each}", [b"%d" % each]) for each in range(60)]
        own = [client.push_image(APP, f"own-{each}", [b"own %d" % each]) for each in range(5)]
        make_older(there.registry.root)
        there.plan("--match=team/app:old-.*")
        manifests = {each: client.manifest(APP, each)[0] for each in (*digests, *own)}
        expected = {f"own-{number}": each for number, each in enumerate(own)}
        chance, stop, failures = random.Random(1), threading.Event(), []  # noqa: S311

        def push() -> None:
            number = 0
            try:
                while not stop.is_set():
                    number += 1
                    tag = f"own-{chance.randrange(5)}"
                    wait_until(partial(is_served, client, tag, expected[tag]), f"{tag} is lost", 5)
                    digest = chance.choice([*digests, *own, *own])
                    client.push_manifest(APP, tag, manifests[digest], DOCKER_MANIFEST)
                    expected[tag] = digest
                    new = client.push_image(APP, f"new-{number}", [b"new %d" % number])
                    expected[f"new-{number}"] = new
                    digest = chance.choice(digests)
                    client.push_manifest(APP, f"too-{number}", manifests[digest], DOCKER_MANIFEST)
                    expected[f"too-{number}"] = digest
            except (RuntimeError, TimeoutError) as error:
                failures.append(error)

        thread = threading.Thread(target=push)
        thread.start()
        try:
            apply_with(there, lambda: None)
        finally:
            stop.set()
            thread.join()
        assert failures == []
        assert_nobody_lost_anything(there, APP, expected, set())
        assert len(expected) > 10
        results = [line["result"] for line in there.journal]
        assert results.count("deleted") > 10


@pytest.mark.parametrize("version", [2, 3])
def test_what_moves_to_a_manifest_in_the_moment_of_its_deletion_is_put_back(
    tmp_path: Path, version: int
) -> None:
    with place(tmp_path, version) as there:
        digests = fill(there.client)
        make_older(there.registry.root)
        one, child = digests[f"{APP}:1"], digests["children"].split()[0]
        there.plan("--match=team/app:(1|old-index)", "--include-children")
        content = there.client.manifest(APP, one)[0]
        late = []

        def meddle(request: Request) -> Reply | None:
            if request.method == "DELETE" and request.path.endswith(one):
                there.client.push_manifest(APP, "4", content, DOCKER_MANIFEST)
                there.client.push_manifest(APP, "brand-new", content, DOCKER_MANIFEST)
            if request.method == "DELETE" and request.path.endswith(child):
                late.append(there.client.push_index(APP, "late", [child], oci=True))
            return None

        with RegistryProxy(there.registry.url, gate=meddle) as proxy:
            done = there.apply("--yes", "--no-backup", "--registry.url", proxy.url)
        assert (done.exit_code, done.complaints) == (3, "")
        assert (
            "the tag 4, brand-new was pushed for it in this moment; it was put back" in done.output
        )
        assert one in pull(there.registry.url, APP, "brand-new")
        assert "the tag late needs it since this moment; it was put back" in done.output
        assert one in pull(there.registry.url, APP, "4")
        assert child in pull(there.registry.url, APP, "late")
        assert "1" not in there.client.tags(APP)
        outcome = {line["digest"]: (line["result"], line["reason"]) for line in there.journal}
        assert outcome[one][0] == outcome[child][0] == "deleted"


@pytest.mark.parametrize("version", [2, 3])
def test_a_tag_that_another_client_removes_meanwhile_never_points_to_the_deleted_manifest(
    tmp_path: Path, version: int
) -> None:
    with place(tmp_path, version) as there:
        old = there.client.push_image(APP, "old", [b"old"])
        new = there.client.push_image(APP, "latest", [b"new"])
        there.client.push_manifest(APP, "keep", *there.client.manifest(APP, new))
        make_older(there.registry.root)
        there.plan("--match=team/app:old")
        (latest,) = there.registry.root.glob("**/_manifests/tags/latest")

        def remove(request: Request) -> Reply | None:
            if request.method == "DELETE":
                shutil.rmtree(latest)  # as version 3 removes a tag
            return None

        with RegistryProxy(there.registry.url, gate=remove) as proxy:
            done = there.apply("--yes", "--no-backup", "--registry.url", proxy.url)
        assert (done.exit_code, done.complaints) == (3, "")
        assert "the tag latest was removed in this moment, by somebody or with it" in done.output
        assert there.client.tags(APP) == ["keep"]
        assert is_served(there.client, old, old)


def test_what_is_pushed_again_right_after_its_deletion_keeps_its_signature(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        image = there.client.push_image(APP, "1", [b"image"])
        tag = f"{image.replace(':', '-')}.sig"
        there.client.push_image(APP, tag, [b"signature"])
        make_older(there.registry.root)
        there.plan("--match=team/app:1")
        journal = there.plan_file.with_name("plan.txt.journal")

        def push_again() -> None:
            if journal.exists() and '"result":"deleted"' in journal.read_text():
                there.client.push_image(APP, "1", [b"image"])

        assert apply_with(there, push_again) is Ending.PARTLY
        assert there.client.tags(APP) == ["1", tag]
