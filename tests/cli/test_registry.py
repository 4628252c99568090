"""The commands ``serverfull rollback`` and ``serverfull registry``."""

import json
import os

import pytest
from click.testing import CliRunner

from serverfull_wsgi.cli.main import main
from tests.support.registry import deploy, redeploy, registry_in

pytestmark = pytest.mark.quick


@pytest.fixture
def registry(tmp_path):
    return registry_in(tmp_path, clock=lambda: 1764037614.0)


@pytest.fixture
def serverfull(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*argv, registry=str(tmp_path / "registry")):
        environ = {"SERVERFULL_REGISTRY": registry, "SERVERFULL_RUNTIME_LOGGER_OUTPUT": "STDERR"}
        return CliRunner().invoke(main, argv, env=environ)

    return run


def test_rollback_returns_to_the_revision_before_the_last(registry, serverfull):
    old = deploy(registry, text="one")["CodeSha256"]
    redeploy(registry, text="two")
    result = serverfull("rollback", "hello")
    assert (result.exit_code, result.stdout) == (0, "hello is now at revision 3\n")
    assert registry.function_configuration("hello")["CodeSha256"] == old
    assert registry.history("hello")[-1]["by"] == f"uid {os.getuid()}"


def test_rollback_to_a_revision(registry, serverfull):
    deploy(registry, Timeout=5)
    for timeout in (6, 7):
        registry.update_configuration("hello", {"Timeout": timeout}, "tester")
    assert serverfull("rollback", "hello", "--to", "1").exit_code == 0
    assert registry.function_configuration("hello")["Timeout"] == 5


def test_rollback_lists_the_revisions(registry, serverfull):
    deploy(registry)
    redeploy(registry)
    assert serverfull("rollback", "hello", "--list").stdout == (
        "REVISION\tTIME\tOPERATION\tBY\n"
        "2\t2025-11-25T02:26:54.000+0000\tUpdateFunctionCode\ttester\n"
        "1\t2025-11-25T02:26:54.000+0000\tCreateFunction\ttester\n"
    )
    first = json.loads(serverfull("rollback", "hello", "--json").stdout)[-1]
    assert (first["old"], first["what"]) == (None, "CreateFunction")
    assert "before" not in first


def test_rollback_of_nothing_is_refused(registry, serverfull):
    deploy(registry)
    result = serverfull("rollback", "hello")
    assert result.exit_code == 1
    assert "there is no earlier one" in result.stderr
    assert "Function not found" in serverfull("rollback", "other").stderr


def test_prune_reports_what_it_removed(registry, serverfull, tmp_path):
    deploy(registry)
    registry.delete_function("hello", None, "tester")
    (package,) = tmp_path.glob("registry/code/*")
    size = package.stat().st_size
    os.utime(package, (0, 0))
    assert serverfull("registry", "prune", "--yes").stdout == f"1 removed, {size:,} bytes; 0 unpacked copies removed\n"
    assert not package.exists()


@pytest.mark.parametrize("command", [("rollback", "hello"), ("registry", "prune")])
def test_a_registry_that_does_not_exist_is_not_created(serverfull, tmp_path, command):
    assert "SERVERFULL_REGISTRY is not set" in serverfull(*command, registry="").stderr
    result = serverfull(*command)
    assert (result.exit_code, os.listdir(tmp_path)) == (1, [])
    assert "there is no such directory; is it the server's?" in result.stderr
