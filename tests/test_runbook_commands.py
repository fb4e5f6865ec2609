"""The promises of the runbooks about damage and trust, tested with their own commands."""

import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from tests.exporter_process import collect
from tests.runbook_pages import DIRECTORY, blocks_of
from tests.runbook_shop import (
    BASE,
    BLOCKED,
    BLOG,
    BROKEN_TAGS,
    GARBAGE,
    OWN,
    SHOP,
    Shop,
    block,
    blocks,
    run_shell,
)
from tests.servers import (
    CachingRegistry,
    DockerRegistry,
    GarbageCollector,
    RegistryClient,
    digest_of,
    image_config,
    require,
    require_registry,
)

BROKEN = "ImagesBroken"
UNSAFE = "GarbageCollectionUnsafe"
DISAGREES = "APIDisagrees"
CERTIFICATE = "CertificateExpiring"


@pytest.fixture
def shop(registry: DockerRegistry, registry_client: RegistryClient, tmp_path: Path) -> Shop:
    require("curl")
    return Shop(registry, registry_client, tmp_path / "home")


def assert_aborts(registry: DockerRegistry, message: str, *, delete_untagged: bool = False) -> None:
    with pytest.raises(RuntimeError, match=message):
        registry.garbage_collect(dry_run=True, delete_untagged=delete_untagged)


def test_restoring_an_emptied_manifest_link_lets_the_collector_free_the_simulated_bytes(
    shop: Shop,
) -> None:
    link = shop.revision_link(shop.digests[5])
    link.write_bytes(b"")
    assert_aborts(shop.registry, "failed to mark: .*invalid checksum digest format")
    assert shop.reclaimable() == 0
    output = shop.run(
        block(BLOCKED, "Mitigation"),
        block(BLOCKED, "The link of a manifest"),
        LINK=str(link.relative_to(shop.store)),
    )
    assert str(shop.blob(shop.digests[5]).relative_to(shop.store)) in output
    assert link.read_text() == shop.digests[5]
    shop.assert_collector_frees_reclaimable()
    assert shop.broken_tags() == 0
    assert shop.client.tags(SHOP) == ["5", "6", "7"]


def test_writing_damaged_layer_links_again_lets_the_collector_of_version_3_run(shop: Shop) -> None:
    collector = GarbageCollector(require_registry(3))
    digests = [digest_of(each) for each in (BASE, GARBAGE, OWN[6])]
    layers = shop.store / "repositories" / SHOP / "_layers"
    links = [layers / each.replace(":", "/") / "link" for each in digests]
    links[1].parent.mkdir(parents=True)
    for link, content in zip(links, (b"", b"garbage", bytes(71)), strict=True):
        link.write_bytes(content)
    assert collector.run(shop.registry.root) is None
    version = ("--registry.gc-dialect", "3")
    assert collect(shop.registry.root, *version).value("docker_registry_gc_blockers") == 1
    fill, look = block(BLOCKED, "Mitigation"), block(BLOCKED, "The link of a layer")
    named = {str(link.relative_to(shop.store)) for link in links}
    assert {*shop.run(fill, look).splitlines()} == named
    there, rest = look.rsplit('echo "$LINK"', 1)
    shop.run(fill, f'{there}printf %s "$DIGEST" > "$LINK"{rest}')
    assert [link.read_text() for link in links] == digests
    assert collector.run(shop.registry.root) is not None
    assert collect(shop.registry.root, *version).value("docker_registry_gc_blockers") == 0


def test_restoring_the_link_of_a_lost_manifest_unblocks_the_collector_and_leaves_one_broken_tag(
    shop: Shop,
) -> None:
    link = shop.revision_link(shop.digests[5])
    link.write_bytes(b"")
    shop.blob(shop.digests[5]).unlink()
    _, _, look, write = block(BLOCKED, "The link of a manifest").splitlines()
    assert look.startswith("ls -l ")
    name = block(BLOCKED, "The link of a manifest").replace(look, "")
    shop.run(block(BLOCKED, "Mitigation"), name, LINK=str(link.relative_to(shop.store)))
    assert write.endswith('> "$LINK"')
    shop.assert_collector_frees_reclaimable()
    assert shop.broken_tags() == 1


@pytest.mark.parametrize("pushed", [(5, 6), (7, 5, 6, 5)])
def test_pointing_an_emptied_tag_to_its_last_digest_unblocks_the_collector(
    shop: Shop, pushed: tuple[int, ...]
) -> None:
    for number in pushed:
        shop.client.push_image(SHOP, "6", [BASE, OWN[number]])
    directory = shop.tag_directory("6")
    (directory / "current" / "link").write_bytes(b"")
    message = "failed to retrieve tags for digest .*invalid checksum digest format"
    assert_aborts(shop.registry, message, delete_untagged=True)
    shop.run(
        block(BLOCKED, "Mitigation"),
        block(BLOCKED, "The link of a tag"),
        TAG_DIRECTORY=str(directory.relative_to(shop.store)),
    )
    assert (directory / "current" / "link").read_text() == shop.digests[pushed[-1]]
    assert shop.metrics().value("docker_registry_gc_blockers") == 0
    shop.registry.garbage_collect(dry_run=True, delete_untagged=True)
    shop.assert_collector_frees_reclaimable()


def test_deleting_a_truncated_manifest_everywhere_lets_the_collector_free_the_simulated_bytes(
    shop: Shop,
) -> None:
    digest = shop.digests[5]
    assert shop.client.push_image("team/copy/of-it", "5", [BASE, OWN[5]]) == digest
    os.truncate(shop.blob(digest), 100)
    assert_aborts(shop.registry, "failed to retrieve manifest for digest .*unexpected end of JSON")
    output = shop.run(
        block(BLOCKED, "Mitigation"), block(BLOCKED, "A damaged manifest"), DIGEST=digest
    )
    assert sorted(output.splitlines()) == [f"{SHOP} 202", "team/copy/of-it 202"]
    shop.assert_collector_frees_reclaimable()
    assert (shop.client.tags(SHOP), shop.broken_tags()) == (["6", "7"], 0)
    shop.push(5)
    assert (shop.client.tags(SHOP), shop.broken_tags()) == (["5", "6", "7"], 0)


def test_moving_an_invalid_repository_out_lets_the_collector_free_the_simulated_bytes(
    shop: Shop,
) -> None:
    (shop.store / "repositories" / "captain" / "Bad Name" / "_layers").mkdir(parents=True)
    assert_aborts(shop.registry, "failed to parse repo name .*invalid reference format")
    shop.run(block(BLOCKED, "Mitigation"), block(BLOCKED, "A directory that is not a repository"))
    assert (shop.home / "out-of-the-store" / "Bad Name" / "_layers").is_dir()
    shop.assert_collector_frees_reclaimable()


def test_pushing_again_restores_a_lost_layer_after_a_restart_of_the_registry(
    tmp_path: Path,
) -> None:
    skopeo, kept = require("skopeo"), tmp_path / "node"
    with CachingRegistry(tmp_path / "registry") as registry, RegistryClient(registry.url) as client:
        client.push_image(SHOP, "7", [BASE])
        image = f"docker://{registry.url.removeprefix('http://')}/{SHOP}:7"
        insecure = ("--src-tls-verify=false", "--dest-tls-verify=false")
        subprocess.run([skopeo, "copy", *insecure, image, f"dir:{kept}"], check=True)
        hexadecimal = digest_of(BASE).removeprefix("sha256:")
        blob = registry.root / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal
        (blob / "data").unlink()
        push = [skopeo, "copy", "--preserve-digests", *insecure, f"dir:{kept}", image]
        subprocess.run(push, check=True)
        assert collect(registry.root).value(BROKEN_TAGS) == 1
        registry.restart()
        subprocess.run(push, check=True)
        assert collect(registry.root).value(BROKEN_TAGS) == 0


def test_running_images_that_are_not_in_the_store_are_listed(shop: Shop) -> None:
    services = [
        f"registry.root.example.com:996/{SHOP}:7",
        f"registry.root.example.com:996/{SHOP}:8@sha256:{'0' * 64}",
        "registry.old.example.com:996/captain/img-captain-gone:1",
        "docker.io/library/nginx:1",
    ]
    asked = "docker service ls --format '{{.Image}}'"
    command = block(BROKEN, "Diagnosis", 1)
    assert asked in command
    output = shop.run(command.replace(asked, shlex.join(["printf", r"%s\n", *services])))
    assert output.splitlines() == [f"not here: {SHOP}:8", "not here: captain/img-captain-gone:1"]


@pytest.mark.parametrize("damaged", ["layer", "configuration", "manifest"])
def test_a_push_replaces_a_damaged_blob_only_after_it_was_moved_aside(
    shop: Shop, damaged: str
) -> None:
    digest = {
        "layer": digest_of(BASE),
        "configuration": digest_of(image_config([BASE, OWN[7]])),
        "manifest": shop.digests[7],
    }[damaged]
    os.truncate(shop.blob(digest), 50)
    broken = 4 if damaged == "layer" else 1
    assert shop.broken_tags() == broken
    shop.registry.restart()
    shop.push(7)
    assert shop.broken_tags() == broken
    move = block(BROKEN, "Move a damaged blob aside, then push")
    shop.run(block(BROKEN, "Mitigation"), move, DIGEST=digest)
    assert len((shop.home / "damaged-blobs" / digest.removeprefix("sha256:")).read_bytes()) == 50
    shop.registry.restart()
    shop.push(7)
    assert shop.broken_tags() == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_writing_a_damaged_layer_link_again_repairs_all_tags_of_its_repository(
    shop: Shop, *, is_there: bool
) -> None:
    digest = digest_of(BASE)
    link = shop.store / "repositories" / SHOP / "_layers" / digest.replace(":", "/") / "link"
    if is_there:
        link.write_bytes(b"")
    else:
        shutil.rmtree(link.parent)
    assert shop.broken_tags() == 3
    write = block(BROKEN, "Write a layer link again")
    shop.run(block(BROKEN, "Mitigation"), write, NAME=SHOP, DIGEST=digest)
    assert shop.broken_tags() == 0
    assert link.read_text() == digest


def test_deleting_a_broken_tag_deletes_only_the_tags_of_its_digest(shop: Shop) -> None:
    shop.client.push_image(SHOP, "seven", [BASE, OWN[7]])
    shop.blob(digest_of(OWN[7])).unlink()
    assert shop.broken_tags() == 2
    delete = block(BROKEN, "Delete a broken tag")
    output = shop.run(block(BROKEN, "Mitigation"), delete, NAME=SHOP, TAG="7").splitlines()
    assert output[-1] == "202"
    tags = sorted(Path(path).parent.parent.name for path in output[:-1])
    assert tags == ["7", "seven"]
    assert (shop.client.tags(SHOP), shop.broken_tags()) == (["5", "6"], 0)


def test_a_tag_without_its_manifest_can_be_deleted_only_by_hand(shop: Shop) -> None:
    shop.blob(shop.digests[7]).unlink()
    fill, (delete, remove) = block(BROKEN, "Mitigation"), blocks(BROKEN, "Delete a broken tag")
    assert shop.run(fill, delete, NAME=SHOP, TAG="7").splitlines()[-1].endswith("404")
    assert shop.broken_tags() == 1
    shop.run(fill, remove, NAME=SHOP, TAG="7")
    assert (shop.client.tags(SHOP), shop.broken_tags()) == (["5", "6"], 0)


def test_a_collector_run_deletes_blobs_that_only_a_lost_manifest_needed(shop: Shop) -> None:
    own = [shop.blob(digest_of(each)) for each in (OWN[7], image_config([BASE, OWN[7]]))]
    manifest = shop.blob(shop.digests[7])
    shutil.move(manifest, shop.home / "of-the-backup")
    shop.collect_garbage()
    assert not any(path.exists() for path in own)
    shutil.move(shop.home / "of-the-backup", manifest)
    assert shop.broken_tags() == 1


@pytest.mark.parametrize("alert", [UNSAFE, DISAGREES])
def test_moving_a_stray_file_away_keeps_the_collector_from_breaking_tags(
    shop: Shop, alert: str
) -> None:
    endangered = "docker_registry_gc_endangered_tags"
    stray = shop.store / "repositories" / "captain" / "_old.tar"
    stray.write_bytes(b"somebody's")
    assert shop.metrics().value(endangered, mode="default") == 4
    assert f"deletion: {digest_of(BASE)}" in shop.registry.garbage_collect(dry_run=True)
    if alert == UNSAFE:
        shop.run(block(UNSAFE, "Move a stray file away"))
    else:
        heading = "The API lacks whole repositories, and `report` names a file"
        fill = "\n".join(block(DISAGREES, "Diagnosis", 1).splitlines()[:3])
        output = shop.run(fill, block(DISAGREES, heading))
        assert f'{{"repositories":["{BLOG}","{SHOP}"]}}' in output
    assert shop.metrics().value(endangered, mode="default") == 0
    shop.assert_collector_frees_reclaimable()
    assert shop.broken_tags() == 0


def test_different_tags_on_disk_and_in_the_api_are_shown_side_by_side(
    shop: Shop, tmp_path: Path
) -> None:
    compare = block(DISAGREES, "Diagnosis", 1).replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    assert shop.run(compare, NAME=SHOP) == ""
    other = tmp_path / "other"
    shutil.copytree(shop.store, other)
    directory = other / "repositories" / SHOP / "_manifests" / "tags"
    (directory / "5").rename(directory / "50")
    shop.filled["STORE"] = str(other)
    output = shop.run(compare.replace("diff ", "! diff "), NAME=SHOP)
    assert [line for line in output.splitlines() if line[0] in "<>"] == ["< 5", "> 50"]


def test_unreadable_files_are_found_and_opened_only_for_reading(shop: Shop) -> None:
    directory, file = shop.store / "repositories" / SHOP, shop.blob(shop.digests[7])
    directory.chmod(0o700)
    file.chmod(0o600)
    find, fix = blocks("ScanFailing", "`permission`")
    assert sorted(shop.run(find).splitlines()) == sorted(map(str, (directory, file)))
    fill = f"STORE={shlex.quote(str(shop.store))}"
    assert shop.run(fill, fix) == ""
    assert shop.run(find) == ""
    assert (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o705, 0o604)


def test_the_served_certificate_stays_the_old_one_until_the_registry_is_restarted(
    tmp_path: Path,
) -> None:
    require("openssl")
    authority = trustme.CA()
    certificate, key = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"

    def issue(year: int) -> None:
        until = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
        issued = authority.issue_cert("127.0.0.1", not_after=until)
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())

    served, on_disk = blocks(CERTIFICATE, "Diagnosis")
    still_good, pair = blocks(CERTIFICATE, "Check that it helped")[0], _last(CERTIFICATE, "pkey")
    issue(2040)
    with DockerRegistry(tmp_path / "registry", tls=(certificate, key)) as registry:
        values = {
            "HOST": "127.0.0.1",
            "PORT": registry.url.rpartition(":")[2],
            "CERTIFICATE": str(certificate),
            "KEY": str(key),
        }

        def output(*commands: str) -> str:
            return run_shell(*commands, home=tmp_path, **values)

        assert "notAfter=Feb  3 04:05:06 2040 GMT" in output(served)
        issue(2041)
        assert output(on_disk) == "notAfter=Feb  3 04:05:06 2041 GMT\n"
        assert "notAfter=Feb  3 04:05:06 2040 GMT" in output(served)
        registry.restart()
        assert "notAfter=Feb  3 04:05:06 2041 GMT" in output(served)
        assert "Certificate will not expire" in output(served, still_good)
        first, second = output(on_disk, pair).splitlines()[1:]
        assert first == second


def _last(alert: str, word: str) -> str:
    """Return the only block of commands on a page that contains a word."""
    page = (DIRECTORY / f"DockerRegistry{alert}.md").read_text()
    (only,) = [each.content for each in blocks_of(page, "sh") if word in each.content]
    return only
