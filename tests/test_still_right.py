"""Which planned deletions are still right, whatever happens to a repository meanwhile."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.store import StoreBuilder
from exporter.analysis.applying.sequence import before_each, in_sequence
from exporter.analysis.applying.still_right import (
    Candidate,
    RepositoryNow,
    Rescue,
    Running,
    reason_to_leave,
    rescue_after,
)
from exporter.domain.digests import Digest
from exporter.domain.plan_file import PlannedDeletion
from exporter.store.filesystem.scanner import scan_store

MADE = 1000.0


def digest(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


IMAGE, OTHER, INDEX, OUTER, APART = map(digest, range(1, 6))
LISTS = {INDEX: (IMAGE, OTHER), OUTER: (INDEX,)}


def listed_by(each: Digest) -> Collection[Digest] | None:
    return LISTS.get(each, ())


def reason(
    tags: dict[str, tuple[Digest | None, float | None]],
    candidate: Candidate = Candidate(IMAGE, frozenset({"1.0"})),  # noqa: B008 - never changed
    *,
    linked_at: float = 1.0,
    running: Running = Running(),  # noqa: B008 - the same
    damaged: Collection[str] = (),
    lists: Callable[[Digest], Collection[Digest] | None] = listed_by,
) -> str | None:
    now = RepositoryNow(tags, linked_at, running, frozenset(damaged))
    return reason_to_leave(candidate, MADE, now, lists)


PLANNED: dict[str, tuple[Digest | None, float | None]] = {
    "1.0": (IMAGE, 1.0),
    "other": (APART, MADE + 5),
}


def test_what_has_not_changed_is_deleted() -> None:
    assert reason(PLANNED) is None
    assert reason({"other": (OTHER, MADE + 5)}, Candidate(IMAGE, frozenset())) is None
    assert reason({}, Candidate(INDEX, frozenset())) is None
    # what lists others goes before them
    assert reason({"1.0": (INDEX, 1.0)}, Candidate(INDEX, frozenset({"1.0"}))) is None


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ("it now has tags that the plan does not name: 2.0", reason(PLANNED | {"2.0": (IMAGE, 2)})),
        ("point to something else now, or are gone: 1.0", reason(PLANNED | {"1.0": (OTHER, 2)})),
        ("point to something else now, or are gone: 1.0", reason({})),
        ("it was pushed again at 1970-01-01 00:16:41 UTC", reason(PLANNED, linked_at=MADE + 1)),
        ("it was pushed again", reason(PLANNED, linked_at=MADE)),
        ("its tag 1.0 was written again", reason({"1.0": (IMAGE, MADE + 1)})),
        ("its tag 1.0 was written again", reason({"1.0": (IMAGE, None)})),
        ("the tag list needs it, through the index", reason(PLANNED | {"list": (INDEX, 2)})),
        ("the tag outer needs it, through the index", reason(PLANNED | {"outer": (OUTER, 2)})),
        ("an app runs it, as 1.0", reason(PLANNED, running=Running(frozenset({"1.0"})))),
        (
            "an app runs it, by its digest",
            reason(PLANNED, running=Running(digests=frozenset({IMAGE}))),
        ),
        (
            "an app needs it, through the index",
            reason(PLANNED, running=Running(digests=frozenset({OUTER}))),
        ),
        (
            "what the tag new points to cannot be read",
            reason(PLANNED | {"new": (None, MADE + 1)}, damaged=["new"]),
        ),
        ("what the tag new points to cannot be read", reason(PLANNED | {"new": (None, 1.0)})),
        (
            "what the tag other needs cannot be read",
            reason(PLANNED, lists=lambda each: None if each == APART else ()),
        ),
        (
            "what the tag outer needs cannot be read",
            reason(
                PLANNED | {"outer": (OUTER, 2)},
                lists=lambda each: None if each == INDEX else LISTS.get(each, ()),
            ),
        ),
    ],
)
def test_what_has_changed_stays_with_the_reason(expected: str, found: str | None) -> None:
    assert found is not None
    assert expected in found


def test_a_tag_that_was_damaged_before_protects_nothing() -> None:
    assert reason(PLANNED | {"old": (None, 1.0)}, damaged=["old"]) is None
    assert reason(PLANNED | {"old": (None, None)}, damaged=["old"]) is None


# A repository in which anything may happen between two steps


@dataclass
class Model:
    """A repository, whose registry deletes a manifest with all of its tags."""

    tags: dict[str, tuple[Digest | None, float | None]] = field(default_factory=dict)
    links: dict[Digest, float] = field(default_factory=dict)
    lists: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    time: float = 1.0
    made: int = 100
    created: set[str] = field(default_factory=set)
    pushed: set[Digest] = field(default_factory=set)

    def put(self, each: Digest, tag: str | None) -> None:
        """Push a manifest that the registry accepts: what it lists must be there."""
        if self.links.keys() >= set(self.lists.get(each, ())):
            self.time += 1
            self.links[each] = self.time
            self.pushed.add(each)
            if tag is not None:
                self.created |= {tag} - self.tags.keys()
                self.tags[tag] = each, self.time

    def delete(self, each: Digest) -> None:
        self.links.pop(each, None)
        self.tags = {name: link for name, link in self.tags.items() if link[0] != each}

    def new(self, children: Sequence[Digest]) -> Digest:
        self.made += 1
        each = digest(self.made)
        self.lists[each] = tuple(children)
        return each

    def listed_by(self, each: Digest) -> Collection[Digest]:
        return self.lists.get(each, ())

    def seen(self, each: Digest) -> RepositoryNow:
        return RepositoryNow(dict(self.tags), self.links.get(each, 0.0))

    def whole(self) -> dict[str, Digest]:
        """Return the tags that can be pulled whole."""
        return {
            name: target
            for name, (target, _) in self.tags.items()
            if target is not None and self.closure(target) <= self.links.keys()
        }

    def closure(self, each: Digest) -> set[Digest]:
        return {each}.union(*(self.closure(child) for child in self.listed_by(each)))


Step = tuple[str, int, int, int]
STEP = st.tuples(
    st.sampled_from(["image", "index", "tag", "move", "delete", "untag"]), *[st.integers(0, 50)] * 3
)
STEPS = st.lists(STEP, max_size=12)


def do(model: Model, step: Step) -> None:
    """Do one thing that somebody else may do."""
    kind, first, second, name = step
    held = sorted(model.links)
    if kind == "image" or not held:
        model.put(model.new(()), f"t{name % 12}")
    elif kind == "index":
        children = (held[first % len(held)], held[second % len(held)])
        model.put(model.new(children), f"t{name % 12}" if name % 3 else None)
    elif kind == "tag":
        model.put(held[first % len(held)], f"t{name % 12}")
    elif kind == "move" and model.tags:
        tag = sorted(model.tags)[name % len(model.tags)]
        model.put(held[first % len(held)], tag)
    elif kind == "delete":
        model.delete(held[first % len(held)])
    elif kind == "untag" and model.tags:
        del model.tags[sorted(model.tags)[name % len(model.tags)]]


@given(STEPS, st.lists(st.integers(0, 50), max_size=8), st.lists(STEPS, max_size=8))
@settings(max_examples=400)
def test_whatever_happens_between_no_tag_that_the_plan_does_not_name_loses_anything(
    before: list[Step], chosen: list[int], meanwhile: list[list[Step]]
) -> None:
    model = Model()
    for step in before:
        do(model, step)
    model.time = MADE
    held = sorted(model.links)
    plan = [
        Candidate(each, frozenset(tag for tag, (target, _) in model.tags.items() if target == each))
        for each in dict.fromkeys(held[place % len(held)] for place in chosen if held)
    ]
    model.time = MADE + 1
    for place, candidate in enumerate(plan):
        for step in meanwhile[place] if place < len(meanwhile) else ():
            do(model, step)
        if candidate.digest not in model.links:
            continue
        whole, seen = model.whole(), model.seen(candidate.digest)
        if reason_to_leave(candidate, MADE, seen, model.listed_by) is None:
            model.delete(candidate.digest)
            lost = whole.items() - model.whole().items()
            assert {name for name, _ in lost} <= candidate.tags


@given(STEPS, STEPS, st.integers(0, 50))
@settings(max_examples=400)
def test_a_tag_that_is_pushed_in_the_very_moment_is_put_back(
    before: list[Step], meanwhile: list[Step], chosen: int
) -> None:
    model = Model()
    for step in [*before, ("image", 0, 0, 0)]:
        do(model, step)
    held = sorted(model.links)
    each = held[chosen % len(held)]
    named = frozenset(tag for tag, (target, _) in model.tags.items() if target == each)
    candidate, model.time = Candidate(each, named), MADE + 1
    seen = model.seen(each)
    if reason_to_leave(candidate, MADE, seen, model.listed_by) is not None:
        return
    model.created.clear()
    model.pushed.clear()
    for step in meanwhile:
        do(model, step)
    whole = [name for name in model.whole() if name not in named]
    created = frozenset(model.created)
    model.delete(each)
    was_pushed = each in model.pushed
    after = replace(model.seen(each), created=created, was_pushed=was_pushed)
    rescue = rescue_after(candidate, seen, after, model.links.__contains__, model.listed_by)
    if rescue is not None:
        assert was_pushed or not rescue.tags
        for tag in rescue.tags or (None,):
            model.put(each, tag)
    lost = {name for name in whole if name not in model.whole()} - created
    # one that pointed to a manifest that is gone as well may have been deleted with it
    assert {name for name in lost if seen.tags[name][0] in model.links} == set()
    assert created - named <= model.whole().keys() | (created - set(whole))


def test_what_was_written_in_the_very_moment_is_put_back_by_its_digest() -> None:
    candidate, before = Candidate(IMAGE, frozenset()), RepositoryNow({}, 1.0)

    def rescue(tags: dict[str, tuple[Digest | None, float | None]]) -> Rescue | None:
        now = replace(before, tags=tags)
        return rescue_after(candidate, before, now, lambda _: True, listed_by)

    assert rescue({"other": (APART, 2.0)}) is None
    assert rescue({"late": (IMAGE, 2.0)}) == Rescue((), "the tag late was written in this moment")
    needed = rescue({"late": (OUTER, 2.0)})
    assert needed == Rescue((), "the tag late needs it since this moment")


def test_a_tag_that_is_gone_is_put_back_only_if_the_manifest_was_pushed() -> None:
    candidate, before = Candidate(IMAGE, frozenset()), RepositoryNow({"latest": (OTHER, 1.0)}, 1.0)
    for was_pushed, tags in ((True, ("latest",)), (False, ())):
        after = RepositoryNow({}, 0.0, was_pushed=was_pushed)
        found = rescue_after(candidate, before, after, lambda _: True, listed_by)
        assert found is not None
        assert found.tags == tags
        assert "the tag latest" in found.reason


# The order


def test_an_index_goes_before_what_it_lists_and_an_image_before_its_artifacts(
    tmp_path: Path,
) -> None:
    store = StoreBuilder(tmp_path)
    images = [store.image("app", None, [b"layer %d" % number]) for number in range(3)]
    inner = store.index("app", None, images[:2])
    outer = store.index("app", "outer", [inner, images[2]])
    signature = store.image("app", f"{images[0].replace(':', '-')}.sig", [b"signature"])
    other = store.image("team/other", "1.0", [b"other"])
    names = [("app", each) for each in (*images, inner, outer, signature)]
    names.append(("team/other", other))
    lines = [
        PlannedDeletion(repository, each, 0, ()) for repository, each in [names[-2], *names[:-2]]
    ]
    lines.append(PlannedDeletion(*names[-1], 0, ()))
    found = list(in_sequence(len(lines), before_each(scan_store(tmp_path), lines)))
    assert sorted(found) == list(range(len(lines)))
    order = [lines[place].digest for place in found]
    for first, then in (
        (outer, inner),
        (outer, images[2]),
        (inner, images[0]),
        (inner, images[1]),
        (images[0], signature),
    ):
        assert order.index(first) < order.index(then)
    assert list(in_sequence(4, {})) == [0, 1, 2, 3]
    assert sorted(in_sequence(3, {0: {1}, 1: {0}})) == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_every_line_comes_once_and_after_what_it_must_not_outlive(
    pairs: list[tuple[int, int]],
) -> None:
    earlier: dict[int, set[int]] = {}
    for first, then in pairs:
        if first < then:
            earlier.setdefault(then, set()).add(first)
    turned = {9 - place: {9 - each for each in firsts} for place, firsts in earlier.items()}
    for each in (earlier, turned):
        order = list(in_sequence(10, each))
        assert sorted(order) == list(range(10))
        for place, firsts in each.items():
            assert all(order.index(first) < order.index(place) for first in firsts)
