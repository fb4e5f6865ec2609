"""The container image: its files, and the image itself, built and run.

The base image is made here from the Debian packages that apt offers on this machine, under the name
that the Dockerfile uses. So the build needs no container registry and works with every Python that
the exporter supports.
"""

import ast
import email
import fcntl
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from demo.child_process import STOP_SECONDS, ChildProcess, wait_until
from demo.store import noise
from tests.confinement import (
    beside,
    child_of,
    confined,
    files_of,
    internet_sockets,
    named_sockets,
    open_sockets,
    private_network,
    rights,
)
from tests.exporter_process import Metrics
from tests.reliability import Record
from tests.servers import CACHE, START_SECONDS, DockerRegistry, RegistryClient, free_port, require

REPOSITORY = Path(__file__).parent.parent
UID = 65532
STRANGER = 54321
STATE = "/var/lib/registry-storage-exporter"
PORT = 10996
DEVICES = {"/dev/null", "/dev/urandom"}
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")
# Settings of pip that name a file, and settings that decide where it finds packages.
PIP_FILES = ("cert", "client-cert")
PIP_SETTINGS = (
    *PIP_FILES,
    *("index-url", "extra-index-url", "find-links", "no-index"),
    *("trusted-host", "proxy", "timeout", "default-timeout", "retries"),
)
# Represents whatever the environment of the build machine contains.
BUILD_MACHINE_SECRET = "build-machine.invalid"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, with continuation lines joined."""

    name: str
    value: str
    stage: int


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a requirements file."""

    version: str
    marker: Marker | None
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Buildah:
    """Buildah with its own store, and with a driver and an isolation that need no kernel module."""

    store: Path

    def __call__(self, *arguments: str, **environment: str) -> str:
        """Run one command and return its output."""
        driver = ("--storage-driver", "vfs")
        places = ("--root", str(self.store / "root"), "--runroot", str(self.store / "run"))
        isolated = {"BUILDAH_ISOLATION": "chroot", **environment}
        return output_of("buildah", *driver, *places, *arguments, **isolated)


@dataclass(frozen=True, slots=True)
class Image:
    """The built image: its mounted files, its configuration, and its whole record."""

    root: Path
    config: Mapping[str, Any]
    record: str

    def environment(self, overrides: Mapping[str, str]) -> dict[str, str]:
        """Return the environment a container engine sets for a user without an entry in passwd."""
        own: dict[str, str] = dict(entry.split("=", 1) for entry in self.config["Env"])
        return {**own, "HOME": "/", **overrides}

    def command(self, store: Path, state: Path, *arguments: str) -> list[str]:
        """Return the command as the image's user runs it; only the state directory is writable."""
        script = """
            set -eu
            mount --bind "$1" "$1"
            mount --rbind /dev "$1/dev"
            mount --rbind /proc "$1/proc"
            mount --bind "$2" "$1/registry"
            mount -o remount,bind,ro "$1/registry"
            mount --bind "$3" "$1/var/lib/registry-storage-exporter"
            mount -o remount,bind,ro "$1"
            root=$1 user=$4
            shift 4
            exec chroot --userspec="$user" --groups="${user#*:}" "$root" "$@"
        """
        places = (str(self.root), str(store), str(state), self.config["User"])
        return ["unshare", "--mount", "sh", "-c", script, "sh", *places, *arguments]


def unavailable(reason: str) -> NoReturn:
    """Skip with a reason, or fail on CI, where everything the tests need must be installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def output_of(*command: str, **environment: str) -> str:
    """Run a command to its end and return its output."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    failure = f"{' '.join(command[:8])}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0, failure
    return done.stdout


def read_dockerfile() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    instructions: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, _, value = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            instructions.append(Instruction(name, " ".join(value.split()), stage))
    return instructions


def values_of(name: str, *, last_stage: bool = False) -> list[str]:
    instructions = read_dockerfile()
    stages = {instructions[-1].stage} if last_stage else {each.stage for each in instructions}
    return [each.value for each in instructions if each.name == name and each.stage in stages]


def base_image() -> str:
    (name,) = (
        value.removeprefix("PYTHON_IMAGE=")
        for value in values_of("ARG")
        if value.startswith("PYTHON_IMAGE=")
    )
    return name


def read_lock(name: str) -> dict[str, Locked]:
    text = (REPOSITORY / "requirements" / name).read_text("utf-8")
    locked: dict[str, Locked] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line or line.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        parsed = Requirement(requirement)
        version = str(parsed.specifier).removeprefix("==")
        key = canonicalize_name(parsed.name)
        assert key not in locked, f"{name}: {key} twice"
        locked[key] = Locked(version, parsed.marker, frozenset(hashes))
    return locked


def debian_sources() -> Iterator[tuple[str, str, str, str]]:
    """Yield mirror, suites, components and keyring of each of apt's sources, in both formats."""
    apt = Path("/etc/apt")
    one_line = re.compile(r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+(.*)$", re.MULTILINE)
    for path in [*apt.glob("sources.list"), *sorted(apt.glob("sources.list.d/*.list"))]:
        for options, mirror, suite, components in one_line.findall(path.read_text("utf-8")):
            _, _, keyring = options.partition("signed-by=")
            yield mirror, suite, components, keyring.partition(" ")[0]
    for path in sorted(apt.glob("sources.list.d/*.sources")):
        text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
        for stanza in re.split(r"\n\s*\n", text.strip()):
            fields = email.message_from_string(stanza)
            mirror = fields.get("URIs", "").partition(" ")[0]
            suites, components = fields.get("Suites", ""), fields.get("Components", "")
            yield mirror, suites, components, fields.get("Signed-By", "")


def make_base_image(buildah: Buildah, name: str) -> None:
    """Commit a small Debian with Python under a name, laid out like the official Python image."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    mirror, keyring = next(
        (
            (mirror, keyring)
            for mirror, suites, components, keyring in debian_sources()
            if release in suites.split() and "main" in components.split()
        ),
        ("", ""),
    )
    if not mirror:
        unavailable(f"apt on this machine has no source for its own release, {release!r}")
    container = buildah("from", "scratch").strip()
    root = Path(buildah("mount", container).strip())
    options = ["--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
    options += [f"--keyring={keyring}"] if keyring.startswith("/") else []
    try:
        # In its own mount namespace, so that its mounts disappear with it, however it ends.
        output_of("unshare", "--mount", "debootstrap", *options, release, str(root), mirror)
    except AssertionError as problem:
        buildah("rm", container)
        unavailable(f"debootstrap cannot make a base image here: {problem}")
    for place in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / place, ignore_errors=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    path = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    buildah("config", "--env", f"PATH={path}", "--cmd", "python3", container)
    buildah("commit", "--rm", "--format", "docker", container, name)


def pip_settings() -> dict[str, str]:
    """Return where this machine's pip finds packages, however that was configured."""
    listed: dict[str, str] = {}
    sections = ("global", "install", ":env:")
    for line in output_of(sys.executable, "-m", "pip", "config", "list").splitlines():
        key, _, value = line.partition("=")
        listed[key] = ast.literal_eval(value)
    settings = {
        option: listed[f"{section}.{option}"]
        for section in sections
        for option in PIP_SETTINGS
        if f"{section}.{option}" in listed
    }
    # pip uses these too, but does not list them.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if bundle := os.environ.get(variable):
            settings.setdefault("cert", bundle)
    return settings


def package_source_options(directory: Path) -> list[str]:
    """Return the options that make a build use this machine's package sources."""
    settings = pip_settings()
    volumes = [f"{directory}:/mnt:ro"]
    for option in PIP_FILES:
        if option in settings:
            shutil.copyfile(settings[option], directory / option)
            settings[option] = f"/mnt/{option}"
    links = settings.get("find-links", "").split()
    for number, link in enumerate(links):
        if Path(link).is_dir():
            (directory / f"links{number}").mkdir()
            volumes.append(f"{link}:/mnt/links{number}:ro")
            links[number] = f"/mnt/links{number}"
    if links:
        settings["find-links"] = " ".join(links)
    lines = [f"{option} = {' '.join(value.split())}" for option, value in settings.items()]
    (directory / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), "utf-8")
    options = ["--build-arg", "PIP_CONFIG_FILE=/mnt/pip.conf"]
    return options + [word for volume in volumes for word in ("--volume", volume)]


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    """Yield Buildah with a store that is kept between runs and contains the base image."""
    for program in ("buildah", "debootstrap"):
        require(program)
    if os.geteuid() != 0:
        unavailable("building the image needs root: debootstrap and mounts are not for users")
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        unavailable("building the image needs mount namespaces, which are not allowed here")
    store = CACHE
    store.mkdir(parents=True, exist_ok=True)
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        buildah = Buildah(store)
        # Remains of a run that was killed.
        buildah("rm", "--all")
        buildah("rmi", "--prune")
        if base_image() not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
            make_base_image(buildah, base_image())
        yield buildah


@pytest.fixture(scope="module")
def image(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """Build the image of this checkout from this machine's package sources, and mount it."""
    name = "localhost/registry-storage-exporter:test"
    buildah(
        "bud",
        *("--pull-never", "--layers=false", "--format", "docker", "--tag", name),
        *("--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123abc"),
        *package_source_options(tmp_path_factory.mktemp("package-sources")),
        str(REPOSITORY),
        no_proxy=f"{os.environ.get('no_proxy', 'localhost')},{BUILD_MACHINE_SECRET}",
    )
    inspected = json.loads(buildah("inspect", "--type", "image", name))
    container = buildah("from", "--pull-never", name).strip()
    root = Path(buildah("mount", container).strip())
    (root / "registry").mkdir()  # as an engine does for a volume
    yield Image(root, inspected["Docker"]["config"], json.dumps(inspected))
    buildah("rm", container)
    buildah("rmi", name)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make an empty store."""
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Make a state directory like the image's own."""
    path = tmp_path / "state"
    path.mkdir()
    os.chown(path, UID, UID)
    return path


def run_inside(
    image: Image, store: Path, state: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        image.command(store, state, *arguments),
        env=image.environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_stage_starts_from_the_same_pinned_base_image() -> None:
    assert {value.split()[0] for value in values_of("FROM")} == {"${PYTHON_IMAGE}"}
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-[a-z]+", base_image())


def test_container_runs_as_a_numeric_user() -> None:
    assert values_of("USER") == [f"{UID}:{UID}"]


def test_health_check_asks_the_exporter() -> None:
    (value,) = values_of("HEALTHCHECK")
    assert json.loads(value.partition("CMD ")[2]) == ["registry-storage-exporter", "healthcheck"]


def test_dockerfile_downloads_nothing_but_locked_packages() -> None:
    assert values_of("ADD") == []
    assert not re.search(r"https?://|\b(curl|wget|apt-get)\b", " ".join(values_of("RUN")))
    installs = re.findall(
        r"pip (?:--python \S+ )?install(.*?)(?:&&|$)", " && ".join(values_of("RUN"))
    )
    assert len(installs) == 3
    assert all("--require-hashes" in options or "--no-index" in options for options in installs)


def test_last_stage_takes_files_from_the_build_stage_only() -> None:
    assert all("--from=build" in value for value in values_of("COPY", last_stage=True))
    arguments = values_of("ARG", last_stage=True)
    assert sorted(arguments) == ["CREATED", "REVISION", "SOURCE", "VERSION"]
    assert values_of("VOLUME") == []


def test_build_context_contains_exactly_what_the_dockerfile_copies() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    allowed = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    copies = (value.split() for value in values_of("COPY") if "--from" not in value)
    assert patterns[0] == "*"
    assert allowed == {source for words in copies for source in words[:-1]}


@pytest.mark.parametrize("name", ["build.txt", "image.txt", "test.txt"])
def test_requirements_are_exact_and_hashed_and_name_no_index(name: str) -> None:
    for package, locked in read_lock(name).items():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", locked.version), package
        assert locked.hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in locked.hashes), package
    text = (REPOSITORY / "requirements" / name).read_text("utf-8")
    assert not re.search(r"://|^\s*-|\B/\w|win32", re.sub(r"--hash=\S+", "", text), re.MULTILINE)


@pytest.mark.parametrize("name", ["build.txt", "image.txt"])
def test_tested_packages_are_the_shipped_packages(name: str) -> None:
    tested = read_lock("test.txt")
    for package, locked in read_lock(name).items():
        assert tested[package] == locked


def test_requirements_satisfy_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    wanted = {
        "build.txt": project["build-system"]["requires"],
        "image.txt": project["project"]["dependencies"],
        "test.txt": project["dependency-groups"]["test"],
    }
    for name, requirements in wanted.items():
        locked = read_lock(name)
        for requirement in map(Requirement, requirements):
            version = locked[canonicalize_name(requirement.name)].version
            assert requirement.specifier.contains(version), (
                f"{name}: {requirement}; run `make lock`"
            )
    assert not read_lock("image.txt").keys() & {"hatchling", "editables", "pytest", "pip"}


@pytest.mark.slow
def test_image_is_configured_as_documented(image: Image) -> None:
    assert image.config["User"] == f"{UID}:{UID}"
    assert image.config["Entrypoint"] == ["registry-storage-exporter"]
    assert image.config["Cmd"] == ["serve"]
    assert image.config["ExposedPorts"] == {"10996/tcp": {}}
    assert not image.config["Volumes"]
    health = image.config["Healthcheck"]
    assert health["Test"] == ["CMD", "registry-storage-exporter", "healthcheck"]
    assert health["Timeout"] < health["Interval"]
    state = (image.root / "var/lib/registry-storage-exporter").stat()
    assert (state.st_uid, state.st_gid) == (UID, UID)


@pytest.mark.slow
def test_image_labels_describe_it(image: Image) -> None:
    prefix = "org.opencontainers.image."
    labels = {
        label.removeprefix(prefix): value
        for label, value in image.config["Labels"].items()
        if label.startswith(prefix)
    }
    assert labels.pop("description")
    assert labels == {
        "title": "registry-storage-exporter",
        "licenses": "MIT",
        "created": "",
        "revision": "0123abc",
        "source": "",
        "version": "1.2.3",
    }


@pytest.mark.slow
def test_image_contains_nothing_of_the_build_machine(image: Image) -> None:
    assert not re.search(r"PIP_|_proxy|_PROXY|pip\.conf", image.record)
    assert BUILD_MACHINE_SECRET not in image.record
    assert not (image.root / "etc/pip.conf").exists()
    assert not (image.root / "build").exists()
    assert list((image.root / "mnt").iterdir()) == []
    assert [path.name for path in (image.root / "opt").iterdir()] == ["venv"]


@pytest.mark.slow
def test_image_contains_the_locked_packages_and_no_others(image: Image) -> None:
    (packages,) = (image.root / "opt/venv").glob("lib/python3.*/site-packages")
    installed = {
        canonicalize_name(name): version
        for name, version in (
            path.stem.rsplit("-", 1) for path in packages.iterdir() if path.suffix == ".dist-info"
        )
    }
    assert installed.pop(canonicalize_name("registry-storage-exporter"))
    assert installed == {name: locked.version for name, locked in read_lock("image.txt").items()}


@pytest.mark.slow
def test_image_has_no_installer_and_no_compiler(image: Image, store: Path, state: Path) -> None:
    programs = {
        path.name
        for directory in ("opt/venv/bin", "usr/local/bin", "usr/bin")
        for path in (image.root / directory).iterdir()
    }
    assert not programs & {"pip", "pip3", "uv", "hatchling", "gcc", "cc", "make"}
    done = run_inside(image, store, state, "python", "-m", "pip", "--version")
    assert "No module named pip" in done.stderr


@pytest.mark.slow
def test_every_module_is_compiled(image: Image) -> None:
    (package,) = (image.root / "opt/venv").glob("lib/python3.*/site-packages/exporter")
    for module in package.rglob("*.py"):
        assert list(module.parent.glob(f"__pycache__/{module.stem}.*.pyc")), module


@pytest.mark.slow
def test_only_the_state_directory_is_writable(image: Image, store: Path, state: Path) -> None:
    attempt = "touch /tmp/x; touch /registry/x; touch /opt/venv/x; touch $TMPDIR/x; id -u; id -g"
    done = run_inside(image, store, state, "sh", "-c", attempt)
    assert done.stdout.split() == [str(UID), str(UID)]
    assert len(done.stderr.splitlines()) == 3
    assert [path.name for path in state.iterdir()] == ["x"]


@pytest.mark.slow
def test_exporter_prints_its_version(image: Image, store: Path, state: Path) -> None:
    done = run_inside(image, store, state, "registry-storage-exporter", "--version")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)


@pytest.mark.slow
def test_collect_reads_a_read_only_store(image: Image, store: Path, state: Path) -> None:
    command = ("registry-storage-exporter", "collect", "--storage.root", "/registry")
    done = run_inside(image, store, state, *command)
    assert done.returncode == 0, done.stderr
    assert "\ndocker_registry_repositories 0.0\n" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_container_serves_is_healthy_and_stops(image: Image, store: Path, state: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = {"REGISTRY_EXPORTER_WEB_LISTEN_ADDRESS": address}
    check = image.config["Healthcheck"]["Test"][1:]
    start = (*image.config["Entrypoint"], *image.config["Cmd"])
    with subprocess.Popen(
        image.command(store, state, *start), env=image.environment(settings)
    ) as server:
        try:
            while run_inside(image, store, state, *check, **settings).returncode != 0:
                assert server.poll() is None, "the exporter ended by itself"
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
                assert b"docker_registry_" in response.read()
            server.terminate()
            assert server.wait(timeout=10) == 0
        finally:
            server.kill()
    assert run_inside(image, store, state, *check, **settings).returncode == 1


@pytest.mark.slow
@pytest.mark.reliability("privilege")
def test_no_program_of_the_image_runs_with_the_rights_of_another(
    image: Image, record: Record
) -> None:
    programs = [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]
    lending = [path for path in programs if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
    assert lending == []
    record(
        "No program in the image runs with the rights of its owner or group",
        f"{len(lending)} of {len(programs)} files",
    )


def environment_of_nobody(image: Image, **settings: str) -> dict[str, str]:
    """Return the environment of a user without an entry in passwd: it has no home."""
    environment = image.environment(settings)
    del environment["HOME"]
    return environment


@contextmanager
def served(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[int]:
    """Run ``serve`` in a container, yield its process, and assert that it stops cleanly."""
    outer = ChildProcess("the exporter", command, log, environment=environment)
    try:
        outer.start()
        otherwise = "the exporter does not listen"
        outer.wait_until(lambda: "msg=listening" in outer.log, otherwise, START_SECONDS)
        process_id = child_of(outer.pid)
        assert process_id is not None
        yield process_id
        os.kill(process_id, signal.SIGTERM)
        assert outer.wait(STOP_SECONDS) == 0
    finally:
        outer.kill()


def page_of(path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{PORT}{path}", trust_env=False, timeout=10)


def has_read_everything(metrics: Metrics) -> bool:
    names = ("scan_success", "scan_complete", "watch_active", "api_up")
    return (
        all(metrics.value(f"docker_registry_{name}") == 1 for name in names)
        and metrics.value("docker_registry_disk_census_timestamp_seconds") is not None
    )


def assert_it_serves(store: Path) -> None:
    """Assert that its figures of the store, the disk and the registry are right."""
    wait_until(
        lambda: has_read_everything(Metrics.parse(page_of("/metrics").text)),
        "not everything is read",
    )
    metrics = Metrics.parse(page_of("/metrics").text)
    sizes = [path.stat().st_size for path in (store / "docker").rglob("data")]
    assert len(sizes) == 4
    assert metrics.total("docker_registry_blob_bytes") == sum(sizes)
    tags = {"team/app": 1.0}
    for source in ("repository_tags", "api_repository_tags"):
        assert metrics.by("repository", f"docker_registry_{source}") == tags
    for path in ("/-/healthy", "/-/ready", "/"):
        assert page_of(path).status_code == httpx.codes.OK


def assert_it_has_no_rights(process_id: int) -> None:
    nothing = {f"Cap{kind}": {"0" * 16} for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    somebody = {"\t".join([str(STRANGER)] * 4)}
    assert rights(process_id) == nothing | {
        "Uid": somebody,
        "Gid": somebody,
        "Groups": {""},
        "NoNewPrivs": {"1"},
    }


def assert_it_talks_to_nobody_else(process_id: int, registry: int) -> None:
    """Assert that its only sockets are its listener, its clients and those to the registry."""
    own = open_sockets(process_id)
    sockets = [each for each in internet_sockets(process_id) if each.inode in own]
    assert [each.port for each in sockets if each.listens] == [PORT]
    assert {each.protocol for each in sockets} <= {"tcp", "tcp6"}
    for each in sockets:
        assert each.port == PORT or each.peer_port == registry, each
    assert named_sockets(process_id) == []


def writable_for(image: Image, process_id: int) -> set[str]:
    """Return the paths that the process itself can write to."""
    find = ("find", "/", "-path", "/proc", "-prune", "-o", "!", "-type", "l", "-writable", "-print")
    done = subprocess.run(
        beside(process_id, STRANGER, *find),
        env=environment_of_nobody(image),
        capture_output=True,
        text=True,
        check=False,
    )
    assert all(line.endswith("Permission denied") for line in done.stderr.splitlines())
    return set(done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.reliability("privilege")
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "keeps nothing"])
def test_it_serves_as_any_user_without_any_right(
    image: Image, store: Path, state: Path, tmp_path: Path, keeps: bool, record: Record
) -> None:
    os.chown(state, STRANGER, STRANGER)
    log = tmp_path / "log"
    with (
        private_network(),
        DockerRegistry(store) as registry,
        RegistryClient(registry.url) as client,
    ):
        client.push_image("team/app", "1", [noise("one", 5000), noise("two", 50)])
        environment = environment_of_nobody(image, REGISTRY_EXPORTER_REGISTRY_URL=registry.url)
        start = (*image.config["Entrypoint"], *image.config["Cmd"])
        command = confined(image.root, store, state if keeps else None, STRANGER, *start)
        before, started = files_of(image.root, store), time.monotonic()
        with served(command, environment, log) as process_id:
            assert_it_serves(store)
            seconds = time.monotonic() - started
            assert_it_has_no_rights(process_id)
            assert_it_talks_to_nobody_else(process_id, httpx.URL(registry.url).port or 0)
            writable = writable_for(image, process_id) - DEVICES
            check = beside(process_id, STRANGER, *image.config["Healthcheck"]["Test"][1:])
            assert output_of(*check, **environment) == "healthy\n"
        assert files_of(image.root, store) == before
    kept = {path.name: path.stat() for path in state.iterdir()}
    lines = log.read_text().splitlines()
    events = [re.search(r" level=(\w+) logger=\S+ msg=(\"[^\"]*\"|\S+)", line) for line in lines]
    first, *others, last = [each[2] for each in events if each and each[1] == "info"]
    work = {'"scanned the store"', '"took a census of the disk"'}
    assert (first, set(others), last) == ("listening", work, "stopped")
    problems = [each[2] if each else "" for each in events if each is None or each[1] != "info"]
    if keeps:
        assert problems == []
        files = {"inventory.sqlite", "inventory.census.json"}
        recorded = {f"{STATE}/history.sqlite{suffix}" for suffix in ("", "-wal", "-shm")}
        assert writable - recorded == {STATE, *(f"{STATE}/{name}" for name in files)}
        assert kept.keys() == files | {"history.sqlite"}
        assert stat.S_IMODE(kept["inventory.sqlite"].st_mode) == 0o600
        assert kept["inventory.sqlite"].st_uid == STRANGER
        size = sum(each.st_size for each in kept.values())
        wrote = f"wrote {size} bytes to its state directory alone"
    else:
        reason = f"Read-only file system; give a --cache.path that uid {STRANGER} may write to"
        cache, history, census = sorted(problems)
        assert history == (
            f'"the history {STATE}/history.sqlite is not kept: Read-only file system; give a '
            f'--cache.path in a directory that uid {STRANGER} may write to"'
        )
        assert cache == f'"the cache {STATE}/inventory.sqlite is not used: {reason}"'
        assert census.startswith(f'"the kept census {STATE}/inventory.census.json is not kept: ')
        assert writable == set()
        wrote = "wrote nothing, and its log says so, once for each file"
    record(
        f"The image, read-only, {'with' if keeps else 'without'} a state directory, as uid "
        f"{STRANGER} with no entry in passwd, no home, no capability and no network but the "
        "registry's, serves right figures and is healthy",
        f"after {seconds:.1f} s; {wrote}; 1 listener",
    )
