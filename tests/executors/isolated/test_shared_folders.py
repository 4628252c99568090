"""Functions that mount folders of the machine: refused at the start where they would not see the folders."""

import pytest

from serverfull_wsgi import ConfigurationError, ProcessExecutor, StaticFetcher
from serverfull_wsgi.assembly.executors import create_executor
from serverfull_wsgi.settings.settings import Settings
from tests.support.isolated import function, invocation, needs_client, refuse_roots

SHARED = "/usr:/mnt/data"


def executor(sandbox, mounts="", **settings):
    """Return the executor of a server whose function mounts /mnt/data."""
    fetcher = StaticFetcher({"mounting": function(name="mounting", mounts=["/mnt/data"])})
    return create_executor(Settings(sandbox=sandbox, mounts=mounts, **settings), fetcher=fetcher)


@pytest.fixture
def _no_roots(monkeypatch):
    refuse_roots(monkeypatch)


@pytest.mark.parametrize("sandbox", ["auto", "root"])
def test_a_path_that_the_setting_does_not_have_refuses_the_start(sandbox):
    with pytest.raises(ConfigurationError, match="'mounting' mounts /mnt/data, which SERVERFULL_MOUNTS does not have"):
        executor(sandbox, "/usr:/mnt/other")


@pytest.mark.parametrize("sandbox", ["process", "namespaces"])
def test_a_sandbox_without_roots_refuses_functions_with_shared_folders(sandbox):
    reason = f"'mounting' mounts /mnt/data.*SERVERFULL_SANDBOX={sandbox}.*set SERVERFULL_SANDBOX=root"
    with pytest.raises(ConfigurationError, match=reason):
        executor(sandbox, SHARED)


def test_mocked_functions_need_no_folders():
    executor("auto", mock=True)


@needs_client
@pytest.mark.usefixtures("_no_roots")
def test_a_machine_without_roots_refuses_the_start_though_any_sandbox_is_allowed():
    """The start finds the machine out: no call has to."""
    started = executor("auto", SHARED)
    with pytest.raises(ConfigurationError, match=r"SERVERFULL_MOUNTS.*the kernel refuses.*remove SERVERFULL_MOUNTS"):
        started.start()


@needs_client
def test_a_call_of_a_function_that_was_not_listed_at_the_start_is_refused():
    mounting = function(name="late", mounts=["/mnt/data"])
    lone = ProcessExecutor(sandbox="process")
    try:
        with pytest.raises(ConfigurationError, match=r"'late' mounts /mnt/data.*the sandbox is 'process' here"):
            lone.execute(mounting, invocation(name="late"))
    finally:
        lone.close()
