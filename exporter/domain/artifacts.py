"""Artifacts: signatures, attestations, SBOMs and their kind."""

import enum
from dataclasses import dataclass


class ArtifactState(enum.StrEnum):
    """Whether the image that an artifact belongs to is there."""

    ATTACHED = "attached"
    DETACHED = "detached"


@dataclass(frozen=True, slots=True)
class ArtifactFigures:
    """Signatures, attestations, SBOMs and their kind in numbers.

    Attributes:
        attached: those whose image is in their repository.
        detached: those whose image is gone.

    """

    attached: int = 0
    detached: int = 0
