"""Fixtures that many tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import DockerRegistry, RegistryClient

# slowness of a busy machine is not a failure
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

pytest_plugins = ("tests.mounts", "tests.reliability")

USERNAME = "captain"
PASSWORD = "secret-password"


_LONG = (
    "test_restore",
    "test_maintenance",
    "test_explorer_figures",
    "test_runbook_commands",
    "test_rescan",
    "test_serve",
    "test_verify",
)
"""Modules that take long and come late: started last, they would keep one processor alone busy."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest modules first."""
    items.sort(key=lambda item: not item.path.stem.startswith(_LONG))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    """Run an empty registry that requires a login, with its store below ``tmp_path``."""
    with DockerRegistry(tmp_path / "registry", users={USERNAME: PASSWORD}) as server:
        yield server


@pytest.fixture
def registry_client(registry: DockerRegistry) -> Iterator[RegistryClient]:
    """Connect to ``registry`` as its user."""
    with RegistryClient(registry.url, USERNAME, PASSWORD) as client:
        yield client
