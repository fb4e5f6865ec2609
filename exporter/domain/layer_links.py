"""Layer links by which a repository cannot serve a blob."""

import enum
from collections.abc import Mapping

from exporter.domain.digests import BlobNumber


class LayerLinkFault(enum.StrEnum):
    """Why a layer link is of no use.

    ``no_digest``: the file holds no digest; the collector of version 3 aborts on it. ``unusable``:
    there is no file, or it holds a digest of another length.
    """

    NO_DIGEST = "no_digest"
    UNUSABLE = "unusable"


LayerLinkFaults = Mapping[BlobNumber, LayerLinkFault]
"""Blobs that a repository cannot serve, with what is wrong with its link."""
