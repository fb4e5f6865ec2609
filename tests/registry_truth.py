"""The certain contents of a registry that is being written to, with times.

A span begins when the registry has confirmed a change, and ends before the request to undo it: a
scan within the span must have seen the change. Knows no registry.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_KEPT_SECONDS = 60.0
"""How long ended spans are kept: longer than any scan of the store takes."""

Place = tuple[str, str]
"""A repository, and a tag or a digest in it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image, or an index of images.

    Attributes:
        digest: of its manifest.
        sizes: of all blobs that it needs, by digest, including its manifest and its children.
        children: the images that an index lists.

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
    """Which image was in which place at which time; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Place, _Span] = {}
        self._ended: deque[_Span] = deque()

    def begin(self, place: Place, image: Image) -> None:
        """Record that an image is in a place now; an earlier one must have been ended."""
        with self._lock:
            self._open[place] = _Span(place, image, time.time())

    def end(self, place: Place) -> None:
        """Record that the image in a place may be gone from now on."""
        now = time.time()
        with self._lock:
            span = self._open.pop(place, None)
            if span is not None:
                self._ended.append(replace(span, until=now))
            while self._ended and self._ended[0].until < now - _KEPT_SECONDS:
                self._ended.popleft()

    def throughout(self, begin: float, end: float) -> dict[Place, Image]:
        """Return the images that were there all the time between two times, in Unix seconds."""
        with self._lock:
            spans = (*self._open.values(), *self._ended)
        return {each.place: each.image for each in spans if each.since < begin and each.until > end}


@dataclass(frozen=True, slots=True)
class Truth:
    """The certain contents of a registry.

    Attributes:
        held: manifests that were pushed whole and not deleted, by repository and digest.
        tagged: manifests that a tag points to, by repository and tag.

    """

    held: Spans = field(default_factory=Spans)
    tagged: Spans = field(default_factory=Spans)


def sizes_of(images: Mapping[Place, Image]) -> dict[str, int]:
    """Return the sizes of all blobs that images need, each blob once."""
    return {digest: size for image in images.values() for digest, size in image.sizes.items()}
