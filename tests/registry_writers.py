"""Random changes of a registry over HTTP, as builds and people make them, one after the other.

Repositories do not grow, so that a writer can run forever. Contents are mostly new; some come again
after they were deleted.
"""

import random
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from demo.store import noise
from tests.registry_truth import Image, Truth
from tests.servers import (
    OCI_MANIFEST,
    DockerRegistry,
    RegistryClient,
    digest_of,
    encode,
    image_config,
    image_manifest,
)

_MOST_TAGS = 8
_LEAST_TAGS = 3
_MOST_UNTAGGED = 4
_MOST_UPLOADS = 3
_BASES = tuple(noise(f"base {number}", 20_000) for number in range(3))
_LARGEST_LAYER = 20_000
_COMING_AGAIN = 12
_SHARE_COMING_AGAIN = 0.3


@dataclass(slots=True)
class _Shelf:
    """One repository: its tagged images, and its untagged ones."""

    name: str
    tags: dict[str, Image] = field(default_factory=dict)
    untagged: list[Image] = field(default_factory=list)
    made: int = 0
    uploads: int = 0

    @property
    def images(self) -> tuple[Image, ...]:
        """All images that it holds."""
        return (*self.tags.values(), *self.untagged)

    def needs(self, digest: str) -> bool:
        """Return whether an image of this repository needs a blob."""
        return any(digest in image.sizes for image in self.images)


@dataclass(frozen=True, slots=True)
class _Content:
    """An image that is not pushed yet."""

    layers: tuple[bytes, ...]
    config: bytes
    manifest: bytes

    @classmethod
    def of(cls, seed: str) -> "_Content":
        """Return an image, the same for the same seed."""
        number = zlib.crc32(seed.encode())
        layers = _BASES[number % len(_BASES)], noise(seed, 1 + number % _LARGEST_LAYER)
        config = image_config(layers)
        return cls(layers, config, encode(image_manifest(layers, config, oci=True)))

    def image(self) -> Image:
        """Return the image as it will be in the registry."""
        contents = (*self.layers, self.config, self.manifest)
        sizes = {digest_of(content): len(content) for content in contents}
        return Image(digest_of(self.manifest), sizes)


def random_changes(
    registry: DockerRegistry, client: RegistryClient, *, repositories: int, seed: int, steps: int
) -> Iterator[int]:
    """Change a registry at random, and run its collector; yield the number of each step."""
    chance = random.Random(seed)  # noqa: S311 - the same steps each time
    pushed: list[tuple[str, str]] = []
    for step in range(steps):
        name = f"team/app-{chance.randrange(repositories)}"
        what = chance.choice(["push", "push", "retag", "delete", "upload", "collect"])
        if what == "push" or not pushed:
            layers = [noise(f"layer {chance.randrange(20)}", 500), noise(f"own {step}", 200)]
            digest = client.push_image(name, str(chance.randrange(6)), layers)
            pushed.append((name, digest))
        elif what == "retag":
            name, digest = chance.choice(pushed)
            content, media_type = client.manifest(name, digest)
            client.push_manifest(name, str(chance.randrange(6)), content, media_type)
        elif what == "delete":
            name, digest = chance.choice(pushed)
            client.delete_manifest(name, digest)
            pushed = [each for each in pushed if each != (name, digest)]
        elif what == "upload":
            client.start_upload(name, noise(f"upload {step}", 300))
        else:
            registry.garbage_collect()
            registry.restart()
        yield step


class Writer:
    """Writes to its own repositories, and records their certain contents.

    Attributes:
        done: how often it did each action.

    """

    def __init__(
        self, client: RegistryClient, truth: Truth, repositories: Sequence[str], seed: int
    ) -> None:
        self.done: Counter[str] = Counter()
        self._client = client
        self._truth = truth
        self._shelves = [_Shelf(name) for name in repositories]
        self._chance = random.Random(seed)  # noqa: S311 - the same steps each time

    def step(self) -> None:
        """Do one action: the first repository changes all the time, the last now and then."""
        (shelf,) = self._chance.choices(self._shelves, range(len(self._shelves), 0, -1))
        if len(shelf.tags) < _LEAST_TAGS:
            self._push(shelf)
        elif len(shelf.untagged) >= _MOST_UNTAGGED:
            self._delete(shelf, shelf.untagged.pop(self._chance.randrange(len(shelf.untagged))))
        else:
            actions = (
                self._push,
                self._push_index,
                self._retag,
                self._delete_tagged,
                self._push_garbage,
                self._begin_upload,
            )
            (act,) = self._chance.choices(actions, (6, 2, 2, 2, 1, 1))
            act(shelf)

    def _push(self, shelf: _Shelf) -> None:
        self._tag(shelf, *self._upload(shelf))

    def _push_index(self, shelf: _Shelf) -> None:
        children = []
        for _ in range(2):
            child, manifest = self._upload(shelf)
            self._client.push_manifest(shelf.name, child.digest, manifest, OCI_MANIFEST)
            self._truth.held.begin((shelf.name, child.digest), child)
            children.append(child)
            shelf.untagged.append(child)  # until the index lists it
        digests = [child.digest for child in children]
        digest = self._client.push_index(shelf.name, None, digests, oci=True)
        content, media_type = self._client.manifest(shelf.name, digest)
        sizes = {digest: len(content)}
        for child in children:
            sizes |= child.sizes
            shelf.untagged.remove(child)
        self._tag(shelf, Image(digest, sizes, tuple(children)), content, media_type)

    def _retag(self, shelf: _Shelf) -> None:
        """Point a tag to the image of another tag."""
        image = shelf.tags[self._chance.choice(sorted(shelf.tags))]
        content, media_type = self._client.manifest(shelf.name, image.digest)
        self._tag(shelf, image, content, media_type)
        self.done["retags"] += 1

    def _delete_tagged(self, shelf: _Shelf) -> None:
        image = shelf.tags[self._chance.choice(sorted(shelf.tags))]
        for tag in [each for each, target in shelf.tags.items() if target is image]:
            self._truth.tagged.end((shelf.name, tag))
            del shelf.tags[tag]
        self._delete(shelf, image)

    def _push_garbage(self, shelf: _Shelf) -> None:
        """Push a layer whose image is never pushed."""
        self._client.push_blob(shelf.name, noise(f"garbage {self._chance.random()}", 900))

    def _begin_upload(self, shelf: _Shelf) -> None:
        if shelf.uploads < _MOST_UPLOADS:
            shelf.uploads += 1
            self._client.start_upload(shelf.name, noise(f"upload {shelf.uploads}", 700))

    def _upload(self, shelf: _Shelf) -> tuple[Image, bytes]:
        """Upload the layers and the config of a new image; return the image and its manifest."""
        content = self._new_content(shelf)
        for layer in content.layers:
            self._upload_layer(shelf, layer)
        self._client.push_blob(shelf.name, content.config)
        return content.image(), content.manifest

    def _upload_layer(self, shelf: _Shelf, layer: bytes) -> None:
        """Upload a layer as Docker does, unless this repository or another one has it."""
        digest = digest_of(layer)
        if shelf.needs(digest):
            return
        source = next((each for each in self._shelves if each.needs(digest)), None)
        if source is None:
            self._client.push_blob(shelf.name, layer)
        else:
            self._client.mount_blob(shelf.name, digest, source.name)

    def _new_content(self, shelf: _Shelf) -> _Content:
        if self._chance.random() < _SHARE_COMING_AGAIN:
            number = self._chance.randrange(_COMING_AGAIN)
            again = _Content.of(f"{shelf.name} again {number}")
            if not shelf.needs(digest_of(again.manifest)):
                return again
        shelf.made += 1
        return _Content.of(f"{shelf.name} new {shelf.made}")

    def _tag(
        self, shelf: _Shelf, image: Image, manifest: bytes, media_type: str = OCI_MANIFEST
    ) -> None:
        """Push a manifest by a tag; the image that the tag pointed to before stays untagged."""
        tag = str(self._chance.randrange(_MOST_TAGS))
        before = shelf.tags.pop(tag, None)
        self._truth.tagged.end((shelf.name, tag))
        self._client.push_manifest(shelf.name, tag, manifest, media_type)
        self._truth.tagged.begin((shelf.name, tag), image)
        if image not in shelf.tags.values():
            self._truth.held.begin((shelf.name, image.digest), image)
        shelf.tags[tag] = image
        if before is not None and before not in shelf.tags.values():
            shelf.untagged.append(before)
        self.done["pushes"] += 1

    def _delete(self, shelf: _Shelf, image: Image) -> None:
        """Delete an image, and all images that an index lists."""
        for each in (image, *image.children):
            self._truth.held.end((shelf.name, each.digest))
            self._client.delete_manifest(shelf.name, each.digest)
            self.done["deletions"] += 1
