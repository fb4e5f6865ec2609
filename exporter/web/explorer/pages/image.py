"""The page ``/images/<digest>``: one manifest or index."""

from exporter.domain.digests import BlobNumber
from exporter.views.detail.image import ImageDetail, image_detail, is_manifest
from exporter.web.explorer.digest_address import digest_of, named_blob
from exporter.web.explorer.question import NothingThereError, Question
from exporter.web.explorer.rendering import Page, Redirect
from exporter.web.explorer.wording import short


def make(question: Question) -> Page | Redirect:
    """Return the page of an image."""
    number = named_blob(question, question.links.image)
    if isinstance(number, Redirect):
        return number
    image = read_image(question, number)
    return Page("image.html", f"Image {short(image.digest)}", {"image": image})


def read_image(question: Question, number: BlobNumber) -> ImageDetail:
    """Return what is known of an image. Raises NothingThereError, NotReadYetError."""
    if not is_manifest(question.view.inventory, number):
        digest = digest_of(question, number)
        raise NothingThereError(
            f"{digest} is no manifest, but another blob",
            {f"the blob {short(digest)}": question.links.blob(digest)},
        )
    return image_detail(question.view, number)
