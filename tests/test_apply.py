"""The command `apply` on real registries: what it deletes, what it leaves, what it says."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.applied import APP, OTHER, Place, fill, freed_bytes, make_older, place, pull
from tests.fake_registry import Reply, Request
from tests.in_process import run_command
from tests.registry_proxy import RegistryProxy
from tests.servers import DOCKER_MANIFEST, DockerRegistry, RegistryClient, digest_of

YES = ("--yes", "--no-backup")
GOES = "--match=.*:(1|2|3|old-index)"


@pytest.fixture(params=[2, 3])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Run either version of the registry."""
    version = request.param
    assert isinstance(version, int)
    with place(tmp_path, version) as found:
        yield found


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Place]:
    """Run version 2, where the version makes no difference."""
    with place(tmp_path) as found:
        yield found


def test_a_plan_is_carried_out_to_the_byte_and_nothing_else_is_lost(both: Place) -> None:
    digests = fill(both.client)
    both.client.push_blob(APP, b"garbage" * 100)
    make_older(both.registry.root)
    planned = both.plan(GOES, "--include-children")
    assert len(planned) == 10
    assert f"{APP}@{digests['inner']}" in planned
    whole = both.pulled()
    foretold = both.apply()
    assert (foretold.exit_code, foretold.complaints) == (0, "")
    assert "would delete 10 manifests with 7 tags in 2 repositories\n" in foretold.output
    assert "nothing was deleted" in foretold.output
    assert both.pulled() == whole
    assert [each.name for each in both.home.iterdir()] == ["plan.txt"]

    backup = both.home / "backup"
    done = both.apply("--yes", "--backup", backup, "--same-filesystem")
    assert (done.exit_code, done.complaints) == (0, "")
    assert "deleted 10 manifests with 7 tags in 2 repositories\n" in done.output
    assert "backing up 11 files" in done.output  # with a platform that stays
    assert freed_bytes(done.output) == freed_bytes(foretold.output)
    gone = {f"{name}:{tag}" for name in (APP, OTHER) for tag in ("1", "3")}
    gone |= {f"{APP}:old-index", f"{APP}:{digests[f'{APP}:1'].replace(':', '-')}.sig"}
    gone |= {f"{APP}:{digests[f'{APP}:3'].replace(':', '-')}.sig"}
    staying = {name: parts for name, parts in whole.items() if name not in gone}
    assert both.pulled() == staying
    assert {f"{APP}:stable", f"{APP}:2", f"{APP}:index", f"{OTHER}:4"} <= staying.keys()

    assert {line["result"] for line in both.journal} == {"asked", "deleted"}
    order = [line["digest"] for line in both.journal if line["result"] == "deleted"]
    assert order.index(digests["old-index"]) < order.index(digests["inner"])
    image, signature = digests[f"{APP}:1"], digests["signature-1"]
    assert order.index(image) < order.index(signature)
    before = both.blob_bytes()
    both.registry.garbage_collect()
    both.registry.restart()
    assert before - both.blob_bytes() == freed_bytes(done.output)
    assert both.pulled() == staying

    again = both.apply("--yes", "--backup", backup, "--same-filesystem")
    assert (again.exit_code, again.complaints) == (0, "")
    assert "10 manifests deleted by earlier runs\ndeleted 0 manifests" in again.output
    assert freed_bytes(again.output) == 0


def left_out(place: Place) -> dict[str, str]:
    """Return why manifests were left out, by repository and digest."""
    return {
        f"{line['repository']}@{line['digest']}": str(line["reason"])
        for line in place.journal
        if line["result"] == "left"
    }


def test_what_has_changed_since_is_left_out_and_named(second: Place) -> None:
    digests, client = fill(second.client), second.client
    for number in range(5, 9):
        digests[f"{APP}:{number}"] = client.push_image(APP, str(number), [b"%d" % number])
    make_older(second.registry.root)
    planned = second.plan("--match=team/app:.*|.*:1", "--protect=.*:(2|index|stable)")
    one, three, five, six, seven, eight = (digests[f"{APP}:{each}"] for each in (1, 3, 5, 6, 7, 8))

    # shared, moved, pushed again, listed by a new index, and gone
    content = client.manifest(APP, one)[0]
    client.push_manifest(APP, "also-one", content, DOCKER_MANIFEST)
    client.push_manifest(APP, "3", client.manifest(APP, "2")[0], DOCKER_MANIFEST)
    client.push_image(APP, "5", [b"5"])
    client.push_index(APP, "new-index", [six], oci=True)
    client.delete_manifest(APP, seven)
    whole = second.pulled()

    foretold = second.apply()
    done = second.apply(*YES)
    assert (done.exit_code, done.complaints) == (3, "")
    assert freed_bytes(done.output) == freed_bytes(foretold.output)
    reasons = left_out(second)
    expected = {
        one: "pushed again|tags that the plan does not name: also-one",
        three: "point to something else now, or are gone: 3",
        five: "it was pushed again at",
        six: "the tag new-index needs it, through the index",
    }
    for digest, reason in expected.items():
        name = f"{APP}@{digest}"
        assert any(each in reasons[name] for each in reason.split("|"))
        for output in (foretold.output, done.output):
            assert f"  {name}: {reasons[name]}\n" in output
    signatures = {digests["signature-1"], digests["signature-3"]}
    assert {f"{APP}@{each}" for each in signatures} <= reasons.keys()
    assert "which is left out" in reasons[f"{APP}@{digests['signature-1']}"]
    assert len(reasons) == 6
    results = {line["digest"]: line["result"] for line in second.journal}
    assert (results[seven], results[eight]) == ("gone", "deleted")
    assert f"deleted {len(planned) - 7} manifests" in done.output
    assert "\n1 manifest gone already\n" in done.output
    again = second.apply(*YES)
    assert again.exit_code == 3
    expected_again = (
        f"{len(planned) - 7} manifests deleted by earlier runs\n1 manifest gone already,"
    )
    assert again.output.startswith(expected_again)
    gone = {f"{APP}:{tag}" for tag in ("4", "8", "old-index")} | {f"{OTHER}:1"}
    assert second.pulled() == {name: parts for name, parts in whole.items() if name not in gone}


def test_an_app_that_runs_an_image_meanwhile_keeps_it(second: Place) -> None:
    digests = fill(second.client)
    make_older(second.registry.root)
    captain = second.home / "captain"
    captain.mkdir()

    def configure(*images: str) -> None:
        apps = {
            f"app{number}": {
                "deployedVersion": 1,
                "versions": [{"version": 1, "deployedImageName": f"registry:996/{image}"}],
            }
            for number, image in enumerate(images)
        }
        text = json.dumps({"appDefinitions": apps})
        (captain / "config-captain.json").write_text(text)

    flags = ("--caprover.config-dir", str(captain))
    configure(f"{APP}:4")
    second.plan("--match=team/app:(1|3|old-index)", *flags)
    configure(f"{APP}:4", f"{APP}:1", f"{APP}@{digests['inner']}")
    done = second.apply(*YES, *flags)
    assert (done.exit_code, done.complaints) == (3, "")
    reasons = left_out(second)
    assert "an app runs it, as 1" in reasons[f"{APP}@{digests[f'{APP}:1']}"]
    results = {line["digest"]: line["result"] for line in second.journal}
    assert results[digests["old-index"]] == "deleted"
    assert results[digests[f"{APP}:3"]] == "deleted"
    (captain / "config-captain.json").write_text("{")
    refused = second.apply(*YES, *flags)
    assert refused.exit_code == 1
    assert "nothing is deleted, because it is unknown which tags run" in refused.complaints


def test_what_is_protected_since_the_plan_was_made_is_left_out(second: Place) -> None:
    digests = fill(second.client)
    make_older(second.registry.root)
    second.plan("--match=team/app:(1|4|old-index)", "--include-children")
    inner = f"{APP}@{digests['inner']}"
    protect = ("--retention.protect", f"{APP}:1", "--retention.protect", inner)
    foretold = second.apply(*protect)
    done = second.apply(*YES, *protect)
    assert (done.exit_code, done.complaints) == (3, "")
    reasons = left_out(second)
    image = f"{APP}@{digests[f'{APP}:1']}"
    assert reasons[image] == f"{APP}:1 is protected now, by --retention.protect"
    assert reasons[inner] == f"{inner} is protected now, by --retention.protect"
    for output in (foretold.output, done.output):
        assert f"{image}: {reasons[image]}\n" in output
    # with what goes with them
    assert f"{APP}@{digests['signature-1']}" in reasons
    assert {f"{APP}@{each}" for each in digests["children"].split()[:2]} <= reasons.keys()
    assert not {"4", "old-index"} & set(second.client.tags(APP))


def test_plans_that_are_not_for_this_store_or_not_for_now_are_refused(second: Place) -> None:
    fill(second.client)
    make_older(second.registry.root)
    second.plan("--match=.*:1")
    text = second.plan_file.read_text()
    (made,) = [row for row in text.splitlines() if row.startswith("# Made: ")]
    root = str(second.registry.root)
    whole = second.pulled()
    for changed, reason in (
        (text.replace(f"# Store: {root}", "# Store: /elsewhere"), "of another store, /elsewhere"),
        (text.replace("# Plan format: 2\n", ""), "it is of an older version, or no plan"),
        (text.replace(made, "# Made: 2020-01-01T00:00:00+00:00"), "old, and --max-age is"),
        (text.replace(made, "# Made: 2999-01-01T00:00:00+00:00"), "in the future; check this"),
        (text.replace(f"\n{APP}@", "\nteam//App@"), "which no registry allows"),
    ):
        second.plan_file.write_text(changed)
        refused = second.apply(*YES)
        assert refused.exit_code == 1
        assert reason in refused.complaints
    second.plan_file.unlink()
    assert "No such file or directory; give the file" in second.apply(*YES).complaints
    second.plan_file.write_text(text)
    inside = second.apply(*YES, "--journal", second.registry.root / "journal")
    assert "would be in the store; give a file elsewhere" in inside.complaints
    assert second.pulled() == whole
    assert [each.name for each in second.home.iterdir()] == ["plan.txt"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--yes"], "give --backup DIR, or --no-backup to delete without one"),
        (["--yes", "--backup", "x", "--no-backup"], "--no-backup: not together with --backup"),
        (["--backup-blobs"], "--backup-blobs: only together with --backup DIR"),
        (["--yes", "--no-backup"], "give the registry's address as --registry.url"),
        (["--max-age", "soon"], "is not a duration"),
        (["--max-rate", "0"], "is not a number of requests"),
    ],
)
def test_wrong_usage_is_reported_before_anything_is_read(
    tmp_path: Path, arguments: list[str], problem: str
) -> None:
    outcome = run_command("apply", "plan.txt", "--storage.root", tmp_path, *arguments)
    assert outcome.exit_code == 2
    assert problem in outcome.complaints


def test_a_registry_of_another_store_is_found_out_before_the_first_deletion(
    second: Place, tmp_path: Path
) -> None:
    one = fill(second.client)[f"{APP}:1"]
    second.client.push_manifest(APP, "also-1", *second.client.manifest(APP, one))
    make_older(second.registry.root)
    second.plan("--match=.*:(also-)?1")
    with DockerRegistry(tmp_path / "other") as other:
        refused = second.apply(*YES, "--registry.url", other.url)
        assert refused.exit_code == 1
        assert "does not serve the store at --storage.root" in refused.complaints
        # a copy has the same manifests; the first deletion shows that it is one
        second.client.push_image(APP, "9", [b"nine"])
    copy = tmp_path / "copy"
    shutil.copytree(second.registry.root, copy)
    with DockerRegistry(copy) as other, RegistryClient(other.url) as client:
        # one of its tags was moved there since
        client.push_manifest(APP, "also-1", *client.manifest(APP, "2"))
        moved = client.manifest(APP, "also-1")
        refused = second.apply(*YES, "--registry.url", other.url)
        assert refused.exit_code == 1
        assert "the store still holds it" in refused.complaints
        assert "put back there with the tags of the plan" in refused.complaints
        assert digest_of(client.manifest(APP, "1")[0]) == one
        assert client.manifest(APP, "also-1") == moved

        def refuse(request: Request) -> Reply | None:
            return Reply(b"", 403) if request.method == "PUT" else None

        with RegistryProxy(other.url, gate=refuse) as proxy:
            refused = second.apply(*YES, "--registry.url", proxy.url)
        assert refused.exit_code == 1
        assert "could not be put back there" in refused.complaints
        assert one in refused.complaints
        assert f"restore {second.plan_file}.journal" in refused.complaints
    assert {line["result"] for line in second.journal} == {"asked"}
    assert second.apply(*YES).exit_code == 0


def test_a_cache_is_refused(second: Place) -> None:
    fill(second.client)
    make_older(second.registry.root)
    second.plan("--match=.*:1")
    (second.registry.root / "scheduler-state.json").write_text("{}")
    refused = second.apply(*YES)
    assert refused.exit_code == 1
    assert "nothing is deleted: this registry is a pull-through cache" in refused.complaints


def test_the_backup_of_each_run_restores_it_after_later_runs(second: Place) -> None:
    """A layer that two images share is freed by the deletion of the second one."""
    for number in (1, 2, 3):
        layers = [b"shared"] * (number < 3) + [b"own %d" % number]
        second.client.push_image(APP, str(number), layers)
    make_older(second.registry.root)
    whole = pull(second.registry.url, APP, "1")
    backups = [second.home / f"backup-{number}" for number in (1, 2)]
    for number, backup in enumerate(backups, 1):
        second.plan(f"--match=team/app:{number}")
        flags = ("--backup", backup, "--backup-blobs", "--same-filesystem")
        done = second.apply("--yes", *flags)
        assert (done.exit_code, done.complaints) == (0, "")
        (second.home / "plan.txt.journal").unlink()
        second.registry.garbage_collect()
        second.registry.restart()
    flags = ("--storage.root", second.registry.root, "--registry.url", second.url)
    restored = run_command("restore", backups[0], *flags)
    assert (restored.exit_code, restored.complaints) == (0, "")
    assert pull(second.registry.url, APP, "1") == whole
    assert run_command("verify", "--backup", backups[0], *flags[:2]).exit_code == 0


def test_what_cannot_be_backed_up_is_left_out(second: Place) -> None:
    digests = fill(second.client)
    make_older(second.registry.root)
    second.plan("--match=team/app:(1|3|4)")
    broken = digests[f"{APP}:4"].removeprefix("sha256:")
    (data,) = second.registry.root.glob(f"**/blobs/**/{broken}/data")
    data.write_bytes(data.read_bytes().replace(b"schemaVersion", b"SchemaVersion"))
    flags = ("--yes", "--backup", second.home / "backup", "--same-filesystem", "--backup-blobs")
    done = second.apply(*flags)
    assert done.exit_code == 3
    assert "it could not be backed up: is corrupt" in left_out(second)[f"{APP}@sha256:{broken}"]
    assert "4" in second.client.tags(APP)
    assert "1" not in second.client.tags(APP)
    on_same = second.apply("--yes", "--backup", second.home / "backup")
    assert on_same.exit_code == 1
    assert "same filesystem as the store" in on_same.complaints
