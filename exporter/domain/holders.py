"""How many repositories hold each blob."""

from array import array
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlobHolders:
    """How many repositories reach each blob, and in which of them that says too little.

    Attributes:
        counts: by blob number, also of blobs that are not on disk.
        irregular: names of repositories in which the registry's collector may find something else
            than what they reach, because of their links and directories; sorted.

    """

    counts: "array[int]"
    irregular: tuple[str, ...]
