"""``plan --policy``: what the configuration says may go, in one plan, and what never may."""

import re
import time
from pathlib import Path

import pytest

from demo.sample import build_sample, write_captain_config
from demo.store import StoreBuilder, noise
from tests.exporter_process import Exporter
from tests.in_process import run_command
from tests.servers import DockerRegistry, RegistryClient
from tests.test_plan import NOW, lines, parsed, push, run_plan


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sample")
    build_sample(place / "registry", NOW)
    write_captain_config(place / "captain", NOW)
    return place


def test_a_policy_is_the_union_of_its_parts(sample: Path) -> None:
    root, captain = sample / "registry", ("--caprover.config-dir", str(sample / "captain"))
    parts = (
        ("--keep-last", "3", "--include-children"),
        ("--orphaned", "--older-than", "1m", "--include-children"),
        ("--untagged", "--older-than", "1m"),
    )
    single = [lines(root, *captain, *each) for each in parts]
    assert all(single)
    outcome = run_plan(
        root, *captain, "--policy", "--retention.keep-last", "3",
        "--retention.orphaned", "1m", "--retention.untagged", "1m",
    )  # fmt: skip
    planned = [(line.repository, line.digest) for line in parsed(outcome.output)]
    assert len(set(planned)) == len(planned)
    assert set(planned) == {(line.repository, line.digest) for each in single for line in each}
    assert "# Selected: --policy --include-children." in outcome.output
    assert "# policy: --orphaned --older-than 1m\n" in outcome.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--policy: none is configured; set one or more of --retention.keep-last N"),
        (("--retention.keep-last", "5,6"), "is given several times (5, 6)"),
        (("--retention.orphaned", "30d"), "--retention.orphaned: which apps exist is not known"),
        (("--retention.keep-last", "5", "--untagged"), "--policy: not together with"),
        (("--retention.keep-last", "5", "--free", "1GiB"), "--policy: not together with"),
        (("--retention.protect", "("), "--retention.protect"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    outcome = run_command("plan", "--storage.root", tmp_path, "--policy", *options)
    assert outcome.exit_code == 2
    assert complaint in outcome.complaints


def test_what_the_configuration_protects_is_in_no_plan_and_no_price(tmp_path: Path) -> None:
    store = StoreBuilder(tmp_path / "registry")
    push(store, "app", "1", "2", "stable", "4")
    untagged = [store.image("app", None, [noise(name, 900)]) for name in ("a", "b")]
    protect = (
        "--retention.keep-last", "1",
        "--retention.protect", "app:stable", "--retention.protect", f"app@{untagged[0]}",
    )  # fmt: skip
    root = store.root
    assert [line.tags for line in lines(root, "--match", ".*", *protect)] == [["1"], ["2"], ["4"]]
    by_policy = lines(root, "--policy", "--retention.untagged", "0s", *protect)
    assert [line.tags for line in by_policy if line.tags] == [["1"], ["2"]]
    assert untagged[1] in {line.digest for line in by_policy}
    assert untagged[0] not in {line.digest for line in by_policy}
    freeing = parsed(run_plan(root, "--free", "1GiB", *protect).output)
    assert [line.digest for line in freeing] == [untagged[1]]
    kept = lines(root, "--keep-last", "1", *protect)
    alone = lines(root, "--untagged", *protect)
    metrics = run_command("collect", "--storage.root", root, *protect).output
    assert _value(metrics, "retention_reclaimable_bytes") == sum(each.bytes for each in kept)
    assert _value(metrics, "retention_candidate_tags") == len(kept)
    assert _value(metrics, "untagged_reclaimable_bytes") == sum(each.bytes for each in alone)
    with Exporter("--storage.root", root, *protect) as exporter:
        offered = exporter.get("/clean-up/plan?match=.*").text
        assert [line.tags for line in parsed(offered)] == [["1"], ["2"], ["4"]]
        assert "stable" not in exporter.get("/repositories/app/_plan?keep=0").text


def test_a_real_collector_frees_what_the_plan_of_a_policy_says(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    with DockerRegistry(root) as registry, RegistryClient(registry.url) as client:
        for number in (0, 1, 2, 3, 0):
            layer = noise(f"layer {number}", 5000)
            client.push_image("team/app", str(number), [layer, noise(f"{time.time()}", 400)])
        policy = ("--retention.keep-last", "2", "--retention.untagged", "0s")
        found = lines(root, "--policy", *policy)
        assert sorted(line.tags for line in found) == [[], ["1"], ["2"]]
        for line in found:
            client.delete_manifest(line.repository, line.digest)
        before = _blob_bytes(root)
        registry.garbage_collect()
        assert before - _blob_bytes(root) == sum(line.bytes for line in found) > 0


def _blob_bytes(root: Path) -> int:
    return sum(each.stat().st_size for each in root.rglob("blobs/**/data"))


def _value(metrics: str, name: str) -> float:
    found = re.search(rf"^docker_registry_{name}(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE)
    assert found is not None, name
    return float(found[1])
