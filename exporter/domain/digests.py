"""Digests, packed and numbered.

Blobs are named by small integers (:data:`BlobNumber`) instead of digests, because sets and sums
over a million blobs then fit in flat arrays.
"""

import re
from binascii import unhexlify
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NewType

Digest = NewType("Digest", bytes)
"""A content digest, packed: 32 raw bytes for sha256, else the ASCII text ``<algorithm>:<hex>``."""

BlobNumber = int
"""Index of a digest in a :class:`DigestTable`."""

_SHA256 = "sha256:"
SHA256_BYTES = 32
"""Length of a packed sha256 digest; those of other algorithms are longer."""

_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-f]{32,}")


def parse_digest(text: str) -> Digest | None:
    """Pack ``<algorithm>:<hex>``; None if the text is not a digest.

    The grammar is that of the OCI image specification, with the hexadecimal encoding that all
    algorithms in use have; sha256 must have 64 digits, in lower case.
    """
    if text.startswith(_SHA256):
        return parse_sha256(text[len(_SHA256) :])
    return Digest(text.encode("ascii")) if _DIGEST.fullmatch(text) else None


def parse_sha256(hexadecimal: str) -> Digest | None:
    """Pack the hexadecimal digits of a sha256 digest; None if they are not valid."""
    if len(hexadecimal) != 2 * SHA256_BYTES:
        return None
    try:
        raw = unhexlify(hexadecimal)
    except ValueError:
        return None
    # unhexlify is lenient about case; the registry is not
    return Digest(raw) if raw.hex() == hexadecimal else None


def is_sha256(digest: Digest) -> bool:
    """Return whether a digest is sha256; others are text of at least 34 bytes."""
    return len(digest) == SHA256_BYTES


def format_digest(digest: Digest) -> str:
    """Return the text form ``<algorithm>:<hex>``."""
    if is_sha256(digest):
        return f"sha256:{digest.hex()}"
    return digest.decode("ascii")


class DigestTable:
    """Numbers digests in the order in which they are first seen; only ever grows.

    A table and its copies share their contents, so that a scan that finds ten more digests does
    not copy a million. Only one of them may grow in place; another one copies the contents first.
    """

    __slots__ = ("_digests", "_length", "_numbers")

    def __init__(self, digests: Iterable[Digest] = ()) -> None:
        """Start with ``digests``, which are distinct."""
        self._digests = list(digests)
        self._numbers = {digest: number for number, digest in enumerate(self._digests)}
        self._length = len(self._digests)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: BlobNumber) -> Digest:
        return self._digests[number]

    def __iter__(self) -> Iterator[Digest]:
        return islice(self._digests, self._length)

    def copy(self) -> "DigestTable":
        """Return a table with the same numbers that grows independently."""
        table = DigestTable()
        table._numbers, table._digests = self._numbers, self._digests
        table._length = self._length
        return table

    def continues(self, other: "DigestTable") -> bool:
        """Return whether this began as a copy of ``other``, and has the same numbers."""
        is_shared = self._digests is other._digests  # noqa: SLF001 - of this class
        return is_shared and len(self) >= len(other)

    def find(self, digest: Digest) -> BlobNumber | None:
        """Return the digest's number; None if it has none."""
        number = self._numbers.get(digest)
        return None if number is None or number >= self._length else number

    def intern_all(self, digests: Sequence[Digest]) -> tuple[BlobNumber, ...]:
        """Return the numbers of ``digests``, as :meth:`intern` does for one."""
        if len(self._digests) > self._length:
            return tuple(map(self.intern, digests))
        numbers = self._numbers
        try:
            return tuple([numbers[digest] for digest in digests])
        except KeyError:
            return tuple(map(self.intern, digests))

    def intern(self, digest: Digest) -> BlobNumber:
        """Return the digest's number, assigning the next one if it has none."""
        number = self._numbers.get(digest)
        if number is None or number >= self._length:
            if len(self._digests) > self._length:
                self._part()
            number = self._numbers[digest] = self._length
            self._digests.append(digest)
            self._length += 1
        return number

    def compact(self) -> None:
        """Release memory that is reserved for more digests: up to the same amount again."""
        self._numbers = dict(self._numbers)

    def _part(self) -> None:
        """Copy the shared contents, because a copy of this table has grown."""
        self._digests = self._digests[: self._length]
        self._numbers = {digest: number for number, digest in enumerate(self._digests)}
