"""Fuzzing of everything that reads foreign input: sources of inputs, limits, and shrinking.

A target is a reader and its promise about any bytes. Its inputs are the files of its folder in
``tests/corpus``, mutations of them, and the output of a strategy that knows the format. An input
that breaks a promise is kept in ``.fuzz``, as small as possible.
"""

import hashlib
import itertools
import json
import math
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

CORPUS = Path(__file__).parent / "corpus"
FINDINGS = Path(__file__).parent.parent / ".fuzz"

MAX_INPUT_BYTES = 64 * 1024
CPU_SECONDS = 2.0
"""For one input: a reader in quadratic time takes far longer."""

_ROUND = 20
_RELATIVES = 10
_REPORT_SECONDS = 10.0
_SHRINK_SECONDS = 60.0
_SHOWN_BYTES = 400
_SHOWN_FRAMES = 4

Check = Callable[[bytes], object]
"""Raises if the promise is broken."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of foreign input.

    Attributes:
        name: of its folder in the corpus.
        promise: what the check tests, in one sentence.
        checking: sets up the check in its own folder, and yields it.
        made_up: inputs in roughly the right format.
        seeds: inputs beside the corpus, which each run generates again.

    """

    name: str
    promise: str
    checking: Callable[[Path], AbstractContextManager[Check]]
    made_up: SearchStrategy[bytes]
    seeds: Callable[[Path], Sequence[bytes]] = lambda _: ()


class FindingError(AssertionError):
    """A promise does not hold."""


class EndlessError(Exception):
    """Reading takes longer than any input of this size may."""


def corpus_files(name: str) -> list[Path]:
    """List the corpus of one target."""
    return sorted((CORPUS / name).iterdir()) if (CORPUS / name).is_dir() else []


@contextmanager
def plain(check: Check) -> Iterator[Check]:
    """Yield a check that needs no setup."""
    yield check


@contextmanager
def limited(cpu_seconds: float = CPU_SECONDS) -> Iterator[None]:
    """Raise EndlessError after this processor time, also in endless loops and slow patterns."""

    def end(*_: object) -> None:
        raise EndlessError(f"more than {cpu_seconds:g} s of the processor")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
    try:
        yield
    except EndlessError as error:  # raised between two lines, which confuses tools that show traces
        raise EndlessError(f"{error}, in {_innermost(error)}") from None
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much to try: for some time, or a number of inputs, whatever the machine's speed."""

    seconds: float = math.inf
    inputs: int | None = None

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s" if self.inputs is None else f"{self.inputs} inputs"


def _innermost(error: BaseException) -> str:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return " < ".join(frame.f_code.co_qualname for frame in frames[-2 : -2 - _SHOWN_FRAMES : -1])


def fuzz(
    target: Target,
    directory: Path,
    limit: "Limit",
    first_seed: int,
    report: Callable[[str], None],
) -> int:
    """Try inputs up to a limit; return their number.

    ``report`` is called with the progress. The same ``first_seed`` generates the same inputs.
    Raises FindingError for an input that fails.
    """
    begun = reported = time.monotonic()
    ends = begun + limit.seconds
    seeds = [path.read_bytes() for path in corpus_files(target.name)]
    inputs = mutated([*seeds, *target.seeds(directory)], target.made_up)
    with target.checking(directory) as check:
        trial = _Trial(check, ends, limit.inputs)
        for number in itertools.count(first_seed):
            try:
                _try_round(inputs, number, trial)
            except Flaky:
                raise FindingError(_explain(target, *trial.first_failure)) from None
            except Exception as error:  # noqa: BLE001 - whatever is raised is a finding
                small = _made_small(check, trial.last, type(error))
                raise FindingError(_explain(target, small, error)) from None
            if trial.is_over:
                return trial.count
            now = time.monotonic()
            if now - reported >= _REPORT_SECONDS:
                reported = now
                report(f"{target.name}: {now - begun:.0f} of {limit}, {trial.count} inputs")
    raise AssertionError("unreachable")


class _Trial:
    """Tries inputs, and remembers the last one: after a failure, the result of shrinking."""

    def __init__(self, check: Check, ends: float, most: int | None) -> None:
        self._check = check
        self._ends = ends
        self._most = most
        self._failures: list[tuple[bytes, Exception]] = []
        self.count = 0
        self.last = b""

    @property
    def is_over(self) -> bool:
        """Whether the time has ended, or enough inputs were tried."""
        return time.monotonic() >= self._ends or self.count == self._most

    @property
    def first_failure(self) -> tuple[bytes, Exception]:
        """The first failure: the only information about one that does not always happen."""
        return self._failures[0]

    def __call__(self, content: bytes) -> None:
        if self.is_over and not self._failures:
            return  # it ended within a round
        self.count += 1
        self.last = content
        try:
            with limited():
                self._check(content)
        except Exception as error:
            self._failures.append((content, error))
            raise


class _Input:
    """Bytes that Hypothesis shows only as a number of bytes: it warns about long ones."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"<{len(self.content)} bytes>"


def _try_round(inputs: SearchStrategy[bytes], number: int, trial: _Trial) -> None:
    @seed(number)
    @settings(
        max_examples=_ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        verbosity=Verbosity.quiet,  # the finding says everything
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs.map(_Input), st.integers(0, 2**32))
    def try_all(made: _Input, chance: int) -> None:
        trial(made.content)
        for content in _relatives(made.content, random.Random(chance)):  # noqa: S311 - not a secret
            trial(content)

    try_all()


def _relatives(content: bytes, chance: random.Random) -> Iterator[bytes]:
    """Mutate at random, which is ten times faster than with Hypothesis, which can shrink."""
    ways, most = list(_WAYS), 2**16
    for _ in range(_RELATIVES):
        yield _mutate(
            content,
            [
                (chance.choice(ways), chance.randrange(most), chance.randrange(most), token)
                for token in chance.choices(_TOKENS, k=chance.randint(1, 3))
            ],
        )


def _made_small(check: Check, content: bytes, kind: type[Exception]) -> bytes:
    """Cut what the same kind of error does not need: Hypothesis cannot shrink ``_relatives``."""
    ends = time.monotonic() + _SHRINK_SECONDS
    size = len(content)
    while size and time.monotonic() < ends:
        start = 0
        while start < len(content) and time.monotonic() < ends:
            shorter = content[:start] + content[start + size :]
            if _fails(check, shorter, kind):
                content = shorter
            else:
                start += size
        size //= 2
    return content


def _fails(check: Check, content: bytes, kind: type[Exception]) -> bool:
    try:
        with limited():
            check(content)
    except Exception as error:  # noqa: BLE001 - the one looked for, or another finding
        return type(error) is kind
    return False


def _explain(target: Target, content: bytes, error: Exception) -> str:
    """Keep an input that failed; return a message that says how to add it to the corpus."""
    name = hashlib.sha256(content).hexdigest()[:12]
    path = FINDINGS / target.name / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    shown = repr(content[:_SHOWN_BYTES]) + ("..." if len(content) > _SHOWN_BYTES else "")
    place = "".join(traceback.format_tb(error.__traceback__, -_SHOWN_FRAMES))
    return (
        f"{target.name}: {type(error).__name__}: {str(error)[:500]}\n{place}"
        f"with {len(content)} bytes: {shown}\n"
        f"To keep it: mv {path} {CORPUS / target.name}/NAME"
    )


# Mutations

_TOKENS = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"\xe2\x80\xae",
    b"\r\n", b"\n", b"\t", b" ", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b"<", b">", b"(", b")",
    b",", b";", b":", b"=", b"/", b"//", b"..", b"@", b"%", b"&a", b"*a", b"!", b"|", b"-", b"- ",
    b"0", b"-1", b"9" * 400, b"1e999", b"-1e-999", b"NaN", b"null", b"true", b'""', b"{}", b"[]",
    b"A", b"a" * 70, b"sha256:", b"sha512:",
)  # fmt: skip

_SPOT = st.integers(0, 2**16 - 1)
_Mutation = tuple[str, int, int, bytes]
_Way = Callable[[bytes, int, int, bytes], bytes]


def _cut(content: bytes, start: int, end: int, _: bytes) -> bytes:
    return content[:start] + content[end:]


def _flip(content: bytes, start: int, end: int, _: bytes) -> bytes:
    flipped = bytes(byte ^ (1 << (end % 8)) for byte in content[start : start + 1])
    return content[:start] + flipped + content[start + 1 :]


def _insert(content: bytes, start: int, _: int, token: bytes) -> bytes:
    return content[:start] + token + content[start:]


def _overwrite(content: bytes, start: int, end: int, token: bytes) -> bytes:
    return content[:start] + token + content[end:]


def _repeat(content: bytes, start: int, end: int, _: bytes) -> bytes:
    times: int = 2 ** (end % 16)
    room = MAX_INPUT_BYTES // max(end - start, 1)
    return content[:start] + content[start:end] * min(times, room) + content[end:]


def _splice(content: bytes, start: int, end: int, other: bytes) -> bytes:
    return content[:start] + other[end:]


_WAYS: dict[str, _Way] = {
    "cut": _cut,
    "flip": _flip,
    "insert": _insert,
    "overwrite": _overwrite,
    "repeat": _repeat,
}


def mutated(seeds: Sequence[bytes], made_up: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return seeds and generated inputs with up to six mutations; some are spliced from two."""
    base = st.sampled_from(seeds) | made_up if seeds else made_up
    ways = st.tuples(st.sampled_from(list(_WAYS)), _SPOT, _SPOT, st.sampled_from(_TOKENS))
    splices = st.tuples(st.just("splice"), _SPOT, _SPOT, base)
    mutations = st.lists(ways | ways | ways | splices, max_size=6)
    return st.builds(_mutate, base, mutations)


def _mutate(content: bytes, mutations: list[_Mutation]) -> bytes:
    for way, spot, extent, other in mutations:
        start = spot % (len(content) + 1)
        # mostly short, sometimes everything
        end = start + min(extent % 2 ** (extent % 17), len(content) - start)
        content = _WAYS.get(way, _splice)(content, start, end, other)[:MAX_INPUT_BYTES]
    return content


# Forms

SCALARS: SearchStrategy[object] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "\ud800", "\0", "9" * 400, "x" * 300])
)


def json_values(
    keys: Sequence[str], scalars: SearchStrategy[object] = SCALARS
) -> SearchStrategy[object]:
    """Return values of any shape, whose objects have mostly these keys."""
    names = st.sampled_from(keys) | st.sampled_from(keys) | st.text(max_size=4)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
        max_leaves=16,
    )


def encode_json(value: object) -> bytes:
    """Encode as JSON, with lone surrogates and NaN too."""
    return json.dumps(value).encode()
