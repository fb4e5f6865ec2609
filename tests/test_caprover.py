"""Apps and images read from CapRover's configuration; no other part of it gets out."""

import json
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.sample import write_captain_config
from exporter.domain.digests import parse_digest
from exporter.domain.errors import PlatformUnreadableError
from exporter.domain.images import AppImages, ImageName
from exporter.domain.uses import Use
from exporter.platforms.caprover.configuration import (
    FILE_NAME,
    MAX_BYTES,
    CaproverReader,
    parse_configuration,
)

DOMAIN = "registry.apps.example.com:996"
SHOP = "captain/img-captain-shop"
DIGEST = f"sha256:{'ab' * 32}"
SHA512 = f"sha512:{'cd' * 64}"
SECRET = "hunter2"


def app(deployed: object, *images: object) -> dict[str, object]:
    """Return an app whose versions count from 0; ``...`` stands for an absent image name."""
    versions = [
        {"version": version} | ({} if image is ... else {"deployedImageName": image})
        for version, image in enumerate(images)
    ]
    return {"versions": versions} | ({} if deployed is ... else {"deployedVersion": deployed})


def encode(apps: object, registries: object = ..., **more: object) -> bytes:
    optional = {} if registries is ... else {"dockerRegistries": registries}
    return json.dumps({"appDefinitions": apps, **optional, **more}).encode()


def parse(apps: object, registries: object = ...) -> AppImages:
    return parse_configuration(encode(apps, registries))


def local(tag: str, repository: str = SHOP) -> ImageName:
    return ImageName(repository, tag, None, is_local=True)


def foreign(repository: str, tag: str = "latest") -> ImageName:
    return ImageName(repository, tag, None, is_local=False)


def registry(domain: object, kind: object = "LOCAL_REG") -> dict[str, object]:
    return {"registryDomain": domain, "registryType": kind}


def read_name(name: str, registries: object = ...) -> ImageName | None:
    """Return the parsed image name of a single app with a single version."""
    images = parse({"shop": app(0, name)}, registries)
    assert not images.rollback
    return next(iter(images.running), None)


def refuse(content: bytes) -> PlatformUnreadableError:
    with pytest.raises(PlatformUnreadableError) as caught:
        parse_configuration(content)
    return caught.value


def test_the_deployed_version_runs_and_the_others_are_for_rollback() -> None:
    images = parse({"shop": app(1, f"{DOMAIN}/{SHOP}:0", f"{DOMAIN}/{SHOP}:1")})
    assert images.apps == {"shop"}
    assert images.running == {local("1")}
    assert images.rollback == {local("0")}


def test_the_sample_is_parsed(tmp_path: Path) -> None:
    write_captain_config(tmp_path, 1_790_000_000.0)
    images = parse_configuration((tmp_path / FILE_NAME).read_bytes())
    assert images.apps == {"blog", "shop", "api", "wiki", "proxy"}
    assert images.running == {
        local("12", "captain/img-captain-blog"),
        local("30"),
        local("8", "captain/img-captain-api"),
        local("2", "captain/img-captain--wiki"),
        foreign("nginx", "1.27-alpine"),
    }
    assert foreign("caprover/caprover-placeholder-app") in images.rollback
    assert {f"{number}" for number in range(1, 30)} == {
        image.tag for image in images.rollback if image.repository == SHOP
    }


def test_a_renamed_app_keeps_its_old_images() -> None:
    images = parse({"boutique": app(0, f"{DOMAIN}/{SHOP}:7")})
    assert images.apps == {"boutique"}
    assert images.running == {local("7")}


def test_a_deleted_app_is_absent() -> None:
    both = {"shop": app(0, f"{DOMAIN}/{SHOP}:0"), "blog": app(0, f"{DOMAIN}/captain/blog:0")}
    del both["shop"]
    images = parse(both)
    image = local("0", "captain/blog")
    assert images == AppImages(
        frozenset({"blog"}), frozenset({image}), frozenset(), {image: {"blog": Use.RUNNING}}
    )


def test_an_image_that_one_app_runs_is_not_a_rollback_of_another() -> None:
    name = f"{DOMAIN}/{SHOP}:3"
    images = parse({"shop": app(1, name, f"{DOMAIN}/{SHOP}:4"), "copy": app(0, name)})
    assert images.running == {local("3"), local("4")}
    assert images.rollback == frozenset()


def test_each_image_has_the_apps_that_use_it_and_their_strongest_use() -> None:
    old, new = f"{DOMAIN}/{SHOP}:3", f"{DOMAIN}/{SHOP}:4"
    images = parse({"shop": app(1, old, new, new), "copy": app(0, old, old)})
    assert images.users == {
        local("3"): {"shop": Use.ROLLBACK, "copy": Use.RUNNING},
        local("4"): {"shop": Use.RUNNING},
    }


@pytest.mark.parametrize("nothing", ["", None, ...])
def test_a_failed_or_unfinished_build_has_no_image(nothing: object) -> None:
    images = parse({"shop": app(1, nothing, f"{DOMAIN}/{SHOP}:1", nothing)})
    assert images.running == {local("1")}
    assert images.rollback == frozenset()


@pytest.mark.parametrize("deployed", [..., 9, -1])
def test_nothing_runs_when_no_version_is_the_deployed_one(deployed: object) -> None:
    images = parse({"shop": app(deployed, f"{DOMAIN}/{SHOP}:0")})
    assert images.running == frozenset()
    assert images.rollback == {local("0")}


def test_an_app_without_versions_counts_as_an_app() -> None:
    assert parse({"shop": app(0)}) == AppImages(frozenset({"shop"}), frozenset(), frozenset())


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("nginx", "nginx", "latest"),
        ("nginx:1.27-alpine", "nginx", "1.27-alpine"),
        ("library/nginx:1", "library/nginx", "1"),
        ("docker.io/library/nginx", "library/nginx", "latest"),
        ("caprover/caprover-placeholder-app:latest", "caprover/caprover-placeholder-app", "latest"),
        ("ghcr.io/someone/some.app:v1", "someone/some.app", "v1"),
        ("localhost/shop:1", "shop", "1"),
        ("localhost:5000/shop", "shop", "latest"),
        ("host:5000/team/shop:V_1.0", "team/shop", "V_1.0"),
        ("[::1]:5000/shop:1", "shop", "1"),
        ("HOST/shop:1", "shop", "1"),
        ("registry.example.com:996", "registry.example.com", "996"),  # no slash: not a domain
        ("registry.example.com:443/shop:1", "shop", "1"),
        ("my.registry.example.com:996/shop:1", "shop", "1"),
    ],
)
def test_names_in_other_registries_are_parsed_as_docker_does(
    name: str, repository: str, tag: str
) -> None:
    assert read_name(name) == foreign(repository, tag)


@pytest.mark.parametrize(
    "name",
    [
        f"{DOMAIN}/{SHOP}:1",
        f"REGISTRY.Apps.Example.COM:996/{SHOP}:1",
        f"registry.an-older-root.example.org:996/{SHOP}:1",
        f"registry.localhost:996/{SHOP}:1",
    ],
)
def test_caprovers_own_registry_is_recognized_by_its_address(name: str) -> None:
    assert read_name(name) == local("1")


def test_a_legacy_repository_name_is_parsed() -> None:
    assert read_name(f"{DOMAIN}/captain/img-captain--x:5") == local("5", "captain/img-captain--x")


def test_the_configured_local_registry_is_matched_case_insensitively() -> None:
    registries = [registry("Images.Example.com:5000"), registry("ghcr.io", "REMOTE_REG")]
    assert read_name("images.example.COM:5000/shop:1", registries) == local("1", "shop")
    assert read_name("ghcr.io/shop:1", registries) == foreign("shop", "1")
    assert read_name("images.example.com/shop:1", registries) == foreign("shop", "1")


@pytest.mark.parametrize("registries", [..., None, [], [registry("")]])
def test_a_name_without_a_domain_is_never_local(registries: object) -> None:
    assert read_name("shop:1", registries) == foreign("shop", "1")


@pytest.mark.parametrize("digest", [DIGEST, SHA512])
def test_a_name_may_hold_a_digest(digest: str) -> None:
    packed = parse_digest(digest)
    assert packed is not None
    assert read_name(f"{DOMAIN}/{SHOP}@{digest}") == ImageName(SHOP, None, packed, is_local=True)
    assert read_name(f"{DOMAIN}/{SHOP}:4@{digest}") == ImageName(SHOP, "4", packed, is_local=True)
    assert read_name(f"nginx@{digest}") == ImageName("nginx", None, packed, is_local=False)


@pytest.mark.parametrize(
    "name",
    [
        " ", "/", "/shop", "shop/", f"{DOMAIN}/", f"{DOMAIN}/:1", "Shop", f"{DOMAIN}/Shop:1",
        "a//b", "../shop", "a..b/shop", ":996/shop", "registry.:996/shop", "-a.b/shop", "a.b:/shop",
        "a.b:c/shop", "a:1:2/shop", "[::1/shop", "a_b.c/shop", "https://a.b/shop", ".r.x:996/shop",
        "shop:", "shop:-x", f"shop:{'x' * 129}", "shop:1:2", "localhost/a:5/b",
        "shop@", "shop@sha256:ab", f"shop@{DIGEST}@{DIGEST}", f"shop:@{DIGEST}", f"@{DIGEST}",
        "shop\n", "shop:1\n", f"shop@{DIGEST}\n", "sh op:1", "shöp", "shop:1²", "x" * 256, "\0",
    ],
)  # fmt: skip
def test_an_invalid_image_name_is_skipped(name: str) -> None:
    images = parse({"shop": app(1, name, f"{DOMAIN}/{SHOP}:1", name)})
    assert images.running == {local("1")}
    assert images.rollback == frozenset()


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\n" * 4096])
def test_an_empty_file_is_refused(content: bytes) -> None:
    assert str(refuse(content)) == "is empty"


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    write_captain_config(tmp_path, 1_790_000_000.0)
    content = (tmp_path / FILE_NAME).read_bytes()
    for length in range(10, len(content), 10):
        assert str(refuse(content[:length])) == "is cut short"


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 512,
        b"no JSON",
        encode({"shop": app(0)})[:-1] + b",}",
        encode({"shop": app(0)}) * 2,
        b"\xef\xbb\xbf" + encode({"shop": app(0)}),
        b'{"appDefinitions": {"sh\xffop": {"versions": []}}}',
        b'{"appDefinitions": {"sh\\ud800op": {"versions": []}}}',
        b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
)
def test_content_that_is_not_json_is_refused(content: bytes) -> None:
    assert str(refuse(content)) == "is not JSON"


@pytest.mark.parametrize("content", [b"null", b"[]", b"7", b'"text"', b"true"])
def test_json_other_than_an_object_is_refused(content: bytes) -> None:
    assert "the whole has a wrong type" in str(refuse(content))


def test_a_file_without_apps_is_refused() -> None:
    assert "appDefinitions is missing" in str(refuse(b"{}"))
    assert str(refuse(encode({}))) == "lists no app, which counts as unknown"


VERSIONS = "appDefinitions.versions"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (encode([]), "appDefinitions has a wrong type"),
        (encode(None), "appDefinitions has a wrong type"),
        (encode("x"), "appDefinitions has a wrong type"),
        (encode({"shop": None}), "appDefinitions has a wrong type"),
        (encode({"shop": []}), "appDefinitions has a wrong type"),
        (encode({"shop": {}}), "versions is missing in appDefinitions"),
        (encode({"shop": {"versions": "x"}}), f"{VERSIONS} has a wrong type"),
        (encode({"shop": {"versions": None}}), f"{VERSIONS} has a wrong type"),
        (encode({"shop": {"versions": {}}}), f"{VERSIONS} has a wrong type"),
        (encode({"shop": {"versions": [7]}}), f"{VERSIONS} has a wrong type"),
        (encode({"shop": {"versions": [{}]}}), f"version is missing in {VERSIONS}"),
        (encode({"shop": {"versions": [{"version": "7"}]}}), f"{VERSIONS}.version has"),
        (encode({"shop": {"versions": [{"version": 7.5}]}}), f"{VERSIONS}.version has"),
        (encode({"shop": {"versions": [{"version": True}]}}), f"{VERSIONS}.version has"),
        (encode({"shop": {"versions": [{"version": None}]}}), f"{VERSIONS}.version has"),
        (encode({"shop": app(0, 7)}), f"{VERSIONS}.deployedImageName has a wrong type"),
        (encode({"shop": app(0, ["x"])}), f"{VERSIONS}.deployedImageName has a wrong type"),
        (encode({"shop": app("0")}), "appDefinitions.deployedVersion has a wrong type"),
        (encode({"shop": app(None)}), "appDefinitions.deployedVersion has a wrong type"),
        (encode({"good": app(0), "bad": app("0")}), "appDefinitions.deployedVersion has a"),
        (encode({"shop": app(0)}, {}), "dockerRegistries has a wrong type"),
        (encode({"shop": app(0)}, "x"), "dockerRegistries has a wrong type"),
        (encode({"shop": app(0)}, [None]), "dockerRegistries has a wrong type"),
        (encode({"shop": app(0)}, [registry(7)]), "dockerRegistries.registryDomain has a"),
        (encode({"shop": app(0)}, [registry("x", 7)]), "dockerRegistries.registryType has a"),
    ],
)
def test_a_wrong_type_anywhere_makes_the_file_unreadable(content: bytes, complaint: str) -> None:
    message = str(refuse(content))
    assert message.startswith("is not of the form that CapRover writes: ")
    assert complaint in message


def test_a_version_number_with_too_many_digits_is_refused() -> None:
    number = "9" * 10_000
    content = b'{"appDefinitions": {"shop": {"versions": [{"version": %s}]}}}' % number.encode()
    assert number[:9] not in str(refuse(content))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
near_versions = st.lists(
    st.fixed_dictionaries(
        {"version": st.integers(0, 3) | json_values},
        optional={"deployedImageName": st.text("aA.:/@-_ \n0", max_size=30) | json_values},
    ),
    max_size=4,
)
near_apps = st.dictionaries(
    st.text(max_size=3),
    st.fixed_dictionaries({}, optional={
        "versions": near_versions | json_values, "deployedVersion": st.integers(0, 3) | json_values,
    }),
    max_size=3,
)  # fmt: skip
near_configurations = st.fixed_dictionaries(
    {"appDefinitions": near_apps | json_values},
    optional={
        "dockerRegistries": st.lists(
            st.builds(registry, st.text() | json_values, st.just("LOCAL_REG") | json_values),
            max_size=2,
        )
        | json_values
    },
)


@given(st.binary())
def test_random_bytes_are_refused(content: bytes) -> None:
    refuse(content)


@given(json_values | near_configurations, st.booleans())
def test_any_json_is_parsed_or_refused(document: object, ascii_only: bool) -> None:
    content = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        images = parse_configuration(content)
    except PlatformUnreadableError:
        return
    assert images.apps
    assert not images.running & images.rollback


@given(st.text("abAB019.:/@-_", max_size=40))
def test_any_name_is_parsed_or_skipped(name: str) -> None:
    image = read_name(name)
    if image is not None:
        assert f"{image.repository}" in name
        assert image.tag is not None or image.digest is not None


GOOD = encode({"shop": app(0, f"{DOMAIN}/{SHOP}:0")})
SHOP_ONLY = AppImages(
    frozenset({"shop"}), frozenset({local("0")}), frozenset(), {local("0"): {"shop": Use.RUNNING}}
)


def replace(directory: Path, content: bytes) -> None:
    """Write the file as CapRover does: write a new file and rename it."""
    directory.mkdir(exist_ok=True)
    other = directory / f"{FILE_NAME}.new"
    other.write_bytes(content)
    other.replace(directory / FILE_NAME)


def remove(directory: Path) -> None:
    (directory / FILE_NAME).unlink(missing_ok=True)


def put_directory(directory: Path) -> None:
    remove(directory)
    (directory / FILE_NAME).mkdir()


def put_fifo(directory: Path) -> None:
    remove(directory)
    os.mkfifo(directory / FILE_NAME)


def put_too_much(directory: Path) -> None:
    replace(directory, GOOD)
    os.truncate(directory / FILE_NAME, MAX_BYTES + 1)


def put_loop(directory: Path) -> None:
    remove(directory)
    (directory / FILE_NAME).symlink_to(FILE_NAME)


def put_file_for_directory(directory: Path) -> None:
    remove(directory)
    directory.rmdir()
    directory.write_bytes(GOOD)


def empty(directory: Path) -> None:
    replace(directory, b"")


def cut(directory: Path) -> None:
    replace(directory, GOOD[:-9])


def delete_all_apps(directory: Path) -> None:
    replace(directory, encode({}))


FAILURES: list[tuple[Callable[[Path], None], str]] = [
    (remove, "cannot read .*: No such file or directory; mount the directory"),
    (put_file_for_directory, "cannot read .*: Not a directory; mount the directory"),
    (put_directory, "is not a regular file; mount the directory"),
    (put_fifo, "is not a regular file; mount the directory"),
    (put_loop, f"cannot read .*: Too many levels of symbolic links; .* uid {os.geteuid()} "),
    (put_too_much, "is larger than 64 MiB"),
    (empty, "is empty"),
    (cut, "is cut short"),
    (delete_all_apps, "lists no app"),
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "captain"
    place.mkdir()
    return place


@pytest.mark.parametrize(("spoil", "reason"), FAILURES)
def test_an_unusable_file_yields_a_reason_and_no_images(
    spoil: Callable[[Path], None], reason: str, directory: Path
) -> None:
    spoil(directory)
    status = CaproverReader(directory).read()
    assert status.images is None
    assert status.failure is not None
    assert re.search(reason, status.failure)
    assert str(directory / FILE_NAME) in status.failure


@pytest.mark.parametrize(("spoil", "reason"), FAILURES)
def test_a_failure_keeps_the_last_good_reading(
    spoil: Callable[[Path], None], reason: str, directory: Path
) -> None:
    replace(directory, GOOD)
    reader = CaproverReader(directory)
    assert reader.read().failure is None
    spoil(directory)
    for _ in range(2):
        status = reader.read()
        assert status.images == SHOP_ONLY
        assert status.failure is not None
        assert re.search(reason, status.failure)


@pytest.fixture
def nobody() -> Iterator[int]:
    """Drop root's rights during the test; yield the effective user id."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    yield os.geteuid()
    os.seteuid(before)


@pytest.fixture
def forbidden(directory: Path) -> Path:
    replace(directory, GOOD)
    (directory / FILE_NAME).chmod(0)
    return directory


def test_a_permission_error_names_the_user_that_must_be_allowed_to_read(
    forbidden: Path, nobody: int
) -> None:
    failure = CaproverReader(forbidden).read().failure
    assert failure is not None
    assert failure.endswith(
        f"Permission denied; only root may read it, so let uid {nobody} read it"
    )


def test_a_replaced_file_is_read_again(directory: Path) -> None:
    replace(directory, GOOD)
    reader = CaproverReader(directory)
    assert reader.read().images == SHOP_ONLY
    replace(directory, encode({"blog": app(0)}))
    images = reader.read().images
    assert images is not None
    assert images.apps == {"blog"}


def test_symbolic_links_are_followed(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_bytes(GOOD)
    (directory / FILE_NAME).symlink_to(tmp_path / "elsewhere.json")
    (tmp_path / "link").symlink_to(directory)
    assert CaproverReader(tmp_path / "link").read().images == SHOP_ONLY


def test_a_file_of_the_maximum_size_is_read(directory: Path) -> None:
    replace(directory, GOOD.ljust(MAX_BYTES))
    assert CaproverReader(directory).read().failure is None


def test_no_file_stays_open(directory: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = CaproverReader(directory)
    for spoil in (put_directory, lambda place: (place / FILE_NAME).rmdir(), put_fifo, put_too_much):
        spoil(directory)
        reader.read()
    replace(directory, GOOD)
    reader.read()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_failure_is_logged_once_and_so_is_its_end(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reader = CaproverReader(directory)

    def logged() -> Iterator[tuple[str, str]]:
        reader.read()
        reader.read()
        for record in caplog.records:
            assert record.name == "exporter.platforms.caprover.configuration"
            yield record.levelname, record.getMessage()
        caplog.clear()

    path = directory / FILE_NAME
    ((level, message),) = logged()
    assert level == "WARNING"
    assert "No such file or directory" in message
    assert message.endswith("; no earlier reading")
    replace(directory, GOOD)
    assert list(logged()) == [("INFO", f"CapRover's configuration {path} can be read again")]
    empty(directory)
    ((level, message),) = logged()
    assert level == "WARNING"
    assert f"{path} is empty" in message
    assert message.endswith("; the last good reading stays")
    cut(directory)
    ((level, message),) = logged()
    assert level == "WARNING"
    assert "cut short" in message
    replace(directory, GOOD)
    assert [level for level, _ in logged()] == ["INFO"]
    assert list(logged()) == []


def secretive() -> dict[str, object]:
    """Return a configuration with a secret in every place that may hold one."""
    definition = app(0, f"{DOMAIN}/{SHOP}:0") | {
        "envVars": [{"key": f"{SECRET}-key", "value": f"{SECRET}-value"}],
        "appPushWebhook": {"repoInfo": {"password": f"{SECRET}-repo", "sshKey": f"{SECRET}-ssh"}},
        f"{SECRET}-field": f"{SECRET}-text",
    }
    return {
        "namespace": f"{SECRET}-namespace",
        "hashedPassword": f"{SECRET}-password",
        f"{SECRET}-top": {f"{SECRET}-inner": [f"{SECRET}-item"]},
        "appDefinitions": {"shop": definition},
        "dockerRegistries": [registry(DOMAIN) | {"registryPasswordEncrypted": f"{SECRET}-reg"}],
    }


def bad_apps(definition: object) -> bytes:
    return json.dumps(
        secretive() | {"appDefinitions": {f"{SECRET}-app": definition, "shop": app(0)}}
    ).encode()


def bad_registries(registries: object) -> bytes:
    return json.dumps(secretive() | {"dockerRegistries": registries}).encode()


WHOLE = json.dumps(secretive()).encode()
REFUSED_WITH_SECRETS = [
    *(WHOLE[:length] for length in range(1, len(WHOLE), 7)),
    WHOLE.replace(SECRET.encode(), f'{SECRET}"'.encode()),
    json.dumps(SECRET).encode(),
    json.dumps([SECRET]).encode(),
    SECRET.encode(),
    f'{{"appDefinitions": {{"{SECRET} at `$.{SECRET}`": {{"versions": {SECRET}}}}}}}'.encode(),
    f'{{"appDefinitions": {{"{SECRET}'.encode() + b'\xff": {"versions": []}}}',
    f'{{"appDefinitions": {{"x": {{"versions": [{{"version": 0, "deployedImageName": "{SECRET}'
    .encode() + b'\xff"}]}}}',
    bad_apps(SECRET),
    bad_apps({SECRET: SECRET}),
    bad_apps({"versions": SECRET}),
    bad_apps({"versions": {SECRET: SECRET}}),
    bad_apps({"versions": [SECRET]}),
    bad_apps({"versions": [{"version": SECRET}]}),
    bad_apps({"versions": [{"version": 0, "deployedImageName": [SECRET]}]}),
    bad_apps({"versions": [{"version": 0, "deployedImageName": {SECRET: SECRET}}]}),
    bad_apps({"versions": [], "deployedVersion": SECRET}),
    bad_registries(SECRET),
    bad_registries({SECRET: SECRET}),
    bad_registries([SECRET]),
    bad_registries([registry({SECRET: SECRET})]),
    bad_registries([registry(SECRET, [SECRET])]),
    json.dumps(secretive() | {"appDefinitions": SECRET}).encode(),
    json.dumps(secretive() | {"appDefinitions": [SECRET]}).encode(),
    json.dumps(secretive() | {"appDefinitions": {}}).encode(),
]  # fmt: skip


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("content", REFUSED_WITH_SECRETS, ids=range(len(REFUSED_WITH_SECRETS)))
def test_no_error_status_or_log_line_holds_content_of_a_refused_file(
    content: bytes, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    error = refuse(content)
    replace(directory, content)
    status = CaproverReader(directory).read()
    assert status.failure is not None
    assert caplog.records
    texts = [
        *traceback.format_exception(error),
        *(f"{each} {each!r} {each.args!r} {vars(each)!r}" for each in chain(error)),
        repr(status),
        caplog.text,
        *(repr(vars(record)) for record in caplog.records),
    ]
    assert not [text for text in texts if SECRET in text]


def test_only_apps_and_images_of_a_valid_file_are_kept(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replace(directory, b"")
    reader = CaproverReader(directory)
    reader.read()
    replace(directory, WHOLE)
    status = reader.read()
    assert status.images == SHOP_ONLY
    assert caplog.records
    assert SECRET not in caplog.text + repr(status) + repr(vars(reader))


def test_an_invalid_image_name_is_not_logged(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    replace(directory, encode({"shop": app(0, f"https://{SECRET}:{SECRET}@example.com/x y")}))
    status = CaproverReader(directory).read()
    assert status.failure is None
    assert SECRET not in caplog.text + repr(status)
