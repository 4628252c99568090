"""Fixtures for the tests of isolated execution."""

import pytest

from tests.support.isolated import SANDBOXES, executing, needs_sandbox


@pytest.fixture(scope="module", params=[*SANDBOXES, "http"])
def executor(request):
    """Return an executor; a test that uses it runs at each level of protection, and at the last one also over HTTP."""
    sandbox, transport = (SANDBOXES[-1], "http") if request.param == "http" else (request.param, "socket")
    needs_sandbox(sandbox)
    with executing(sandbox=sandbox, python_transport=transport) as executor:
        yield executor
