"""The page ``/images/<digest>``: one manifest or index."""

from exporter.views.detail.image import image_detail, is_manifest
from exporter.web.explorer.digest_address import digest_of, named_blob
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import Page, Redirect
from exporter.web.explorer.wording import short


def make(question: Question) -> Page | Redirect:
    """Return the page of an image."""
    number = named_blob(question, question.links.image)
    if isinstance(number, Redirect):
        return number
    if not is_manifest(question.view.inventory, number):
        digest = digest_of(question, number)
        raise NothingThereError(
            f"{digest} is no manifest, but another blob",
            {f"the blob {short(digest)}": question.links.blob(digest)},
        )
    image = image_detail(question.view, number)
    return Page("image.html", f"Image {short(image.digest)}", {"image": image})
