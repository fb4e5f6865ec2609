"""The counts and findings of a verification."""

from typing import Annotated

import msgspec

from exporter.commands.verify.hashing import BlobCheck, Condition
from exporter.domain.digests import format_digest

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A blob, or a place in the store, that has a fault.

    Attributes:
        condition: what is wrong.
        subject: a digest, or a path below ``docker/registry/v2``.
        size: bytes that were hashed.
        detail: the digest that a corrupt blob has, or the reason.

    """

    condition: Condition
    subject: str
    size: _Count = 0
    detail: str = ""


class Tally(msgspec.Struct, forbid_unknown_fields=True):
    """The state of a verification, its interrupted runs included.

    Attributes:
        position: the last blob that was verified; None before the first.
        blobs: how many were hashed.
        bytes: how many bytes were hashed.
        vanished: how many had gone before they were verified.
        seconds: how long it took.
        findings: the faults, in the order in which they were found.

    """

    position: str | None = None
    blobs: _Count = 0
    bytes: _Count = 0
    vanished: _Count = 0
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    findings: list[Finding] = msgspec.field(default_factory=list)

    def add(self, check: BlobCheck) -> Finding | None:
        """Count one blob; return the finding if it has a fault."""
        digest = format_digest(check.digest)
        self.position = digest
        if check.condition in (Condition.SOUND, Condition.CORRUPT):
            self.blobs += 1
            self.bytes += check.size
        if check.condition is Condition.VANISHED:
            self.vanished += 1
        if check.condition in (Condition.SOUND, Condition.VANISHED):
            return None
        self.findings.append(Finding(check.condition, digest, check.size, check.detail))
        return self.findings[-1]

    def count(self, condition: Condition) -> int:
        """Count the findings of one kind."""
        return sum(each.condition is condition for each in self.findings)
