"""Hash blobs again and compare the result with the digests that name them.

Reads at a bounded rate and in bounded memory. Does not know what references a blob.
"""

import enum
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from exporter.domain.digests import Digest, format_digest
from exporter.store.format.layout import ALGORITHMS
from exporter.store.port import BlobSource, BlobStream
from exporter.support.rate_limit import RateLimit

CHUNK_BYTES = 1024 * 1024
_SMALLEST_CHUNK_BYTES = 4096
_CHUNKS_PER_SECOND = 4
"""Keeps reading steady at a low rate as well, instead of one chunk a minute."""


class Condition(enum.StrEnum):
    """What a check of a blob found."""

    SOUND = "sound"
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    UNVERIFIABLE = "cannot be verified"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """The check of one blob.

    Attributes:
        digest: its name.
        condition: what was found.
        size: bytes that were hashed.
        detail: the digest that a corrupt blob has, or why one could not be read or verified.

    """

    digest: Digest
    condition: Condition
    size: int = 0
    detail: str = ""


class RateLimiter:
    """Bounds the bytes read per second; None for no bound.

    Unused allowance is not saved: a pause is never followed by a burst.
    """

    def __init__(
        self,
        bytes_per_second: int | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._rate = bytes_per_second
        self._limit = RateLimit(bytes_per_second, clock, sleep)

    @property
    def chunk_bytes(self) -> int:
        """How much to read at once."""
        if self._rate is None:
            return CHUNK_BYTES
        return min(max(self._rate // _CHUNKS_PER_SECOND, _SMALLEST_CHUNK_BYTES), CHUNK_BYTES)

    def spend(self, size: int, should_stop: Callable[[], bool]) -> None:
        """Wait until ``size`` more bytes are within the rate, or until it is time to stop."""
        self._limit.spend(size, should_stop)


class BlobVerifier:
    """Verifies blobs of a store that is open for reading, or of a backup."""

    def __init__(
        self,
        blobs: BlobSource,
        limiter: RateLimiter,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_read: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare it; ``on_read`` is called with the number of bytes of each read."""
        self._blobs = blobs
        self._limiter = limiter
        self._should_stop = should_stop
        self._on_read = on_read
        # the only buffer for content, however large a blob is
        self._chunk = memoryview(bytearray(limiter.chunk_bytes))

    def verify(self, digests: Iterable[Digest]) -> Iterator[BlobCheck]:
        """Verify blobs in the given order; a stop request ends it early, between blobs or in one.

        A blob whose check was interrupted is not yielded.
        """
        for digest in digests:
            check = None if self._should_stop() else self._check(digest)
            if check is None:
                return
            yield check

    def _check(self, digest: Digest) -> BlobCheck | None:
        """Verify one blob; None if that was interrupted."""
        check = self._check_once(digest, self._on_read)
        if check is not None and check.condition is Condition.CORRUPT:
            # once more before it is reported: version 2 of the registry writes manifests in place,
            # so this one may have been half written
            check = self._check_once(digest, lambda _: None)
        return check

    def _check_once(self, digest: Digest, on_read: Callable[[int], None]) -> BlobCheck | None:
        algorithm, _, _ = format_digest(digest).partition(":")
        # not hashlib's list: it differs between builds, and some have no fixed length
        if algorithm not in ALGORITHMS:
            detail = f"the algorithm {algorithm} is not one of {', '.join(ALGORITHMS)}"
            return BlobCheck(digest, Condition.UNVERIFIABLE, detail=detail)
        try:
            with self._blobs.open(digest) as stream:
                return self._hash(digest, algorithm, stream, on_read)
        except FileNotFoundError:
            return BlobCheck(digest, Condition.VANISHED)
        except OSError as error:
            return BlobCheck(digest, Condition.UNREADABLE, detail=error.strerror or str(error))

    def _hash(
        self, digest: Digest, algorithm: str, stream: BlobStream, on_read: Callable[[int], None]
    ) -> BlobCheck | None:
        content = hashlib.new(algorithm, usedforsecurity=False)
        size = 0
        while read := stream.readinto(self._chunk):
            content.update(self._chunk[:read])
            size += read
            on_read(read)
            self._limiter.spend(read, self._should_stop)
            if self._should_stop():
                return None
        actual = f"{algorithm}:{content.hexdigest()}"
        if actual == format_digest(digest):
            return BlobCheck(digest, Condition.SOUND, size)
        return BlobCheck(digest, Condition.CORRUPT, size, actual)
