"""What is certain of a registry that is being written to: what it held, and from when until when.

A span begins when the registry has said that something is done, and ends before it is asked to undo
that: so whoever looked at the store within the span must have seen it. Knows no registry.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_KEPT_SECONDS = 60.0
"""How long it is told of what is no more: longer than any look at the store takes."""

Place = tuple[str, str]
"""A repository, and a tag or a digest in it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image, or an index of some.

    Attributes:
        digest: of its manifest.
        sizes: of all blobs that it needs, by digest: its manifest, and what its children need.
        children: those that an index lists.

    """

    digest: str
    sizes: Mapping[str, int]
    children: tuple["Image", ...] = ()


@dataclass(frozen=True, slots=True)
class _Span:
    place: Place
    image: Image
    since: float
    until: float = math.inf


class Spans:
    """Which image was in a place from when until when; any thread may tell and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Place, _Span] = {}
        self._ended: deque[_Span] = deque()

    def begin(self, place: Place, image: Image) -> None:
        """Say that it is there now; what was there instead has been ended before."""
        with self._lock:
            self._open[place] = _Span(place, image, time.time())

    def end(self, place: Place) -> None:
        """Say that it may be gone from now on."""
        now = time.time()
        with self._lock:
            span = self._open.pop(place, None)
            if span is not None:
                self._ended.append(replace(span, until=now))
            while self._ended and self._ended[0].until < now - _KEPT_SECONDS:
                self._ended.popleft()

    def throughout(self, begin: float, end: float) -> dict[Place, Image]:
        """Give what was there all the time between two moments, Unix seconds."""
        with self._lock:
            spans = (*self._open.values(), *self._ended)
        return {each.place: each.image for each in spans if each.since < begin and each.until > end}


@dataclass(frozen=True, slots=True)
class Truth:
    """What a registry holds for certain.

    Attributes:
        held: manifests that were pushed whole and not deleted, by repository and digest.
        tagged: those that a tag points to, by repository and tag.

    """

    held: Spans = field(default_factory=Spans)
    tagged: Spans = field(default_factory=Spans)


def sizes_of(images: Mapping[Place, Image]) -> dict[str, int]:
    """Give all blobs that images need, each once, with their sizes."""
    return {digest: size for image in images.values() for digest, size in image.sizes.items()}
