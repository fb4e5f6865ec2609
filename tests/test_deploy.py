"""The files in `deploy/` are well-formed and confined, and refer only to what exists."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter import __version__
from exporter.cli import COMMANDS
from exporter.settings.model import Settings
from exporter.settings.sources import setting_paths, variable_name
from tests.deployments import (
    DEPLOY,
    REPOSITORY,
    CodeBlock,
    MissingVariableError,
    code_blocks,
    document,
    documents,
    environment_file,
    files,
    filled_in,
    mounts,
)
from tests.in_process import run_command
from tests.nested_values import values_of

PORT = Settings().web.listen_address.port
JOB = "registry-storage"
STORE = "/registry"
STATE = "/var/lib/registry-storage-exporter"

EVERY_YAML = [path for path in files() if path.suffix in {".yml", ".yaml"}]
REQUIRED = {"GRAFANA_ADMIN_PASSWORD": "a", "REGISTRY_STORE": "/srv/registry"}
COMPOSE = filled_in(document("compose", "compose.yaml"), REQUIRED)
STACK = filled_in(document("swarm", "stack.yml"), REQUIRED)
SIDECAR = next(
    each for each in documents(DEPLOY / "kubernetes/sidecar.yaml") if each["kind"] == "Deployment"
)
POD = SIDECAR["spec"]["template"]["spec"]
CONTAINERS = {each["name"]: each for each in POD["containers"]}
OF_COMPOSE = [(DEPLOY / "compose", name, each) for name, each in COMPOSE["services"].items()]
OF_STACK = [(DEPLOY / "swarm", name, each) for name, each in STACK["services"].items()]


def short_name(value: object) -> str:
    if isinstance(value, Path):
        return str(value.relative_to(DEPLOY))
    return value if isinstance(value, str) else "-"


def in_all_services(test: Any) -> Any:  # noqa: ANN401 - a decorator
    return pytest.mark.parametrize(
        ("home", "name", "service"), [*OF_COMPOSE, *OF_STACK], ids=short_name
    )(test)


def test_the_overview_links_to_each_of_the_five_deployments() -> None:
    places = {path.name for path in DEPLOY.iterdir() if path.is_dir()}
    assert places == {"caprover", "compose", "kubernetes", "swarm", "systemd"}
    overview = (DEPLOY / "README.md").read_text("utf-8")
    for place in places:
        assert f"[{place}/]({place}/)" in overview
        assert (DEPLOY / place / "README.md").exists()


@pytest.mark.parametrize("path", EVERY_YAML, ids=short_name)
def test_every_yaml_file_holds_documents(path: Path) -> None:
    assert all(isinstance(each, dict) and each for each in documents(path))


@pytest.mark.parametrize("path", files(), ids=short_name)
def test_variables_exist_and_ports_and_jobs_are_the_same_everywhere(path: Path) -> None:
    text = path.read_text("utf-8")
    known = {variable_name(each) for each in setting_paths()}
    assert set(re.findall(r"REGISTRY_EXPORTER_[A-Z0-9_]+", text)) <= known
    assert set(re.findall(r"(?<!\d)109\d\d(?!\d)", text)) <= {str(PORT)}
    assert set(re.findall(r"\bjob_name: *(\S+)", text)) <= {JOB}


@pytest.mark.parametrize("path", files(), ids=short_name)
def test_commands_of_the_exporter_and_their_flags_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    commands = re.findall(r"registry-storage-exporter[, ]+([a-z][a-z-]+)(.*)", text)
    for name, rest in commands:
        assert name in COMMANDS
        known = set(re.findall(r"--[a-z][a-z.-]+", run_command(name, "--help").output))
        assert set(re.findall(r"--[a-z][a-z.-]+", rest)) <= known
    dotted = set(re.findall(r"(?<![\w-])--[a-z]+\.[a-z.-]+", text))
    of_prometheus = {"--storage.tsdb.", "--config.file", "--web.external-url", "--storage.path"}
    assert {each for each in dotted if not each.startswith((*of_prometheus, "--cluster."))} <= set(
        re.findall(r"--[a-z.-]+", run_command("serve", "--help").output)
    )


def exporter_environments() -> dict[str, dict[str, str]]:
    """Return the exporter's variables in each deployment, without and with the optional ones."""
    offered = REQUIRED | {
        "STORAGE_LIMIT": "200GiB",
        "REGISTRY_URL": "https://registry.example.com",
    }
    compose = filled_in(document("compose", "compose.yaml"), offered)
    stack = filled_in(document("swarm", "stack.yml"), offered)
    env = DEPLOY / "systemd/registry-storage-exporter.env"
    password = {"REGISTRY_EXPORTER_REGISTRY_PASSWORD": "of-a-test"}
    return {
        "compose": COMPOSE["services"]["exporter"]["environment"],
        "compose, all": compose["services"]["exporter"]["environment"],
        "swarm": STACK["services"]["exporter"]["environment"],
        "swarm, all": stack["services"]["exporter"]["environment"],
        "systemd": environment_file(env, with_examples=False),
        "systemd, all": environment_file(env, with_examples=True) | password,
        "kubernetes": {each["name"]: each["value"] for each in CONTAINERS["exporter"]["env"]},
    } | {
        f"block {number}, {block.file.parent.name}": dict(
            re.findall(r"^(REGISTRY_EXPORTER_\w+)=(.*)$", block.text, re.MULTILINE)
        )
        for number, block in enumerate(code_blocks())
        if block.language == "ini" and "REGISTRY_EXPORTER_" in block.text
    }


@pytest.mark.parametrize(("where", "environment"), exporter_environments().items(), ids=short_name)
def test_the_exporter_accepts_the_variables_of_each_deployment(
    where: str, environment: dict[str, str]
) -> None:
    outcome = run_command("check-config", environment=environment)
    assert outcome.exit_code == 0, f"{where}: {outcome.complaints}"
    assert len(environment) >= 2, where


@pytest.mark.parametrize("block", code_blocks(), ids=lambda block: block.file.parent.name)
def test_yaml_blocks_parse_and_files_named_in_commands_exist(block: CodeBlock) -> None:
    assert block.language in {"console", "dockerfile", "ini", "sh", "yaml"}
    if block.language == "yaml":
        assert yaml.safe_load(block.text)
    for named in re.findall(
        r"(?<![\w/.-])(?:deploy|alerts|dashboards|requirements)/[\w./*-]+", block.text
    ):
        assert list(REPOSITORY.glob(named)), named
    if "cd deploy/" in block.text:
        (place,) = re.findall(r"cd (deploy/\w+)", block.text)
        for named in re.findall(r"\.\./\.\./[\w./-]+", block.text):
            assert (REPOSITORY / place / named).exists(), named


def test_images_are_pinned_and_the_same_everywhere() -> None:
    images = {
        image
        for path in EVERY_YAML
        for each in documents(path)
        for image in values_of(filled_in(each, REQUIRED), "image")
        if image != "$$cap_image"  # filled in by the operator; another test checks its pattern
    }
    pinned = [re.fullmatch(r"(\S+):v?(\d+\.\d+\.\d+)", image) for image in images]
    assert all(pinned), images
    versions = {match[1]: match[2] for match in pinned if match}
    assert len(versions) == len(images) == 6, "one version of each image"
    assert versions["registry-storage-exporter"] == __version__
    for path in files():
        text = path.read_text("utf-8")
        assert ":latest" not in text
        for name, version in versions.items():
            short = name.removeprefix("docker.io/").removeprefix("library/")
            named = re.findall(rf"{short}:v?(\d+\.[\w.]*\w)", text)
            assert set(named) <= {version}, f"{path}: {short}"


@in_all_services
def test_services_are_confined(home: Path, name: str, service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert "privileged" not in service
    assert "cap_add" not in service
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["logging"] == {"driver": "local"}  # which rotates
    if home.name == "compose":  # a swarm ignores it
        assert service["security_opt"] == ["no-new-privileges:true"]
    if name == "exporter":
        assert service["healthcheck"]["test"] == ["CMD", "registry-storage-exporter", "healthcheck"]


@in_all_services
def test_only_the_registry_may_write_to_the_store_and_none_to_the_host(
    home: Path, name: str, service: dict[str, Any]
) -> None:
    for mount in mounts(service):
        is_registrys = name == "registry" and mount.target == "/var/lib/registry"
        holds_store = mount.source == REQUIRED["REGISTRY_STORE"]
        assert mount.read_only or is_registrys or not mount.is_path, mount
        assert is_registrys or not holds_store or (name, mount.target) == ("exporter", STORE)
        if mount.source.startswith("."):
            assert (home / mount.source).exists(), mount
    if name == "exporter":
        read_only = {mount.target: mount.read_only for mount in mounts(service)}
        assert read_only == {STORE: True, STATE: False}
        assert service["environment"]["REGISTRY_EXPORTER_STORAGE_ROOT"] == STORE


def test_compose_publishes_on_loopback_only_and_a_swarm_publishes_nothing() -> None:
    published = [port for _, _, each in OF_COMPOSE for port in each["ports"]]
    assert len(published) == 5
    for port in published:
        match = re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", port)
        assert match, port
        assert match[1] == match[2]
    assert COMPOSE["services"]["exporter"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert all("ports" not in each for _, _, each in OF_STACK)


def test_registry_and_exporter_share_a_volume_in_compose_by_default() -> None:
    services = filled_in(document("compose", "compose.yaml"), {"GRAFANA_ADMIN_PASSWORD": "a"})[
        "services"
    ]
    shared = {mounts(services[name])[0].source for name in ("registry", "exporter")}
    assert shared == {"registry-store"}
    named = {m.source for each in services.values() for m in mounts(each) if not m.is_path}
    assert named == set(COMPOSE["volumes"])


@pytest.mark.parametrize("variable", REQUIRED)
def test_password_and_store_location_have_no_default(variable: str) -> None:
    raw = {
        "GRAFANA_ADMIN_PASSWORD": document("compose", "compose.yaml"),
        "REGISTRY_STORE": document("swarm", "stack.yml"),
    }
    with pytest.raises(MissingVariableError, match=variable):
        filled_in(raw[variable], {})


@pytest.mark.parametrize("path", EVERY_YAML, ids=short_name)
def test_no_file_holds_a_secret(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        assigned = re.search(r"(?i)\b\w*(?:password|secret|token)\w*[:=] *(\S.*)", line)
        if assigned and not line.lstrip().startswith("#"):
            assert assigned[1].startswith(("${", "false")), line


def test_swarm_places_the_exporter_on_the_store_node_and_data_on_one_node() -> None:
    label = "node.labels.registry-store == true"
    readme = (DEPLOY / "swarm/README.md").read_text("utf-8")
    assert STACK["services"]["exporter"]["deploy"]["placement"]["constraints"] == [label]
    for _, _, service in OF_STACK:
        deploy = service["deploy"]
        (constraint,) = deploy["placement"]["constraints"]
        assert (
            f"--label-add {constraint.removeprefix('node.labels.').replace(' == ', '=')}" in readme
        )
        assert deploy["replicas"] == 1
        assert deploy["update_config"] == {"order": "stop-first"}


def test_docker_accepts_the_stack() -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("docker is not installed; its client alone reads the stack, without a daemon")
    done = subprocess.run(
        [docker, "stack", "config", "--compose-file", DEPLOY / "swarm/stack.yml"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | REQUIRED,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "docker warns of options that it ignores"
    assert yaml.safe_load(done.stdout)["services"].keys() == STACK["services"].keys()


def test_swarm_configs_are_used_exist_and_can_be_replaced() -> None:
    used = [each["source"] for _, _, service in OF_STACK for each in service.get("configs", [])]
    assert sorted(used) == sorted(STACK["configs"])
    raised = filled_in(document("swarm", "stack.yml"), REQUIRED | {"CONFIG_VERSION": "2"})
    for name, config in STACK["configs"].items():
        assert (DEPLOY / "swarm" / config["file"]).exists(), config["file"]
        assert config["name"] != raised["configs"][name]["name"], (
            "a swarm config cannot be changed, only replaced"
        )


def test_the_sidecar_meets_the_restricted_pod_security_standard() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert POD["enableServiceLinks"] is False, "the registry would read REGISTRY_PORT as a setting"
    for container in CONTAINERS.values():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context.get("runAsUser", 1) != 0
        assert container["resources"]["limits"]["memory"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert not any(volume.keys() & {"hostPath"} for volume in POD["volumes"])


def test_the_sidecar_mounts_the_store_read_only_and_cannot_make_the_pod_unready() -> None:
    exporter, registry = CONTAINERS["exporter"], CONTAINERS["registry"]
    by_path = {each["mountPath"]: each for each in exporter["volumeMounts"]}
    assert by_path[STORE] == {"name": "store", "mountPath": STORE, "readOnly": True}
    assert by_path[STATE]["name"] == "exporter-state"
    assert {"name": "store", "mountPath": "/var/lib/registry"} in registry["volumeMounts"]
    assert exporter["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "metrics"}
    assert "readinessProbe" not in exporter, "a pod is ready only when all its containers are"
    assert SIDECAR["spec"]["strategy"] == {"type": "Recreate"}
    assert SIDECAR["spec"]["replicas"] == 1


def test_the_kubernetes_services_select_the_pod_and_the_monitor_the_service() -> None:
    labels = SIDECAR["spec"]["template"]["metadata"]["labels"]
    named_ports = {
        port["name"]: port["containerPort"]
        for container in CONTAINERS.values()
        for port in container["ports"]
    }
    assert named_ports["metrics"] == PORT
    services = {
        each["metadata"]["name"]: each for each in documents(DEPLOY / "kubernetes/service.yaml")
    }
    for service in services.values():
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert named_ports[port["targetPort"]] == port["port"]
    monitor = document("kubernetes", "servicemonitor.yaml")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    selected = [each for each in services.values() if wanted <= each["metadata"]["labels"].items()]
    assert [each["metadata"]["name"] for each in selected] == ["registry-storage-exporter"]
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in selected[0]["spec"]["ports"]}


def test_the_cron_job_never_runs_twice_at_once_and_may_only_change_the_registry() -> None:
    account, role, binding, cron = documents(DEPLOY / "kubernetes/collect-garbage-cronjob.yaml")
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    job = cron["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["/scripts/collect-garbage.sh", "--yes"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == CONTAINERS["registry"]["securityContext"]
    (scripts,) = [each["configMap"] for each in pod["volumes"] if "configMap" in each]
    assert (
        f"create configmap {scripts['name']} --from-file=deploy/kubernetes/collect-garbage.sh"
        in (DEPLOY / "kubernetes/README.md").read_text("utf-8")
    )
    name = pod["serviceAccountName"]
    assert account["metadata"]["name"] == name == binding["subjects"][0]["name"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    allowed = {each["resources"][0]: set(each["verbs"]) for each in role["rules"]}
    assert allowed == {
        "deployments": {"get", "list", "watch", "patch"},
        "pods": {"get", "list"},
        "pods/exec": {"create", "get"},
    }
    assert role["rules"][0]["resourceNames"] == [SIDECAR["metadata"]["name"]]
