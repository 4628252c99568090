"""Fixtures for the tests of isolated execution."""

import pytest

from tests.support.isolated import SANDBOXES, executing, needs_namespaces


@pytest.fixture(scope="module", params=SANDBOXES)
def executor(request):
    """Return an executor; a test that uses it runs at each level of protection."""
    if request.param == "namespaces":
        needs_namespaces()
    with executing(sandbox=request.param) as executor:
        executor.sandbox = request.param
        yield executor
