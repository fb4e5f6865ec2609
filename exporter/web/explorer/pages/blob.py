"""The page ``/blobs/<digest>``: one blob."""

from exporter.views.detail.blob import Cost, blob_detail
from exporter.web.explorer.digest_address import named_blob
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Page, Redirect
from exporter.web.explorer.wording import short

_COSTS = {
    Cost.MISSING: "It takes no space: it is referenced, but not on disk. What needs it is broken.",
    Cost.UNKNOWN: "It is unknown whether anything needs it: a part of the store could not be read.",
    Cost.GARBAGE: "Nothing needs it: the next run of the garbage collector frees it.",
    Cost.UNTAGGED: (
        "Only manifests without a tag need it. It is freed when these are deleted and the garbage "
        "collector has run."
    ),
    Cost.EXCLUSIVE: (
        "One repository alone needs it. It is freed when the images below are deleted and the "
        "garbage collector has run."
    ),
    Cost.SHARED: (
        "Several repositories share it. It is freed only when none of them needs it any more and "
        "the garbage collector has run."
    ),
}


def make(question: Question) -> Page | Redirect:
    """Return the page of a blob."""
    number = named_blob(question, question.links.blob)
    if isinstance(number, Redirect):
        return number
    blob = blob_detail(question.view, number)
    return Page(
        "blob.html", f"Blob {short(blob.digest)}", {"blob": blob, "cost": _COSTS[blob.cost]}
    )
